"""Stochastic growth with fixed labour, in the form of DifferentiableStateSpaceModels.jl.

King, Plosser and Rebelo (1988), Journal of Monetary Economics 21, 195–232. k and c in levels, z in
logarithms. A positive draw lowers productivity: the minus sign is the source's.
"""

from typing import NamedTuple

import jax.numpy as jnp

from tests.support.economies._form import perturbation_form

VARIABLES = ["k", "z", "c", "q"]
SHOCKS = ["e"]


class Params(NamedTuple):
    alpha: float = 0.5
    beta: float = 0.95
    rho: float = 0.2
    delta: float = 0.02
    sigma: float = 0.01


def equations(lag, now, lead, shock, p):
    gross_return = p.alpha * jnp.exp(lead.z) * now.k ** (p.alpha - 1) + 1 - p.delta
    return {
        "Euler": 1 / now.c - p.beta / lead.c * gross_return,
        "resources": now.c + now.k - (1 - p.delta) * lag.k - now.q,
        "production": now.q - jnp.exp(now.z) * lag.k**p.alpha,
        "technology": now.z - p.rho * lag.z + p.sigma * shock.e,
    }


def steady_state(p):
    k = ((1 / p.beta - 1 + p.delta) / p.alpha) ** (1 / (p.alpha - 1))
    q = k**p.alpha
    return {"k": k, "z": 0.0, "c": q - p.delta * k, "q": q}


def law(p):
    """X and R, by the quadratic formula.

    c = a k₋ + b z, hence k = m k₋ + n z with m = 1/β − a and n = k̄^α − b. The Euler equation,
    multiplied by −c̄², is c = E c₊ + κ k − τ ρ z with κ = β c̄ α (1 − α) k̄^(α−2), τ = β c̄ α k̄^(α−1):
    a = (a + κ) m, of which the positive root is wanted, and b = (a + κ) n + ρ (b − τ).
    """
    k, _, c, q = steady_state(p).values()
    kappa = p.beta * c * p.alpha * (1 - p.alpha) * q / k**2
    tau = p.beta * c * p.alpha * q / k
    half = (1 + kappa - 1 / p.beta) / 2
    a = -half + jnp.sqrt(half**2 + kappa / p.beta)
    b = ((a + kappa) * q - tau * p.rho) / (1 + a + kappa - p.rho)
    by_k = jnp.stack([1 / p.beta - a, 0.0, a, p.alpha * q / k])
    by_z = jnp.stack([q - b, 1.0, b, q])
    zero = jnp.zeros(4)
    transition = jnp.stack([by_k, p.rho * by_z, zero, zero], axis=1)
    return transition, -p.sigma * by_z[:, None]


def form(transition, impact):
    """g_x and h_x with x = (k, z), y = (c, q)."""
    parts = {"endogenous": ["k"], "exogenous": ["z"], "controls": ["c", "q"]}
    return perturbation_form(transition, impact, VARIABLES, **parts)


# The derivatives' columns are the parameters in their order; those of z are all zero.
PUBLISHED = {
    "steady_state": {
        "k": 47.39025414828825,
        "z": 0.0,
        "c": 5.936252888048733,
        "q": 6.884057971014498,
    },
    "derivatives": {
        "k": [555.2637030544529, 1445.9269000240533, 0.0, -1304.9490272717098, 0.0],
        "z": [0.0, 0.0, 0.0, 0.0, 0.0],
        "c": [55.78596896689701, 76.10141579073955, 0.0, -116.07178189943077, 0.0],
        "q": [66.89124302798608, 105.01995379122064, 0.0, -94.78050829657676, 0.0],
    },
    "g_x": [[0.0957964300241661, 0.6746869652586178], [0.07263157894736878, 6.884057971014507]],
    "h_x": [[0.9568351489232028, 6.209371005755889], [0.0, 0.2]],
}
