"""Does the Federal Reserve follow the Taylor principle? A New Keynesian model, estimated.

By the principle the interest rate rises by more than inflation. If it does not, expectations fulfil
themselves, and the model has no likelihood. From data and priors follow the posterior mode, its
standard errors by second derivatives, and draws from the posterior by first derivatives.
"""

# %% Set-up
from collections import namedtuple
from pathlib import Path

import blackjax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import statsmodels.api as sm
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize
from smets_wouters_model import beta, gamma, inverse_gamma, normal
from tqdm import tqdm

from dini.economics import Bounds, Model, Verdict

jax.config.update("jax_enable_x64", True)


# %% Priors: the mean and the standard deviation of each density
PRIORS = {
    "sigma": (gamma, 2, 0.5),  # dislike of a consumption that is not smooth
    "kappa": (gamma, 0.1, 0.05),  # slope of the Phillips curve
    "phi_pi": (normal, 1.5, 0.25),  # response of the rate to inflation, in the long run
    "phi_y": (gamma, 0.25, 0.1),  # and to the output gap
    "inertia": (beta, 0.7, 0.15),
    "rho_r": (beta, 0.5, 0.2),  # persistence of the natural rate
    "rho_u": (beta, 0.5, 0.2),  # and of what pushes costs
    "r": (gamma, 0.5, 0.25),  # real rate, and inflation, in the steady state
    "pi": (gamma, 0.75, 0.25),
}
PRIORS |= dict.fromkeys(["sd_r", "sd_u", "sd_v"], (inverse_gamma, 0.25, 1))  # of the shocks
Params = namedtuple("Params", PRIORS)
bounds = Bounds(Params(*[(0, 1 if density is beta else None) for density, _, _ in PRIORS.values()]))


# %% Equations: Clarida, Galí and Gertler (1999), per quarter, in per cent off the steady state
def equations(lag, now, lead, shock, p):
    target = p.phi_pi * now.pi + p.phi_y * now.y
    return {
        "spending": lead.y - (now.i - lead.pi - now.natural) / p.sigma - now.y,
        "prices": lead.pi / (1 + p.r / 100) + p.kappa * now.y + now.push - now.pi,
        "rule": p.inertia * lag.i + (1 - p.inertia) * target + p.sd_v * shock.policy - now.i,
        "natural rate": p.rho_r * lag.natural + p.sd_r * shock.demand - now.natural,
        "cost push": p.rho_u * lag.push + p.sd_u * shock.cost - now.push,
        "inflation, a year": 4 * (p.pi + now.pi) - now.inflation,
        "interest rate, a year": 4 * (p.pi + p.r + now.i) - now.rate,
    }


VARIABLES = ["y", "pi", "i", "natural", "push", "inflation", "rate"]
SHOCKS, OBSERVABLES = ["demand", "cost", "policy"], ["y", "inflation", "rate"]
rest = lambda p: dict(zip(VARIABLES, [0.0] * 5 + [4 * p.pi, 4 * (p.pi + p.r)], strict=True))
model = Model(equations, VARIABLES, SHOCKS, steady_state=rest)

# %% Data: the United States between the disinflation of Volcker and the crisis, 1983 to 2007
us = sm.datasets.macrodata.load_pandas().data
cycle, _ = sm.tsa.filters.hpfilter(100 * np.log(us.realgdp), lamb=1600)
DATA = np.array([cycle, us.infl, us.tbilrate]).T[us.year.between(1983, 2007)]

# %% The log posterior, but for a constant: −∞ where there is no law of motion, or more than one
# (after two quarters all states are known: the filter's gain is constant from the third on)
log_prior = lambda p: sum(f(x, *at) for x, (f, *at) in zip(p, PRIORS.values(), strict=True))
likelihood = lambda p: model.log_likelihood(p, DATA, OBSERVABLES, steady_after=3, throw=False)
log_posterior = lambda p: log_prior(p) + likelihood(p)

# %% The posterior mode, by a quasi-Newton method in unbounded numbers and one step of Newton's
means = Params(*[float(mean) for _, mean, _ in PRIORS.values()])
start, unravel = ravel_pytree(bounds.unconstrain(means))
to_params = lambda u: bounds.constrain(unravel(u))
misfit = lambda u: -log_posterior(to_params(u))
slope, curvature = jax.jit(jax.value_and_grad(misfit)), jax.jit(jax.hessian(misfit))

with tqdm(desc="Posterior mode", unit=" steps") as bar:
    found = minimize(slope, start, jac=True, method="BFGS", callback=lambda _: bar.update())
mode = found.x - np.linalg.solve(curvature(found.x), found.jac)

# Forward over reverse: the inverse of the Hessian, and by the delta method that of the parameters
scale = np.linalg.cholesky(np.linalg.inv(curvature(mode)))
errors = np.linalg.norm(jax.jacfwd(lambda u: jnp.stack(to_params(u)))(mode) @ scale, axis=1)

# %% The posterior, by NUTS in units of those standard errors: it has no gradient where it is 0
WARM_UP, DRAWS, CHAINS = 300, 500, 4
shape = lambda z: bounds.log_density(log_posterior)(unravel(mode + scale @ z))


def chain(key):
    first, second, third = jax.random.split(key, 3)
    adapt = blackjax.window_adaptation(blackjax.nuts, shape).run
    (state, tuned), _ = adapt(second, jax.random.normal(first, mode.shape) / 2, WARM_UP)
    sampler = blackjax.nuts(shape, **tuned)

    def step(state, key):
        state, info = sampler.step(key, state)
        ends = info.trajectory_leftmost_state, info.trajectory_rightmost_state
        lawless = ~jnp.isfinite(ends[0].logdensity + ends[1].logdensity)
        return state, (state.position, info.is_divergent, lawless, info.num_integration_steps)

    return jax.lax.scan(step, state, jax.random.split(third, DRAWS))[1]


each = lambda fn: jax.jit(lambda batch: jax.lax.map(fn, batch))
z, divergent, lawless, leaps = each(chain)(jax.random.split(jax.random.key(0), CHAINS))
sizes = blackjax.diagnostics.effective_sample_size(z)
r_hat = blackjax.diagnostics.potential_scale_reduction(z)
draws = Params(*map(np.array, jax.vmap(to_params)(mode + z.reshape(-1, 12) @ scale.T)))

print("              mode     s.e.     mean      5 %     95 %      ESS")
for i, (name, x) in enumerate(zip(Params._fields, draws, strict=True)):
    row = to_params(mode)[i], errors[i], x.mean(), *np.quantile(x, [0.05, 0.95])
    print(f"{name:9}" + "".join(f"{number:9.3f}" for number in row) + f"{sizes[i]:9.0f}")
lost = (divergent & lawless).sum()
print(f"R̂ < {r_hat.max():.4f}; {divergent.sum()} diverged, {lost} where there is no law of motion")


# %% Impulse responses, and the verdict
@each
def respond(p):
    law = model.first_order(p, throw=False)
    seen = np.array([model.variables.index(name) for name in OBSERVABLES])
    paths = jnp.stack([law.impulse_response(shock, 21)[:, seen] for shock in SHOCKS])
    return paths, law.result == Verdict.determinate


# %% Known answers. The gradient vanishes at the mode, and the chains agree
np.testing.assert_allclose(slope(mode)[1], 0, atol=1e-7)
assert r_hat.max() < 1.02
assert sizes.min() > 400
assert not (divergent & ~lawless).any()  # what a sampler should see, and nothing else


# Without inertia, y = a s and pi = b s for a shock s of persistence ρ: the paths in closed form
def by_hand(p):
    for sd, rho, place in ((p.sd_r, p.rho_r, 0), (p.sd_u, p.rho_u, 1), (p.sd_v, 0.0, 2)):
        a = [[p.sigma * (1 - rho), -rho, 1], [-p.kappa, 1 - rho / (1 + p.r / 100), 0]]
        y, pi, i = np.linalg.solve([*a, [-p.phi_y, -p.phi_pi, 1]], np.eye(3)[place])
        yield sd * np.outer(rho ** np.arange(21), [y, 4 * pi, 4 * i])


# There is one stable law exactly where the Taylor principle holds (Bullard and Mitra, 2002)
principle = lambda p: p.kappa * (p.phi_pi - 1) + (1 - 1 / (1 + p.r / 100)) * p.phi_y > 0
responses, unique = respond(draws)
assert np.all(unique & principle(draws))
others = draws._replace(phi_pi=np.linspace(0.5, 1.5, len(draws.pi)), inertia=0 * draws.pi)
paths, unique = map(np.array, respond(others))
np.testing.assert_array_equal(unique, principle(others))
expected = np.array([list(by_hand(Params(*p))) for p in zip(*others, strict=True)])
np.testing.assert_allclose(paths[unique], expected[unique], rtol=1e-8, atol=1e-10)

# %% Picture
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11}
figure, axes = plt.subplots(3, 4, figsize=(12, 7), layout="constrained")
bands = np.quantile(responses, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
COLORS, TITLES = ["#1b7f79", "#d1495b", "#33658a"], ["Demand", "Cost push", "Monetary policy"]
NAMES = ["Output gap, %", "Inflation, % a year", "Interest rate, % a year"]
for (i, j), ax in np.ndenumerate(axes[:, :3]):
    low, lower, middle, upper, high = bands[:, j, :, i]
    ax.axhline(0, color="0.6", lw=0.8)
    ax.fill_between(range(21), low, high, color=COLORS[j], alpha=0.2, lw=0)
    ax.fill_between(range(21), lower, upper, color=COLORS[j], alpha=0.35, lw=0)
    ax.plot(middle, color=COLORS[j], lw=1.8)
    ax.set(xlim=(0, 20), xlabel="quarters" if i == 2 else "", ylabel="" if j else NAMES[i])
    ax.set_title("" if i else TITLES[j], color=COLORS[j], weight="bold")
labels = {"phi_pi": "Response to inflation", "inertia": "Inertia", "kappa": "Phillips curve, slope"}
for ax, (name, label) in zip(axes[:, 3], labels.items(), strict=True):
    density, mean, sd = PRIORS[name]
    grid = np.linspace(max(mean - 3 * sd, 1e-6), min(mean + 3 * sd, 2.3), 300)
    ax.hist(getattr(draws, name), bins=25, density=True, color="#edae49", alpha=0.8)
    ax.plot(grid, np.exp(density(grid, mean, sd)), color="0.4", lw=1.2)
    ax.set(title=label, yticks=[])
axes[0, 3].legend(["prior", "posterior"], frameon=False, fontsize=9)
figure.savefig(Path(__file__).parents[1] / "docs/images/new_keynesian.png", dpi=120)
