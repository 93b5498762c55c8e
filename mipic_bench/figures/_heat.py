"""Heat maps that several figures share: a panel per method, layers down and widths across, numbers in the cells.

All panels lie in one pair of axes, as one matrix with gaps: a study of many settings draws thousands of cells, and axes
are what costs most.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mipic_bench.figures._axes import new_figure
from mipic_bench.figures._style import INK, Style, gid

Array = NDArray[np.float64]
_CELL = (0.36, 0.235)  # inches: room for "100.0" in 6.5 points
_COLUMNS = 4
_BLACK, _WHITE = "#000000", "#ffffff"
_FONTS = {bold: FontProperties(size=6.5, weight="bold" if bold else "normal") for bold in (False, True)}
_GAP = 3  # rows of cells between panels: room for the widths above and the name below it
_MARGIN = (0.55, 0.62, 0.95, 0.5)  # inches: left, top, right, below


def grid(own: pd.DataFrame, everything: pd.DataFrame, column: str = "mean") -> pd.DataFrame:
    """Layers down, widths across, ×100; the same layers and widths for every method, NaN where it has no score."""
    table = own.pivot(index="layer", columns="dim", values=column).astype(float) * 100
    return table.reindex(index=sorted(everything["layer"].unique()), columns=sorted(everything["dim"].unique()))


def heat_figure(
    grids: Mapping[str, pd.DataFrame],
    scale: Normalize,
    palette: str,
    digits: str,
    style: Style,
    *,
    title: str,
    label: str,
    bold: Mapping[str, pd.DataFrame] | None = None,
) -> Figure:
    """Draw one heat map per method, side by side, in one color scale.

    Args:
        grids: method -> its values, all of one shape (`grid`).
        scale: of the colors.
        palette: matplotlib's name of it.
        digits: format of the numbers.
        style: says which method stands out.
        title: over the whole figure.
        label: of the color bar.
        bold: method -> a grid whose cells above 0 are printed bold.
    """
    layers, dims = (list(axis) for axis in next(iter(grids.values())).axes)
    across, down = min(len(grids), _COLUMNS), ceil(len(grids) / _COLUMNS)
    figure, axes, bar = _layout(across, down, (len(layers), len(dims)))
    step = (len(dims) + 1, len(layers) + _GAP)
    blank = (down * step[1] - _GAP, across * step[0] - 1)
    values, strong = np.full(blank, np.nan), np.zeros(blank, dtype=bool)
    for place, (method, table) in enumerate(grids.items()):
        row, column = divmod(place, across)
        corner = (column * step[0], row * step[1])
        cut = (slice(corner[1], corner[1] + len(layers)), slice(corner[0], corner[0] + len(dims)))
        values[cut] = table.to_numpy(dtype=float)
        if bold:
            strong[cut] = bold[method].to_numpy(dtype=float) > 0
        _frame(axes, corner, layers, dims, method, style, names_layers=column == 0)
        _hatch(axes, corner, values[cut])
    sns.heatmap(
        pd.DataFrame(values), ax=axes, cmap=palette, vmin=scale.vmin, vmax=scale.vmax, cbar=False, linewidths=0.4,
        linecolor="white", xticklabels=False, yticklabels=False,
    )  # fmt: skip
    colors = ScalarMappable(scale, palette).to_rgba(values)
    for place, method in enumerate(grids):
        row, column = divmod(place, across)
        panel = (
            slice(row * step[1], row * step[1] + len(layers)),
            slice(column * step[0], column * step[0] + len(dims)),
        )
        numbers = Numbers(values[panel], colors[panel], strong[panel], digits, (panel[1].start, panel[0].start))
        numbers.set_gid(gid(method))
        axes.add_artist(numbers)
    _color_bar(figure, bar, palette, scale, label)
    figure.text(0.02, 1 - 0.08 / figure.get_figheight(), title, fontsize=9, va="top")
    return figure


def _layout(across: int, down: int, shape: tuple[int, int]) -> tuple[Figure, Axes, Axes]:
    """Lay out by hand, so that cells have one size in every figure: the figure, its axes, the color bar's axes."""
    left, top, right, below = _MARGIN
    cells = (across * (shape[1] + 1) - 1, down * (shape[0] + _GAP) - _GAP)
    wide, high = _CELL[0] * cells[0], _CELL[1] * cells[1]
    size = (left + wide + right, top + high + below)
    figure = new_figure(size)
    axes = figure.add_axes((left / size[0], below / size[1], wide / size[0], high / size[1]))
    axes.set_axis_off()
    tall = _CELL[1] * shape[0]
    bar = figure.add_axes(
        ((left + wide + 0.18) / size[0], (size[1] - top - tall) / size[1], 0.11 / size[0], tall / size[1])
    )
    return figure, axes, bar


def _frame(
    axes: Axes,
    corner: tuple[int, int],
    layers: list[int],
    dims: list[int],
    method: str,
    style: Style,
    names_layers: bool,
) -> None:
    """Name a panel's method, its widths and, at the left edge, its layers."""
    x, y = corner
    color = style[method].color if method == style.highlight else INK
    axes.text(x, y - 0.25, method, fontsize=8, fontweight="bold", color=color, va="bottom", gid=gid(method))
    for place, dim in enumerate(dims):
        axes.text(x + place + 0.5, y + len(layers) + 0.15, str(dim), fontsize=7, ha="center", va="top")
    axes.text(x + len(dims) / 2, y + len(layers) + 0.95, "dim", fontsize=7.5, ha="center", va="top")
    if names_layers:
        for place, layer in enumerate(layers):
            axes.text(x - 0.25, y + place + 0.5, str(layer), fontsize=7, ha="right", va="center")
        axes.text(x - 1.05, y + len(layers) / 2, "layer", fontsize=7.5, rotation=90, ha="center", va="center")


def _hatch(axes: Axes, corner: tuple[int, int], values: np.ndarray) -> None:
    """Hatch the cells that were not scored."""
    for row, column in zip(*np.nonzero(np.isnan(values)), strict=True):
        place = (corner[0] + column, corner[1] + row)
        axes.add_patch(Rectangle(place, 1, 1, facecolor="#E5E7EB", edgecolor="#9CA3AF", hatch="////", linewidth=0))


class Numbers(Artist):
    """The numbers of a panel's cells, all at once.

    As texts of matplotlib's they would be laid out one by one, and take most of the time of a report with many heat maps.

    Args:
        values: (row, column), NaN where nothing is written.
        colors: (row, column, 4) of the cells; the ink is black or white, whichever is easier to read.
        strong: (row, column) true where the number is bold.
        digits: format of the numbers.
        corner: (x, y) of the first cell, in cells.
    """

    def __init__(
        self, values: Array, colors: Array, strong: NDArray[np.bool_], digits: str, corner: tuple[int, int]
    ) -> None:
        super().__init__()
        cells = [(row, column) for row, column in np.ndindex(values.shape) if not np.isnan(values[row, column])]
        self.words = [_words(float(values[cell]), digits) for cell in cells]
        self._inks = [ink(colors[cell]) for cell in cells]
        self._bold = [bool(strong[cell]) for cell in cells]
        self._places = np.array([(corner[0] + x + 0.5, corner[1] + y + 0.5) for y, x in cells]).reshape(-1, 2)
        self.set_zorder(4)

    def draw(self, renderer: Any) -> None:
        """Write the numbers, each centered in its cell."""
        assert self.axes is not None
        places = self.axes.transData.transform(self._places)
        renderer.open_group("numbers", self.get_gid())
        if isinstance(renderer, RendererAgg) and len(places):
            self._stamp(renderer, places)
        else:
            self._write(renderer, places)
        renderer.close_group("numbers")

    def _write(self, renderer: Any, places: Array) -> None:
        """As texts, for files that keep them as such."""
        sizes = {
            (char, bold): renderer.get_text_width_height_descent(char, _FONTS[bold], False)[0]
            for char in "+−.0"
            for bold in (False, True)
        }
        rise = renderer.get_text_width_height_descent("0", _FONTS[False], False)[1] / 2  # digits have no descent
        high = renderer.get_canvas_width_height()[1]
        for word, color, bold, (x, y) in zip(self.words, self._inks, self._bold, places, strict=True):
            wide = sum(sizes["0" if char.isdigit() else char, bold] for char in word)  # digits are all of one width
            gc = renderer.new_gc()
            gc.set_foreground(color)
            below = high - y + rise if renderer.flipy() else y - rise
            renderer.draw_text(gc, x - wide / 2, below, word, _FONTS[bold], 0)
            gc.restore()

    def _stamp(self, renderer: RendererAgg, places: Array) -> None:
        """As pixels: one mask per ink, laid over the panel."""
        size = _FONTS[False].get_size_in_points() * renderer.dpi / 72
        fonts = {bold: ImageFont.truetype(findfont(font), size) for bold, font in _FONTS.items()}
        low, high = np.floor(places.min(axis=0) - 4 * size), np.ceil(places.max(axis=0) + 4 * size)
        for color in sorted(set(self._inks)):
            mask = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
            drawing = ImageDraw.Draw(mask)
            for word, own, bold, (x, y) in zip(self.words, self._inks, self._bold, places, strict=True):
                if own == color:
                    # the middle of a digit lies 0.36 of the size above the line it stands on
                    drawing.text((x - low[0], high[1] - y + 0.36 * size), word, fill=255, font=fonts[bold], anchor="ms")
            pixels = np.zeros((mask.height, mask.width, 4), dtype=np.uint8)
            pixels[..., :3] = 255 if color == _WHITE else 0
            pixels[..., 3] = np.asarray(mask)
            renderer.draw_image(renderer.new_gc(), low[0], low[1], pixels[::-1])


def ink(color: Array) -> str:
    """Black or white, whichever is easier to read on a color (WCAG's relative luminance)."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3])
    return _BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else _WHITE


def _words(value: float, digits: str) -> str:
    words = format(value, digits)
    return words.replace("-", "−") if words.strip("+-0.") else words.lstrip("+-")


def _color_bar(figure: Figure, axes: Axes, palette: str, scale: Normalize, label: str) -> None:
    bar = figure.colorbar(ScalarMappable(scale, palette), cax=axes)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=7)
    axes.grid(False)
    axes.tick_params(labelsize=6.5, length=2)


def largest(table: pd.DataFrame) -> float:
    """The largest absolute value of a grid, for a symmetric scale."""
    values = np.abs(table.to_numpy(dtype=float))
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
