"""Singular values and vectors."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Inexact

from dini.linalg._arguments import adjoint, as_matrix
from dini.linalg._defined_where import defined_where
from dini.rules import custom_rule


class SVDResult(NamedTuple):
    """A = U diag(s) Vᴴ."""

    U: Inexact[Array, "... m p"]
    S: Float[Array, "... k"]
    Vh: Inexact[Array, "... q n"]


def svd(
    a: Inexact[ArrayLike, "... m n"], full_matrices: bool = True, compute_uv: bool = True
) -> SVDResult | Float[Array, "... k"]:
    """Singular values, descending, and singular vectors, A = U diag(s) Vᴴ.

    Values closer than 4 max(m, n) eps s₁ to each other count as repeated, and as 0 where they are
    as close to it: float arithmetic cannot tell them apart.

    - A singular value that is simple and not 0 has its derivative; repeated ones have that of any
      function symmetric in them, and no second one. One that is 0 has none: it moves by
      |uᴴ Ȧ v|. That of the others is exact whatever the rank.
    - Vectors of a repeated value have no derivative. Neither have those of a value 0, but for the
      ones that are the null space alone, up to their sign. Vectors that only complete a
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
        TypeError: for what is no matrix.

    Equations: with G = Uᴴ Ȧ V, ṡᵢ = Re Gᵢᵢ, U̇ = U Ω + (I − UUᴴ) Ȧ V S⁻¹,
    V̇ = V Ψ + (I − VVᴴ) Ȧᴴ U S⁻¹, and for i ≠ j
    Ωᵢⱼ, Ψᵢⱼ = ½ (G + Gᴴ)ᵢⱼ/(sⱼ − sᵢ) ± ½ (G − Gᴴ)ᵢⱼ/(sⱼ + sᵢ).

    Reference: Townsend, Differentiating the singular value decomposition (2016).
    """
    a = as_matrix("svd", a)
    one = functools.partial(_svd, full_matrices=bool(full_matrices and compute_uv))
    u, s, vh = jnp.vectorize(one, signature="(m,n)->(m,p),(k),(q,n)")(a)
    return SVDResult(u, s, vh) if compute_uv else s


@custom_rule
def _svd(a: Array, full_matrices: bool) -> tuple[Array, Array, Array]:
    u, s, vh = jnp.linalg.svd(a, full_matrices=full_matrices)
    return u, s, vh


@_svd.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    factors = _svd(*primals)
    return factors, defined_where(_along, _exists, factors, tangents[0])


def _along(factors: tuple[Array, Array, Array], e: Array) -> tuple[Array, Array, Array]:
    u, s, vh = factors
    u1, v1 = u[:, : s.size], adjoint(vh)[:, : s.size]
    turned = adjoint(u1) @ e @ v1
    together = (turned + adjoint(turned)) / jnp.where(_repeated(factors), jnp.inf, s - s[:, None])
    zero = _zero(factors)
    apart = (turned - adjoint(turned)) / jnp.where(zero & zero[:, None], jnp.inf, s + s[:, None])
    over = 1 / jnp.where(zero, jnp.inf, s)
    u_dot = _turned(u, u1 @ (together + apart) / 2, e @ v1 * over)
    v_dot = _turned(adjoint(vh), v1 @ (together - apart) / 2, adjoint(e) @ u1 * over)
    return u_dot, jnp.diagonal(turned).real, adjoint(v_dot)


# What is new in U̇₁ is in the complement U₂, where Uᴴ U̇ is skew: U̇₂ = −U₁ U̇₁ᴴ U₂.
def _turned(u: Array, inside: Array, moved: Array) -> Array:
    """U̇ from its part in the span of the first columns U₁, and from Ȧ V S⁻¹."""
    k = moved.shape[1]
    u1, u2 = u[:, :k], u[:, k:]
    outside = moved - u1 @ (adjoint(u1) @ moved)
    return jnp.concatenate([inside + outside, -u1 @ (adjoint(outside) @ u2)], axis=1)


def _exists(factors: tuple[Array, Array, Array]) -> tuple[Bool[Array, "..."], ...]:
    """Where columns of U, singular values, and rows of Vᴴ have a derivative."""
    u, _, vh = factors
    zero = _zero(factors)
    simple = jnp.sum(_repeated(factors), 0) == 1

    def vectors(length: int, count: int) -> Array:
        missing = length - zero.size  # dimensions of the null space beyond the zeros in s
        alone = simple & (~zero | ((missing == 0) & ~jnp.iscomplexobj(u)))
        rest = jnp.broadcast_to((missing == 1) & ~jnp.any(zero), (count - zero.size,))
        return jnp.concatenate([alone, rest])

    return vectors(*u.shape), ~zero, vectors(*vh.shape[::-1])[:, None]


def _rounding(factors: tuple[Array, Array, Array]) -> Array:
    u, s, vh = factors
    longest = max(u.shape[0], vh.shape[1])
    return 4 * longest * jnp.finfo(s.dtype).eps * jnp.max(s, initial=0)


def _zero(factors: tuple[Array, Array, Array]) -> Bool[Array, " k"]:
    return jax.lax.stop_gradient(factors[1] <= _rounding(factors))


def _repeated(factors: tuple[Array, Array, Array]) -> Bool[Array, "k k"]:
    s = factors[1]
    return jax.lax.stop_gradient(jnp.abs(s - s[:, None]) <= _rounding(factors))
