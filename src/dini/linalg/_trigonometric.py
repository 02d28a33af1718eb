"""Cosine and sine of a matrix, trigonometric and hyperbolic."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from dini._matrices import marked, product
from dini.linalg._matrices import each, norm, square
from dini.linalg._scaling import growth, halved, halvings, prescaled
from dini.rules import matrix_function

_Matrix = Inexact[Array, "n n"]

# cos X and cosh X = Σ (∓X²)ᵏ/(2k)!, and sin X and sinh X = X Σ (∓X²)ᵏ/(2k + 1)!, up to k = 9.
_EVEN = [1 / math.factorial(2 * k) for k in range(10)]
_ODD = [1 / math.factorial(2 * k + 1) for k in range(10)]


def cosm(A: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """The matrix cosine, (e^{iA} + e^{−iA})/2.

    Cosine and sine of A/2ˢ by Taylor polynomials in A², and s doublings of the angle, all in the
    arithmetic of A: 8 + 2s products. The derivative of each takes two further ones.

    Args:
        A: matrices, real or complex.

    Returns:
        cos A, of the shape and dtype of A; NaN where A is not finite.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    References: Higham, Functions of Matrices (2008), chapter 12; Al-Mohy, Higham and Relton, New
    algorithms for computing the matrix sine and cosine separately or simultaneously (2015).
    """
    return _cosm(square("cosm", A))


def sinm(A: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """The matrix sine, (e^{iA} − e^{−iA})/(2i); as [`cosm`][dini.linalg.cosm]."""
    return _sinm(square("sinm", A))


def coshm(A: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """The hyperbolic matrix cosine, (e^A + e^{−A})/2; as [`cosm`][dini.linalg.cosm]."""
    return _coshm(square("coshm", A))


def sinhm(A: Inexact[Array, "... n n"]) -> Inexact[Array, "... n n"]:
    """The hyperbolic matrix sine, (e^A − e^{−A})/2; as [`cosm`][dini.linalg.cosm]."""
    return _sinhm(square("sinhm", A))


def _pair(a: _Matrix, sign: int, doubled: Callable) -> tuple[_Matrix, _Matrix]:
    """(cosh, sinh) of A, or with sign −1 (cos, sin)."""
    a, taken = prescaled(a, 6)
    n1 = norm(a)
    b = sign * product(a, a)
    b2 = product(b, b)
    b3 = product(b2, b)
    size = growth([norm(b), norm(b2), norm(b3)], 9) / 2  # of |A²ᵏ| ≤ α²ᵏ
    # The first terms left out, θ²⁰/20! and θ²⁰/21!, are below the rounding error.
    more = halvings(size, 1.3 if jnp.finfo(a.dtype).eps < 1e-8 else 2.5)  # noqa: PLR2004
    powers = [halved(x, 2 * k * more) for k, x in enumerate((b, b2, b3), 1)]
    start = _polynomial(_EVEN, powers), product(halved(a, more), _polynomial(_ODD, powers))
    c, s = jax.lax.fori_loop(0, taken + more, lambda _, pair: doubled(*pair), start)
    return marked(c, jnp.isfinite(n1)), marked(s, jnp.isfinite(n1))


def _polynomial(c: list[float], powers: list[_Matrix]) -> _Matrix:
    """Σ cₖ Bᵏ, of degree 9: Horner's rule in B³."""
    b, b2, b3 = powers
    low, middle, high = (
        c[k] * jnp.eye(len(b), dtype=b.dtype) + c[k + 1] * b + c[k + 2] * b2 for k in (0, 3, 6)
    )
    return low + product(b3, middle + product(b3, high + c[9] * b3))


# cos 2X = cos² X − sin² X and sin 2X = 2 cos X sin X: the squares of e^{iX}, and as stable.
def _doubled_angle(c: _Matrix, s: _Matrix) -> tuple[_Matrix, _Matrix]:
    return product(c - s, c + s), 2 * product(c, s)


# sinh 2X = 2 cosh X sinh X and cosh 2X = (cosh X + sinh X)² − sinh 2X: the squares of e^X and of
# e^{−X}, and nothing cancels where X is small.
def _doubled(c: _Matrix, s: _Matrix) -> tuple[_Matrix, _Matrix]:
    twice = 2 * product(c, s)
    return product(c + s, c + s) - twice, twice


def _function(sign: int, doubled: Callable, which: int) -> Callable:
    fn = lambda a: each(lambda a: _pair(a, sign, doubled)[which], a)
    return jax.jit(matrix_function(fn, forward=True))


_cosm, _sinm = (_function(-1, _doubled_angle, which) for which in (0, 1))
_coshm, _sinhm = (_function(1, _doubled, which) for which in (0, 1))
