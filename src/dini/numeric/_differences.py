"""Difference quotients of fixed step, and their front door, which Ridders' method shares."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax.numpy as jnp
import jax.tree_util as jtu
import numpy as np
from jaxtyping import PyTree

from dini.numeric._function import Direction, Function, Sample, slope, travelled
from dini.numeric._ridders import ridders
from dini.numeric._steps import ORDERS, Group, check_step, groups

Method = Literal["central", "forward", "five_point", "ridders"]

# How far rounding may bend a step that the caller chose before the quotient is meaningless.
_BENT = 0.1


def finite_difference_jvp(
    f: Callable,
    primals: Sequence[PyTree],
    tangents: Sequence[PyTree],
    method: Method = "central",
    step: float | None = None,
) -> tuple[PyTree, PyTree]:
    """The directional derivative of f from its values, in the call form of `jax.jvp`.

    | method | tangent | evaluations | error, in float64 |
    |---|---|---|---|
    | `"forward"` | (f(x + tv) − f(x)) / t | 1 | about 1e-8 |
    | `"central"` | (f(x + tv) − f(x − tv)) / 2t | 2 | about 1e-11 |
    | `"five_point"` | (4 central(t) − central(2t)) / 3 | 4 | about 1e-13 |
    | `"ridders"` | extrapolated to t = 0 | 50 to 200 | checked |

    f is called eagerly, on leaves of the kind that were passed: it may be a function of JAX arrays,
    of NumPy arrays or of Python floats, jitted or not. Steps follow the precision of each leaf (and
    that of f's value) and its size: its largest number, or 1 where all are zero. A leaf is taken to
    hold numbers of one kind; leaves of different size are stepped apart, each with the evaluations
    of the table. The rounding of x + tv is allowed for: one divides by the step that was made.

    Only Ridders' method watches its own error, and [`ridders_jvp`][dini.numeric.ridders_jvp] tells
    it. The others assume that f is smooth over a step, which is a small share of the leaf's size.

    Args:
        f: a function of `len(primals)` pytrees that returns a pytree.
        primals: the point, a tuple of pytrees. A leaf that is not of floating point (integer, bool,
            string, PRNG key) reaches f unchanged.
        tangents: the direction v, a tuple of pytrees of the same structure and shapes; real for
            real leaves, real or complex for complex ones. None stands for zero, for a leaf or for a
            whole argument; what is no float has None, float0 or zeros.
        method: "central", "forward", "five_point" or "ridders".
        step: t itself, for all leaves at once, or the largest t for Ridders' method; by default
            what fits the method: eps^(1/2), eps^(1/3) or eps^(1/5) of the leaf's size.

    Returns:
        f(*primals), as f returned it, and the tangent, with its structure, shapes and dtypes; NaN
        where f is not finite at one of the points, and where Ridders' method comes to no
        conclusion. A leaf of f's value that is no float has zeros of dtype float0, as with
        `jax.jvp`.

    Raises:
        TypeError: if called under a JAX transformation; if the tangents do not fit the primals.
        ValueError: if a tangent has the wrong shape or is not finite; if `step` is so small that a
            leaf cannot be moved by it; if f returns another structure at another point.
    """
    function = Function(f, primals, "finite_difference_jvp")
    direction = function.direction(tangents)
    _check_options(method, step)
    return function.out, function.tangent_out(_derivative(function, direction, method, step))


def finite_difference_jacobian(
    f: Callable,
    *args: PyTree,
    argnums: int | Sequence[int] = 0,
    method: Method = "central",
    step: float | None = None,
    holomorphic: bool = False,
) -> PyTree:
    """The Jacobian of f at `args` from its values, with the tree structure of `jax.jacfwd`.

    One difference for each number in the arguments named by `argnums`; methods, steps and what f
    may be are those of [`finite_difference_jvp`][dini.numeric.finite_difference_jvp].

    Args:
        f: a function of `args` that returns a pytree.
        *args: the point, pytrees.
        argnums: the argument, or the tuple of arguments, to differentiate.
        method: "central", "forward", "five_point" or "ridders".
        step: as for `finite_difference_jvp`.
        holomorphic: whether f is promised to be holomorphic, without which a complex argument has
            no Jacobian of complex numbers.

    Returns:
        A tree like f's value whose leaves are trees like the argument (a tuple of them for a tuple
        of argnums), of arrays of shape (*out.shape, *in.shape) and of the dtype of f's value. In
        the place of a leaf of the argument that is no float stands None.

    Raises:
        TypeError: if an argument in `argnums` has nothing to differentiate; if it is complex and
            `holomorphic` is not set; and as `finite_difference_jvp`.
        ValueError: as `finite_difference_jvp`.
    """
    _check_options(method, step)
    function = Function(f, args, "finite_difference_jacobian")
    numbers = function.treedef.unflatten(range(len(function.leaves)))
    several = not isinstance(argnums, int)
    wanted = tuple(numbers[n] for n in argnums) if several else numbers[argnums]
    columns = {}
    for tree in wanted if several else (wanted,):
        moving = [i for i in jtu.tree_leaves(tree) if i in function.x]
        if not moving:
            raise TypeError("finite_difference_jacobian: an argument has nothing to differentiate")
        for i in moving:
            if np.iscomplexobj(function.x[i]) and not holomorphic:
                raise TypeError(
                    f"finite_difference_jacobian: {function.path(i)} is complex: pass "
                    "holomorphic=True if f is holomorphic, or use finite_difference_jvp"
                )
            columns[i] = _columns(function, i, method, step)

    def block(position: int, i: int) -> Any:
        if i not in function.x:
            return None
        out = function.out_leaves[position]
        shape = (*np.shape(out), *function.x[i].shape)
        if not columns[i]:
            return np.zeros(shape, getattr(out, "dtype", float))
        parts = [column[position] for column in columns[i]]
        stack = jnp.stack if all(map(_is_jax, parts)) else np.stack
        return stack(parts, axis=-1).reshape(shape)

    blocks = [
        jtu.tree_map(lambda i, p=position: block(p, i), wanted)
        for position in range(len(function.out_leaves))
    ]
    return function.out_treedef.unflatten(blocks)


def _is_jax(part: Any) -> bool:
    return not isinstance(part, np.ndarray | np.generic)


def _columns(function: Function, i: int, method: str, step: float | None) -> list[list[Any]]:
    """The tangent for each number of a leaf in turn, as leaves of f's value."""
    x, columns = function.x[i], []
    for n in range(x.size):
        v = np.zeros_like(x)
        v.flat[n] = 1
        tangent = function.tangent_out(_derivative(function, {i: v}, method, step))
        columns.append(function.out_treedef.flatten_up_to(tangent))
    return columns


def _check_options(method: str, step: float | None) -> None:
    """Refuses a method that is none, and a step that is no positive number."""
    if method not in (*ORDERS, "ridders"):
        raise ValueError(f"method must be one of {[*ORDERS, 'ridders']}, got {method!r}")
    check_step(step)


def _derivative(
    function: Function, direction: Direction, method: str, step: float | None
) -> np.ndarray:
    if method == "ridders":
        return ridders(function, direction, step)[0]
    total = np.zeros_like(function.here.values)
    if not direction:
        return total
    if step is not None:
        _check_moves(function, direction, step)
        return total + difference(function, Group(direction, step, 0.0), method, float(step))
    for group in groups(function, direction):
        total = total + difference(function, group, method, group.step(ORDERS[method]))
    return total


def difference(function: Function, group: Group, method: str, t: float) -> np.ndarray:
    """J v_g by one of the methods of fixed step."""

    def central(t: float) -> np.ndarray:
        ahead, behind = function.at(group.direction, t), function.at(group.direction, -t)
        return slope(group.direction, ahead, behind)

    if method == "forward":
        return slope(group.direction, function.at(group.direction, t), function.here)
    if method == "central":
        return central(t)
    # f(x + tv) − f(x − tv) = 2t (J v + a t² + b t⁴ + ...): two of them eliminate a.
    return (4 * central(t) - central(2 * t)) / 3


def _check_moves(function: Function, direction: Direction, step: float) -> None:
    for i, v in direction.items():
        x = function.x[i]
        dtype = getattr(function.leaves[i], "dtype", x.dtype)
        moved = (x + step * v).astype(dtype).astype(x.dtype)
        made = travelled({i: v}, Sample(x, {i: moved}), function.here)
        if abs(made - step) > _BENT * step:
            raise ValueError(
                f"finite differences: step={step!r} is too small for {function.path(i)}, whose "
                "numbers it cannot move in their precision; leave step out, or take a larger one"
            )
