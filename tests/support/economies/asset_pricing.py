"""A tree whose price is known in closed form: the term of risk is not zero here.

Burnside (1998), "Solving asset pricing models with Gaussian shocks", Journal of Economic Dynamics
and Control 22, 329–340. y is the price over the dividend, x the growth of dividends:
y = E[β e^{θ x₊} (1 + y₊)], x = (1 − ρ) x̄ + ρ x₋ + σ ε.
"""

from typing import NamedTuple

import jax.numpy as jnp

VARIABLES = ["y", "x"]
SHOCKS = ["e"]


class Params(NamedTuple):
    """Mehra and Prescott's growth, with persistence enough to matter."""

    beta: float = 0.95
    theta: float = -1.5
    mean: float = 0.0179
    rho: float = 0.6
    sigma: float = 0.0348


def equations(lag, now, lead, shock, p):
    return {
        "price": p.beta * jnp.exp(p.theta * lead.x) * (1 + lead.y) - now.y,
        "growth": (1 - p.rho) * p.mean + p.rho * lag.x + p.sigma * shock.e - now.x,
    }


def steady_state(p):
    discount = p.beta * jnp.exp(p.theta * p.mean)
    return {"y": discount / (1 - discount), "x": p.mean}


def price(x, scale, p, terms=800):
    """y(x), the shocks multiplied by `scale`: Σᵢ βⁱ exp(aᵢ scale² + θ x̄ i + bᵢ (x − x̄)).

    aᵢ is half the variance of θ (x₁ + … + xᵢ) and bᵢ the sum of its persistence.
    """
    i = jnp.arange(1, terms + 1)
    b = p.theta * p.rho * (1 - p.rho**i) / (1 - p.rho)
    sums = i - 2 * p.rho * (1 - p.rho**i) / (1 - p.rho)
    sums += p.rho**2 * (1 - p.rho ** (2 * i)) / (1 - p.rho**2)
    a = (p.theta * p.sigma / (1 - p.rho)) ** 2 / 2 * sums
    return jnp.sum(p.beta**i * jnp.exp(a * scale**2 + p.theta * p.mean * i + b * (x - p.mean)))
