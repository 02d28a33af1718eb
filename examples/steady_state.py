"""The steady state of a real-business-cycle model: solve, differentiate, calibrate to US data.

One residual function and one decorator give the steady state, the elasticities of everything to
everything, a calibration that goes through the solve, and the standard errors of it all.
"""

# %% Set-up: double precision, because we assert to nine digits
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


VARIABLES = ["output", "consumption", "investment", "capital", "hours", "wage", "return"]


# The unknowns are logarithms: nothing turns negative, and Newton converges from far off.
@dini.implicit_root(solver=optx.Newton(rtol=1e-10, atol=1e-10))
def steady_state(log_variables: jax.Array, p: Params) -> list:
    """Seven residuals, zero at the steady state."""
    y, c, i, k, h, w, r = jnp.exp(log_variables)
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
guess, textbook = jnp.zeros(7), Params()
solution = steady_state.solve(guess, textbook)
print(f"{solution.stats['num_steps']} Newton steps from a guess of ones to the steady state\n")


# %% Differentiate: with logarithms on both sides the Jacobian is the table of elasticities
@jax.jit
def elasticities(log_params: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The table, seven by eight, by forward and by reverse mode."""
    solve = lambda logs: steady_state(guess, Params(*jnp.exp(logs)))
    return jax.jacfwd(solve)(log_params), jax.jacrev(solve)(log_params)


forward, reverse = elasticities(np.log(textbook))
print("Elasticity of  " + "".join(f"{v:>12}" for v in VARIABLES))
print("steady state   " + "".join(f"{v:12.4f}" for v in np.exp(solution.value)))
for name, column in zip(Params._fields, np.array(forward).T, strict=True):
    print(f"  with {name:<8}" + "".join(f"{e:12.4f}" for e in column.round(4) + 0.0))


# %% Assert: this model can be solved by hand; a complex step differentiates that in plain NumPy
def by_hand(log_params: np.ndarray) -> np.ndarray:
    """The logarithms of the steady state."""
    p = Params(*np.exp(log_params))
    r = (1 + p.g) * (1 + p.rho) - 1
    k_y = p.alpha / (r + p.delta)
    i_y = (p.g + p.delta) * k_y
    c_y = 1 - p.omega - i_y
    h = ((1 - p.alpha) / (p.chi * c_y)) ** (p.phi / (1 + p.phi))
    y = p.A ** (1 / (1 - p.alpha)) * k_y ** (p.alpha / (1 - p.alpha)) * h
    return np.log([y, c_y * y, i_y * y, k_y * y, h, (1 - p.alpha) * y / h, r])


complex_step = lambda f, x: np.array([f(x + 1e-30j * e).imag / 1e-30 for e in np.eye(len(x))]).T
same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
exact = complex_step(by_hand, np.log(textbook))
same(solution.value, by_hand(np.log(textbook)))
same(np.array([forward, reverse]), np.array([exact, exact]))
print(f"Forward mode, reverse mode and closed form agree to {abs(forward - exact).max():.0e}\n")

# %% Data: the United States, 1959 Q2 to 2009 Q3; five moments for five parameters
# A steady state knows no risk, so the premium of capital over Treasury bills comes from outside:
# six per cent a year (Mehra and Prescott 1985). Those employed work a third of their time. And
# the investment counted is private, without durables: the capital share will come out low.
us = macrodata.load_pandas().data
us = us.assign(growth=us.realgdp.pct_change())[1:]  # the first quarter has no growth rate
ratios = [us.realcons / us.realgdp, us.realinv / us.realgdp]
series = np.array([*ratios, us.realint / 400 + 0.06 / 4, us.growth, (1 - us.unemp / 100) / 3])
moments = series.mean(axis=1)
# Newey and West's covariance of the means: the series are persistent, so three years of lags
x, n, lags = series - moments[:, None], series.shape[1], 12
gamma = [(1 - s / (lags + 1)) * x[:, s:] @ x[:, : n - s].T / n**2 for s in range(lags + 1)]
covariance = gamma[0] + sum(G + G.T for G in gamma[1:])

# %% Calibrate: Newton's method on the moments, through the derivative of the steady state
FREE = ["alpha", "rho", "g", "omega", "chi"]


def implied(log_free: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The model's five moments, and its steady state in logarithms."""
    p = textbook._replace(**dict(zip(FREE, jnp.exp(log_free), strict=True)))
    log_state = steady_state(guess, p)
    y, c, i, _, h, _, r = jnp.exp(log_state)
    return jnp.array([c / y, i / y, r, p.g, h]), log_state


linearised = jax.jit(jax.jacfwd(lambda x: (implied(x),) * 2, has_aux=True))
log_free, step = np.log([getattr(textbook, name) for name in FREE]), np.inf
while np.max(np.abs(step)) > 1e-12:
    (slope, state_slope), (fitted, log_state) = linearised(log_free)
    step = np.linalg.solve(slope, moments - fitted)
    log_free = log_free + step

# The same derivative, inverted, is that of the estimates in the moments: the delta method
by_moments = np.linalg.inv(slope)
slopes = np.concatenate([by_moments, state_slope @ by_moments])
values = np.exp(np.concatenate([log_free, log_state]))
errors = values * np.sqrt(np.diag(slopes @ covariance @ slopes.T))
print("United States    estimate      s.e.")
for name, v, e in zip(FREE + VARIABLES, values, errors, strict=True):
    print(f"  {name:<13}{v:10.4f}{e:10.4f}")


def inverse_by_hand(m: np.ndarray) -> np.ndarray:
    """The logarithms of the estimates: the calibration, too, has a closed form."""
    c_y, i_y, r, g, h = m
    alpha = i_y * (r + textbook.delta) / (g + textbook.delta)
    chi = (1 - alpha) / (c_y * h ** (1 + 1 / textbook.phi))
    return np.log([alpha, (1 + r) / (1 + g) - 1, g, 1 - c_y - i_y, chi])


same(fitted, moments)
same(log_free, inverse_by_hand(moments))
same(by_moments, complex_step(inverse_by_hand, moments))

# %% Plot: the elasticities at the estimates, and the data about the steady state
estimated = textbook._replace(**dict(zip(FREE, np.exp(log_free), strict=True)))
table = np.array(elasticities(np.log(estimated))[0])
plt.rcParams |= {"axes.titlelocation": "left", "axes.titlesize": 10, "axes.titlepad": 4}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
figure, axes = plt.subplot_mosaic(
    "ec;ei;er", width_ratios=(1.8, 1), figsize=(9, 4.8), layout="constrained"
)
heat, bold = axes["e"], {"fontsize": 11, "fontweight": "bold"}
heat.imshow(table.T, cmap="PuOr_r", vmin=-1.7, vmax=1.7, aspect="auto")
for (row, column), e in np.ndenumerate(table.T.round(2) + 0.0):
    ink = "white" if abs(e) > 1 else "black" if e else "0.6"
    heat.text(column, row, f"{e:.2f}" if e else "0", ha="center", va="center", color=ink)
names = "productivity A, capital share α, depreciation δ, impatience ρ, growth g, "
names += "other demand ω, dislike of work χ, Frisch elasticity φ"
heat.set_yticks(range(8), names.split(", "))
heat.set_xticks(range(7), ["output", "consum.", "invest.", *VARIABLES[3:]])
heat.tick_params(length=0, labeltop=True, labelbottom=False)
heat.set_title("Elasticities of the steady state, % per %", **bold)
heat.spines[:].set_visible(False)
panels = {"Consumption, % of GDP": 100, "Investment, % of GDP": 100, "Return, % a year": 400}
for k, (name, unit) in enumerate(panels.items()):
    axis, mean, band = axes["cir"[k]], unit * moments[k], unit * 1.96 * covariance[k, k] ** 0.5
    axis.plot(us.year + (us.quarter - 1) / 4, unit * series[k], color="0.35", lw=1)
    axis.axhspan(mean - band, mean + band, color="#b35806", alpha=0.5, lw=0)
    axis.set_title(f"{name}: {mean:.1f} ± {band:.1f}")
axes["c"].text(0, 1.25, "US data, steady state ± 95 %", transform=axes["c"].transAxes, **bold)
figure.savefig(Path(__file__).parents[1] / "docs/images/steady_state.png", dpi=200)
