"""Krylov bases, and functions of the small matrices that they give."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact

from dini.linalg._matrices import norm, product


class Basis(NamedTuple):
    """A Vᵀ = Vᵀ H + r e_mᵀ, conj(V) Vᵀ = I, b = |b| v₁: the vectors are the rows of V."""

    v: Inexact[Array, "m n"]
    h: Inexact[Array, "m m"]
    size: Float[Array, ""]  # |b|


# A library's Arnoldi iteration (matfree 0.6.3) was measured: it divides by zero where the space is
# found to be invariant, refuses a depth beyond n, and has no derivative in forward mode with its
# adjoint, nor a finite one without it at such a space. Nothing here is differentiated through.
def arnoldi(mv: Callable, b: Inexact[Array, " n"], depth: int) -> Basis:
    """An orthonormal basis of span(b, A b, A² b, …), each vector made orthogonal twice.

    Where that space is invariant, or b is zero, the basis goes on with the axis farthest from it,
    so that it always has full rank, and H is similar to A once there are n vectors.

    Args:
        mv: x ↦ A x.
        b: where it starts.
        depth: how many vectors, n at most.
    """
    eps = jnp.finfo(b.dtype).eps
    largest = jnp.max(jnp.abs(b), initial=0)
    unit = b / jnp.where(largest > 0, largest, 1)
    size = jnp.sqrt(jnp.sum(jnp.abs(unit) ** 2))
    axis = jnp.zeros_like(b).at[0].set(1)
    first = jnp.where(size == 0, axis, unit / jnp.where(size == 0, 1, size))
    v = jnp.zeros((depth + 1, b.size), b.dtype).at[0].set(first)
    h = jnp.zeros((depth, depth + 1), b.dtype)

    def step(j: Array, state: tuple) -> tuple:
        v, h, held = state  # held: the square of the axes' parts in the basis
        image = mv(v[j])
        farthest = jnp.zeros_like(b).at[jnp.argmin(held)].set(1)
        pair = jnp.stack([image, farthest])
        parts = jnp.zeros((2, depth + 1), b.dtype)
        for _ in range(2):
            more = product(pair, jnp.conj(v).T)
            pair, parts = pair - product(more, v), parts + more
        sizes = jnp.sqrt(jnp.sum(jnp.abs(pair) ** 2, axis=1))
        invariant = sizes[0] <= eps * jnp.sqrt(jnp.sum(jnp.abs(image) ** 2))
        new = jnp.where(invariant, pair[1] / sizes[1], pair[0] / sizes[0])
        column = parts[0].at[j + 1].set(jnp.where(invariant, 0, sizes[0]).astype(b.dtype))
        return v.at[j + 1].set(new), h.at[j].set(column), held + jnp.abs(new) ** 2

    v, h, _ = jax.lax.fori_loop(0, depth, step, (v, h, jnp.abs(first) ** 2))
    return Basis(v[:depth], h[:, :depth].T, size * largest)


def first_column(
    f: Callable, h: Inexact[Array, "m m"], whole: bool, rtol: float
) -> Inexact[Array, " m"]:
    """f(H) e₁; NaN where the last quarter of it is no small part, and the space is not the whole.

    With terms that fall off geometrically, a last quarter of rtol leaves an error of rtol^(4/3).
    """
    y = _of_small(f, h, rtol)[:, 0]
    return jnp.where(whole | _fades(y, y, rtol), y, jnp.nan)


# f([[G, E], [0, Hᵀ]]) has Σ c_k Σ Gⁱ E (Hᵀ)^(k−1−i) in its upper right block, f(x) = Σ c_k xᵏ.
def corner(
    f: Callable, g: Inexact[Array, "m m"], h: Inexact[Array, "m m"], whole: bool, rtol: float
) -> Inexact[Array, "m m"]:
    """That block for E = e₁ e₁ᵀ; NaN where its last rows or columns are no small part."""
    m = len(h)
    size = jnp.maximum(norm(g), norm(h))
    size = jnp.where(size > 0, size, 1).astype(h.dtype)
    e = jnp.zeros_like(h).at[0, 0].set(size)
    x = _of_small(f, jnp.block([[g, e], [jnp.zeros_like(h), h.T]]), rtol)[:m, m:] / size
    return jnp.where(whole | (_fades(x, x, rtol) & _fades(x.T, x, rtol)), x, jnp.nan)


def _fades(x: Inexact[Array, "m ..."], of: Inexact[Array, "..."], rtol: float) -> Bool[Array, ""]:
    size = lambda x: jnp.max(jnp.abs(x), initial=0)
    return size(x[-max(2, len(x) // 4) :]) <= rtol * size(of)


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
