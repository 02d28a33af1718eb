"""What a rule returned, checked against what it must fit, and brought to its dtypes."""

from typing import Any

import jax
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from dini._tree import describe, is_inexact


def fit_each(
    given: Any,
    like: tuple,
    names: tuple[str, ...],
    what: str,
    name: str,
    out: Array | None = None,
) -> tuple:
    """One tree for each argument, with the inexact leaves of that argument and None elsewhere.

    Args:
        given: what the rule returned: a tuple or list of trees; None stands for zero.
        like: the arguments.
        names: what they are called.
        what: "cotangent" or "partial", for errors.
        name: what errors call the function.
        out: for partials, the result, to whose shape a partial and its argument must broadcast.

    Raises:
        TypeError: for a wrong number of trees, or one of the wrong structure, shape or kind.
    """
    if not isinstance(given, tuple | list):
        raise TypeError(
            f"{name}: its rule must return a tuple with one {what} for each argument "
            f"({', '.join(names)}), and returned {type(given).__name__}."
        )
    if len(given) != len(like):
        raise TypeError(
            f"{name}: its rule returned {len(given)} {what}s for {len(like)} arguments "
            f"({', '.join(names)})."
        )
    return tuple(
        fit(g, x, f"{name}: the {what} of `{n}`", out)
        for g, x, n in zip(given, like, names, strict=True)
    )


def fit(given: PyTree, like: PyTree, what: str, out: Array | None = None) -> PyTree:
    """`given` with the structure and dtypes of `like`, where that is inexact; None elsewhere.

    A number of another precision is cast. The shapes must agree; those of partials, for which `out`
    is given, need only broadcast to it, and keep their dtype.

    Raises:
        TypeError: for another structure, shape, or kind of number.
    """
    if given is None:
        return jtu.tree_map(_zero, like)
    leaves, treedef = jtu.tree_flatten(like)
    try:
        parts = treedef.flatten_up_to(given)
    except ValueError as error:
        raise TypeError(
            f"{what} has another structure than the value: it is {describe(given)}, for "
            f"{describe(like)}."
        ) from error
    paths = [jtu.keystr(path) for path, _ in jtu.tree_flatten_with_path(like)[0]]
    fitted = [
        _fit_leaf(g, x, what + path, out) for g, x, path in zip(parts, leaves, paths, strict=True)
    ]
    return treedef.unflatten(fitted)


def _fit_leaf(given: Any, x: Any, what: str, out: Array | None) -> Array | None:
    if not is_inexact(x):
        if given is None or getattr(given, "dtype", None) == jax.dtypes.float0:
            return None
        raise TypeError(f"{what} must be None: {describe(x)} is not differentiated.")
    if given is None:
        return _zero(x)
    given = jnp.asarray(given)
    onto = x if out is None else out
    if not (given.shape == x.shape if out is None else _broadcasts(out, given, x)):
        raise TypeError(
            f"{what} is {describe(given)}, and must have the shape of {describe(onto)}."
        )
    if not jnp.issubdtype(given.dtype, jnp.inexact) or (
        (jnp.iscomplexobj(given) or jnp.iscomplexobj(x)) and not jnp.iscomplexobj(onto)
    ):
        raise TypeError(f"{what} is {describe(given)}, of another kind than {describe(onto)}.")
    return given.astype(x.dtype) if out is None else given


def _broadcasts(out: Array, *arrays: Array) -> bool:
    try:
        return jnp.broadcast_shapes(out.shape, *(a.shape for a in arrays)) == out.shape
    except ValueError:
        return False


def _zero(x: Any) -> Array | None:
    return jnp.zeros(x.shape, x.dtype) if is_inexact(x) else None
