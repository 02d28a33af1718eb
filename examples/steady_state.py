"""The steady state of a real-business-cycle model: solve, differentiate, calibrate to US data.

One residual function and one decorator give the steady state, the elasticities of everything to
everything, a calibration that goes through the solve, and the standard errors of it all.
"""

# %% Set-up: double precision, because we assert to ten digits
from collections import namedtuple
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optimistix as optx
from statsmodels.datasets import macrodata

import dini

jax.config.update("jax_enable_x64", True)


# %% Equations: one household that grows with the economy, quarterly, quantities net of growth
class Params(NamedTuple):
    """A textbook's values; the data will choose five of the eight."""

    A: float = 1.0  # productivity
    alpha: float = 0.33  # capital share
    delta: float = 0.015  # depreciation
    rho: float = 0.01  # time preference: the discount factor is 1 / (1 + rho)
    g: float = 0.005  # growth of labour-augmenting productivity
    omega: float = 0.2  # share of output neither consumed nor invested: government, net exports
    chi: float = 8.0  # weight of work in utility, log c - chi h^(1 + 1/phi) / (1 + 1/phi)
    phi: float = 1.0  # Frisch elasticity of labour supply


# Output, consumption, investment, capital, hours, wage and return; or their logarithms.
State = namedtuple("State", "y c i k h w r", defaults=7 * (0.0,))


# The unknowns are logarithms: nothing turns negative, and Newton converges from far off.
@dini.implicit_root(solver=optx.Newton(rtol=1e-10, atol=1e-10))
def steady_state(log_state: State, p: Params) -> list:
    """Seven residuals, zero at the steady state."""
    y, c, i, k, h, w, r = jax.tree.map(jnp.exp, log_state)
    return [
        p.A * k**p.alpha * h ** (1 - p.alpha) - y,  # production
        p.alpha * y / k - p.delta - r,  # capital earns its marginal product
        (1 - p.alpha) * y / h - w,  # and so does labour
        (1 + p.g) * (1 + p.rho) - (1 + r),  # Euler equation
        p.chi * h ** (1 / p.phi) * c - w,  # labour supply
        (p.g + p.delta) * k - i,  # capital grows with the economy
        c + i + p.omega * y - y,  # resources
    ]


# %% Solve, from a poor guess: every unknown, the return included, is one
guess, textbook = State(), Params()
solution = steady_state.solve(guess, textbook)
print(f"{int(solution.stats['num_steps'])} Newton steps from a guess of ones to the steady state")
print("  ".join(f"{v} = {np.exp(x):.4f}" for v, x in solution.value._asdict().items()))


# %% Differentiate: with logarithms on both sides the Jacobian is the table of elasticities
def log_solution(log_params: jax.Array) -> jax.Array:
    """From eight logarithms to seven."""
    return jnp.array(steady_state(guess, Params(*jnp.exp(log_params))))


elasticities = jax.jit(jax.jacfwd(log_solution))
table = np.asarray(elasticities(np.log(textbook)))
print("\nElasticity of" + "".join(f"{v:>9}" for v in State._fields))
for name, column in zip(Params._fields, table.T, strict=True):
    print(f"  to {name:<8}" + "".join(f"{e:9.4f}" for e in column.round(4) + 0.0))


# %% Assert: this model can be solved by hand; a complex step differentiates that in plain NumPy
def by_hand(p: Params) -> np.ndarray:
    """The logarithms of the steady state."""
    r = (1 + p.g) * (1 + p.rho) - 1
    k_y = p.alpha / (r + p.delta)
    i_y = (p.g + p.delta) * k_y
    c_y = 1 - p.omega - i_y
    h = ((1 - p.alpha) / (p.chi * c_y)) ** (p.phi / (1 + p.phi))
    y = p.A ** (1 / (1 - p.alpha)) * k_y ** (p.alpha / (1 - p.alpha)) * h
    return np.log([y, c_y * y, i_y * y, k_y * y, h, (1 - p.alpha) * y / h, r])


def complex_step(f, x: np.ndarray) -> np.ndarray:
    """The Jacobian of f, exact to rounding."""
    return np.array([f(x + 1e-30j * e).imag / 1e-30 for e in np.eye(len(x))]).T


exact = complex_step(lambda logs: by_hand(Params(*np.exp(logs))), np.log(textbook))
close = dict(rtol=1e-10, atol=1e-12)
np.testing.assert_allclose(solution.value, by_hand(textbook), **close)
np.testing.assert_allclose(table, exact, **close)
np.testing.assert_allclose(jax.jit(jax.jacrev(log_solution))(np.log(textbook)), exact, **close)
print(f"Forward mode, reverse mode and closed form agree to {abs(table - exact).max():.0e}")

# %% Data: the United States, 1959 Q2 to 2009 Q3; five moments for five parameters
# A steady state knows no risk, so the premium of capital over Treasury bills comes from outside:
# six per cent a year (Mehra and Prescott 1985). Those employed work a third of their time.
us = macrodata.load_pandas().data
us = us.assign(growth=us.realgdp.pct_change())[1:]  # the first quarter has no growth rate
series = np.array(
    [us.realcons / us.realgdp, us.realinv / us.realgdp, us.realint / 400 + 0.06 / 4]
    + [us.growth, (1 - us.unemp / 100) / 3]
)
moments = series.mean(axis=1)
# Newey and West's covariance of the means: the series are persistent, so three years of lags
x, lags, n = series - moments[:, None], 12, series.shape[1]
gamma = [x[:, lag:] @ x[:, : n - lag].T / n**2 * (1 - lag / (lags + 1)) for lag in range(lags + 1)]
covariance = gamma[0] + sum(G + G.T for G in gamma[1:])

# %% Calibrate: Levenberg-Marquardt through the steady state and its implicit derivative
FREE = ("alpha", "rho", "g", "omega", "chi")


def economy(log_free: jax.Array) -> Params:
    """The textbook's parameters but for five, which are positive by construction."""
    return textbook._replace(**dict(zip(FREE, jnp.exp(log_free), strict=True)))


@dini.implicit_least_squares(solver=optx.LevenbergMarquardt(rtol=1e-10, atol=1e-10))
def calibrate(log_free: jax.Array, target: jax.Array) -> jax.Array:
    """The model's moments relative to their targets, less one."""
    p = economy(log_free)
    s = jax.tree.map(jnp.exp, steady_state(guess, p))
    return jnp.array([s.c / s.y, s.i / s.y, s.r, p.g, s.h]) / target - 1


def estimate(target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Five parameters, then the seven variables of the steady state that they imply, twice."""
    log_free = calibrate(np.log([getattr(textbook, name) for name in FREE]), target)
    log_state = jnp.array(steady_state(guess, economy(log_free)))
    value = jnp.exp(jnp.concatenate([log_free, log_state]))
    return value, value


# The derivative of the estimates in the data, through both solves, is the delta method.
slope, value = jax.jit(jax.jacfwd(estimate, has_aux=True))(moments)
error = np.sqrt(np.diag(slope @ covariance @ slope.T))
fit = dict(zip(FREE + State._fields, value.tolist(), strict=True))


def fitted_by_hand(m: np.ndarray) -> np.ndarray:
    """The five parameters from the five moments: exact identification has a closed form."""
    c_y, i_y, r, g, h = m
    alpha = i_y * (r + textbook.delta) / (g + textbook.delta)
    return np.array([alpha, (1 + r) / (1 + g) - 1, g, 1 - c_y - i_y, (1 - alpha) / (c_y * h**2)])


np.testing.assert_allclose(value[:5], fitted_by_hand(moments), rtol=1e-9)
np.testing.assert_allclose(slope[:5], complex_step(fitted_by_hand, moments), rtol=1e-8, atol=1e-9)
matched = [fit["c"] / fit["y"], fit["i"] / fit["y"], fit["r"], fit["g"], fit["h"]]
np.testing.assert_allclose(matched, moments, rtol=1e-10)
print("\nUnited States      estimate      s.e.")
for name, v, e in zip(fit, value, error, strict=True):
    print(f"  {name:<14}{v:11.4f}{e:10.4f}")
