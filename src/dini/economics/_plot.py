"""Pictures of laws and of what depends on parameters; Matplotlib is imported when one is drawn."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, PyTree

from dini.economics import _figures
from dini.economics._law import FirstOrderLaw
from dini.economics._model import Model
from dini.economics._parameters import Parameters, parameters
from dini.economics._record import unknown
from dini.economics._sensitivity import Kind, sensitivity
from dini.economics._verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_VERDICTS = {
    "determinate": "#8FC1E3",
    "indeterminate": "#F5CF85",
    "explosive": "#D98B6A",
    "failed": "#BDBDBD",
}
# Responses smaller than this share of the largest are rounding, and drawn as a flat line.
_ROUNDING = 1e-12


def plot_impulse_responses(
    law: FirstOrderLaw,
    shocks: str | Sequence[str] | None = None,
    horizon: int = 20,
    variables: Sequence[str] | None = None,
    *,
    bands: tuple[ArrayLike, ArrayLike] | Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> "Figure":
    """Draws the responses to one unit of each shock: a panel a variable, a line a shock.

    Args:
        law: a law of motion.
        shocks: the names of the shocks, or one of them; None for all.
        horizon: how many periods, the one of the shock among them.
        variables: the names of those to draw; None for all.
        bands: (lower, upper), each of shape (horizon, n) with all variables of the law, of
            the posterior draws' quantiles for instance; by the name of the shock for several.

    Returns:
        The figure.

    Raises:
        ImportError: if Matplotlib is not installed, which the extra `dini[plot]` brings.
        KeyError, ValueError: for an unknown shock or variable, or bands of another shape.
    """
    plt = _figures.pyplot()
    which = _some(shocks, law.shocks, "shocks")
    shown = _some(variables, law.variables, "variables")
    paths = {shock: np.asarray(law.impulse_response(shock, horizon)) for shock in which}
    around = _bands(bands, which, (horizon, len(law.variables)))
    figure, panels = _figures.panels(plt, len(shown), sharex=True)
    periods = np.arange(horizon)
    largest = max(np.max(np.abs(path)) for path in paths.values())
    for ax, name in zip(panels, shown, strict=True):
        at = law.variables.index(name)
        ax.axhline(0, color="#999999", linewidth=0.8, zorder=1)
        for shock, colour in zip(which, _figures.colours(len(which)), strict=True):
            if shock in around:
                lower, upper = (b[:, at] for b in around[shock])
                ax.fill_between(periods, lower, upper, color=colour, alpha=0.2, linewidth=0)
            ax.plot(periods, paths[shock][:, at], color=colour, linewidth=1.8, label=shock)
        _figures.titled(ax, name)
        ax.locator_params(axis="y", nbins=4)
        ax.set_xlim(0, max(horizon - 1, 1))
        if max(np.max(np.abs(path[:, at])) for path in paths.values()) <= _ROUNDING * largest:
            ax.set(ylim=(-1, 1), yticks=[0])
    _figures.whole_numbers(panels)
    if len(which) == 1:
        figure.suptitle(f"Responses to one unit of {which[0]}", fontsize="medium")
    else:
        _figures.legend(figure, *panels[0].get_legend_handles_labels())
    figure.supxlabel("periods after the shock", fontsize="medium")
    return figure


def plot_variance_decomposition(
    law: FirstOrderLaw,
    variables: Sequence[str] | None = None,
    horizon: int | None = None,
) -> "Figure":
    """Draws the share of each shock in the variances.

    Args:
        law: a law of motion.
        variables: the names of those to draw; None for all.
        horizon: None for the variances in the long run, one bar a variable; else those of the
            errors of forecasts up to so many periods ahead, one panel a variable.

    Returns:
        The figure.

    Raises:
        ImportError: if Matplotlib is not installed, which the extra `dini[plot]` brings.
        KeyError: for an unknown variable.
    """
    plt = _figures.pyplot()
    shown = _some(variables, law.variables, "variables")
    at = [law.variables.index(name) for name in shown]
    shares = np.asarray(law.variance_decomposition(horizon))[..., at, :]
    colours = _figures.colours(len(law.shocks))
    if horizon is None:
        figure, ax = plt.subplots(figsize=(7, 1.2 + 0.38 * len(shown)), layout="constrained")
        _figures.bars(ax, shown, shares, law.shocks, colours)
        _figures.legend(figure, *ax.get_legend_handles_labels())
        ax.set_xlabel("share of the variance in the long run")
        return figure
    figure, panels = _figures.panels(plt, len(shown), sharex=True, sharey=True)
    ahead = np.arange(1, horizon + 1)
    for ax, name, share in zip(panels, shown, np.moveaxis(shares, 1, 0), strict=True):
        areas = ax.stackplot(ahead, share.T, labels=law.shocks, colors=colours)
        for area in areas:
            area.set(edgecolor="white", linewidth=0.4)
        _figures.titled(ax, name)
        ax.set(ylim=(0, 1), xlim=(1, max(horizon, 2)))
        ax.yaxis.set_major_formatter(_figures.percent())
    _figures.whole_numbers(panels)
    _figures.legend(figure, *panels[0].get_legend_handles_labels())
    figure.supxlabel("periods ahead", fontsize="medium")
    figure.supylabel("share of the error's variance", fontsize="medium")
    return figure


def plot_determinacy(
    model: Model,
    params: PyTree,
    x: tuple[str, ArrayLike],
    y: tuple[str, ArrayLike],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws where in the plane of two parameters the model has one stable law of motion.

    All verdicts are found in one call. A dot marks `params` itself where the grid holds it.

    Args:
        model: the model.
        params: the other parameters.
        x: the name of a parameter (`sd[1]` for a number in an array), and its values in order.
        y: the same for the vertical axis.
        ax: the Matplotlib axes to draw in; by default those of a new figure.

    Returns:
        The axes. Their first collection holds the verdicts, numbered in the order of `Verdict`:
        determinate 0, indeterminate 1, explosive 2, failed 3.

    Raises:
        ImportError: if Matplotlib is not installed, which the extra `dini[plot]` brings.
        ValueError: for an unknown name, the same twice, or values that are no vector.
    """
    plt = _figures.pyplot()
    from matplotlib.colors import BoundaryNorm, ListedColormap  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    names = x[0], y[0]
    free = parameters(params, names, "plot_determinacy")
    values = [np.asarray(v, float) for _, v in (x, y)]
    if len(free.names) != 2 or any(v.ndim != 1 or v.size < 2 for v in values):  # noqa: PLR2004
        raise ValueError(
            "plot_determinacy takes two parameters that are single numbers, each with a vector of "
            "two values or more."
        )
    points = np.stack(np.meshgrid(*values), -1).reshape(-1, 2)
    found = _verdicts(model, free, jnp.asarray(points, free.vector.dtype))
    codes = np.asarray(found).reshape(values[1].size, values[0].size)
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 4.5), layout="constrained")
    assert ax is not None
    colours = ListedColormap(list(_VERDICTS.values()))
    norm = BoundaryNorm(np.arange(len(_VERDICTS) + 1) - 0.5, len(_VERDICTS))
    ax.pcolormesh(*values, codes, cmap=colours, norm=norm, shading="nearest", rasterized=True)
    handles: list[Any] = [
        Patch(facecolor=colour, label=name)
        for code, (name, colour) in enumerate(_VERDICTS.items())
        if np.any(codes == code)
    ]
    here = np.asarray(free.vector)
    if all(v.min() <= p <= v.max() for v, p in zip(values, here, strict=True)):
        handles += ax.plot(
            *here, "o", color="black", markeredgecolor="white", markersize=7, label="parameters"
        )
    ax.set(xlabel=names[0], ylabel=names[1])
    _figures.legend(ax, handles, [handle.get_label() for handle in handles])
    return ax


def plot_sensitivity(
    fn: Callable[[PyTree], Any],
    params: PyTree,
    *,
    names: Sequence[str] | None = None,
    kind: Kind = "elasticity",
    largest: int | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws how much a number depends on each parameter, the most important on top.

    Args:
        fn: as for [`sensitivity`][dini.economics.sensitivity].
        params: the same.
        names: the same.
        kind: the same.
        largest: how many parameters to draw at most; None for all.
        ax: the Matplotlib axes to draw in; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: if Matplotlib is not installed, which the extra `dini[plot]` brings.
        ValueError: as `sensitivity`.
    """
    plt = _figures.pyplot()
    numbers = sensitivity(fn, params, names=names, kind=kind)
    ordered = sorted(numbers.items(), key=lambda item: -abs(item[1]))[:largest]
    labels, sizes = [name for name, _ in ordered], np.array([size for _, size in ordered])
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 0.9 + 0.3 * len(labels)), layout="constrained")
    assert ax is not None
    bars = ax.barh(
        labels,
        sizes,
        height=0.7,
        color=np.where(sizes < 0, _figures.COLOURS[5], _figures.COLOURS[0]),
    )
    ax.bar_label(
        bars, [f"{size:.3g}".replace("-", "−") for size in sizes], padding=3, fontsize="small"
    )
    ax.invert_yaxis()
    ax.axvline(0, color="#666666", linewidth=0.8)
    ax.margins(x=0.15, y=0.02)
    ax.set_xlabel({"elasticity": "elasticity: % for 1 %", "semi-elasticity": "change for 100 %",
                   "derivative": "derivative"}[kind])  # fmt: skip
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


@eqx.filter_jit
def _verdicts(model: Model, free: Parameters, points: Array) -> Array:
    """Their numbers in the order of `_VERDICTS`."""

    def one(point: Array) -> Array:
        result = model.first_order(free.replace(point), throw=False).result
        return jnp.argmax(jnp.stack([result == getattr(Verdict, name) for name in _VERDICTS]))

    # On a processor one after another: a batch gains little there, and with JAX 0.10 batched solves
    # of some forty equations may wait for ever.
    if jax.default_backend() == "cpu":
        return jax.lax.map(one, points)
    return jax.vmap(one)(points)


def _bands(given: Any, which: tuple[str, ...], shape: tuple[int, int]) -> dict[str, tuple]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(which) > 1:
            raise ValueError(
                "plot_impulse_responses: the bands of several shocks are given by their names."
            )
        given = dict.fromkeys(which, given)
    bands: dict[str, tuple[np.ndarray, ...]] = {}
    for shock, pair in given.items():
        if shock not in which:
            raise KeyError(f"bands: {unknown(shock, which)}")
        bands[shock] = tuple(np.asarray(b) for b in pair)
        if [b.shape for b in bands[shock]] != [shape, shape]:
            raise ValueError(
                f"plot_impulse_responses takes bands (lower, upper) of shape {shape} each, and for "
                f"{shock!r} was given {', '.join(str(b.shape) for b in bands[shock])}."
            )
    return bands


def _some(
    names: str | Sequence[str] | None, all_names: tuple[str, ...], what: str
) -> tuple[str, ...]:
    chosen = all_names if names is None else (names,) if isinstance(names, str) else tuple(names)
    for name in chosen:
        if name not in all_names:
            raise KeyError(f"{what}: {unknown(name, all_names)}")
    if not chosen:
        raise ValueError(f"there are no {what} to draw.")
    return chosen
