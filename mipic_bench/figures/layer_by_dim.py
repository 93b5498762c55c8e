"""Quality at every budget as heat maps, layers down and widths across, one panel per method."""

from math import ceil

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mipic_bench.figures import Drawing
from mipic_bench.figures._style import INK, Style, gid
from mipic_bench.quality import Setting, View, pick

_CELL = (0.36, 0.235)  # inches: room for "100.0" in 6.5 points
_COLUMNS = 4


class LayerByDim(Drawing):
    """One heat map per method, in a common color scale per family."""

    title = "Quality by layer and width"
    caption = (
        "Each cell is the mean over the family's tasks and seeds ×100, float32 vectors. "
        "Lighter is better; one color scale for all methods. Hatched cells were not scored."
    )
    needs = "It needs rows at two layers and two widths or more."
    order = 20
    for_run = True

    def draw(self, view: View, style: Style) -> dict[str, Figure]:
        """One figure per setting and family."""
        drawn = {}
        for setting in view.settings:
            points = pick(view.estimates, setting, precision="float32")
            if points["layer"].nunique() < 2 or points["dim"].nunique() < 2:
                continue
            for family in view.families(setting):
                part = points[points["family"] == family]
                if len(part):
                    drawn[f"{setting.slug}--{family}"] = _figure(view, style, setting, family, part)
        return drawn


def _figure(view: View, style: Style, setting: Setting, family: str, part: pd.DataFrame) -> Figure:
    methods = [method for method in view.methods if (part["method"] == method).any()]
    grids = {method: grid(part[part["method"] == method], part) for method in methods}
    figure, axes, bar = heat_panels(len(methods), grids[methods[0]].shape)
    scale = Normalize(100 * part["mean"].min(), 100 * part["mean"].max())
    for place, method in zip(axes, methods, strict=True):
        heat_map(place, grids[method], method, "viridis", scale, ".1f", style)
    color_bar(figure, bar, "viridis", scale, f"{view.metric_title(family)} ×100")
    figure.suptitle(f"{family} · {setting.title}", fontsize=9, x=0.02, ha="left", y=1 - 0.08 / figure.get_figheight())
    return figure


def grid(own: pd.DataFrame, everything: pd.DataFrame, column: str = "mean") -> pd.DataFrame:
    """Layers down, widths across, ×100; the same layers and widths for every method, NaN where it has no score."""
    table = own.pivot(index="layer", columns="dim", values=column) * 100
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
    axes: Axes, table: pd.DataFrame, method: str, palette: str, scale: Normalize, digits: str, style: Style
) -> None:
    """Draw one heat map with its numbers."""
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
    shown = method == style.highlight
    axes.set_title(method, color=style[method].color if shown else INK, fontsize=8)
    axes.tick_params(length=0, labelsize=7)
    axes.tick_params(axis="y", labelrotation=0)
    left = axes.get_subplotspec() is None and axes.yaxis.get_tick_params().get("labelleft", True)
    axes.set_ylabel("layer" if left else "")
    axes.set_xlabel("dim")


def color_bar(figure: Figure, axes: Axes, palette: str, scale: Normalize, label: str) -> None:
    """Draw the color scale beside the panels."""
    from matplotlib.cm import ScalarMappable

    bar = figure.colorbar(ScalarMappable(scale, palette), cax=axes)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=7)
    axes.grid(False)
    axes.tick_params(labelsize=6.5, length=2)


def largest(table: pd.DataFrame) -> float:
    """The largest absolute value of a grid, for a symmetric scale."""
    values = np.abs(table.to_numpy(dtype=float))
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
