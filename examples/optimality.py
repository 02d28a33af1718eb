"""What goes with murder? The lasso's whole path from its derivatives, from kink to kink.

The lasso keeps few of the explanations of a variable, fewer as its penalty grows. Its weights are
piecewise linear in the penalty (Osborne, Presnell and Turlach, 2000), so that weights and their
derivative at one penalty tell where the next explanation comes in or leaves, and what happens until
then. The data are murders per 100 000 inhabitants and six other numbers of the states of the USA.
"""

# %% Set-up
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import statsmodels.api as sm

import dini

jax.config.update("jax_enable_x64", True)

# %% Data: standard units, and a mean of zero
table = sm.datasets.statecrime.load_pandas().data
NAMES = ["violent", "hs_grad", "poverty", "single", "white", "urban"]
standard = lambda x: (x - x.mean(0)) / x.std(0) / np.sqrt(len(x))
A = jnp.asarray(standard(table[NAMES].to_numpy(float)))
B = jnp.asarray(standard(table["murder"].to_numpy(float)))


# %% The lasso: minimise ½ |A x − b|² + penalty |x|₁
def misfit(x, a, b, penalty):
    del penalty
    return 0.5 * jnp.sum((a @ x - b) ** 2)


def shrink(y, a, b, penalty):
    """The proximal map of penalty |x|₁."""
    del a, b
    return jnp.sign(y) * jnp.maximum(jnp.abs(y) - penalty, 0)


# %% Solve by coordinate descent, in NumPy; differentiate by the condition
@dini.custom_root(dini.conditions.proximal_gradient(misfit, shrink))
@dini.external(like="x")
def lasso(x, a, b, penalty):
    """One weight after the other, until none moves."""
    for _ in range(20_000):
        before = x.copy()
        for j in range(len(x)):
            rest = a[:, j] @ (b - a @ x) + x[j]  # the columns have length one
            x[j] = np.sign(rest) * max(abs(rest) - penalty, 0)
        if np.max(np.abs(x - before)) < 1e-15:
            break
    return x


start = jnp.zeros(len(NAMES))
solve = jax.jit(lambda penalty: lasso(start, A, B, penalty))
response = jax.jit(jax.jacfwd(lambda penalty: lasso(start, A, B, penalty)))
HIGHEST = float(jnp.max(jnp.abs(A.T @ B)))  # where the last weight vanishes

# %% A kink has no derivative, and says so
quiet = lasso.with_options(throw=False)
assert np.isnan(jax.jit(jax.jacrev(quiet, 3))(start, A, B, HIGHEST)).all()

# %% From kink to kink: weights vanish, or a correlation of the residual reaches the penalty
knots, weights = [HIGHEST], [np.zeros(len(NAMES))]
print(
    f"penalty   what changes\n{HIGHEST:8.4f}  {NAMES[int(jnp.argmax(jnp.abs(A.T @ B)))]} comes in"
)
while knots[-1] > 0:
    inside = knots[-1] - 1e-6 * HIGHEST
    x, slope = np.asarray(solve(inside)), np.asarray(response(inside))
    correlation, drift = A.T @ (B - A @ x), -A.T @ (A @ slope)
    kept = np.abs(x) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        vanishes = np.where(kept, inside - x / slope, -np.inf)
        # correlation + (p − inside) drift = ±p
        enters = [(correlation - inside * drift) / (s - drift) for s in (1, -1)]
    meets = np.array([vanishes, *(np.where(kept, -np.inf, e) for e in enters)])
    meets = np.where(meets < inside - 1e-9, meets, -np.inf)
    at = max(float(meets.max()), 0.0)
    knots.append(at)
    weights.append(x + (at - inside) * slope)
    if at > 0:
        what = NAMES[int(meets.max(0).argmax())]
        print(f"{at:8.4f}  {what} {'leaves' if meets[0].max() == at else 'comes in'}")

# %% Known answers: least squares where nothing is penalised, the solver in between
np.testing.assert_allclose(weights[-1], np.linalg.lstsq(A, B)[0], rtol=1e-8)
for p in np.linspace(0.02, 0.98, 7) * HIGHEST:
    path = [np.interp(p, knots[::-1], w) for w in np.array(weights)[::-1].T]
    np.testing.assert_allclose(path, solve(p), atol=1e-9)
print(f"The path of {len(knots) - 1} pieces agrees with the solver at every penalty tried")

# %% The derivative to the data: on which states does the weight of violent crime rest?
sway = jax.jit(jax.grad(lambda b: lasso(start, A, b, 0.1 * HIGHEST)[0]))(B)
most = np.argsort(-np.abs(sway))[:3]
print("The weight of violent crime rests most on", ", ".join(table.index[most]))

# %% Picture
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
for j, name in enumerate(NAMES):
    (line,) = axis.plot(knots, np.array(weights)[:, j], "o-", ms=3, lw=1.6)
    axis.text(
        -0.01 * HIGHEST, weights[-1][j], name, color=line.get_color(), ha="right", va="center"
    )
axis.axhline(0, color="0.8", lw=0.8, zorder=0)
for knot in knots:
    axis.axvline(knot, color="0.9", lw=0.8, zorder=0)
axis.set(xlabel="penalty", ylabel="weight", xlim=(-0.14 * HIGHEST, HIGHEST))
axis.set_title("The lasso's path, each piece from one solution and its derivative")
figure.savefig(Path(__file__).parents[1] / "docs/images/optimality.png", dpi=120)
