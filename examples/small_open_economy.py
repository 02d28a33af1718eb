"""Why do small countries save? Debt, risk and the second order of a small open economy.

Schmitt-Grohé and Uribe (2003): a country borrows abroad at a rate that rises a little with what it
owes. To first order risk changes nothing. To second order households that fear bad years owe less:
a precaution that grows with the variance of shocks, and that this script measures, differentiates
and simulates.
"""

# %% Set-up: double precision, because we assert to ten digits
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import dini

jax.config.update("jax_enable_x64", True)


# %% Equations: an annual calibration for Canada
class Params(NamedTuple):
    """β (1 + r_w) = 1, without which there is no such steady state: β is no parameter."""

    gamma: float = 2.0  # risk aversion
    omega: float = 1.455  # 1 + 1 / elasticity of labour supply
    rho: float = 0.42  # persistence of productivity
    sigma: float = 0.0129  # standard deviation of its shocks
    delta: float = 0.1  # depreciation
    psi: float = 0.000742  # how the interest rate rises with debt
    alpha: float = 0.32  # capital share
    phi: float = 0.028  # cost of adjusting capital
    r_w: float = 0.04  # interest rate of the world
    d_bar: float = 0.7442  # debt in the steady state


# c, h, gdp, i, k, lam and r are logarithms, r that of the net rate, and a is log productivity; debt
# d, the trade balance tb and current account ca over output, and the premium rp are levels.
def equations(lag, now, lead, shock, p):
    c, h, gdp, i, k, lam, r = map(jnp.exp, (now.c, now.h, now.gdp, now.i, now.k, now.lam, now.r))
    beta = 1 / (1 + p.r_w)
    k_lag, k_lead, lam_lead = jnp.exp(lag.k), jnp.exp(lead.k), jnp.exp(lead.lam)
    spending = c + i + p.phi / 2 * (k - k_lag) ** 2
    value_of_capital = 1 + p.phi * (k - k_lag)
    payoff = p.alpha * jnp.exp(lead.gdp) / k + 1 - p.delta + p.phi * (k_lead - k)
    return {
        "debt": (1 + jnp.exp(lag.r)) * lag.d + spending - gdp - now.d,
        "production": jnp.exp(now.a) * k_lag**p.alpha * h ** (1 - p.alpha) - gdp,
        "capital": (1 - p.delta) * k_lag + i - k,
        "Euler, bonds": beta * (1 + r) * lam_lead - lam,
        "Euler, capital": beta * lam_lead * payoff - lam * value_of_capital,
        "marginal utility": (c - h**p.omega / p.omega) ** -p.gamma - lam,
        "labour": h**p.omega - (1 - p.alpha) * gdp,
        "productivity": p.rho * lag.a - p.sigma * shock.e - now.a,  # a positive e is bad news
        "interest rate": p.r_w + now.rp - r,
        "risk premium": p.psi * (jnp.exp(now.d - p.d_bar) - 1) - now.rp,
        "trade balance": 1 - spending / gdp - now.tb,
        "current account": (lag.d - now.d) / gdp - now.ca,
    }


def steady_state(p):
    k_h = (p.alpha / (p.r_w + p.delta)) ** (1 / (1 - p.alpha))
    h = ((1 - p.alpha) * k_h**p.alpha) ** (1 / (p.omega - 1))
    gdp, k = h * k_h**p.alpha, h * k_h
    i = p.delta * k
    c = gdp - i - p.r_w * p.d_bar
    lam = (c - h**p.omega / p.omega) ** -p.gamma
    logs = {"c": c, "h": h, "gdp": gdp, "i": i, "k": k, "lam": lam, "r": p.r_w}
    levels = {"d": p.d_bar, "a": 0.0, "rp": 0.0, "ca": 0.0, "tb": 1 - (c + i) / gdp}
    return levels | {name: jnp.log(x) for name, x in logs.items()}


NAMES = "a d c h gdp i k lam tb ca rp r"
model = dini.economics.Model(equations, NAMES, "e", steady_state=steady_state)
place = {name: i for i, name in enumerate(NAMES.split())}

# %% Known answers: the steady state, and the root that is nearly one
canada = Params()
law = model.second_order(canada)
np.testing.assert_allclose(law.steady_state.tb, 0.0200257, atol=5e-8)
roots = np.sort(np.abs(np.linalg.eigvals(law.transition)))
np.testing.assert_allclose(roots[-1], 0.99672, atol=5e-6)

# A trap. Copies of this model hold the logarithm of the trade balance, -3.5143, where the level
# belongs. It enters one equation, linearly: no derivative, and no law, shows it. Here it raises.
trap = lambda p: steady_state(p) | {"tb": -3.5143}
try:
    dini.economics.Model(equations, NAMES, "e", steady_state=trap).steady_state(canada)
except RuntimeError as error:
    print("The trap:", error)
else:
    raise AssertionError


# %% Precaution: what risk does to the means of debt, consumption and capital
ABOUT = np.array([place[name] for name in ("d", "c", "k")])


def precaution(p):
    """How far the mean of debt is from its steady state; and those of all three."""
    shifts = model.second_order(p, throw=False).mean[ABOUT]
    return shifts[0], shifts


sigmas = canada.sigma * np.linspace(0, 2, 21)
slopes_and_shifts = jax.grad(precaution, has_aux=True)
of_sigma = jax.jit(jax.vmap(lambda sigma: slopes_and_shifts(canada._replace(sigma=sigma))))
slopes, shifts = of_sigma(sigmas)

# Known answers: the shift is proportional to the variance; in all parameters, by differences
shift = np.asarray(law.mean[ABOUT])
same = lambda a, b, rtol: np.testing.assert_allclose(a, b, rtol, atol=1e-12)
same(shifts, np.outer((sigmas / canada.sigma) ** 2, shift), 1e-9)
same(slopes.sigma, 2 * sigmas / canada.sigma**2 * shift[0], 1e-9)
slopes = np.array(slopes)[:, 10]  # at the calibration
_, quotient, _ = dini.numeric.ridders_jvp(lambda p: precaution(p)[0], (canada,), (canada,))
same(slopes @ np.array(canada), quotient, 1e-6)
print("\nRisk moves the means of debt, consumption and capital by", shift.round(5))

# %% Pruned paths, of any length, stay near the steady state, and their average is that mean
rng = np.random.default_rng(2003)
draws = rng.standard_normal((200_000, 1))
debt = np.asarray(law.simulate(draws)[:, place["d"]])
averages = debt.reshape(-1, 10_000).mean(axis=1)
error = averages.std(ddof=1) / np.sqrt(len(averages))
print(f"Two hundred thousand years of debt average {debt.mean():.4f} ± {error:.4f}")
assert abs(debt.mean() - shift[0]) < 3 * error

# %% The joint likelihood: shocks are parameters, since a curved law has no Kalman filter
SEEN, VARIANCES = ["gdp", "c", "tb"], np.full(3, 0.01**2)
shocks = draws[:60]
path = law.simulate(shocks, levels=True)[:, np.array([place[name] for name in SEEN])]
data = np.asarray(path) + np.sqrt(VARIANCES) * rng.standard_normal(path.shape)


@jax.jit
@jax.value_and_grad
def density(unknown):
    sigma, shocks = unknown
    p = canada._replace(sigma=sigma)
    return model.joint_log_likelihood(p, shocks, data, SEEN, VARIANCES, order=2, throw=False)


point, direction = (canada.sigma, shocks), (0.01, rng.standard_normal(shocks.shape))
value, by_unknown = density(point)
errors = data - np.asarray(path)
same(value, -np.sum(errors**2 / VARIANCES + np.log(2 * np.pi * VARIANCES)) / 2, 1e-10)
_, quotient, _ = dini.numeric.ridders_jvp(lambda x: density(x)[0], (point,), (direction,))
along = by_unknown[0] * direction[0] + np.sum(by_unknown[1] * direction[1])
same(along, quotient, 1e-7)

# %% Picture
INK, ALERT, CALM = "0.15", "#c1432e", "#2a6f97"
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
figure, axes = plt.subplot_mosaic("ppp;sse", figsize=(12, 7.2), layout="constrained")
years, mean = 1000, canada.d_bar + shift[0]
linear = np.asarray(dini.economics.FirstOrderLaw.simulate(law, draws[:years])[:, place["d"]])
axes["p"].axhline(canada.d_bar, color="0.75", lw=1)
axes["p"].axhline(mean, color=CALM, lw=1, ls="--")
axes["p"].plot(canada.d_bar + linear, color="0.6", lw=1, label="first order")
axes["p"].plot(canada.d_bar + debt[:years], color=CALM, lw=1.2, label="second order, pruned")
axes["p"].text(years, canada.d_bar, " steady state", va="bottom", color="0.5")
axes["p"].text(years, mean, " mean", va="top", color=CALM)
axes["p"].set(xlim=(0, years), xlabel="year", title="Debt, with the same shocks")
axes["p"].legend(frameon=False, ncols=2)
axes["s"].plot(100 * sigmas, shifts[:, 0], color=CALM)
axes["s"].axline((100 * canada.sigma, shift[0]), slope=slopes[3] / 100, color=ALERT, lw=1)
axes["s"].plot(100 * canada.sigma, shift[0], "o", color=ALERT)
axes["s"].set(xlabel="standard deviation of shocks, %", title="What risk does to mean debt")
elasticities = slopes * np.array(canada) / shift[0]
order = np.argsort(elasticities)
greek = np.array(["γ", "ω", "ρ", "σ", "δ", "ψ", "α", "φ", "$r_w$", "$\\bar{d}$"])
axes["e"].barh(greek[order], elasticities[order], color=CALM)
axes["e"].axvline(0, color=INK, lw=0.8)
axes["e"].set_title("Its elasticity in each parameter")
figure.savefig(Path(__file__).parents[1] / "docs/images/small_open_economy.png", dpi=120)
