"""The polar decomposition."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Inexact

from dini._matrices import product
from dini.linalg._equation import Terms, factorise, solve
from dini.linalg._matrices import adjoint, matrices, norm, size
from dini.linalg._transformations import shifts
from dini.rules import custom_rule


def polar(
    a: ArrayLike, side: str = "right"
) -> tuple[Inexact[Array, "... m n"], Inexact[Array, "... k k"]]:
    """The polar decomposition a = u p (right) or a = p u (left), p Hermitian and positive.

    The derivative of u solves H Ω + Ω H = uᴴE − Eᴴu.

    Args:
        a: of shape (..., m, n), of full rank.
        side: "right" or "left".

    Returns:
        (u, p): u of shape (..., m, n), with orthonormal columns, or rows if m < n; p of shape
        (..., n, n) for "right", (..., m, m) for "left". NaN where a is of lower rank, to working
        precision: u is not unique there.

    Raises:
        TypeError, ValueError: for what is no matrix of numbers, or another side.

    References: Higham, Computing the polar decomposition — with applications (1986); Functions of
    Matrices (2008), chapter 8.
    """
    if side not in ("right", "left"):
        raise ValueError(f"dini.linalg.polar: side must be 'right' or 'left', and is {side!r}.")
    (a,) = matrices("polar", "a: m n", a=a)
    wide = a.shape[-2] < a.shape[-1]
    unit = a / size(a)
    u = adjoint(_unitary(adjoint(unit))) if wide else _unitary(unit)
    p = product(adjoint(u), a) if side == "right" else product(a, adjoint(u))
    return u, (p + adjoint(p)) / 2


# Newton's iteration for Xᴴ X = I from R, where a = Q R: X ← (μ X + (μ X)⁻ᴴ)/2, with the μ that
# balances the norms of X and X⁻¹ while they are apart.
@custom_rule
def _unitary_factor(a: Array) -> Array:
    q, x = (None, a) if a.shape[0] == a.shape[1] else jnp.linalg.qr(a)
    eps = jnp.finfo(a.dtype).eps

    def step(state: tuple) -> tuple:
        x, off, k = state
        inverse = adjoint(jnp.linalg.inv(x))
        ratio = norm(inverse) * norm(inverse.T) / (norm(x) * norm(x.T))
        scale = jnp.where(off > _NEAR, ratio**0.25, 1)
        new = (scale * x + inverse / scale) / 2
        return new, norm(new - x) / norm(new), k + 1

    more = lambda s: (s[1] > eps**0.6) & (s[2] < _STEPS)
    x, off, _ = jax.lax.while_loop(more, step, (x, jnp.ones_like(norm(x)), 0))
    u = x if q is None else product(q, x)
    return jnp.where((off <= eps**0.6) & _full_rank(u, a), u, jnp.nan)


def _full_rank(u: Array, a: Array) -> Array:
    """Whether H = uᴴ a has an inverse, to working precision."""
    h = product(adjoint(u), a)
    return norm(h) * norm(jnp.linalg.inv(h)) * jnp.finfo(a.dtype).eps < 1


# a = u H, uᴴu = I, with Ω = uᴴ u̇ skew: uᴴE = Ω H + Ḣ  ⇒  H Ω + Ω H = uᴴE − Eᴴu, and
# u̇ = u Ω + (I − u uᴴ) E H⁻¹.
@_unitary_factor.defjvp
def _(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    (a,), (e,) = primals, tangents
    u = _unitary_factor(a)
    h = product(adjoint(u), a)
    h = (h + adjoint(h)) / 2
    terms = Terms(h, None, None, h, twins=True)
    along = product(adjoint(u), e)
    omega = solve(terms, factorise(terms, shifts, h), along - adjoint(along))
    tangent = product(u, omega)
    if a.shape[0] > a.shape[1]:
        tangent += adjoint(jnp.linalg.solve(h, adjoint(e - product(u, along))))
    return u, tangent


@jax.jit
@functools.partial(jnp.vectorize, signature="(m,n)->(m,n)")
def _unitary(a: Array) -> Array:
    return _unitary_factor(a) if a.size else a


_NEAR = 1e-2
_STEPS = 60
