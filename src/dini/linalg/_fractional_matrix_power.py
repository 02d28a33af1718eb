"""Real powers of a matrix."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Inexact

from dini._matrices import product
from dini.linalg._expm import expm
from dini.linalg._inv import inv
from dini.linalg._logm import logm
from dini.linalg._matrices import square


def fractional_matrix_power(A: ArrayLike, t: Any) -> Inexact[Array, "... n n"]:
    """The principal power A^t = e^{t log A}.

    Args:
        A: matrices, real or complex, of shape (..., n, n).
        t: the exponent, differentiable as an array. Of a Python number the integer nearest to it is
            taken by products, and only the rest, at most a half, by the logarithm.

    Returns:
        A^t, of the shape of A. An integer power given as a Python number exists for every matrix, a
        negative one for regular matrices; all others are NaN where `logm` is.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    Reference: Higham and Lin, An improved Schur–Padé algorithm for fractional powers of a matrix
    and their Fréchet derivatives (2013).
    """
    a = square("fractional_matrix_power", A)
    if not isinstance(t, int | float | np.integer | np.floating):
        return expm(jnp.asarray(t)[..., None, None] * logm(a))
    whole = round(float(t)) if np.isfinite(t) else 0
    power = _integer_power(a, whole)
    rest = float(t) - whole
    return power if rest == 0 else product(power, expm(rest * logm(a)))


def _integer_power(a: Inexact[Array, "... n n"], k: int) -> Inexact[Array, "... n n"]:
    """Aᵏ by repeated squaring."""
    base = inv(a) if k < 0 else a
    power = jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape)
    for digit in f"{abs(k):b}":
        power = product(power, power)
        power = product(power, base) if digit == "1" else power
    return power
