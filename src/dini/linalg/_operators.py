"""Matrices that are known by their products with vectors, and those made of them."""

from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Float, Inexact, PyTree

from dini._tree import split_moving


class Operator(Protocol):
    """A square matrix A(θ); the leaves of the operator are θ."""

    def mv(self, vector: Any) -> Any:
        """A(θ) x."""
        ...


class Transposed(eqx.Module):
    """Aᵀ, or its tangent where it is made of that of an operator.

    It asks JAX and not the operator, whose tags tell of A and not of a tangent of it.
    """

    of: PyTree

    def mv(self, vector: Inexact[Array, " n"]) -> Inexact[Array, " n"]:
        """Aᵀ x."""
        return jax.linear_transpose(self.of.mv, vector)(vector)[0]


def transposed(a: PyTree) -> PyTree:
    """Aᵀ, of an operator or of a tangent of one."""
    return a.of if isinstance(a, Transposed) else Transposed(a)


class Block(eqx.Module):
    """[[A, Ȧ], [0, A]], with Ȧ x = ∂θ(A(θ) x) θ̇."""

    a: PyTree
    dot: PyTree  # θ̇, None where θ stands still

    def mv(self, vector: Inexact[Array, " 2*n"]) -> Inexact[Array, " 2*n"]:
        """[A x + Ȧ y; A y]."""
        upper, lower = jnp.split(vector, 2)
        along_lower, moved = _with_tangent(self.a, self.dot, lower)
        return jnp.concatenate([self.a.mv(upper) + moved, along_lower])


def _with_tangent(
    a: PyTree, dot: PyTree, x: Inexact[Array, " n"]
) -> tuple[Inexact[Array, " n"], Inexact[Array, " n"]]:
    """A x and Ȧ x."""
    moving, still = split_moving(a, dot)
    return jax.jvp(lambda moving: eqx.combine(moving, still).mv(x), (moving,), (dot,))


def balanced(a: Operator, dot: PyTree, like: Array) -> tuple[Block, Float[Array, ""]]:
    """The block matrix with Ȧ/s in the place of Ȧ, and the power of 2 that brings it to A's size.

    A Krylov basis of the block holds both halves of its vectors, each to the precision of the
    larger one. The sizes are those of the products with a vector of no structure.
    """
    probe = jnp.cos(jnp.arange(like.size, dtype=like.real.dtype) ** 2).astype(like.dtype)
    products = _with_tangent(a, dot, probe)
    of_a, of_dot = (jnp.max(jnp.abs(jax.lax.stop_gradient(x)), initial=0) for x in products)
    over = of_dot / of_a
    _, power = jnp.frexp(jnp.where((over > 0) & jnp.isfinite(over), over, 1))
    kind = jnp.finfo(over.dtype)
    s = jnp.ldexp(jnp.ones_like(over), jnp.clip(power - 1, kind.minexp, kind.maxexp - 1))
    return Block(a, jtu.tree_map(lambda t: t / s.astype(t.real.dtype), dot)), s
