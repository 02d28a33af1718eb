"""How pictures look: colours, panels, labels, legends; Matplotlib is imported when one is drawn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Of Okabe and Ito, and a wine of Tol's for their yellow: told apart without colour vision too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#4D4D4D", "#882255")
_LABEL_SHARE = 0.08
_CHARACTERS_PER_INCH = 11


def pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise ImportError('A picture needs Matplotlib: pip install "dini[plot]".') from error
    return plt


def colours(count: int) -> list:
    """As many as there are, and where these do not suffice shades from dark to light."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    import matplotlib as mpl  # noqa: PLC0415

    return list(mpl.colormaps["viridis"](np.linspace(0, 1, count)))


def panels(plt: Any, count: int, **options: Any) -> tuple["Figure", list["Axes"]]:
    """A grid of that many axes, as square as it can be, at most five in a row."""
    columns = min(count, 5, max(int(np.ceil(np.sqrt(count))), min(count, 3)))
    rows = -(-count // columns)
    size = (0.8 + 2.3 * columns, 1.0 + 1.7 * rows)
    figure, grid = plt.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False, **options
    )
    panels = list(grid.flat)
    for ax in panels[count:]:
        ax.remove()
    for ax in panels[max(count - columns, 0) : count]:
        ax.tick_params(labelbottom=True)
    return figure, panels[:count]


def titled(ax: "Axes", name: str) -> None:
    ax.set_title(name, fontsize="medium", loc="left")
    ax.tick_params(labelsize="small")
    ax.spines[["top", "right"]].set_visible(False)


def whole_numbers(panels: list["Axes"]) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    for ax in panels:
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def percent() -> Any:
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415

    return PercentFormatter(1, decimals=0)


def legend(where: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Above the axes, or above all of them in a figure, in as few rows as there is room for."""
    whole = hasattr(where, "add_subplot")
    figure = where if whole else where.figure
    room = _CHARACTERS_PER_INCH * figure.get_figwidth()
    rows = int(np.ceil(sum(len(label) + 6 for label in labels) / room))
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    place = {"loc": "outside upper center"} if whole else place
    columns = -(-len(labels) // rows)
    where.legend(handles, labels, ncols=columns, frameon=False, fontsize="medium", **place)


def bars(
    ax: "Axes", shown: Sequence[str], shares: np.ndarray, shocks: Sequence[str], colours: list
) -> None:
    from matplotlib.colors import to_rgb  # noqa: PLC0415

    left = np.zeros(len(shown))
    for share, shock, colour in zip(shares.T, shocks, colours, strict=True):
        bars = ax.barh(shown, share, left=left, height=0.72, color=colour, label=shock)
        dark = np.dot(to_rgb(colour), (0.299, 0.587, 0.114)) < 0.5  # noqa: PLR2004
        text = [f"{100 * s:.0f}" if s > _LABEL_SHARE else "" for s in share]
        ax.bar_label(
            bars, text, label_type="center", color="white" if dark else "black", fontsize="small"
        )
        left += share
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(percent())
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
