"""Functions of a matrix whose derivatives are all known as forms in their directions."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from dini._tree import RealView, split_moving
from dini.rules import custom_rule, linear_map


class Tangent(eqx.Module):
    """The parameters (θ, θ̇) of ∂θf θ̇, a function of the matrix like f itself."""

    primal: PyTree
    dot: PyTree

    def of(self, g: Callable[[PyTree], Array]) -> Array:
        """The derivative of g(θ) along θ̇."""
        moving, still = split_moving(self.primal, self.dot)
        return jax.jvp(lambda moving: g(eqx.combine(moving, still)), (moving,), (self.dot,))[1]


# Dᵏf(A; θ)[E₁, …, Eₖ] is linear in each Eᵢ, so its derivative along Ȧ, Ėᵢ, θ̇ is
# Dᵏ⁺¹f(A; θ)[E₁, …, Eₖ, Ȧ] + Σᵢ Dᵏf(A; θ)[…, Ėᵢ, …] + Dᵏ(∂θf θ̇)(A)[E₁, …, Eₖ].
# Where f is the gradient of a function g, dg = tr(f(A) dA), tr(U Dᵏf(A)[E₁, …, Eₖ]) is the
# derivative of g of order k + 1, symmetric in U and all Eᵢ: the transpose of E ↦ Dᵏf(A)[…, E] is
# U ↦ Dᵏf(A)[…, Uᵀ]ᵀ.
def polarised(form: Callable[[PyTree, PyTree, tuple[Array, ...]], Array]) -> Any:
    """All derivatives of f(A; θ), the gradient of a function of A, from the forms Dᵏf.

    Args:
        form: `form(θ, factors, (E₁, …, Eₖ))` gives Dᵏf(A; θ)[E₁, …, Eₖ], (n, n), for k = 0, 1, …,
            from factors of A. θ is the function's parameters, or `Tangent(θ, θ̇)`, for ∂θf θ̇.

    Returns:
        `f(θ, A, factors, directions)`, differentiable in θ, A and the directions. The factors are
        those of the value of A: what moves with them is A.
    """

    @custom_rule
    def f(theta: PyTree, a: Array, factors: PyTree, directions: tuple[Array, ...]) -> Array:
        del a
        return form(theta, factors, directions)

    def along(static: PyTree, arrays: PyTree, e: Array) -> Array:
        theta, a, factors, directions = eqx.combine(arrays, static)
        return f(theta, a, factors, (*directions, e))

    def along_transposed(static: PyTree, arrays: PyTree, u: Array) -> Array:
        pulled = along(static, arrays, u.T).T
        return pulled if jnp.iscomplexobj(arrays[1]) else pulled.real

    def moved(static: PyTree, arrays: PyTree, theta_dot: PyTree) -> Array:
        theta, *rest = eqx.combine(arrays, static)
        return f(Tangent(theta, theta_dot), *rest)

    # By every parameter in turn: Re(u ∂f θ̇) = Re(θ̄ θ̇).
    def moved_transposed(view: RealView, static: PyTree, arrays: PyTree, u: Array) -> PyTree:
        pulled = lambda dot: jnp.sum(u * moved(static, arrays, view.unravel(dot))).real
        gradient = jax.vmap(pulled)(jnp.eye(view.size, dtype=view.dtype))
        return jtu.tree_map(jnp.conj, view.unravel(gradient))

    def rule(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
        theta, a, factors, directions = primals
        theta_dot, a_dot, _, directions_dot = tangents

        def linear(directions: tuple[Array, ...], e: Array) -> Array:
            arrays, static = eqx.partition((theta, a, factors, directions), eqx.is_array)
            bound = (functools.partial(m, static) for m in (along, along_transposed))
            return linear_map(*bound, arrays, e)

        terms = [] if a_dot is None else [linear(directions, a_dot)]
        for i, e_dot in enumerate(directions_dot):
            if e_dot is not None:
                terms.append(linear((*directions[:i], *directions[i + 1 :]), e_dot))
        if jtu.tree_leaves(theta_dot):
            arrays, static = eqx.partition(primals, eqx.is_array)
            view = RealView(jtu.tree_map(jax.typeof, theta_dot))
            back = functools.partial(moved_transposed, view, static)
            terms.append(linear_map(functools.partial(moved, static), back, arrays, theta_dot))
        return f(*primals), sum(terms[1:], terms[0])

    f.defjvp(rule, symbolic_zeros=True)
    return f
