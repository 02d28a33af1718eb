"""A picture of the error of finite differences: roundoff on the left, truncation on the right."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import jax.tree_util as jtu
import numpy as np
from jaxtyping import PyTree

from dini.numeric._differences import difference
from dini.numeric._function import Function
from dini.numeric._ridders import ridders
from dini.numeric._steps import ORDERS, groups

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 60


def plot_error(
    f: Callable,
    primals: Sequence[PyTree],
    tangents: Sequence[PyTree],
    exact: PyTree | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws the error of each method against the step, and marks the step that it would choose.

    From the right the error falls with t, t² or t⁴, the method's order; on the left roundoff grows
    with 1/t. Steps are in units of each leaf's size; errors are the largest of all numbers, in
    units of the largest exact one. The horizontal line is the error bar of Ridders' method.

    Args:
        f: as for [`finite_difference_jvp`][dini.numeric.finite_difference_jvp].
        primals: the point, a tuple of pytrees.
        tangents: the direction, a tuple of pytrees, not zero.
        exact: the tangent of f(*primals), with its structure; by default that of Ridders' method.
        ax: the Matplotlib axes to draw in; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: if Matplotlib is not installed, which the extra `dini[plot]` brings.
        ValueError: if there is no finite derivative to compare with, and as
            `finite_difference_jvp`.
    """
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415
    except ImportError as missing:
        raise ImportError('plot_error needs Matplotlib: pip install "dini[plot]"') from missing

    function = Function(f, primals, "plot_error")
    direction = function.direction(tangents)
    bundles = groups(function, direction)
    best, bar = ridders(function, direction, None)
    if exact is not None:
        best = _flat(function, exact)
    scale = np.max(np.abs(best), initial=0.0)
    if not bundles or not np.isfinite(scale):
        raise ValueError("plot_error: there is no finite derivative here, or the tangent is zero")
    scale = scale or 1.0

    def error(method: str, steps: Sequence[float]) -> float:
        parts = [difference(function, g, method, t) for g, t in zip(bundles, steps, strict=True)]
        return float(np.max(np.abs(sum(parts) - best)) / scale)

    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    eps = max(g.eps for g in bundles)
    shares = np.exp2(np.linspace(np.log2(eps), 0, _POINTS))
    for method, order in ORDERS.items():
        errors = [error(method, [h * g.unit for g in bundles]) for h in shares]
        (line,) = ax.loglog(shares, errors, label=method)
        chosen = [g.step(order) for g in bundles]
        mark = chosen[0] / bundles[0].unit
        ax.loglog([mark], [error(method, chosen)], "o", color=line.get_color())
    if np.all(np.isfinite(bar)):
        label = "ridders: error bar"
        ax.axhline(float(np.max(bar)) / scale, color="gray", linestyle="--", label=label)
    ax.set_xlabel("step, in units of x")
    ax.set_ylabel("relative error")
    ax.legend()
    return ax


def _flat(function: Function, tangent: PyTree) -> np.ndarray:
    leaves = function.out_treedef.flatten_up_to(tangent)
    shaped = jtu.tree_leaves(function.tangent_out(function.here.values))
    if [np.shape(leaf) for leaf in leaves] != [np.shape(y) for y in shaped]:
        raise ValueError("plot_error: exact must have the structure and shapes of f's value")
    return function.vector(leaves)
