"""Schmitt-Grohé and Uribe (2003): a small open economy whose interest rate rises with its debt.

Journal of International Economics 61, 163–185, model 2, as in DifferentiableStateSpaceModels.jl.
c, h, gdp, i, k, lam and r are logarithms (r of the net rate), as is productivity a; d, tb, ca and
rp are levels. A positive draw lowers productivity.
"""

from typing import NamedTuple

import jax.numpy as jnp

from tests.support.economies._form import perturbation_form

VARIABLES = ["a", "d", "c", "h", "gdp", "i", "k", "lam", "tb", "ca", "rp", "r"]
SHOCKS = ["e"]


class Params(NamedTuple):
    """β (1 + r_w) = 1, without which there is no such steady state, so β is no parameter."""

    gamma: float = 2.0
    omega: float = 1.455
    rho: float = 0.42
    sigma_e: float = 0.0129
    delta: float = 0.1
    psi: float = 0.000742
    alpha: float = 0.32
    phi: float = 0.028
    r_w: float = 0.04
    d_bar: float = 0.7442


def equations(lag, now, lead, shock, p):
    c, h, gdp, i, k = (jnp.exp(v) for v in (now.c, now.h, now.gdp, now.i, now.k))
    lam, k_lag, k_lead = jnp.exp(now.lam), jnp.exp(lag.k), jnp.exp(lead.k)
    beta = 1 / (1 + p.r_w)
    adjustment = p.phi / 2 * (k - k_lag) ** 2
    marginal = (c - h**p.omega / p.omega) ** -p.gamma
    capital_price = 1 + p.phi * (k - k_lag)
    payoff = p.alpha * jnp.exp(lead.gdp) / k + 1 - p.delta + p.phi * (k_lead - k)
    return {
        "debt": (1 + jnp.exp(lag.r)) * lag.d - gdp + c + i + adjustment - now.d,
        "production": jnp.exp(now.a) * k_lag**p.alpha * h ** (1 - p.alpha) - gdp,
        "capital": i + (1 - p.delta) * k_lag - k,
        "bonds": beta * (1 + jnp.exp(now.r)) * jnp.exp(lead.lam) - lam,
        "marginal utility": marginal - lam,
        "labour": marginal * h ** (p.omega - 1) - lam * (1 - p.alpha) * gdp / h,
        "investment": beta * jnp.exp(lead.lam) * payoff - lam * capital_price,
        "technology": p.rho * lag.a - p.sigma_e * shock.e - now.a,
        "interest rate": p.r_w + now.rp - jnp.exp(now.r),
        "risk premium": p.psi * (jnp.exp(now.d - p.d_bar) - 1) - now.rp,
        "trade balance": 1 - (c + i + adjustment) / gdp - now.tb,
        "current account": (lag.d - now.d) / gdp - now.ca,
    }


def steady_state(p):
    ratio = p.alpha / (p.r_w + p.delta)
    h = ((1 - p.alpha) * ratio ** (p.alpha / (1 - p.alpha))) ** (1 / (p.omega - 1))
    k = h * ratio ** (1 / (1 - p.alpha))
    i, gdp = p.delta * k, k**p.alpha * h ** (1 - p.alpha)
    c = gdp - i - p.r_w * p.d_bar
    lam = (c - h**p.omega / p.omega) ** -p.gamma
    logs = {"c": c, "h": h, "gdp": gdp, "i": i, "k": k, "lam": lam, "r": p.r_w}
    levels = {"d": p.d_bar, "a": 0.0, "rp": 0.0, "ca": 0.0, "tb": 1 - (c + i) / gdp}
    return levels | {name: jnp.log(value) for name, value in logs.items()}


# Of tb in the steady state. Copies of this model have a logarithm, −3.5143, in its place: a
# residual of 3.534 that no derivative shows.
TRADE_BALANCE = 0.0200257
LARGEST_ROOT = 0.99672  # of the stable ones


def form(transition, impact):
    """g_x and h_x with x = (a, d₋, k₋, r₋), y = (d, c, h, gdp, i, k, lam, tb, ca, rp, r)."""
    controls = ["d", *VARIABLES[2:]]
    parts = {"endogenous": ["d", "k", "r"], "exogenous": ["a"], "controls": controls}
    g_x, h_x = perturbation_form(transition, impact, VARIABLES, **parts)
    order = [3, 0, 1, 2]
    return g_x[:, order], h_x[order][:, order]
