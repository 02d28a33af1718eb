"""Determinants, with derivatives at singular matrices too."""

import itertools
import string
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Inexact

from dini._matrices import product
from dini.linalg._matrices import adjoint, norm, singular_values, square
from dini.linalg._polarised import polarised
from dini.rules import custom_rule

_WELL = 1e-5  # the least 1/(‖A‖ ‖A⁻¹‖) at which A⁻¹ stands for factors of A


def det(a: Inexact[ArrayLike, "... n n"]) -> Inexact[Array, "..."]:
    """The determinant, with derivatives of every order at matrices of any rank.

    Returns:
        det A, of shape (...).

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    Equations: d det A = tr(adj(A) dA). With A = W D Z, D diagonal and
    G_l = W⁻¹ E_l Z⁻¹, Dᵏdet A[E₁, …, Eₖ] = det W det Z Σ (Π_{j not in i} d_j) det[(G_l)_{i_l i_m}],
    summed over all i₁, …, iₖ that are distinct: no division by a singular value. The factors are
    those of the singular value decomposition, or W = A, D = Z = I where A is well conditioned.

    Reference: Bhatia and Jain, Higher order derivatives and perturbation bounds for determinants
    (2009).
    """
    return _each_det(square("det", a))


class SlogdetResult(NamedTuple):
    """det A = sign · exp(logabsdet)."""

    sign: Inexact[Array, "..."]
    logabsdet: Float[Array, "..."]


def slogdet(a: Inexact[ArrayLike, "... n n"]) -> SlogdetResult:
    """The sign and the logarithm of the absolute value of the determinant, as in NumPy.

    Returns:
        (sign, logabsdet), of shape (...). Where A is singular they are 0 and −∞, and derivatives
        are NaN: there are none.

    Raises:
        TypeError, ValueError: for what is no square matrix of numbers.

    Equation: with t = tr(A⁻¹ Ȧ), ∂logabsdet = Re t, ∂sign = i sign Im t.
    """
    return SlogdetResult(*_each_slogdet(square("slogdet", a)))


@custom_rule
def _slogdet(a: Array) -> tuple[Array, Array]:
    sign, logabsdet = jnp.linalg.slogdet(a)
    return sign, logabsdet


@_slogdet.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    (a,), (e,) = primals, tangents
    sign, logabsdet = _slogdet(a)
    inverse = jnp.where(sign == 0, jnp.nan, jnp.linalg.inv(a))
    t = jnp.sum(inverse.T * e)
    sign_dot = 1j * sign * t.imag if jnp.iscomplexobj(a) else jnp.zeros_like(sign)
    return (sign, logabsdet), (sign_dot, t.real)


@custom_rule
def _det(a: Array) -> Array:
    return jnp.linalg.det(a)


@_det.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (a,), (e,) = primals, tangents
    adjugate = _adjugate(None, a, _factors(jax.lax.stop_gradient(a)), ())
    return _det(a), jnp.sum(adjugate.T * e)


_each_det = jax.jit(jnp.vectorize(_det, signature="(n,n)->()"))
_each_slogdet = jax.jit(jnp.vectorize(_slogdet, signature="(n,n)->(),()"))


class _Factors(NamedTuple):
    """A = W D Z: scale = det W det Z, left = W⁻¹, d, right = Z⁻¹."""

    scale: Inexact[Array, ""]
    left: Inexact[Array, "n n"]
    d: Float[Array, " n"]
    right: Inexact[Array, "n n"]


def _factors(a: Array) -> _Factors:
    inverse = jnp.linalg.inv(a)
    well = norm(a) * norm(inverse) * _WELL < 1
    return jax.lax.cond(well, _by_inverse, _by_svd, a, inverse)


def _by_inverse(a: Array, inverse: Array) -> _Factors:
    d = jnp.ones(a.shape[0], jnp.finfo(a.dtype).dtype)
    return _Factors(jnp.linalg.det(a), inverse, d, jnp.eye(d.size, dtype=a.dtype))


def _by_svd(a: Array, inverse: Array) -> _Factors:
    del inverse
    u, s, vh = singular_values(a)
    return _Factors(jnp.linalg.det(u) * jnp.linalg.det(vh), adjoint(u), s, adjoint(vh))


# det(D + Σ x_l G_l) is linear in each row: the coefficient of x₁⋯xₖ takes row i_l of G_l for each
# l, and those of D elsewhere. The adjugate is the gradient, d det A = tr(adj(A) dA), so its form is
# that of the determinant of one order more, with one direction G left open.
@polarised
def _adjugate(theta: None, factors: _Factors, directions: tuple[Array, ...]) -> Array:
    del theta
    scale, left, d, right = factors
    turned = [product(left, e, right) for e in directions]
    return scale * product(right, _gradient(d, turned), left)


def _gradient(d: Float[Array, " n"], turned: list[Array]) -> Inexact[Array, "n n"]:
    """C with tr(C G) = Σ (Π_{j not in i} d_j) det[(G_l)_{i_l i_m}], where G₀ = G is left open."""
    count = len(turned) + 1
    products = _products_without(d, count)
    letters = string.ascii_lowercase[:count]
    total = jnp.zeros((d.size, d.size), d.dtype)
    for image in itertools.permutations(range(count)):
        to = [letters[i] for i in image]
        pairs = [f"{one}{other}" for one, other in zip(letters, to, strict=True)]
        out = letters[0] if image[0] == 0 else to[0] + letters[0]
        term = jnp.einsum(",".join([letters, *pairs[1:]]) + "->" + out, products, *turned)
        total = total + _sign(image) * (jnp.diag(term) if image[0] == 0 else term)
    return total


def _products_without(d: Float[Array, " n"], count: int) -> Float[Array, "..."]:
    """Products of all d but those at count indices, an axis each; 0 where two are the same."""
    at = jnp.eye(d.size, dtype=int)
    axes = [[other for other in range(count) if other != axis] for axis in range(count)]
    taken = sum((jnp.expand_dims(at, others) for others in axes), jnp.zeros((), int))
    products = jnp.prod(jnp.where(taken > 0, 1, d), axis=-1)
    return jnp.where(jnp.any(taken > 1, axis=-1), 0, products)


def _sign(image: tuple[int, ...]) -> int:
    swaps = sum(one > other for one, other in itertools.combinations(image, 2))
    return -1 if swaps % 2 else 1
