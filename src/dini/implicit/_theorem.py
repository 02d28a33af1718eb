"""The implicit function theorem, as one differentiation rule."""

from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.tree_util as jtu
import optimistix as optx
from jaxtyping import Array, Bool, Float, PyTree

from dini._tree import RealView, batched_with, describe, split_moving, tangent_of
from dini.linear import Direct, LinearConfig, System, system
from dini.rules import linearise


class TangentRule(Protocol):
    """How ∂zF ż = b is solved for ż: exactly, or by a few terms of a series."""

    @property
    def config(self) -> LinearConfig:
        """What the user said about linear solves."""
        ...

    def tangent(
        self, system: System, factors: Direct | None, b: Array, failed: Array
    ) -> Float[Array, " n"]:
        """The solution ż, linear in b."""
        ...


@eqx.filter_custom_jvp
def implicit_function(
    primal_fn: Callable[[PyTree], tuple[PyTree, PyTree]],
    residual_fn: Callable[[PyTree, PyTree, PyTree], PyTree],
    inputs: PyTree,
    rule: TangentRule,
) -> tuple[PyTree, PyTree]:
    """z(θ) with F(z(θ), θ) = 0, differentiable to every order.

    Args:
        primal_fn: θ ↦ (z, extra), any code; its own tangents are never used.
        residual_fn: (z, extra, θ) ↦ F, with as many real numbers as z.
        inputs: θ, a pytree; its inexact arrays are differentiated. The two functions must reach
            no other tracer.
        rule: how the linear system of the theorem is solved.

    Returns:
        (z, extra). `extra` is constant for derivatives; an `optx.RESULTS` in it says whether z may
        be differentiated, and a factorisation of ∂zF in it is used again.
    """
    out = jtu.tree_map(jnp.asarray, primal_fn(inputs))
    return batched_with(out, (primal_fn, residual_fn, inputs, rule))


# F(z(θ), θ) = 0 for all θ  ⇒  ∂zF ż + ∂θF θ̇ = 0  ⇒  ż = −(∂zF)⁻¹ ∂θF θ̇.
# z comes from the wrapped function itself, whose derivative is this rule again: so every order
# follows. The solve is linear in its right-hand side and transposable: so reverse mode follows,
# θ̄ = −(∂θF)ᵀ (∂zF)⁻ᵀ z̄.
@implicit_function.def_jvp
def _implicit_jvp(primals: tuple, tangents: tuple) -> tuple:
    primal_fn, residual_fn, inputs, rule = primals
    inputs_dot = tangents[2]
    z, extra = implicit_function(primal_fn, residual_fn, inputs, rule)
    if not jtu.tree_leaves(inputs_dot):
        return (z, extra), tangent_of((z, extra), None)
    moving, still = split_moving(inputs, inputs_dot)
    failed = has_failed(extra)
    name = f"the equation of {rule.config.name}"

    def of_inputs(moving: PyTree) -> Float[Array, " n"]:
        f = residual_fn(z, extra, eqx.combine(moving, still))
        return RealView(f).ravel(f)

    view = RealView(z)
    pushforward = linearise(of_inputs, moving, name).pushforward
    a = system_at(lambda z: residual_fn(z, extra, inputs), z, rule.config)
    factors = find(extra, Direct)
    factors = a.factorise() if factors is None else factors
    b = _marked(-pushforward(inputs_dot), inputs_dot, failed)
    z_dot = rule.tangent(a, factors, b, failed)
    return (z, extra), (tangent_of(z, view.unravel(z_dot)), tangent_of(extra, None))


def system_at(residual: Callable[[PyTree], PyTree], z: PyTree, config: LinearConfig) -> System:
    """The linear system of ∂zF at z, linearised once, on vectors of real numbers."""
    view = RealView(z)

    def flat(v: Float[Array, " n"]) -> Float[Array, " n"]:
        f = residual(view.unravel(v))
        return RealView(f).ravel(f).astype(view.dtype)

    v = view.ravel(z)
    derivative = linearise(flat, v, f"the equation of {config.name}")
    if derivative.value.shape != v.shape:
        raise ValueError(
            f"{config.name}: the residual has {derivative.value.size} real numbers, the unknown "
            f"{v.size}; the theorem needs as many of one as of the other. The unknown is "
            f"{describe(z)}."
        )
    struct = jax.ShapeDtypeStruct(v.shape, v.dtype)
    return system(config, derivative.pushforward, struct, view.eps)


def has_failed(extra: PyTree) -> Bool[Array, ""]:
    """Whether the primal solve has reported anything but success."""
    result = find(extra, optx.RESULTS)
    return jnp.asarray(False) if result is None else result != optx.RESULTS.successful


def _marked(b: Float[Array, " n"], inputs_dot: PyTree, failed: Bool[Array, ""]) -> Array:
    """b, and NaN times every tangent where `failed`: so that no cotangent is 0 after a failure.

    An input that does not enter the equation, or only through a mask, would get one.
    """
    parts = [p for t in jtu.tree_leaves(inputs_dot) for p in (t.real, t.imag)[: 1 + _complex(t)]]
    total = sum(jnp.sum(p).astype(b.dtype) for p in parts)
    return b + jnp.where(failed, jnp.nan, 0).astype(b.dtype) * total


def _complex(x: Any) -> bool:
    return jnp.iscomplexobj(x)


def find(tree: PyTree, kind: Any) -> Any:
    """The first node of a kind in a tree, or None."""
    nodes = jtu.tree_leaves(tree, is_leaf=lambda x: isinstance(x, kind))
    return next((x for x in nodes if isinstance(x, kind)), None)
