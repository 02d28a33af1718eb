"""Three New Keynesian equations with two persistent shocks, linear, solved by hand.

Galí (2015), Monetary Policy, Inflation, and the Business Cycle, chapter 3; determinacy after
Bullard and Mitra (2002), Journal of Monetary Economics 49, 1105–1129.
"""

from typing import NamedTuple

import jax.numpy as jnp

VARIABLES = ["y", "pi", "i", "rn", "v"]
SHOCKS = ["e_r", "e_v"]


def slope(alpha=1 / 3, theta=2 / 3, eps=6.0, phi=1.0, beta=0.99, sigma=1.0):
    """κ, from the frequency of price changes 1 − θ and from technology and tastes."""
    adjustment = (1 - theta) * (1 - beta * theta) / theta
    return (
        adjustment * (1 - alpha) / (1 - alpha + alpha * eps) * (sigma + (phi + alpha) / (1 - alpha))
    )


class Params(NamedTuple):
    beta: float = 0.99
    sigma: float = 1.0
    kappa: float = slope()
    phi_pi: float = 1.5
    phi_y: float = 0.125
    rho_r: float = 0.5
    rho_v: float = 0.5


def equations(lag, now, lead, shock, p):
    return {
        "demand": lead.y - (now.i - lead.pi - now.rn) / p.sigma - now.y,
        "prices": p.beta * lead.pi + p.kappa * now.y - now.pi,
        "interest rate": p.phi_pi * now.pi + p.phi_y * now.y + now.v - now.i,
        "natural rate": p.rho_r * lag.rn + shock.e_r - now.rn,
        "policy": p.rho_v * lag.v + shock.e_v - now.v,
    }


def steady_state(_):
    return dict.fromkeys(VARIABLES, 0.0)


def law(p):
    """X and R: y = a_y s and π = a_π s for s = rn, and the same with both signs reversed for v."""

    def response(rho, sign):
        d = (1 - p.beta * rho) * (p.sigma * (1 - rho) + p.phi_y) + p.kappa * (p.phi_pi - rho)
        y, pi = sign * (1 - p.beta * rho) / d, sign * p.kappa / d
        return y, pi, p.phi_pi * pi + p.phi_y * y

    y, pi, i = response(p.rho_r, 1)
    by_rn = jnp.stack([y, pi, i, 1.0, 0.0])
    y, pi, i = response(p.rho_v, -1)
    by_v = jnp.stack([y, pi, i + 1, 0.0, 1.0])
    transition = jnp.zeros((5, 5)).at[:, 3].set(p.rho_r * by_rn).at[:, 4].set(p.rho_v * by_v)
    return transition, jnp.stack([by_rn, by_v], 1)


def threshold(p):
    """The φ_π above which there is one stable solution: κ (φ_π − 1) + (1 − β) φ_y = 0 at it."""
    return 1 - (1 - p.beta) * p.phi_y / p.kappa
