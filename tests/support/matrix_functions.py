"""Hard matrices, and functions of them to forty digits."""

import functools
import itertools
import math

import mpmath
import numpy as np

_random = np.random.default_rng(11)
_ROTATION, _ = np.linalg.qr(_random.normal(size=(3, 3)))
E, G, U = _random.normal(size=(3, 3, 3))
POWER = -0.7


def _rotated(*eigenvalues):
    return _ROTATION @ np.diag(eigenvalues) @ _ROTATION.T


MATRICES = {
    "regular": np.array([[1.3, 0.4, -0.2], [0.1, 0.9, 0.5], [-0.3, 0.2, 1.1]]),
    "defective": np.array([[1.2, 1.0, 0.0], [0.0, 1.2, 1.0], [0.0, 0.0, 1.2]]),
    "gap 1e-3": _rotated(1.0, 1.001, 2.0),
    "gap 1e-6": _rotated(1.0, 1 + 1e-6, 2.0),
    "gap 1e-9": _rotated(1.0, 1 + 1e-9, 2.0),
    "repeat": _rotated(1.0, 1.0, 2.0),
    "identity": np.eye(3),
    "badly scaled": np.array([[1.0, 1e5, 0.0], [1e-6, 2.0, 1e4], [0.0, 1e-5, 1.5]]),
}


def _exponential(a):
    return mpmath.expm(a, method="taylor")


def _combined(unit, sign, divisor):
    """(e^{uA} + sign e^{−uA})/divisor."""
    return lambda a: (_exponential(unit * a) + sign * _exponential(-unit * a)) / divisor


_REFERENCES = {
    "expm": _exponential,
    "cosm": _combined(1j, 1, 2),
    "sinm": _combined(1j, -1, 2j),
    "coshm": _combined(1, 1, 2),
    "sinhm": _combined(1, -1, 2),
    "inv": lambda a: a**-1,
    "logm": mpmath.logm,
    "fractional_matrix_power": lambda a: _exponential(POWER * mpmath.logm(a)),
}


@functools.cache
def reference(function, matrix, order):
    """f(A), or L(A, E), or the second derivative along E and G, at one of the matrices."""
    return derivative(function, MATRICES[matrix], *(E, G)[:order])


def derivative(function, a, *directions):
    """f(A), or its first or second derivative along directions: differences in 60 digits."""
    f = _REFERENCES[function]
    with mpmath.workdps(60):
        a, *along = (mpmath.matrix(np.asarray(x).tolist()) for x in (a, *directions))
        h = mpmath.mpf(10) ** -(20 if len(along) == 1 else 13)
        total = mpmath.zeros(a.rows)
        for signs in itertools.product((1, -1), repeat=len(along)):
            moved = sum((s * h * e for s, e in zip(signs, along, strict=True)), a)
            total += math.prod(signs) * f(moved)
        out = total / (2 * h) ** len(along)
        return np.real(np.array(out.tolist(), dtype=complex))
