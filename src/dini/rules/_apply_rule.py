"""How one rule, of any of three kinds, serves every mode and order."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Self

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from dini._tree import asarrays, batched_with, split_moving, tangent_of
from dini.rules._captured import Lifted
from dini.rules._fit import fit, fit_each
from dini.rules._linear_map import linear_map
from dini.rules._positions import Positions


class Rules(eqx.Module):
    """The rules that a function was given, and how it takes its arguments."""

    jvp: Callable | None
    vjp: Callable | None
    partials: Callable | None
    # (out, args, tangents) ↦ the tangent of out, where out is at hand; then the VJP rule is our own
    # as well, (out, args, cotangent, moving) ↦ the cotangents of the leaves that move
    tangent: Callable | None
    positions: Positions
    has_residuals: bool = eqx.field(static=True)
    symbolic_zeros: bool = eqx.field(static=True)
    name: str = eqx.field(static=True)
    remedy: str = eqx.field(static=True)  # for a function without a rule

    def lifted(self, values: Sequence[jax.core.Tracer]) -> Self:
        """The rules with these traced values, which they capture, as leaves."""
        lift = lambda rule: None if rule is None else Lifted(rule, values)
        rules = {k: lift(getattr(self, k)) for k in ("jvp", "vjp", "partials", "tangent")}
        return dataclasses.replace(self, **rules)

    def seen(self, out: PyTree, residuals: PyTree) -> PyTree:
        """What a rule gets in the place of out."""
        return (out, residuals) if self.has_residuals else out


class Function(eqx.Module):
    """The user's function of a tuple of positions, as (out, residuals)."""

    fn: Callable
    positions: Positions
    has_residuals: bool = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def __call__(self, args: tuple) -> tuple[PyTree, PyTree]:
        out = self.positions.call(self.fn, args)
        if not self.has_residuals:
            return jtu.tree_map(jnp.asarray, out), None
        if not (isinstance(out, tuple) and len(out) == 2):  # noqa: PLR2004
            raise TypeError(
                f"{self.name}: with has_residuals=True it must return (out, residuals), and "
                f"returned {type(out).__name__}."
            )
        return jtu.tree_map(jnp.asarray, out[0]), asarrays(out[1])


@eqx.filter_custom_jvp
def value(fn: Callable, rules: Rules, args: tuple) -> PyTree:
    """What the caller gets: out alone."""
    return batched_with(fn(args)[0], (fn, rules, args))


@eqx.filter_custom_jvp
def _value_and_residuals(fn: Callable, rules: Rules, args: tuple) -> tuple[PyTree, PyTree]:
    """What the rules get; differentiated by them once more, so that every order follows."""
    return batched_with(fn(args), (fn, rules, args))


@value.def_jvp
def _(primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
    fn, rules, args = primals[0], primals[1], asarrays(primals[2])
    if not jtu.tree_leaves(tangents[2]):
        out, out_dot = value(fn, rules, args), None
    elif rules.vjp is None and rules.jvp is not None:
        out, out_dot = _by_jvp(rules, args, tangents[2])
    else:
        out, residuals = _value_and_residuals(fn, rules, args)
        out_dot = _tangent(rules, args, out, residuals, tangents[2])
    return out, tangent_of(out, _plus_captured(out_dot, fn, args, tangents[0]))


@_value_and_residuals.def_jvp
def _(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    fn, rules, args = primals[0], primals[1], asarrays(primals[2])
    out, residuals = _value_and_residuals(fn, rules, args)
    out_dot = _tangent(rules, args, out, residuals, tangents[2])
    out_dot = _plus_captured(out_dot, fn, args, tangents[0])
    residuals_dot = _residuals_tangent(fn, args, tangents, residuals)
    return (out, residuals), (tangent_of(out, out_dot), residuals_dot)


def _tangent(
    rules: Rules, args: tuple, out: PyTree, residuals: PyTree, args_dot: PyTree
) -> PyTree | None:
    """The tangent of out by whichever rule there is; None where no argument moves."""
    if not jtu.tree_leaves(args_dot):
        return None
    if rules.vjp is not None:
        return _by_vjp(rules, args, out, residuals, args_dot)
    if rules.jvp is not None:
        return _by_jvp(rules, args, args_dot)[1]
    if rules.partials is not None:
        return _by_partials(rules, args, out, residuals, args_dot)
    raise TypeError(f"{rules.name} was differentiated and has no rule: {rules.remedy}")


def _by_jvp(rules: Rules, args: tuple, args_dot: PyTree) -> tuple[PyTree, PyTree]:
    """What the JVP rule returns, both parts of it."""
    assert rules.jvp is not None
    given = rules.jvp(args, _instantiated(args, args_dot, keep_none=rules.symbolic_zeros))
    if not (isinstance(given, tuple | list) and len(given) == 2):  # noqa: PLR2004
        raise TypeError(f"{rules.name}: its jvp rule must return (out, tangent of out).")
    out = jtu.tree_map(jnp.asarray, given[0])
    return out, fit(given[1], out, f"{rules.name}: the tangent of the result")


# out_dot = Σᵢ ∂f/∂xᵢ ẋᵢ, entry by entry.
def _by_partials(
    rules: Rules, args: tuple, out: PyTree, residuals: PyTree, args_dot: PyTree
) -> PyTree:
    assert rules.partials is not None
    if not eqx.is_inexact_array(out):
        raise TypeError(f"{rules.name}: partials belong to a function that returns one array.")
    given = rules.partials(rules.seen(out, residuals), *args)
    partials = fit_each(given, args, rules.positions.names, "partial", rules.name, out)
    total = jnp.zeros_like(out)
    is_none = lambda x: x is None
    for p, t in zip(
        jtu.tree_leaves(partials, is_leaf=is_none),
        jtu.tree_leaves(args_dot, is_leaf=is_none),
        strict=True,
    ):
        if p is not None and t is not None:
            total = total + jnp.broadcast_to(p * t, out.shape).astype(out.dtype)
    return total


# A VJP rule is J ↦ Jᵀ c for the J wanted: its transpose in c is the JVP. The pair is a linear map
# that knows its own transpose, so reverse mode runs the rule as it was given.
def _by_vjp(rules: Rules, args: tuple, out: PyTree, residuals: PyTree, args_dot: PyTree) -> PyTree:
    moving = jtu.tree_map(lambda _, t: t is not None, args, args_dot)  # whose cotangents are used
    arrays, static = eqx.partition((rules, args, out, residuals, moving), eqx.is_array)
    struct = jax.eval_shape(lambda: eqx.filter(out, eqx.is_inexact_array))
    x = _instantiated(args, args_dot)
    return linear_map(_Pushforward(static, struct), _Pullback(static), arrays, x, struct)


class _Pullback:
    """The VJP rule as a function of (everything it reads, cotangent)."""

    def __init__(self, static: PyTree) -> None:
        self.static = static

    def __call__(self, arrays: PyTree[Array], ct: PyTree[Array]) -> tuple:
        rules, args, out, residuals, moving = eqx.combine(arrays, self.static)
        if rules.tangent is not None:  # a pair of our own, linear for sure
            assert rules.vjp is not None
            given = rules.vjp(out, args, ct, moving)
            return fit_each(given, args, rules.positions.names, "cotangent", rules.name)
        if not any(isinstance(a, jax.core.Tracer) for a in jtu.tree_leaves(arrays)):
            zeros = jtu.tree_map(lambda c: jnp.zeros(c.shape, c.dtype), ct)
            _refuse_affine(rules, self._rule(rules, args, out, residuals, zeros))
        return self._rule(rules, args, out, residuals, ct)

    @staticmethod
    def _rule(rules: Rules, args: tuple, out: PyTree, residuals: PyTree, ct: PyTree) -> tuple:
        assert rules.vjp is not None
        given = rules.vjp(rules.seen(out, residuals), args, ct)
        return fit_each(given, args, rules.positions.names, "cotangent", rules.name)


class _Pushforward:
    """The JVP: by its own rule where there is one too, else the VJP rule transposed."""

    def __init__(self, static: PyTree, out: PyTree[jax.ShapeDtypeStruct]) -> None:
        self.static, self.out = static, out
        self.pullback = _Pullback(static)

    def __call__(self, arrays: PyTree[Array], x: tuple) -> PyTree:
        rules, args, out, _, moving = eqx.combine(arrays, self.static)
        if rules.tangent is not None:
            if rules.symbolic_zeros:
                x = jtu.tree_map(lambda moves, t: t if moves else None, moving, x)
            like = eqx.filter(out, eqx.is_inexact_array)
            return fit(
                rules.tangent(out, args, x), like, f"{rules.name}: the tangent of the result"
            )
        if rules.jvp is not None:
            return _by_jvp(rules, args, x)[1]
        transposed = jax.linear_transpose(lambda ct: self.pullback(arrays, ct), self.out)
        try:
            return transposed(x)[0]
        except (TypeError, ValueError, NotImplementedError, AssertionError) as error:
            raise TypeError(
                f"{rules.name} has no forward mode: its vjp rule cannot be transposed in the "
                "cotangent (it is not linear in it, or holds a while_loop or a host callback). "
                "Give it a jvp rule too, by defjvp."
            ) from error


def _refuse_affine(rules: Rules, at_zero: tuple) -> None:
    for name, part in zip(rules.positions.names, at_zero, strict=True):
        for path, leaf in jtu.tree_flatten_with_path(part)[0]:
            if not isinstance(leaf, jax.core.Tracer) and jnp.any(jnp.isfinite(leaf) & (leaf != 0)):
                raise TypeError(
                    f"{rules.name}: its vjp rule is not linear: the cotangent of "
                    f"`{name}{jtu.keystr(path)}` is not zero where the cotangent given is zero."
                )


def _instantiated(args: tuple, args_dot: PyTree, *, keep_none: bool = False) -> tuple:
    """A tangent for every inexact leaf, zeros where it stands still; None for other leaves."""
    leaves, treedef = jtu.tree_flatten(args)
    dots = treedef.flatten_up_to(args_dot)
    return treedef.unflatten(
        None
        if not eqx.is_inexact_array(x) or (keep_none and t is None)
        else jnp.zeros_like(x)
        if t is None
        else jnp.asarray(t, x.dtype)  # JAX hands constants on as Python numbers
        for x, t in zip(leaves, dots, strict=True)
    )


def _plus_captured(out_dot: PyTree | None, fn: Callable, args: tuple, fn_dot: PyTree) -> PyTree:
    """Adds what moves with the arrays that the function captures, which no rule knows of."""
    if not jtu.tree_leaves(fn_dot):
        return out_dot
    captured, still = split_moving(fn, fn_dot)
    out_of = lambda captured: eqx.filter(
        eqx.combine(captured, still)(args)[0], eqx.is_inexact_array
    )
    _, more = jax.jvp(out_of, (captured,), (fn_dot,))
    return more if out_dot is None else jtu.tree_map(jnp.add, out_dot, more)


def _residuals_tangent(fn: Callable, args: tuple, tangents: tuple, residuals: PyTree) -> PyTree:
    """The tangent of the residuals by JAX's own derivative of the function; NaN without one."""
    fn_dot, _, args_dot = tangents
    if not jtu.tree_leaves(eqx.filter(residuals, eqx.is_inexact_array)):
        return tangent_of(residuals, None)
    dots = (fn_dot, args_dot)
    primals, still = split_moving((fn, args), dots)

    def of_moving(primals: tuple) -> PyTree:
        fn, args = eqx.combine(primals, still)
        return eqx.filter(fn(args)[1], eqx.is_inexact_array)

    try:
        _, residuals_dot = jax.jvp(of_moving, (primals,), (dots,))
    except (TypeError, ValueError, NotImplementedError):
        # Linear in the tangents, so that its transpose is NaN as well.
        total = sum(jnp.sum(t.real) + jnp.sum(t.imag) for t in jtu.tree_leaves(asarrays(dots)))
        inexact = eqx.filter(residuals, eqx.is_inexact_array)
        residuals_dot = jtu.tree_map(lambda x: jnp.full(x.shape, jnp.nan * total, x.dtype), inexact)
    return tangent_of(residuals, residuals_dot)
