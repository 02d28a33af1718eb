"""Brock and Mirman (1972): log utility, full depreciation, solved by hand for any shock.

Journal of Economic Theory 4, 479–513. In logarithms the solution is linear, so that the terms of
second order vanish; in levels it is k = αβ eᶻ k₋^α, c = (1 − αβ) eᶻ k₋^α.
"""

from typing import NamedTuple

import jax.numpy as jnp

from tests.support.economies._form import perturbation_form

VARIABLES = ["k", "c", "z"]
SHOCKS = ["e"]


class Params(NamedTuple):
    alpha: float = 0.33
    beta: float = 0.96
    rho: float = 0.9
    sigma: float = 0.02


def in_levels(lag, now, lead, shock, p):
    """k and c in levels, z in logarithms."""
    product = p.alpha * jnp.exp(lead.z) * now.k ** (p.alpha - 1)
    return {
        "Euler": p.beta * now.c / lead.c * product - 1,
        "resources": jnp.exp(now.z) * lag.k**p.alpha - now.c - now.k,
        "technology": p.rho * lag.z + p.sigma * shock.e - now.z,
    }


def equations(lag, now, lead, shock, p):
    """All three in logarithms."""
    k_, k, c, c1 = jnp.exp(lag.k), jnp.exp(now.k), jnp.exp(now.c), jnp.exp(lead.c)
    product = p.alpha * jnp.exp(lead.z) * k ** (p.alpha - 1)
    return {
        "Euler": p.beta * c / c1 * product - 1,
        "resources": jnp.exp(now.z) * k_**p.alpha - c - k,
        "technology": p.rho * lag.z + p.sigma * shock.e - now.z,
    }


def steady_state_in_levels(p):
    k = (p.alpha * p.beta) ** (1 / (1 - p.alpha))
    return {"k": k, "c": (1 - p.alpha * p.beta) * k**p.alpha, "z": 0.0}


def steady_state(p):
    levels = steady_state_in_levels(p)
    return {"k": jnp.log(levels["k"]), "c": jnp.log(levels["c"]), "z": 0.0}


def law(p):
    """X and R for the variables in logarithms."""
    row = jnp.array([p.alpha, 0.0, p.rho])
    transition = jnp.stack([row, row, jnp.array([0.0, 0.0, p.rho])])
    return transition, p.sigma * jnp.ones((3, 1))


def policy_in_levels(k, z, e, p):
    """The next (k, c, z) after any shock."""
    z = p.rho * z + p.sigma * e
    output = jnp.exp(z) * k**p.alpha
    return jnp.stack([p.alpha * p.beta * output, (1 - p.alpha * p.beta) * output, z])


def form(transition, impact):
    """g_x and h_x with x = (k, z), y = (c)."""
    parts = {"endogenous": ["k"], "exogenous": ["z"], "controls": ["c"]}
    return perturbation_form(transition, impact, VARIABLES, **parts)


PUBLISHED = {
    "levels": {"k": 0.17984701877776363, "c": 0.3878519041318437},
    "logs": {"k": -1.7156486851371138, "c": -0.9471317026030245, "z": 0.0},
    "g_x": [[0.33, 1.0]],
    "h_x": [[0.33, 1.0], [0.0, 0.9]],
}
