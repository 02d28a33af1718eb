"""The derivative of a function as a linear map, in whichever directions the function has one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from dini.rules._linear_map import linear_map

_NO_FORWARD = (
    "{name} has no forward mode: it holds a `jax.custom_vjp` function whose rule JAX cannot "
    "transpose. Use reverse mode (`jax.grad`, `jax.vjp`, `jax.jacrev`), or give that function a "
    "forward rule."
)
_NO_REVERSE = (
    "{name} has no reverse mode: it holds an operation that JAX cannot transpose, such as a "
    "`lax.while_loop`, or a `lax.fori_loop` whose bounds are not static. Use forward mode "
    "(`jax.jvp`, `jax.jacfwd`), or write the loop with `lax.scan`."
)


class Derivative(NamedTuple):
    """fun(x), the linear map ẋ ↦ ∂fun(x) ẋ, and whether that map only works transposed."""

    value: PyTree[Array]
    pushforward: Callable[[PyTree], PyTree]
    reverse_only: bool


def linearise(fun: Callable[[PyTree], PyTree], x: PyTree[Array], name: str) -> Derivative:
    """The derivative of `fun` at x, with `fun` traced once.

    A function that holds a `jax.custom_vjp` has no forward mode in JAX, and one that holds a
    `while_loop` no reverse mode. The derivative is a linear map all the same: the direction that
    is missing raises a TypeError, naming `name`, once something asks for it, and only then. A
    forward mode that is missing is first sought by transposing the reverse mode.

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
        return Derivative(value, pushforward, False)
    if backward:
        again, _ = _close(lambda v: jax.linear_transpose(backward, shapes)(v)[0], x)
        forward = again or _Missing(_NO_FORWARD.format(name=name), why_not)
        return Derivative(value, _two_sided(forward, backward, shapes), again is None)
    if forward:
        backward = _Missing(_NO_REVERSE.format(name=name), why_not_back)
        return Derivative(value, _two_sided(forward, backward, shapes), False)
    raise TypeError(
        f"{name} can be differentiated in neither mode. Forward: {why_not}. Reverse: {why_not_back}"
    ) from why_not


def _close(fun: Callable, x: PyTree) -> tuple[Any, Exception | None]:
    """`fun` with its captured arrays as leaves; or None, and why it cannot be traced."""
    try:
        return eqx.filter_closure_convert(fun, x), None
    except (TypeError, ValueError, NotImplementedError) as error:
        return None, error


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
