"""Heat maps that several figures share: layers down and widths across, numbers in the cells."""

from math import ceil

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mipic_bench.figures._style import INK, Style, gid

_CELL = (0.36, 0.235)  # inches: room for "100.0" in 6.5 points
_COLUMNS = 4


def grid(own: pd.DataFrame, everything: pd.DataFrame, column: str = "mean") -> pd.DataFrame:
    """Layers down, widths across, ×100; the same layers and widths for every method, NaN where it has no score."""
    table = own.pivot(index="layer", columns="dim", values=column).astype(float) * 100
    return table.reindex(index=sorted(everything["layer"].unique()), columns=sorted(everything["dim"].unique()))


def heat_panels(count: int, shape: tuple[int, int]) -> tuple[Figure, list[Axes], Axes]:
    """Lay out heat maps of a shape by hand (cells keep one size): the figure, its panels, the color bar's axes."""
    across, down = min(count, _COLUMNS), ceil(count / _COLUMNS)
    cell_h = _CELL[1]
    wide, high = _CELL[0] * shape[1], cell_h * shape[0]
    left, gap, top, below, step = 0.5, 0.22, 0.5, 0.45, 0.68
    size = (left + across * (wide + gap) + 0.75, top + down * high + (down - 1) * step + below)
    figure = Figure(figsize=size)
    axes = []
    for place in range(count):
        row, column = divmod(place, across)
        x, y = left + column * (wide + gap), size[1] - top - high - row * (high + step)
        axes.append(figure.add_axes((x / size[0], y / size[1], wide / size[0], high / size[1])))
        if column:
            axes[-1].tick_params(labelleft=False)
    bar = figure.add_axes(
        ((left + across * (wide + gap)) / size[0], (size[1] - top - high) / size[1], 0.11 / size[0], high / size[1])
    )
    return figure, axes, bar


def heat_map(
    axes: Axes,
    table: pd.DataFrame,
    method: str,
    palette: str,
    scale: Normalize,
    digits: str,
    style: Style,
    bold: pd.DataFrame | None = None,
) -> None:
    """Draw one heat map with its numbers; those where `bold` is above 0 are bold."""
    axes.set_facecolor("#E5E7EB")
    axes.grid(False)
    if table.isna().any(axis=None):
        axes.patch.set_hatch("////")
        axes.patch.set_edgecolor("#9CA3AF")
    sns.heatmap(
        table,
        ax=axes,
        cmap=palette,
        vmin=scale.vmin,
        vmax=scale.vmax,
        annot=True,
        fmt=digits,
        annot_kws={"fontsize": 6.5, "gid": gid(method)},
        cbar=False,
        linewidths=0.4,
        linecolor="white",
        xticklabels=True,
        yticklabels=True,
    )
    for text in axes.texts:
        words = text.get_text()
        text.set_text(words.replace("-", "−") if words.strip("+-0.") else words.lstrip("+-"))
    if bold is not None:
        marks = bold.to_numpy(dtype=float)[table.notna().to_numpy()]
        for text, mark in zip(axes.texts, marks, strict=True):
            text.set_fontweight("bold" if mark > 0 else "normal")
    shown = method == style.highlight
    axes.set_title(method, color=style[method].color if shown else INK, fontsize=8)
    axes.tick_params(length=0, labelsize=7)
    axes.tick_params(axis="y", labelrotation=0)
    left = axes.get_subplotspec() is None and axes.yaxis.get_tick_params().get("labelleft", True)
    axes.set_ylabel("layer" if left else "")
    axes.set_xlabel("dim")


def color_bar(figure: Figure, axes: Axes, palette: str, scale: Normalize, label: str) -> None:
    """Draw the color scale beside the panels."""
    bar = figure.colorbar(ScalarMappable(scale, palette), cax=axes)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=7)
    axes.grid(False)
    axes.tick_params(labelsize=6.5, length=2)


def largest(table: pd.DataFrame) -> float:
    """The largest absolute value of a grid, for a symmetric scale."""
    values = np.abs(table.to_numpy(dtype=float))
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
