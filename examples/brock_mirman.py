"""Brock and Mirman's economy (1972): whatever is computed, a formula on paper says the same.

Of all models of growth under risk it is the one that is solved by hand: with logarithmic utility
and capital that lasts a period, households save the same share αβ of income whatever happens. So
the law of motion, its terms of second order, and derivatives of it all can be held against the
truth; and, in one batch, for ten thousand parameters at once.
"""

# %% Set-up: double precision, because we assert to ten digits
import os
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from dini.economics import Model, Verdict

if version("jaxlib").startswith("0.10."):  # its scheduler can lose a task of a batch of solves
    os.environ["XLA_FLAGS"] = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
jax.config.update("jax_enable_x64", True)


def same(a, b, rtol=1e-10, atol=1e-12):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


# %% Equations, a period a year: k, c and the logarithm z of productivity; then all in logarithms
class Params(NamedTuple):
    """A textbook's values."""

    alpha: float = 0.33  # capital share
    beta: float = 0.96  # discount factor
    rho: float = 0.9  # persistence of productivity
    sigma: float = 0.02  # standard deviation of its shocks


def in_levels(lag, now, lead, shock, p):
    marginal_product = p.alpha * jnp.exp(lead.z) * now.k ** (p.alpha - 1)
    return {
        "Euler": p.beta * now.c / lead.c * marginal_product - 1,
        "resources": jnp.exp(now.z) * lag.k**p.alpha - now.c - now.k,
        "technology": p.rho * lag.z + p.sigma * shock.e - now.z,
    }


def in_logs(lag, now, lead, shock, p):
    levels = lambda at: SimpleNamespace(k=jnp.exp(at.k), c=jnp.exp(at.c), z=at.z)
    return in_levels(levels(lag), levels(now), levels(lead), shock, p)


model = Model(in_logs, "k c z", "e", guess={"k": -1.0, "c": -1.0, "z": 0.0})


# %% On paper: k = αβ eᶻ k₋^α and c = (1 − αβ) eᶻ k₋^α, in logarithms linear
def by_hand(p):
    """The steady state, the transition X and the impact R of w = w̄ + X (w₋ − w̄) + R ε."""
    k = jnp.log(p.alpha * p.beta) / (1 - p.alpha)
    row = jnp.array([p.alpha, 0.0, p.rho])
    steady_state = jnp.array([k, jnp.log(1 - p.alpha * p.beta) + p.alpha * k, 0.0])
    return steady_state, jnp.stack([row, row, row.at[0].set(0.0)]), p.sigma * jnp.ones((3, 1))


def solved(p):
    law = model.first_order(p)
    return law.steady_state.vector, law.transition, law.impact


# %% Solve and differentiate: steady state and law, in both modes
textbook = Params()
law = model.second_order(textbook)
same((law.steady_state.vector, law.transition, law.impact), by_hand(textbook))
exact = jax.jacfwd(by_hand)(textbook)
forward, reverse = jax.jit(lambda p: (jax.jacfwd(solved)(p), jax.jacrev(solved)(p)))(textbook)
same(forward, exact)
same(reverse, exact)
print(law.steady_state)

# The law is linear: nothing is left for the second order to add
for term in (law.state_state, law.state_shock, law.shock_shock, law.risk):
    same(term, jnp.zeros_like(term), atol=1e-10)


# %% In levels it is curved, and its second derivatives are those of the formula
def next_capital(k, z, e, p):
    return p.alpha * p.beta * jnp.exp(p.rho * z + p.sigma * e) * k**p.alpha


curved = Model(in_levels, "k c z", "e", guess={"k": 0.2, "c": 0.4, "z": 0.0}).second_order(textbook)
k = curved.steady_state.k
second = np.array(jax.hessian(next_capital, argnums=(0, 1, 2))(k, 0.0, 0.0, textbook))
states = np.ix_([0, 2], [0, 2])
same(curved.state_state[0][states], second[:2, :2])
same(curved.state_shock[0, [0, 2], 0], second[:2, 2])
same(curved.shock_shock[0, 0, 0], second[2, 2])
same(curved.risk, np.zeros(3), atol=1e-10)  # nobody saves more for fear of what may come

# Without shocks, from a tenth of the steady state
still, low, true = np.zeros((10, 1)), 0.1 * k, [0.1 * k]
for _ in still:
    true.append(next_capital(true[-1], 0.0, 0.0, textbook))
linear = k + (low - k) * curved.transition[0, 0] ** np.arange(11)
pruned = [low, *curved.simulate(still, initial={"k": low, "z": 0.0}, levels=True)[:, 0]]
from_low = law.simulate(still, initial={"k": jnp.log(low), "z": 0.0}, levels=True)
logarithmic = [low, *np.exp(from_low[:, 0])]
same(logarithmic, true)


# %% Ten thousand parameters at once; where productivity explodes there is no law, and no exception
def spread(p):
    """The standard deviation of capital; its response to a shock, and whether there is a law."""
    law = model.first_order(p, throw=False)
    response = law.impulse_response("e", 31)[:, 0]
    return jnp.sqrt(law.covariance[0, 0]), (response, law.result == Verdict.determinate)


@jax.vmap
def spread_by_hand(p):
    """Of an autoregression of second order, with the roots α and ρ."""
    own = (1 - p.alpha**2) * (1 - p.rho**2) * (1 - p.alpha * p.rho)
    return p.sigma * jnp.sqrt((1 + p.alpha * p.rho) / own)


N, rng = 10_000, np.random.default_rng(1972)
draws = Params(
    alpha=rng.normal(0.33, 0.04, N),
    beta=1 - rng.gamma(16, 0.0025, N),
    rho=rng.normal(0.9, 0.04, N),
    sigma=rng.gamma(16, 0.00125, N),
)
batch = jax.jit(jax.vmap(jax.value_and_grad(spread, has_aux=True)))
(deviations, (responses, determinate)), slopes = batch(draws)

stable = draws.rho < 1
np.testing.assert_array_equal(determinate, stable)
assert np.isnan(responses[~stable]).all()
well = Params(*(x[stable] for x in draws))
same(deviations[stable], spread_by_hand(well), rtol=1e-9)
same(
    [s[stable] for s in slopes], list(jax.grad(lambda p: spread_by_hand(p).sum())(well)), rtol=1e-7
)
t = np.arange(31)
roots = [r[:, None] ** (t + 1) for r in (well.rho, well.alpha)]
geometric = (roots[0] - roots[1]) / (well.rho - well.alpha)[:, None]
same(responses[stable], well.sigma[:, None] * geometric)
print(f"\n{stable.sum()} of {N} draws have a law, as rho < 1 says; all agree with the formulas")

# %% Picture
INK, ALERT, CALM = "0.15", "#c1432e", "#2a6f97"
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
figure, (path, fan, cloud) = plt.subplots(1, 3, figsize=(13.5, 4.2), layout="constrained")
path.axhline(1, color="0.85", lw=1)
path.plot(np.array(linear) / k, color="0.6", ls="--", label="first order, in levels")
path.plot(np.array(pruned) / k, color=ALERT, label="second order, in levels")
path.plot(np.array(logarithmic) / k, color=CALM, label="first order, in logarithms")
path.plot(np.array(true) / k, "o", color=INK, ms=4, label="exact")
path.set(xlabel="years", ylim=(0, 1.1), xlim=(-0.2, 8.2))
path.set_title("Capital from a tenth of its steady state")
path.legend(frameon=False)
percent = 100 * np.asarray(responses[stable])
for tail, shade in ((2.5, 0.18), (10, 0.28), (25, 0.4)):
    low, high = np.percentile(percent, [tail, 100 - tail], axis=0)
    fan.fill_between(t, low, high, color=CALM, alpha=shade, lw=0, label=f"{100 - 2 * tail:.0f} %")
fan.plot(t, np.median(percent, axis=0), color=INK, label="median")
fan.set(xlabel="years", ylim=0, xlim=(0, 30))
fan.set_title("Response to a shock, %, over the draws")
fan.legend(frameon=False)
steepness = slopes.rho[stable] / deviations[stable]
look = {"s": 4, "cmap": "viridis", "norm": "log", "rasterized": True}
dots = cloud.scatter(1 - well.rho, 100 * deviations[stable], c=steepness, **look)
cloud.set(xlabel="1 − ρ", xscale="log", yscale="log", xlim=(0.4, 2e-5))
cloud.xaxis.set_major_formatter("{x:g}")
cloud.yaxis.set_major_formatter("{x:g}")
cloud.set_title("Standard deviation, %, towards a unit root")
figure.colorbar(dots, label="% more for 0.01 more of ρ", format="%g")
figure.savefig(Path(__file__).parents[1] / "docs/images/brock_mirman.png", dpi=120)
