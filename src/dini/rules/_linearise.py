"""The derivative of a function as a linear map, in whichever directions the function has one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.extend as jex
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from dini._tree import batched_with
from dini.rules._linear_map import linear_map

_NO_REVERSE = (
    "{name} has no reverse mode: it holds an operation that JAX cannot transpose, such as a "
    "`lax.while_loop`, or a `lax.fori_loop` whose bounds are not static. Use forward mode "
    "(`jax.jvp`, `jax.jacfwd`), or write the loop with `lax.scan`."
)


class Derivative(NamedTuple):
    """fun(x) and the linear map ẋ ↦ ∂fun(x) ẋ.

    `plain` says that it is JAX's own, without our help; `reverse` that it can be transposed.
    """

    value: PyTree[Array]
    pushforward: Callable[[PyTree], PyTree]
    plain: bool = True
    reverse: bool = True


def linearise(fun: Callable[[PyTree], PyTree], x: PyTree[Array], name: str) -> Derivative:
    """The derivative of `fun` at x, with `fun` traced once.

    A function that holds a `jax.custom_vjp` has no forward mode in JAX. It gets one by transposing
    its reverse mode; or, where JAX cannot transpose that rule, from the rows of the Jacobian, at
    the price of one reverse sweep for each number in fun(x). One that holds a `while_loop` has no
    reverse mode, and none can be made: that direction raises a TypeError, naming `name`, once
    something asks for it, and only then.

    Raises:
        TypeError: if `fun` can be differentiated in neither direction.
    """
    value, pushforward = jax.linearize(fun, x)
    shapes = jax.eval_shape(lambda: value)

    def pullback(ct: PyTree) -> PyTree:
        return jax.linear_transpose(pushforward, x)(ct)[0]

    forward, why_not = _close(pushforward, x)
    backward, why_not_back = _close(pullback, shapes)
    if forward and backward:
        return Derivative(value, pushforward)
    if backward:
        again, _ = _close(lambda v: jax.linear_transpose(backward, shapes)(v)[0], x)
        forward = again or _close(lambda v: _by_rows(backward, shapes, v), x)[0]
        both = _two_sided(forward, backward, shapes)
        return Derivative(value, both, plain=False)
    if forward:
        backward = _Missing(_NO_REVERSE.format(name=name), why_not_back)
        both = _two_sided(forward, backward, shapes)
        return Derivative(value, both, plain=False, reverse=False)
    raise TypeError(
        f"{name} can be differentiated in neither mode. Forward: {why_not}. Reverse: {why_not_back}"
    ) from why_not


def _by_rows(pullback: Callable, out: PyTree[jax.ShapeDtypeStruct], v: PyTree) -> PyTree:
    """J v from the rows of J, that is from the pullback of each unit cotangent."""
    zero, unravel = ravel_pytree(jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), out))
    rows = jax.vmap(lambda e: pullback(unravel(e)))(jnp.eye(zero.size, dtype=zero.dtype))
    parts = jax.tree.map(lambda r, t: r.reshape(zero.size, -1) @ t.reshape(-1), rows, v)
    return unravel(sum((p.real.astype(zero.dtype) for p in jax.tree.leaves(parts)), zero))


def differentiable(fun: Callable[[PyTree], PyTree], name: str) -> Callable[[PyTree], PyTree]:
    """`fun` with the derivative that `linearise` gives it: in both modes where it has only one."""
    wrapped = jax.custom_jvp(lambda x: batched_with(fun(x), x))

    def rule(primals: tuple, tangents: tuple) -> tuple[PyTree, PyTree]:
        return wrapped(*primals), linearise(fun, primals[0], name).pushforward(tangents[0])

    wrapped.defjvp(rule)
    return wrapped


def _close(fun: Callable, x: PyTree) -> tuple[Any, Exception | None]:
    """`fun` with its captured arrays as leaves; or None, and why it cannot be traced."""
    try:
        if _holds_custom_vjp(jax.make_jaxpr(fun)(x).jaxpr):
            return None, TypeError("a `jax.custom_vjp` function has no forward mode")
        return eqx.filter_closure_convert(fun, x), None
    except (TypeError, ValueError, NotImplementedError) as error:
        return None, error


# JAX lets the tangent of a `custom_vjp` function be traced and transposed, and refuses it only when
# the program is lowered, as the primitive "custom_lin".
def _holds_custom_vjp(jaxpr: jex.core.Jaxpr) -> bool:
    def inside(param: Any) -> bool:
        if isinstance(param, jex.core.ClosedJaxpr):
            return _holds_custom_vjp(param.jaxpr)
        return isinstance(param, jex.core.Jaxpr) and _holds_custom_vjp(param)

    return any(
        eqn.primitive.name == "custom_lin"
        or any(inside(p) for v in eqn.params.values() for p in (v if _is_list(v) else [v]))
        for eqn in jaxpr.eqns
    )


def _is_list(x: Any) -> bool:
    return isinstance(x, tuple | list)


class _Missing(eqx.Module):
    """The direction that a function does not have."""

    message: str = eqx.field(static=True)
    cause: Exception | None = eqx.field(static=True)

    def __call__(self, _: PyTree) -> PyTree:
        raise TypeError(self.message) from self.cause


class _Side:
    """One direction of a closed linear map, its arrays handed in."""

    def __init__(self, static: PyTree, side: int) -> None:
        self.static, self.side = static, side

    def __call__(self, arrays: PyTree[Array], v: PyTree[Array]) -> PyTree[Array]:
        return eqx.combine(arrays, self.static)[self.side](v)


def _two_sided(
    forward: Callable, backward: Callable, out: PyTree[jax.ShapeDtypeStruct]
) -> Callable[[PyTree], PyTree]:
    arrays, static = eqx.partition((forward, backward), eqx.is_array)
    sides = _Side(static, 0), _Side(static, 1)
    return lambda v: linear_map(*sides, arrays, v, out)
