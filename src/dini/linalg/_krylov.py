"""The action of f(A) by Krylov spaces, and its derivatives by its own on larger matrices."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, Inexact, PyTree

from dini._matrices import product
from dini.linalg._arnoldi import Basis, arnoldi, corner, first_column
from dini.linalg._operators import Operator, balanced, transposed
from dini.rules import custom_rule

_Vectors = Inexact[Array, "k n"]


class Krylov(eqx.Module):
    """How f(A) b is approximated."""

    f: Callable
    depth: int = eqx.field(static=True)
    rtol: float = eqx.field(static=True)

    def twice(self) -> "Krylov":
        """For a block matrix: every eigenvalue is there twice, in a Jordan block."""
        return Krylov(self.f, 2 * self.depth, self.rtol)

    def bases(self, a: Operator, b: _Vectors) -> tuple[Basis, bool]:
        """One for every vector, and whether they span the whole space."""
        n = b.shape[-1]
        return jax.vmap(lambda b: arnoldi(a.mv, b, min(self.depth, n)))(b), self.depth >= n


# The derivatives of φ(θ, u, b) = uᵀ f(A(θ)) b. With f(M) = [[f(A), L(A, Ȧ)], [0, f(A)]] for
# M = [[A, Ȧ], [0, A]], φ's derivative along θ̇ is uᵀ L(A, Ȧ) b = [u; 0]ᵀ f(M) [0; b]: a φ of M.
@custom_rule
@eqx.filter_jit
def action(method: Krylov, a: Operator, b: _Vectors) -> _Vectors:
    """∂φ/∂u, f(A) b."""
    bases, whole = method.bases(a, b)

    def one(basis: Basis) -> Array:
        y = first_column(method.f, basis.h, whole | (basis.size == 0), method.rtol)
        return basis.size * product(y, basis.v)

    return jax.vmap(one)(bases)


# uᵀ Aⁱ Ȧ Aʲ b with (Aᵀ)ⁱ u = |u| P Gⁱ e₁ and Aʲ b = |b| Q Hʲ e₁ makes uᵀ L(A, Ȧ) b the sum of
# X_ij p_iᵀ Ȧ q_j, X = |u| |b| Σ c_k Σ Gⁱ e₁ e₁ᵀ (Hᵀ)^(k−1−i): one pullback of A q_j for every j.
@custom_rule
@eqx.filter_jit
def gradient(method: Krylov, a: Operator, u: _Vectors, b: _Vectors) -> PyTree[Array]:
    """∂φ/∂θ, summed over the pairs of vectors; a tree like the operator."""
    left, _ = method.bases(transposed(a), u)
    right, whole = method.bases(a, b)

    def weights(left: Basis, right: Basis) -> Array:
        size = left.size * right.size
        x = corner(method.f, left.h, right.h, whole | (size == 0), method.rtol)
        return size * product(x.T, left.v)

    theta, rest = eqx.partition(a, eqx.is_inexact_array)
    along_basis = lambda theta: jax.vmap(jax.vmap(eqx.combine(theta, rest).mv))(right.v)
    _, pullback = jax.vjp(along_basis, theta)
    return pullback(jax.vmap(weights)(left, right))[0]


def _along(method: Krylov, a: Operator, dot: PyTree, b: _Vectors) -> _Vectors:
    """L(A, Ȧ) b, the upper half of f(M) [0; b]."""
    block, s = balanced(a, dot, b[0])
    out = action(method.twice(), block, jnp.concatenate([jnp.zeros_like(b), b], axis=1))
    return s * out[:, : b.shape[1]]


def _gradient_along(
    method: Krylov, a: Operator, dot: PyTree, u: _Vectors, b: _Vectors
) -> PyTree[Array]:
    """∂/∂θ of uᵀ L(A, Ȧ) b."""
    block, s = balanced(a, dot, b[0])
    zeros = jnp.zeros_like(b)
    halves = jnp.concatenate([u, zeros], axis=1), jnp.concatenate([zeros, b], axis=1)
    both = gradient(method.twice(), block, *halves)
    return jtu.tree_map(lambda x: s.astype(x.real.dtype) * x, both.a)


def _action_tangent(out: Array, primals: tuple, tangents: tuple) -> Array:
    (method, a, b), (_, a_dot, b_dot) = primals, tangents
    total = jnp.zeros_like(out) if b_dot is None else action(method, a, b_dot)
    return total + _along(method, a, a_dot, b) if jtu.tree_leaves(a_dot) else total


def _action_pullback(out: Array, primals: tuple, u: Array, moving: tuple) -> tuple:
    del out
    method, a, b = primals
    a_bar = gradient(method, a, u, b) if any(jtu.tree_leaves(moving[1])) else None
    return None, a_bar, action(method, transposed(a), u) if moving[2] else None


def _gradient_tangent(out: PyTree, primals: tuple, tangents: tuple) -> PyTree:
    (method, a, u, b), (_, a_dot, u_dot, b_dot) = primals, tangents
    terms = [jtu.tree_map(jnp.zeros_like, out)]
    terms += [] if u_dot is None else [gradient(method, a, u_dot, b)]
    terms += [] if b_dot is None else [gradient(method, a, u, b_dot)]
    terms += [_gradient_along(method, a, a_dot, u, b)] if jtu.tree_leaves(a_dot) else []
    return jtu.tree_map(lambda *x: sum(x[1:], x[0]), *terms)


# ⟨t, ∂φ/∂θ⟩ is the derivative of φ along t, uᵀ L(A, A'(t)) b: these are its partial derivatives.
def _gradient_pullback(out: PyTree, primals: tuple, t: PyTree, moving: tuple) -> tuple:
    del out
    method, a, u, b = primals
    a_bar = _gradient_along(method, a, t, u, b) if any(jtu.tree_leaves(moving[1])) else None
    u_bar = _along(method, a, t, b) if moving[2] else None
    b_bar = _along(method, transposed(a), transposed(t), u) if moving[3] else None
    return None, a_bar, u_bar, b_bar


action._defpair(_action_tangent, _action_pullback, symbolic_zeros=True)
gradient._defpair(_gradient_tangent, _gradient_pullback, symbolic_zeros=True)
