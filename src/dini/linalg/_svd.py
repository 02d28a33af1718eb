"""Singular values and vectors."""

import functools
from typing import Literal, NamedTuple, overload

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Bool, Float, Inexact

from dini._matrices import product
from dini.linalg._defined_where import defined_where
from dini.linalg._matrices import adjoint, matrices, singular_values
from dini.linalg._pinv import pinv
from dini.rules import custom_rule


class SVDResult(NamedTuple):
    """A = U diag(s) Vᴴ."""

    U: Inexact[Array, "... m p"]
    S: Float[Array, "... k"]
    Vh: Inexact[Array, "... q n"]


@overload
def svd(
    a: Inexact[ArrayLike, "... m n"],
    full_matrices: bool = True,
    compute_uv: Literal[True] = True,
) -> SVDResult: ...


@overload
def svd(
    a: Inexact[ArrayLike, "... m n"], full_matrices: bool = True, *, compute_uv: Literal[False]
) -> Float[Array, "... k"]: ...


def svd(
    a: Inexact[ArrayLike, "... m n"], full_matrices: bool = True, compute_uv: bool = True
) -> SVDResult | Float[Array, "... k"]:
    """Singular values, descending, and singular vectors, A = U diag(s) Vᴴ.

    Values closer than 4 max(m, n) eps s₁ to each other count as repeated, and as 0 where they are
    as close to it: float arithmetic cannot tell them apart.

    - A singular value that is simple and not 0 has its derivative, whatever the rank; repeated
      ones have that of any function symmetric in them, and their second derivatives are NaN. One
      that is 0 has none: it moves by |uᴴ Ȧ v|.
    - Vectors of a repeated value have no derivative. Neither have those of a value 0, but for
      the first one of real u and v that alone span the null space. Vectors that only complete a
      basis (`full_matrices`) have one where there is one of them, and the rank is full.

    What has no derivative is NaN, and in reverse mode the whole gradient of what depends on it.
    Functions of AᴴA and AAᴴ have theirs at repeated values by
    [`spectral_function`][dini.linalg.spectral_function], and A⁺ by [`pinv`][dini.linalg.pinv].

    Args:
        a: the matrices.
        full_matrices: whether U and Vᴴ are square; else (..., m, k) and (..., k, n), k = min(m, n).
        compute_uv: whether to return U and Vᴴ.

    Returns:
        (U, s, Vᴴ), or s, real, (..., k).

    Raises:
        TypeError, ValueError: for what is no matrix of numbers.

    Equations: ṡ = Re uᴴ Ȧ v, Ȧ v + A v̇ = ṡ u + s u̇, Ȧᴴ u + Aᴴ u̇ = ṡ v + s v̇, and for the phase
    of complex vectors, which nothing tells, uᴴ u̇ + vᴴ v̇ = 0.

    Reference: Townsend, Differentiating the singular value decomposition (2016).
    """
    a = matrices("svd", "a: m n", a=a)[0]
    u, s, vh = _each_svd(a, bool(full_matrices and compute_uv))
    return SVDResult(u, s, vh) if compute_uv else s


@custom_rule
def _svd(a: Array, full_matrices: bool) -> tuple[Array, Array, Array]:
    return singular_values(a, full_matrices)


@_svd.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    factors = _svd(*primals)
    residuals = (primals[0], *factors)
    return factors, defined_where(_along, _exists, residuals, tangents[0], still=_still)


# A v = s u and Aᴴ u = s v in one equation, J z = s z with z = (u, v) and J = [[0, A], [Aᴴ, 0]]:
# (J − s + z zᴴ/2) ż = (ṡ − J̇) z, since zᴴ z = 2 and zᴴ ż = 0. No other vector is in it. With
# p, q the two parts of the right-hand side in the bases U and V, and ż likewise (α, β),
# (sᵢ − s)(α + β)ᵢ = (p + q)ᵢ, (sᵢ + s)(α − β)ᵢ = −(p − q)ᵢ, and −s ż = (p, q) beyond the bases.
def _along(residuals: tuple, e: Array) -> tuple[Array, Array, Array]:
    a, u, s, vh = residuals
    v = adjoint(vh)
    u1, v1 = u[:, : s.size], v[:, : s.size]
    along_v, along_u = product(e, v1), product(adjoint(e), u1)
    s_dot = jnp.sum(jnp.conj(u1) * along_v, 0).real

    def equation(x: tuple[Array, Array]) -> tuple[Array, Array]:
        in_u, in_v = x
        inside = (jnp.sum(jnp.conj(u1) * in_u, 0) + jnp.sum(jnp.conj(v1) * in_v, 0)) / 2
        of_u = product(a, in_v) - in_u * s + u1 * inside
        return of_u, product(adjoint(a), in_u) - in_v * s + v1 * inside

    def solve(u: Array, v: Array, b: tuple[Array, Array]) -> tuple[Array, Array]:
        p, q = product(adjoint(u), b[0]), product(adjoint(v), b[1])
        together, apart = (p + q) / difference, (q - p) / total
        in_u = product(u, together + apart) / 2 - (b[0] - product(u, p)) / positive
        return in_u, product(v, together - apart) / 2 - (b[1] - product(v, q)) / positive

    still, zero = lax.stop_gradient(s), _zero(residuals)
    difference = jnp.where(_repeated(residuals), jnp.inf, still[:, None] - still)
    difference = jnp.fill_diagonal(difference, 1, inplace=False)
    total = jnp.where(zero & zero[:, None], jnp.inf, still + still[:, None])
    positive = jnp.where(zero, jnp.inf, still)
    bases = lax.stop_gradient((u1, v1))
    conjugate = jnp.conj(bases[0]), jnp.conj(bases[1])
    u_dot, v_dot = lax.custom_linear_solve(
        equation,
        (u1 * s_dot - along_v, v1 * s_dot - along_u),
        lambda _, b: solve(*bases, b),
        lambda _, b: solve(*conjugate, b),
    )
    u_dot = _completed(u_dot, a, u, e)
    return u_dot, s_dot, adjoint(_completed(v_dot, adjoint(a), v, adjoint(e)))


# U₂, what is left of the basis, has Aᴴ U₂ = 0: U̇₂ = −A⁺ᴴ Ȧᴴ U₂ where A has full rank.
def _completed(u_dot: Array, a: Array, u: Array, e: Array) -> Array:
    """The columns of U̇₁, and those of U̇₂."""
    rest = u[:, u_dot.shape[1] :]
    if not rest.shape[1]:
        return u_dot
    return jnp.concatenate([u_dot, product(-adjoint(pinv(a)), product(adjoint(e), rest))], axis=1)


def _exists(residuals: tuple) -> tuple[Bool[Array, "..."], ...]:
    """Where columns of U, singular values, and rows of Vᴴ have a derivative."""
    _, u, _, vh = residuals
    zero = _zero(residuals)
    simple = jnp.sum(_repeated(residuals), 0) == 1

    def vectors(length: int, count: int) -> Array:
        missing = length - zero.size  # dimensions of the null space beyond the zeros in s
        null_alone = missing == 0 and not jnp.iscomplexobj(u)
        rest = jnp.full(count - zero.size, missing == 1) & ~jnp.any(zero)
        return jnp.concatenate([simple & (~zero | null_alone), rest])

    return vectors(*u.shape), ~zero, vectors(*vh.shape[::-1])[:, None]


def _still(residuals: tuple, cotangent: tuple[Array, Array, Array]) -> tuple:
    """Singular values and vectors that nothing depends on do not move."""
    a, u, s, vh = residuals
    k = s.size
    of_u, of_s, of_v = (
        jnp.any(cotangent[0] != 0, 0),
        cotangent[1] != 0,
        jnp.any(cotangent[2] != 0, 1),
    )
    pair = of_s | of_u[:k] | of_v[:k]
    hold = lambda used, x: jnp.where(used, x, lax.stop_gradient(x))
    used_u, used_v = (jnp.concatenate([pair, of[k:]]) for of in (of_u, of_v))
    return a, hold(used_u, u), hold(pair, s), hold(used_v[:, None], vh)


def _rounding(residuals: tuple) -> Array:
    a, _, s, _ = residuals
    return 4 * max(a.shape) * jnp.finfo(s.dtype).eps * jnp.max(s, initial=0)


def _zero(residuals: tuple) -> Bool[Array, " k"]:
    return lax.stop_gradient(residuals[2] <= _rounding(residuals))


def _repeated(residuals: tuple) -> Bool[Array, "k k"]:
    s = residuals[2]
    return lax.stop_gradient(jnp.abs(s - s[:, None]) <= _rounding(residuals))


@functools.partial(jax.jit, static_argnums=1)
def _each_svd(a: Array, full_matrices: bool) -> tuple[Array, Array, Array]:
    one = functools.partial(_svd, full_matrices=full_matrices)
    return jnp.vectorize(one, signature="(m,n)->(m,p),(k),(q,n)")(a)
