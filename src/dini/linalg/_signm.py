"""The sign of a matrix."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from dini._matrices import product
from dini.linalg._equation import Terms
from dini.linalg._implicit import implicit_equation
from dini.linalg._matrices import matrices, norm, size
from dini.linalg._regular import is_regular
from dini.linalg._square_roots import inverse_and_size
from dini.linalg._transformations import shifts


def signm(A: ArrayLike) -> Inexact[Array, "... n n"]:
    """The sign N of a matrix: N² = I, N A = A N, and N A has eigenvalues in the right half-plane.

    Real in, real out. The derivative solves (N A) L + L (A N) = E − N E N.

    Args:
        A: of shape (..., n, n), real or complex.

    Returns:
        N, of shape (..., n, n); NaN where A has an eigenvalue on the imaginary axis, to working
        precision.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    References: Roberts, Linear model reduction and solution of the algebraic Riccati equation by
    use of the sign function (1980); Higham, Functions of Matrices (2008), chapter 5.
    """
    (a,) = matrices("signm", "A: n n", A=A)
    return _signm(a / size(a))


# Newton's iteration for X² = I from A: X ← (μ X + (μ X)⁻¹)/2, with μ = |det X|^(−1/n) to bring the
# eigenvalues to size 1 while they are far from it.
def _guess(a: Array) -> tuple[Array, Array]:
    eps = jnp.finfo(a.dtype).eps

    def step(state: tuple) -> tuple:
        x, off, condition, k = state
        inverse, length = inverse_and_size(x)
        condition = jnp.where(k == 0, norm(x) * norm(inverse), condition)
        scale = jnp.where(off > _NEAR, 1 / length, 1)
        new = (scale * x + inverse / scale) / 2
        return new, norm(new - x) / norm(new), condition, k + 1

    more = lambda s: (s[1] > eps**0.6) & (s[3] < _STEPS)
    one = jnp.ones_like(norm(a))
    x, off, condition, _ = jax.lax.while_loop(more, step, (a, one, one, 0))
    x = jnp.where((off <= eps**0.6) & is_regular(a, condition), x, jnp.nan)
    return x, norm(_residual(x, a)) / (norm(x) ** 2 * norm(a))


# N A N = A and N² = I  ⇒  (N A) L + L (A N) = E − N E N, with N A = A N = (A²)^(1/2): the implicit
# function theorem for X A X = A. (Higham, Functions of Matrices (2008), section 5.1.)
def _residual(x: Array, a: Array) -> Array:
    return product(x, a, x) - a


def _derivative(x: Array, a: Array) -> Terms:
    return Terms(product(x, a), None, None, product(a, x))


_signm = implicit_equation(_guess, _residual, _derivative, shifts, "(n,n)->(n,n)")

_NEAR = 1e-2
# An eigenvalue at the angle δ from the imaginary axis takes log₂ 1/δ steps.
_STEPS = 36
