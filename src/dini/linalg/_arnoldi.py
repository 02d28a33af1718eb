"""Krylov bases, and functions of the small matrices that they give."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Inexact

from dini._matrices import product
from dini.linalg._matrices import norm


class Basis(NamedTuple):
    """A Vᵀ = Vᵀ H + r e_mᵀ, conj(V) Vᵀ = I, b = |b| v₁: the vectors are the rows of V."""

    v: Inexact[Array, "m n"]
    h: Inexact[Array, "m m"]
    size: Inexact[Array, ""]  # |b|


# matfree's iteration (0.6.3) was measured in its place. It gives NaN where b is an eigenvector or
# zero, refuses a depth beyond n, returns float64 for float32, and with its adjoint has no forward
# mode, hence no Hessian but reverse over reverse. Ours is not differentiated through.
def arnoldi(mv: Callable, b: Inexact[Array, " n"], depth: int) -> Basis:
    """An orthonormal basis of span(b, A b, A² b, …): the factors Q R of (b, A v₁, A v₂, …).

    Where that space is invariant, or b is zero, the basis goes on with the axis farthest from it,
    so that it always has full rank, and H is similar to A once there are n vectors.

    Args:
        mv: x ↦ A x.
        b: where it starts.
        depth: m, how many vectors, n at most.
    """

    def step(j: Array, state: tuple) -> tuple:
        v, r, held, image = state  # held: the squares of the parts of the axes in the basis
        largest = jnp.max(jnp.abs(image), initial=0)
        unit = image / jnp.where(largest == 0, 1, largest)
        axis = jnp.zeros_like(b).at[jnp.argmin(held)].set(1)

        def orthogonal(_: Array, state: tuple) -> tuple:
            pair, parts = state
            more = product(pair, jnp.conj(v).T)
            return pair - product(more, v), parts + more

        start = jnp.stack([unit, axis]), jnp.zeros((2, depth + 1), b.dtype)
        pair, parts = jax.lax.fori_loop(0, 2, orthogonal, start)  # once leaves what cancelled
        sizes = jnp.sqrt(jnp.sum(jnp.abs(pair) ** 2, axis=1))
        invariant = sizes[0] <= jnp.finfo(b.dtype).eps  # and not NaN
        new = jnp.where(invariant, pair[1] / sizes[1], pair[0] / sizes[0])
        column = parts[0].at[j].set(jnp.where(invariant, 0, sizes[0]).astype(b.dtype))
        return v.at[j].set(new), r.at[:, j].set(largest * column), held + jnp.abs(new) ** 2, mv(new)

    v = jnp.zeros((depth + 1, b.size), b.dtype)
    start = v, jnp.zeros((depth + 1, depth + 1), b.dtype), jnp.zeros_like(b.real), b
    v, r, *_ = jax.lax.fori_loop(0, depth + 1, step, start)
    return Basis(v[:depth], r[:depth, 1:], r[0, 0])


def first_column(
    f: Callable, h: Inexact[Array, "m m"], exact: Bool[ArrayLike, ""], rtol: float
) -> Inexact[Array, " m"]:
    """f(H) e₁; NaN where its last numbers are no small part and it is not known to be exact."""
    y = _of_small(f, h, rtol)[:, 0]
    return jnp.where(exact | _fades(y, y, rtol), y, jnp.nan)


# f([[G, E], [0, Hᵀ]]) has Σ c_k Σ Gⁱ E (Hᵀ)^(k−1−i) in its upper right block, f(x) = Σ c_k xᵏ.
def corner(
    f: Callable,
    g: Inexact[Array, "m m"],
    h: Inexact[Array, "m m"],
    exact: Bool[ArrayLike, ""],
    rtol: float,
) -> Inexact[Array, "m m"]:
    """That block for E = e₁ e₁ᵀ; NaN where its last rows or columns are no small part, as above."""
    m = len(h)
    size = jnp.maximum(norm(g), norm(h))
    size = jnp.where(size > 0, size, 1).astype(h.dtype)
    e = jnp.zeros_like(h).at[0, 0].set(size)
    x = _of_small(f, jnp.block([[g, e], [jnp.zeros_like(h), h.T]]), rtol)[:m, m:] / size
    return jnp.where(exact | (_fades(x, x, rtol) & _fades(x.T, x, rtol)), x, jnp.nan)


# What is left out is about as large as the last that is taken in; of functions that are even or odd
# every other number may vanish, so it takes a few.
def _fades(x: Inexact[Array, "m ..."], of: Inexact[Array, "..."], rtol: float) -> Bool[Array, ""]:
    size = lambda x: jnp.max(jnp.abs(x), initial=0)
    return size(x[-max(2, len(x) // 8) :]) <= rtol * size(of)


def _of_small(f: Callable, k: Inexact[Array, "m m"], rtol: float) -> Inexact[Array, "m m"]:
    """f(K); NaN where it does not commute with K, as every function of a matrix does.

    A function of symmetric matrices, which K is not, gives itself away by that.
    """
    out = jnp.asarray(f(k))
    if out.shape != k.shape or (jnp.iscomplexobj(out) and not jnp.iscomplexobj(k)):
        raise TypeError(
            f"f must give a matrix of the shape of its argument, {k.dtype}{list(k.shape)}, real "
            f"where that is real, and gave {out.dtype}{list(out.shape)}."
        )
    out = out.astype(k.dtype)
    off = norm(product(out, k) - product(k, out))
    return jnp.where(off <= rtol * norm(out) * norm(k), out, jnp.nan)
