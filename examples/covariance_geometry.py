"""What is the mean of five covariance matrices? Half a century of the US economy, transported.

The mean of their entries is too wide: it adds up shapes that point in different directions.
Wasserstein's barycentre minimises F(S) = Σ w_i W₂²(S, C_i), where W₂ measures how far probability
must be moved to turn a Gaussian of covariance S into one of C_i. Square roots of matrices give the
distance; their derivatives give the flow to the barycentre, and what that owes to each decade.
"""

# %% Set-up: double precision, because we assert to nine digits
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.linalg
from statsmodels.datasets import macrodata

import dini

jax.config.update("jax_enable_x64", True)
same = lambda a, b, atol=1e-9: np.testing.assert_allclose(a, b, rtol=0, atol=atol)

# %% Data: four quarterly rates, all in per cent a year, since the distance depends on units
us = macrodata.load_pandas().data
growth = lambda x: 400 * np.log(x).diff()
SERIES = np.array([growth(us.realgdp), growth(us.realcons), growth(us.cpi), us.tbilrate])
NAMES = ["output", "consumption", "prices", "bill rate"]
DECADES = [1960, 1970, 1980, 1990, 2000]
COVS = np.array([np.cov(SERIES[:, us.year // 10 * 10 == decade]) for decade in DECADES])
EVEN = np.full(5, 1 / 5)


# %% The distance: W₂² = tr S + tr C − 2 tr (S C)^½, the root of a matrix that is not symmetric
def spread(s, covs, weights):
    """F(S), whose minimiser is the barycentre."""
    distances2 = jnp.trace(s + covs - 2 * dini.linalg.sqrtm(s @ covs), axis1=1, axis2=2)
    return weights @ distances2


# %% The barycentre is a fixed point (Álvarez-Esteban, del Barrio, Cuesta-Albertos, Matrán 2016)
# T_i = S⁻¹ (S C_i)^½ is the map that takes S to C_i: it is symmetric, and C_i = T_i S T_i. Of S the
# symmetric part is the unknown: the map leaves another part as it is, and would have no derivative.
@dini.implicit_fixed_point(solver=dini.Picard(rtol=1e-13, atol=1e-13))
def barycentre(s, covs, weights):
    """The image of S under the mean of its maps to the C_i."""
    s = (s + s.T) / 2
    maps = jnp.linalg.solve(s, dini.linalg.sqrtm(s @ covs))
    mean = jnp.tensordot(weights, maps, 1)
    return mean @ s @ mean.T


@jax.jit
def response(covs, weights, covs_dot):
    """The barycentre, and its derivative in this direction."""
    solve = lambda covs: barycentre(jnp.tensordot(weights, covs, 1), covs, weights)
    return jax.jvp(solve, (covs,), (covs_dot,))


bary, bary_dot = response(COVS, EVEN, COVS)
same(bary_dot, bary)  # Euler: twice the covariances, twice the barycentre
mean = COVS.mean(0)
assert np.linalg.eigvalsh(mean - bary).min() > 0  # (Bhatia, Jain and Lim 2019)

# %% The flow, from each decade: ∂F = I − Σ w_i T_i, so that a step of length one is the map above
slope = jax.jit(jax.vmap(jax.value_and_grad(spread), (0, None, None)))  # of five S at once


def flow(step, count):
    """The matrices, and their F, on the ways along S ← (I − η ∂F) S (I − η ∂F)."""
    s, ways, heights = COVS, [], []
    for _ in range(count):
        height, g = map(np.asarray, slope(s, COVS, EVEN))
        ways, heights = [*ways, s], [*heights, height]
        move = np.eye(4) - step * g
        s = move @ s @ np.swapaxes(move, 1, 2)
    return np.array(ways), np.array(heights)


ways, heights = flow(0.1, 250)
_, leaps = flow(1, 10)
lowest, flat = (x[0] for x in slope(np.array([bary] * 5), COVS, EVEN))
same(flat, np.zeros((4, 4)))
same(ways[-1], np.broadcast_to(bary, COVS.shape), 1e-8)
same(leaps[-1], lowest)
assert np.all(np.diff(heights, axis=0) < 1e-12)
apart = abs(ways[-1] - bary).max()
print(f"The fixed point is found, and flows from five decades meet in it, to {apart:.0e}")

# %% Known answers: the maps in symmetric roots, by SciPy; the gradient is made of their mean
first = COVS[0]
root = scipy.linalg.sqrtm(first)
back = np.linalg.inv(root)
maps = np.array([back @ scipy.linalg.sqrtm(root @ c @ root) @ back for c in COVS])
same(maps @ first @ maps, COVS)
same(slope(COVS, COVS, EVEN)[1][0], np.eye(4) - maps.mean(0))

# Two matrices: the barycentre is on the geodesic between them, where distances are known
t, weights = 0.3, np.array([0.7, 0.3, 0, 0, 0])
move = (1 - t) * np.eye(4) + t * maps[1]
between, _ = response(COVS, weights, COVS)
distances = lambda c: np.sqrt(slope(COVS, np.array([c] * 5), EVEN)[0])  # of the decades from c
same(between, move @ first @ move)
same(distances(between)[:2], distances(COVS[1])[0] * np.array([t, 1 - t]))

# Matrices that commute: the mean of their roots, squared, whose derivative is known too
_, v = np.linalg.eigh(first)
spectra, weights = np.linalg.eigvalsh(COVS), np.array([0.1, 0.3, 0.2, 0.3, 0.1])
diagonal = lambda d: (v * d[..., None, :]) @ v.T
mean_root, direction = weights @ np.sqrt(spectra), np.cos(np.arange(20.0)).reshape(5, 4)
value, tangent = response(diagonal(spectra), weights, diagonal(direction))
same(value, diagonal(mean_root**2))
same(tangent, diagonal(mean_root * (weights @ (direction / np.sqrt(spectra)))))

# Elsewhere differences with an error bar are the witness: the 1980s grow
eighties = np.where(np.arange(5)[:, None, None] == 2, COVS, 0)
along = lambda x: response(COVS + x * eighties, EVEN, COVS)[0]
_, tangent, bar = dini.numeric.ridders_jvp(along, (0.0,), (1.0,))
assert np.all(abs(response(COVS, EVEN, eighties)[1] - tangent) <= bar + 1e-9)
print(f"Its derivative agrees with closed form and differences, whose bar is {bar.max():.0e}\n")

# %% Tables: the shapes, and what the barycentre owes to each decade
print("                 standard deviation, % a year          correlation of     distance to")
print("          " + "".join(f"{name:>12}" for name in NAMES) + "   output, prices   barycentre")
rows = dict(zip([f"{d}s" for d in DECADES], COVS, strict=True)) | {"mean": mean, "barycentre": bary}
for (name, c), far in zip(rows.items(), [*distances(bary), np.nan, np.nan], strict=True):
    deviations = np.sqrt(np.diag(c))
    correlation = c[0, 2] / deviations[0] / deviations[2]
    print(f"{name:10}" + "".join(f"{d:12.2f}" for d in deviations), end="")
    print(f"{correlation:14.2f}" + ("" if np.isnan(far) else f"{far:17.2f}"))
swelling = np.sqrt(np.linalg.det(mean) / np.linalg.det(bary))
print(f"The mean's ellipsoid has {swelling:.2f} times the volume of the barycentre's\n")

parts = [np.where(np.arange(5)[:, None, None] == i, COVS, 0) for i in range(5)]
shares = np.array([np.diag(response(COVS, EVEN, p)[1]) for p in parts]) / np.diag(bary)
in_mean = np.diagonal(COVS, axis1=1, axis2=2) / np.diag(mean) / 5
same(shares.sum(0), np.ones(4))
print("Shares in the barycentre's variance (in the mean's), %")
for decade, share, flat_share in zip(DECADES, shares, in_mean, strict=True):
    cells = (f"{100 * s:5.0f} ({100 * m:2.0f})" for s, m in zip(share, flat_share, strict=True))
    print(f"{decade}s     " + "".join(f"{cell:>12}" for cell in cells))

# %% Picture
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
plt.rcParams["lines.solid_capstyle"] = "round"
figure, (shapes, path, fall) = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
circle = np.array([f(np.linspace(0, 2 * np.pi, 200)) for f in (np.cos, np.sin)])
ellipse = lambda c: np.linalg.cholesky(c[np.ix_([0, 2], [0, 2])]) @ circle
COLORS = ["#1b9e77", "#d95f02", "#7570b3", "#66a61e", "#e7298a"]
for c, decade, color in zip(COVS, DECADES, COLORS, strict=True):
    shapes.plot(*ellipse(c), color=color, lw=1.2, label=f"{decade}s")
shapes.plot(*ellipse(mean), color="black", lw=1.2, ls=":", label="mean")
shapes.plot(*ellipse(bary), color="black", lw=2.4, label="barycentre")
shapes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
shapes.set(title="Output and prices: one standard deviation", ylabel="inflation, % a year")
for k, shade in zip([0, 2, 4, 7, 11, 16, 24], np.linspace(0.35, 0.9, 7), strict=True):
    path.plot(*ellipse(ways[k, 4]), color=plt.get_cmap("RdPu")(1.1 - shade), lw=1.2)
path.plot(*ellipse(bary), color="black", lw=2.4)
path.set(title="The flow from the 2000s to the barycentre")
for axis in (shapes, path):
    axis.set(xlabel="growth of output, % a year", xlim=(-5, 5), ylim=(-4, 5.5), aspect="equal")
for k, color in enumerate(COLORS):
    fall.plot(0.1 * np.arange(250), heights[:, k] - lowest, color=color, lw=1.2)
    fall.plot(np.arange(10), leaps[:, k] - lowest, "o", ms=4, color=color)
fall.set(yscale="log", xlabel="time", ylim=(1e-12, 10), xlim=(0, 12))
fall.set_title("F above its minimum; dots: steps of length one")
figure.savefig(Path(__file__).parents[1] / "docs/images/covariance_geometry.png", dpi=120)
