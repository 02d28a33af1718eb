"""SciPy's own matrices, brought to one size and solved as one batch."""

import functools
import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg

from dini import linalg
from tests.support.compare import all_nan
from tests.support.processes import output

# In a process of its own: SciPy's marks are unknown to a strict pytest.
_SCRIPT = """
import pickle, sys
import numpy as np
from scipy.linalg.tests import test_solvers
array = lambda x: x if x is None or isinstance(x, str) else np.asarray(x)
cases = getattr(test_solvers, sys.argv[1]).cases
sys.stdout.buffer.write(pickle.dumps([[array(x) for x in case] for case in cases]))
"""


@functools.cache
def cases_of(name):
    command = [sys.executable, "-W", "ignore", "-c", _SCRIPT, name]
    return pickle.loads(subprocess.run(command, check=True, capture_output=True).stdout)


pytestmark = pytest.mark.slow


def grown(a, shape, corner):
    """a, with zeros beside it and `corner` times the identity below it."""
    a = np.atleast_2d(np.asarray(a))
    out = np.zeros(shape, a.dtype)
    rest = min(shape[0] - a.shape[0], shape[1] - a.shape[1])
    out[: a.shape[0], : a.shape[1]] = a
    out[a.shape[0] :, a.shape[1] :][:rest, :rest] = corner * np.eye(rest)
    return out


def stacked(cases, shapes, corners):
    columns = zip(*(case[: len(shapes)] for case in cases), strict=True)
    return [
        np.stack([grown(a, s, c) for a in column])
        for column, s, c in zip(columns, shapes, corners, strict=True)
    ]


def largest(x):
    return np.max(np.abs(x), axis=(-2, -1))


def adjoint(x):
    return np.swapaxes(x, -1, -2).conj()


def not_empty(cases):
    return [c for c in cases if min(np.size(x) for x in c)]


@pytest.mark.parametrize("corner", [100.0, 0.0], ids=["continuous", "discrete"])
def test_lyapunov(corner):
    a, q = stacked(not_empty(cases_of("TestSolveLyapunov")), [(11, 11)] * 2, (corner, 0))
    if corner:
        x = linalg.solve_continuous_lyapunov(a, q)
        residual = a @ x + x @ adjoint(a) - q
    else:
        x = linalg.solve_discrete_lyapunov(a, q)
        residual = a @ x @ adjoint(a) - x + q
    assert np.all(largest(residual) < 1e-11 * (1 + largest(x)))


def test_sylvester():
    a, b, c = stacked(not_empty(cases_of("TestSolveSylvester")), [(4, 4)] * 3, (100.0, 100.0, 0))
    x = linalg.solve_sylvester(a, b, c)
    assert np.all(largest(a @ x + x @ b - c) < 1e-11)


# No stabilising solution in double precision: two eigenvalues of the Hamiltonian matrix are 5e-13
# from the imaginary axis; and the equation of the derivative, of condition 1e24, is singular: SciPy
# balances it first.
OUTSIDE = {"continuous": {13}, "discrete": {15}}
KINDS = {
    "continuous": (linalg.solve_continuous_are, scipy.linalg.solve_continuous_are, -1),
    "discrete": (linalg.solve_discrete_are, scipy.linalg.solve_discrete_are, 0),
}


@pytest.mark.parametrize("name", KINDS)
def test_riccati(name):
    f, right, corner = KINDS[name]
    suite = cases_of(f"TestSolve{name.title()}Are")
    n, k = 9, 4
    kept = {
        i: [np.atleast_2d(np.asarray(x)) for x in c[:4]]
        for i, c in enumerate(suite)
        if c[4] is None and np.shape(c[0])[0] <= n
    }
    x = f(*stacked(list(kept.values()), [(n, n), (n, k), (n, n), (k, k)], (corner, 0, 0, 1)))
    for (i, (a, b, q, r)), got in zip(kept.items(), np.asarray(x), strict=True):
        if i in OUTSIDE[name]:
            assert all_nan(got), i
        else:
            expected = right(a, b, q, r)
            error = largest(got[: len(a), : len(a)] - expected)
            assert error <= 1e-7 * largest(expected), i


def test_empty_matrices():
    for a, b, c in cases_of("TestSolveSylvester")[:3]:
        assert linalg.solve_sylvester(a, b, c).shape == c.shape
    assert linalg.sqrtm(np.zeros((2, 0, 0))).shape == (2, 0, 0)
    assert linalg.polar(np.zeros((0, 0)))[1].shape == (0, 0)


# Tests of SciPy's by class, run on our functions. Left out are those of what is not ours: warnings,
# complex results for real matrices, precisions that JAX lacks, the sign of a singular matrix (NaN),
# and a matrix that must come back from its logarithm to 5e-5 in every entry, however small.
_SUITES = """
import numpy as np
import jax
from dini import linalg
from scipy.linalg.tests import test_matfuncs as dense
jax.config.update("jax_enable_x64", True)

def ours(f):
    return lambda a, *args, disp=None, **options: np.asarray(f(np.asarray(a), *args, **options))

for name in ("expm", "logm", "sqrtm", "signm", "fractional_matrix_power"):
    setattr(dense, name, ours(getattr(linalg, name)))
tests = {
    dense.TestExpM: ["zero", "2x2_input", "nx2x2_input"],
    dense.TestSignM: ["defective1", "defective2", "defective3"],
    dense.TestLogM: [
        "nils",
        "complex_spectrum_real_logm",
        "opposite_sign_complex_eigenvalues",
        "round_trip_random_complex",
    ],
    dense.TestSqrtM: ["al_mohy_higham_2012_experiment_1", "bad", "gh17918", "empty_sizes"],
}
for suite, names in tests.items():
    for name in names:
        getattr(suite(), "test_" + name)()
"""


def test_suites_of_scipy():
    output(_SUITES)
