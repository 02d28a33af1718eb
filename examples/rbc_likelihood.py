"""What do noisy accounts say of an economy? The likelihood of a model of growth, and its gradient.

A statistical office measures consumption and capital with errors, leaves some years out, and sees
no productivity at all. The Kalman filter gives the likelihood of what it publishes, reverse mode
its gradient in all parameters, forward mode over it the Hessian; so there are estimates, standard
errors, confidence regions, and the shocks that must have hit.
"""

# %% Set-up: double precision, which a likelihood needs
import os
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.stats

import dini

if version("jaxlib").startswith("0.10."):  # its scheduler can lose a task of a batch of solves
    os.environ["XLA_FLAGS"] = "--xla_cpu_enable_concurrency_optimized_scheduler=false"
jax.config.update("jax_enable_x64", True)


# %% Equations: k, c and output q in levels, productivity z in logarithms
class Params(NamedTuple):
    """The calibration of DifferentiableStateSpaceModels.jl (Childers and others 2022)."""

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
        "technology": now.z - p.rho * lag.z + p.sigma * shock.e,  # a positive e is bad news
    }


def steady_state(p):
    k = ((1 / p.beta - 1 + p.delta) / p.alpha) ** (1 / (p.alpha - 1))
    return {"k": k, "z": 0.0, "c": k**p.alpha - p.delta * k, "q": k**p.alpha}


model = dini.economics.Model(equations, "k z c q", "e", steady_state=steady_state)


# %% Known answers: the steady state, its derivatives, and the policy functions that are published
truth = Params()
law = model.first_order(truth)
same = lambda a, b, rtol=1e-9: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-9)
same(law.steady_state.vector, [47.39025414828825, 0, 5.936252888048733, 6.884057971014498])
slopes = jax.jit(jax.jacrev(lambda p: model.steady_state(p).vector))(truth)
same(slopes.alpha, [555.2637030544529, 0, 55.78596896689701, 66.89124302798608])
same(slopes.beta, [1445.9269000240533, 0, 76.10141579073955, 105.01995379122064])
same(slopes.delta, [-1304.9490272717098, 0, -116.07178189943077, -94.78050829657676])
same(law.transition[:, 0], [0.9568351489232028, 0, 0.0957964300241661, 0.07263157894736878])
same(-law.impact[:, 0] / truth.sigma, [6.209371005755889, 1, 0.6746869652586178, 6.884057971014507])

# %% Data: two hundred years of a simulated economy, one number in eight lost
PERIODS, SEEN, ERROR = 200, np.array([2, 0]), np.array([0.01, 0.1])
rng = np.random.default_rng(2022)
shocks = rng.standard_normal((PERIODS, 1))
path = np.asarray(law.simulate(shocks, levels=True))
data = path[:, SEEN] + ERROR * rng.standard_normal((PERIODS, 2))
data[rng.random(data.shape) < 1 / 8] = np.nan
data[120:130] = np.nan  # and ten years of which nothing is known
options = {"observables": ["c", "k"], "measurement_cov": ERROR**2}


# %% The likelihood in four unknowns, its gradient and its Hessian
FREE = ["alpha", "beta", "rho", "sigma"]
x_true = np.array([getattr(truth, name) for name in FREE])


def log_likelihood(x, data):
    params = truth._replace(**dict(zip(FREE, x, strict=True)))
    return model.log_likelihood(params, data, **options, throw=False)


value_and_gradient = jax.jit(jax.value_and_grad(log_likelihood))
hessian = jax.jit(jax.hessian(log_likelihood))
value, gradient = value_and_gradient(x_true, data)

# Known answers: the density from the covariance of all that is seen at once, Z Xˢ V Zᵀ at lag s
# with V the covariance in the long run; and the gradient by differences of high order
lags = np.arange(PERIODS)
ahead = np.array([np.linalg.matrix_power(law.transition, s) @ law.covariance for s in lags])
ahead = ahead[:, SEEN][:, :, SEEN]
s = lags[:, None] - lags
blocks = np.where((s >= 0)[:, :, None, None], ahead[abs(s)], ahead[abs(s)].swapaxes(2, 3))
joint = blocks.swapaxes(1, 2).reshape(data.size, -1) + np.diag(np.tile(ERROR**2, PERIODS))
known = np.isfinite(data.ravel())
mean = np.tile(law.steady_state.vector[SEEN], PERIODS)
gaussian = scipy.stats.multivariate_normal(mean[known], joint[np.ix_(known, known)])
same(value, gaussian.logpdf(data.ravel()[known]))
quotients = dini.numeric.finite_difference_jacobian(
    lambda x: value_and_gradient(x, data)[0], x_true, method="ridders"
)
same(gradient, quotients, 1e-7)
print(f"log likelihood {value:.6f} of {known.sum()} numbers, and its derivatives")
for name, *numbers in zip(FREE, gradient, quotients, strict=True):
    print("  in {:6}{:17.9f}   by differences{:17.9f}".format(name, *numbers))

# The smoothed shocks are E[ε | data], with Z Xˢ R the covariance of ε and of what is seen s later
smoothed = model.smooth(truth, data, **options)
later = np.array([(np.linalg.matrix_power(law.transition, s) @ law.impact)[SEEN, 0] for s in lags])
with_shocks = np.where((s >= 0)[:, None], later[abs(s)].swapaxes(1, 2), 0).reshape(data.size, -1)
weights = np.linalg.solve(gaussian.cov, data.ravel()[known] - gaussian.mean)
same(smoothed.shocks[:, 0], with_shocks[known].T @ weights, 1e-6)

# %% Estimate: Newton's method, with half a step where a whole one loses
x, step = x_true, np.inf
while np.max(np.abs(step)) > 1e-9:
    value, gradient = value_and_gradient(x, data)
    information = -hessian(x, data)
    step = np.linalg.solve(information, gradient)
    while not value_and_gradient(x + step, data)[0] >= value - 1e-9:
        step /= 2
    x = x + step
errors = np.sqrt(np.diag(np.linalg.inv(information)))
print("\n          truth   estimate       s.e.")
for row in zip(FREE, x_true, x, errors, strict=True):
    print("{:7}{:8.4f}{:11.6f}{:11.6f}".format(*row))
assert np.all(np.abs(x - x_true) < 3 * errors)

# %% The likelihood of (rho, sigma) at the other estimates, in one batch
grid = np.meshgrid(np.linspace(-0.25, 0.85, 51), np.linspace(0.0025, 0.0175, 51))
at = np.stack([np.full_like(grid[0], x[0]), np.full_like(grid[0], x[1]), *grid], axis=-1)
surface = jax.jit(jax.vmap(log_likelihood, in_axes=(0, None)))(at.reshape(-1, 4), data)
drop = 2 * (value - np.asarray(surface).reshape(grid[0].shape))
normal = np.stack(grid, axis=-1) - x[2:]  # what the Hessian makes of it
quadratic = np.einsum("...i,ij,...j", normal, information[2:, 2:], normal)
regions = scipy.stats.chi2.ppf([0.5, 0.8, 0.95], 2)

# %% Picture
estimated = truth._replace(**dict(zip(FREE, x, strict=True)))
smoothed = model.smooth(estimated, data, **options)
INK, ALERT, CALM = "0.15", "#c1432e", "#2a6f97"
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}
figure, axes = plt.subplot_mosaic("kkk;ssl", figsize=(12, 7.5), layout="constrained")
years = np.arange(PERIODS)


def band(ax, mean, cov):
    spread = 1.96 * np.sqrt(np.asarray(cov))
    ax.fill_between(years, mean - spread, mean + spread, color=CALM, alpha=0.25, lw=0)
    ax.plot(years, mean, color=CALM, label="given all data, ± 95 %")


band(axes["k"], smoothed.states[:, 0], smoothed.state_cov[:, 0, 0])
axes["k"].plot(years, path[:, 0], color=INK, lw=1, ls=":", label="truth")
axes["k"].plot(years, data[:, 1], ".", color=ALERT, ms=5, label="measured")
axes["k"].set(xlim=(0, PERIODS), title="Capital; ten years from 120 on leave no records")
axes["k"].legend(frameon=False, ncols=3, loc="upper right")
band(axes["s"], -smoothed.shocks[:, 0], smoothed.shock_cov[:, 0, 0])
axes["s"].plot(years, -shocks[:, 0], ".", color=INK, ms=5, label="truth")
axes["s"].set(xlim=(80, 160), ylim=(-3.7, 3.7), xlabel="year")
axes["s"].set_title("Shocks to productivity, in standard deviations")
axes["s"].legend(frameon=False, ncols=2, loc="lower left")
for level in regions:  # one on the other, the darker the likelier
    axes["l"].contourf(*grid, drop, [-1, level], colors=[CALM], alpha=0.22)
axes["l"].contour(*grid, quadratic, regions, colors=[INK], linestyles="--", linewidths=0.8)
axes["l"].plot(*x[2:], "o", color=CALM, label="estimate; 50, 80, 95 %")
axes["l"].plot([], [], color=INK, ls="--", lw=0.8, label="by the Hessian")
axes["l"].plot(*x_true[2:], "*", color=ALERT, ms=11, label="truth")
axes["l"].set(xlabel="persistence ρ", title="Likelihood of ρ and σ")
axes["l"].legend(frameon=False, loc="upper right")
figure.savefig(Path(__file__).parents[1] / "docs/images/rbc_likelihood.png", dpi=120)
