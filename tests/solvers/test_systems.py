"""The standard systems are what was published: residuals at the start, roots, closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from tests.support.marks import case
from tests.support.systems import BRACKETS, fixed_points, large, minpack, small
from tests.support.systems.grids import BRATU, SCATTERING, heat

# |F| at each starting point, as MINPACK's test program of 1980 prints them.
NORMS = {
    ("rosenbrock", 2): (4.919350e0, 1.340063e3, 1.430001e5),
    ("powell singular", 4): (1.466288e1, 1.270984e3, 1.268879e5),
    ("powell badly scaled", 2): (1.065487e0, 1.0),
    ("wood", 4): (8.550557e3, 7.349823e6, 7.273070e9),
    ("helical valley", 3): (5.0e1, 1.029563e2, 9.912618e2),
    ("watson", 6): (6.848587e1, 3.531259e6),
    ("watson", 9): (8.878955e1, 1.015108e7),
    ("chebyquad", 5): (2.257066e-1, 4.117243e6, 5.636130e11),
    ("chebyquad", 7): (1.837679e-1, 4.269328e9, 6.414317e16),
    ("chebyquad", 9): (1.699499e-1,),
    ("brown almost linear", 10): (1.653022e1, 9.765624e6, 9.765625e16),
    ("brown almost linear", 40): (1.280264e2,),
    ("discrete boundary value", 10): (2.808058e-2, 5.255526e-1, 1.065739e2),
    ("discrete integral equation", 10): (2.518270e-1, 6.116833e0, 1.269309e3),
    ("trigonometric", 10): (8.411753e-2, 2.030519e1, 9.336937e1),
    ("variably dimensioned", 10): (2.240213e6, 5.223438e7, 1.592365e11),
    ("broyden tridiagonal", 10): (4.582576e0, 6.391009e2, 6.333758e4),
    ("broyden banded", 10): (1.897367e1, 1.713092e4, 1.594986e7),
}
# Roots, to the seven digits that the same program prints.
BOUNDARY = [-0.04316498, -0.08157716, -0.1144857, -0.1409736, -0.1599087]
BOUNDARY += [-0.1698772, -0.1690900, -0.1552495, -0.1253559, -0.07541653]
ROOTS = {
    ("rosenbrock", 2): [1, 1],
    ("powell singular", 4): [0, 0, 0, 0],
    ("powell badly scaled", 2): [1.098159e-5, 9.106147],
    ("wood", 4): [-0.9679740, 0.9471391, -0.9695163, 0.9512477],
    ("helical valley", 3): [1, 0, 0],
    ("watson", 6): [-0.01572509, 1.012435, -0.2329916, 1.260430, -1.513729, 0.9929964],
    ("chebyquad", 5): [0.08375126, 0.3127293, 0.5, 0.6872707, 0.9162487],
    ("brown almost linear", 10): [0.9794303] * 9 + [1.205697],
    ("brown almost linear", 40): [1] * 40,
    ("discrete boundary value", 10): BOUNDARY,
    ("discrete integral equation", 10): BOUNDARY,
    ("trigonometric", 10): [
        *(0.03439629, 0.03503232, 0.03571920, 0.03646522, 0.03728091),
        *(0.03817986, 0.03918014, 0.04030650, 0.1797202, 0.1562409),
    ],
    ("variably dimensioned", 10): [1] * 10,
    ("broyden tridiagonal", 10): [
        *(-0.5707221, -0.6818069, -0.7022101, -0.7055106, -0.7049062),
        *(-0.7014966, -0.6918893, -0.6657965, -0.5960351, -0.4164123),
    ],
    ("broyden banded", 10): [
        *(-0.4283029, -0.4765964, -0.5196525, -0.5580993, -0.5925062),
        *(-0.6245037, -0.6232395, -0.6213938, -0.6204536, -0.5864693),
    ],
}


@pytest.mark.parametrize("system", minpack(), ids=lambda s: f"{s.name} {s.size}")
def test_minpack_systems_have_the_published_residuals_and_roots(system):
    fun = jax.jit(lambda z: (system.fun(z, None), jax.jacfwd(system.fun)(z, None)))
    norms = [np.linalg.norm(fun(z)[0]) for z in system.starts]
    np.testing.assert_allclose(norms, NORMS[system.name, system.size], rtol=5e-7)
    if (system.name, system.size) in ROOTS:
        # Newton's step from the root is within its digits, whatever the scale of F.
        value, matrix = map(np.asarray, fun(np.asarray(ROOTS[system.name, system.size], float)))
        assert np.max(np.abs(np.linalg.lstsq(matrix, value)[0])) < 2e-6


def test_minpack_systems_are_all_published():
    assert {(s.name, s.size) for s in minpack()} == set(NORMS)
    assert len({s.name for s in minpack()}) == 14


def test_bratu_is_the_five_point_laplacian_of_scipy():
    z = np.random.default_rng(0).normal(size=100)
    line = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=(-1, 0, 1), shape=(10, 10))
    laplacian = scipy.sparse.kronsum(line, line)
    expected = laplacian @ z - BRATU / 11**2 * np.exp(z)
    np.testing.assert_allclose(small()[0].fun(z, None), expected, rtol=1e-12)


@pytest.mark.parametrize("systems", [small, large])
def test_diffusion_is_solved_by_the_fourth_root_of_a_harmonic_function(systems):
    system = systems()[3]
    w = heat(round(system.size**0.5))
    u = w[1:-1, 1:-1].ravel() ** 0.25
    np.testing.assert_allclose(system.fun(u, None), 0, atol=1e-14)
    assert w.min() > 0
    assert np.max(np.abs(system.fun(system.starts[0], None))) > 0.1


def test_h_equation_has_the_known_mean():
    system = small()[2]
    z = system.starts[0]
    step = jax.jit(lambda z: z - system.fun(z, None))
    for _ in range(100):
        z = step(z)
    known = 2 * (1 - np.sqrt(1 - SCATTERING)) / SCATTERING
    np.testing.assert_allclose(z.mean(), known, rtol=1e-13)


@pytest.mark.parametrize("family", BRACKETS, ids=lambda f: f.name)
def test_brackets_hold_the_published_roots(family):
    for instance in family.instances:
        parameter, lower, upper, root = instance
        assert lower < root < upper
        below, above = (float(family.fun(x, parameter)) for x in (lower, upper))
        assert below * above < 0, instance
        # The sign changes within a few ulps of the root: it is right to the last digits.
        gap = 1e-14 + 4e-15 * abs(root)
        ends = [float(family.fun(x, parameter)) for x in (root - gap, root + gap)]
        assert ends[0] * ends[1] <= 0, instance


def test_brackets_are_the_published_number():
    assert len(BRACKETS) == 15
    assert sum(len(family.instances) for family in BRACKETS) == 154


@pytest.mark.parametrize("system", [case(s, quick=s.size < 50, id=s.name) for s in fixed_points()])
def test_fixed_points_attract(system):
    """The spectral radius there is below 1: that is what plain iteration needs."""
    step = system.fun
    z = jax.lax.fori_loop(0, 3000, lambda _, z: step(z, None), jnp.asarray(system.starts[0]))
    matrix = jax.jacfwd(step)(z, None)
    assert np.max(np.abs(np.linalg.eigvals(np.asarray(matrix)))) < 1
    np.testing.assert_allclose(step(z, None), z, atol=1e-9)
