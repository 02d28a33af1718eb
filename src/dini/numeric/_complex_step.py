"""The complex step: a derivative without a difference, for analytic functions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import PyTree

from dini.numeric._function import Function, is_inexact, like
from dini.numeric._steps import check_step, leaf_size

_NAME = "complex_step_jvp"
_PAIRS = {"float32": np.complex64, "float64": np.complex128}


def complex_step_jvp(
    f: Callable,
    primals: Sequence[PyTree],
    tangents: Sequence[PyTree],
    step: float | None = None,
) -> tuple[PyTree, PyTree]:
    """The directional derivative of an analytic f of real numbers, exact to rounding.

    f(x + itv) = f(x) + it J v − t²/2 f''[v, v] − ..., so J v = Im f(x + itv) / t up to a term of
    size t². Nothing is subtracted, so t may be so small that the term vanishes (Squire and Trapp,
    SIAM Review 40, 1998, pages 110-112).

    f must be made of analytic operations, in JAX or in NumPy: not abs, real, conj, comparisons, or
    `x.conj().T` where `x.T` is meant. An absolute value inside f, whose value is complex all the
    same, cannot be seen from outside: where in doubt, compare with
    [`ridders_jvp`][dini.numeric.ridders_jvp].

    Args:
        f: a function of `len(primals)` pytrees that takes complex numbers for real ones.
        primals: the point, a tuple of pytrees of float32 or float64; leaves that are not
            of floating point reach f unchanged.
        tangents: the direction, as for
            [`finite_difference_jvp`][dini.numeric.finite_difference_jvp].
        step: t; by default eps² times the size of the leaves.

    Returns:
        f(*primals), as f returned it, and the tangent, with its structure, shapes and dtypes; NaN
        where f is not finite.

    Raises:
        TypeError: if a primal is complex, or has no complex dtype (float16); if f is complex at the
            real point, or not complex at the complex one; and as `finite_difference_jvp`.
        ValueError: as `finite_difference_jvp`.
    """
    check_step(step)
    function = Function(f, primals, _NAME)
    for i, x in function.x.items():
        if np.iscomplexobj(x):
            raise TypeError(f"{_NAME}: {function.path(i)} is complex; the point must be real")
    if np.iscomplexobj(function.here.values):
        raise TypeError(f"{_NAME}: f is complex at a real point, so its imaginary part is taken")
    direction = function.direction(tangents)
    if not direction:
        return function.out, function.tangent_out(np.zeros_like(function.here.values))
    t = step or _step(function, direction)
    leaves = list(function.leaves)
    for i, v in direction.items():
        leaves[i] = _complex_like(leaves[i], function.x[i] + 1j * t * v, function.path(i))
    parts = [
        _imaginary(z)
        for y, z in zip(function.out_leaves, function.call(leaves), strict=True)
        if is_inexact(y)
    ]
    return function.out, function.tangent_out(np.concatenate([*parts, np.zeros(0)]) / t)


def _step(function: Function, direction: dict[int, np.ndarray]) -> float:
    # A term of size (t v / x)² in the result: eps² leaves it below rounding even for numbers that
    # are eps times the size of their leaf. One step does for all leaves: no roundoff to balance.
    steps = [
        function.leaf_eps(i) ** 2 * leaf_size(function.x[i]) / np.max(np.abs(v))
        for i, v in direction.items()
    ]
    return float(2.0 ** np.floor(np.log2(min(steps))))


def _complex_like(leaf: Any, z: np.ndarray, path: str) -> Any:
    dtype = _PAIRS.get(str(getattr(leaf, "dtype", "float64")))
    if dtype is None:
        raise TypeError(f"{_NAME}: {path} is {leaf.dtype}, which has no complex counterpart")
    return like(leaf, z, dtype)


def _imaginary(leaf: Any) -> np.ndarray:
    z: Any = np.asarray(leaf)
    if not np.iscomplexobj(z):
        raise TypeError(
            f"{_NAME}: f returned {z.dtype} where its argument was complex: it takes a real part "
            "or an absolute value, or a part of its value does not depend on the argument"
        )
    return np.where(np.isfinite(z), z.imag, np.nan).astype(np.float64).reshape(-1)
