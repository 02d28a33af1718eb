"""How much coffee should Brazil burn? SciPy finds the prices of a world economy, inside `jit`.

Between 1931 and 1944 Brazil burned 78 million bags of coffee to hold up its price. A seller whose
good has no close substitute may gain by selling less: the price of the rest rises by more. Here the
prices come from `scipy.optimize.root` on the host, and the best share to burn from Newton's method
on Brazil's welfare, by first and second derivatives that go through SciPy's solution.
"""

# %% Set-up: double precision, because we assert to nine digits
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.optimize

import dini

jax.config.update("jax_enable_x64", True)
CALLS = []  # one entry a call of the host

# %% The world: coffee, food and manufactures; Brazil grows 65 % of the coffee
SUPPLY = np.array([0.02, 0.28, 0.70])  # worth at prices of one
BRAZIL = SUPPLY * [0.65, 0.03, 0.01]


def tastes(home: float) -> np.ndarray:
    """Shares in spending of Brazil and the others, so that prices are one while nothing burns."""
    brazil = (1 - home) * SUPPLY + home * BRAZIL / BRAZIL.sum()
    others = (SUPPLY - BRAZIL.sum() * brazil) / (1 - BRAZIL.sum())
    return np.array([brazil, others])


# Consumers with an elasticity of substitution σ spend the share a p^(1−σ) / Σ a p^(1−σ) on a good.
def excess(log_p, endowment, taste, sigma, xp=jnp):
    """Excess demand by supply for all goods but the last, whose price is one."""
    p = xp.exp(xp.append(log_p, 0.0))
    demand = ((endowment @ p) / (taste @ p ** (1 - sigma))) @ taste * p**-sigma
    return (demand / endowment.sum(0) - 1)[:-1]


# %% Solve on the host; differentiate by the equation that the prices satisfy
@dini.custom_root(excess)
@dini.external(like="guess")
def log_prices(guess, endowment, taste, sigma):
    """NumPy arrays in, a NumPy array out."""
    CALLS.append(1)
    return scipy.optimize.root(excess, guess, args=(endowment, taste, sigma, np), tol=1e-12).x


def welfare(burned, sigma, taste):
    """The logarithm of Brazil's real income, if this share of its coffee is burned."""
    endowment = jnp.array([BRAZIL, SUPPLY - BRAZIL]).at[0, 0].multiply(1 - burned)
    p = jnp.exp(jnp.append(log_prices(jnp.zeros(2), endowment, taste, sigma), 0.0))
    return jnp.log(endowment[0] @ p) - jnp.log(taste[0] @ p ** (1 - sigma)) / (1 - sigma)


# %% Known answer: where all have the same tastes, total supply sets the prices, p = (E/a)^(−1/σ)
def by_hand(burned, sigma, taste):
    """The same welfare in closed form."""
    endowment = BRAZIL * jnp.array([1 - burned, 1, 1])
    p = ((SUPPLY - BRAZIL + endowment) / taste[0]) ** (-1 / sigma)
    return jnp.log(endowment @ p) - jnp.log(taste[0] @ p ** (1 - sigma)) / (1 - sigma)


# %% Differentiate: reverse mode, and forward mode over it, in six worlds at once
def derivatives(f):
    """(welfare, slope), (slope, curvature) in the share burned, for each world."""
    both = jax.value_and_grad(f)
    along = lambda b, *world: jax.jvp(lambda b: both(b, *world), (b,), (jnp.ones(()),))
    return jax.jit(jax.vmap(along))


through_scipy, exact = derivatives(welfare), derivatives(by_hand)
sigmas = np.tile([0.3, 0.4, 0.5], 2)
worlds = sigmas, np.repeat([tastes(0.0), tastes(0.1)], 3, axis=0)
found = jax.tree.leaves(through_scipy(np.full(6, 0.2), *worlds))
assert len(CALLS) == 6  # one a world, for all the derivatives together
known = jax.tree.leaves(exact(np.full(6, 0.2), *worlds))
np.testing.assert_allclose(np.array(found)[:, :3], np.array(known)[:, :3], rtol=1e-9)

# Where tastes differ there is no closed form: differences with an error bar are the witness.
value = lambda b: through_scipy(np.full(6, b), *worlds)[0][0]
_, slope, bar = dini.numeric.ridders_jvp(value, (0.2,), (1.0,))
assert np.all(abs(found[1] - slope) <= bar + 1e-9)
print(f"Slopes agree with closed form and with differences, whose bar is {bar.max():.0e}\n")

# %% Solve: the best of a grid, then Newton's method, a call of SciPy a step and world
grid = np.linspace(0, 0.9, 46)
curves = np.array([value(b) for b in grid])
best = grid[curves.argmax(0)]
for _ in range(6):
    _, (first, second) = through_scipy(best, *worlds)
    best = best - first / second
np.testing.assert_allclose(exact(best, *worlds)[1][0][:3], 0, atol=1e-10)
gains = np.expm1(np.vstack([curves, through_scipy(best, *worlds)[0][0]]) - curves[0])

# %% Table
print("elasticity of   tastes      best share   gain in")
print("substitution                 to burn     welfare")
for k, sigma in enumerate(sigmas):
    name = "common" if k < 3 else "own goods"
    print(f"{sigma:7.1f}         {name:<10}{best[k]:9.1%}{gains[-1, k]:12.2%}")

# %% Picture
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
for row, (axis, name) in enumerate(
    zip(axes, ("common tastes", "a taste for own goods"), strict=True)
):
    for k, color in enumerate(("#7f3b08", "#b35806", "#e08214")):
        lane = 3 * row + k
        axis.plot(100 * grid, 100 * gains[:-1, lane], color=color, lw=1.8)
        axis.plot(100 * best[lane], 100 * gains[-1, lane], "o", color=color)
        axis.text(91, 100 * gains[-2, lane], f"σ = {sigmas[k]}", color=color, va="center")
    axis.axhline(0, color="0.8", lw=0.8, zorder=0)
    axis.set(title=f"Burning coffee: {name}", xlabel="share burned, %", ylim=(-40, 60))
axes[0].set_ylabel("gain in Brazil's welfare, %")
figure.savefig(Path(__file__).parents[1] / "docs/images/host_solver.png", dpi=150)
