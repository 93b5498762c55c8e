"""Axes that several figures share: panels, a width axis in octaves, a legend below."""

from collections.abc import Iterable, Sequence
from math import ceil, log2

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator

from mipic_bench.figures._style import Style


def panels(count: int, size: tuple[float, float], columns: int = 3) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels, each about `size` inches, at most `columns` beside each other."""
    across = min(count, columns)
    down = ceil(count / across)
    figure = Figure(figsize=(size[0] * across, size[1] * down), layout="constrained")
    axes = list(figure.subplots(down, across, squeeze=False).flat)
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def dim_axis(axes: Axes, dims: Sequence[int], prefer: Iterable[int] = ()) -> None:
    """Make the x axis one of widths: log2, ticks at the widths, labels where there is room (trained widths first)."""
    axes.set_xscale("log", base=2)
    labelled = roomy(sorted(set(dims)), prefer)
    axes.xaxis.set_major_locator(FixedLocator(labelled))
    axes.xaxis.set_major_formatter(FixedFormatter([str(dim) for dim in labelled]))
    axes.xaxis.set_minor_locator(FixedLocator([dim for dim in dims if dim not in labelled]))
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


def legend_below(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Put one legend for the whole figure under its panels, and make the figure taller by the legend's height."""
    if not handles:
        return
    widest = max(len(str(handle.get_label())) for handle in handles)
    columns = min(len(handles), max(1, int(figure.get_size_inches()[0] / (0.62 + 0.064 * widest))))
    rows = ceil(len(handles) / columns)
    figure.set_size_inches(figure.get_size_inches()[0], figure.get_size_inches()[1] + 0.17 * rows)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def method_handles(methods: Iterable[str], style: Style) -> list[Line2D]:
    """The legend entries of methods."""
    return [method_handle(method, style) for method in methods]


def method_handle(method: str, style: Style) -> Line2D:
    """The legend entry of a method."""
    look = style[method]
    return Line2D(
        [], [], color=look.color, marker=look.marker, linestyle=look.line, label=method, alpha=style.alpha(method)
    )
