"""Axes that several figures share: panels, a width axis in octaves, a legend below."""

from collections.abc import Iterable, Sequence
from math import ceil, log2

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

from mipic_bench.figures._style import Style

_KEY, _LETTER = 0.62, 0.064  # inches of a legend: the line and the gaps of an entry, a letter


def new_figure(size: tuple[float, float]) -> Figure:
    """Make an empty figure of a size in inches, on a canvas of its own (no window, no global state)."""
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)  # without a canvas that can draw, every question for a text's size makes one
    return figure


def panels(
    count: int,
    size: tuple[float, float],
    *,
    title: str,
    handles: Sequence[Line2D] = (),
    columns: int = 3,
    margins: tuple[float, float, float, float] = (0.4, 0.52, 0.12, 0.47),
    gaps: tuple[float, float] = (0.42, 0.72),
    share: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels with its title above and one legend below.

    Laid out by hand: matplotlib's constrained layout takes as long as the drawing itself.

    Args:
        count: panels.
        size: inches of a panel, without its labels.
        title: over the whole figure.
        handles: of the legend.
        columns: panels beside each other at most.
        margins: inches at the left, at the top, at the right, and below (without the legend).
        gaps: inches between panels, across and down.
        share: all panels have the same axes, labelled at the left and below alone.
    """
    across = 2 if count == 4 and columns == 3 else min(count, columns)  # two and two, not three and one
    down = ceil(count / across)
    wide = margins[0] + across * size[0] + (across - 1) * gaps[0] + margins[2]
    for handle in handles:
        handle.set_label(_shortened(str(handle.get_label()), int((wide - _KEY) / _LETTER)))
    per_row = _legend_columns(handles, wide)
    foot = margins[3] + (0.148 * ceil(len(handles) / per_row) + 0.12 if handles else 0)
    high = margins[1] + down * size[1] + (down - 1) * gaps[1] + foot
    figure = new_figure((wide, high))
    first: Axes | None = None
    axes = []
    for place in range(count):
        row, column = divmod(place, across)
        x, y = margins[0] + column * (size[0] + gaps[0]), high - margins[1] - size[1] - row * (size[1] + gaps[1])
        box = (x / wide, y / high, size[0] / wide, size[1] / high)
        axes.append(figure.add_axes(box, sharex=first, sharey=first) if share else figure.add_axes(box))
        first = first or axes[0]
        if share and column:
            axes[-1].tick_params(labelleft=False)
    figure.text(0.5, 1 - 0.08 / high, title, fontsize=9, ha="center", va="top")
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=per_row, borderaxespad=0.1, labelspacing=0.35)
    return figure, axes


def _legend_columns(handles: Sequence[Line2D], wide: float) -> int:
    widest = max((len(str(handle.get_label())) for handle in handles), default=0)
    return min(len(handles), max(1, int(wide / (_KEY + _LETTER * widest)))) if handles else 1


def _shortened(text: str, most: int) -> str:
    """Return a label of at most so many letters, the middle left out of a longer one."""
    if len(text) <= most:
        return text
    return f"{text[: (most - 1) // 2]}…{text[-(most // 2) :]}"


def dim_axis(axes: Axes, dims: Sequence[int], prefer: Iterable[int] = ()) -> None:
    """Make the x axis one of widths: log2, ticks at the widths, labels where there is room (trained widths first)."""
    axes.set_xscale("log", base=2)
    labelled = roomy(sorted(set(dims)), prefer)
    axes.xaxis.set_major_locator(FixedLocator(labelled))
    axes.xaxis.set_major_formatter(FixedFormatter([str(dim) for dim in labelled]))
    axes.xaxis.set_minor_locator(FixedLocator([dim for dim in dims if dim not in labelled]))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("embedding width (dim)")


def roomy(dims: Sequence[int], prefer: Iterable[int]) -> list[int]:
    """The widths whose labels do not touch: the widest, then the preferred ones, then powers of two, then the rest."""
    if not dims:
        return []
    first = set(prefer)
    span = max(log2(dims[-1]) - log2(dims[0]), 1e-9)
    order = sorted(dims, key=lambda dim: (dim != dims[-1], dim not in first, dim & (dim - 1) != 0, dim))
    kept: list[int] = []
    for dim in order:
        if all(abs(log2(dim) - log2(other)) / span >= 0.085 for other in kept):
            kept.append(dim)
    return sorted(kept)


def method_handles(methods: Iterable[str], style: Style) -> list[Line2D]:
    """The legend entries of methods."""
    return [method_handle(method, style) for method in methods]


def method_handle(method: str, style: Style) -> Line2D:
    """The legend entry of a method."""
    look = style[method]
    return Line2D(
        [], [], color=look.color, marker=look.marker, linestyle=look.line, label=method, alpha=style.alpha(method)
    )
