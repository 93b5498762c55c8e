"""Heat maps that several figures share: a panel per method, layers down and widths across, numbers in the cells.

All panels lie in one pair of axes, as one matrix with gaps: a study of many settings draws thousands of cells, and axes
are what costs most.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
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
_LETTER, _SMALL_LETTER, _TITLE_LETTER = 0.075, 0.053, 0.072  # inches a letter takes: of a bold name, a label, a title
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
    longest = max(len(method) for method in grids) * _LETTER / _CELL[0]  # in cells
    step = (max(len(dims), ceil(longest)) + 1, len(layers) + _GAP)
    cells = (across * step[0] - 1, down * step[1] - _GAP)
    room = _CELL[1] * len(layers) + 0.8  # the label may reach over the ends of its bar
    label = fill(label, int(room / _SMALL_LETTER), break_on_hyphens=False)
    figure, axes, bar = _layout(cells, len(layers), len(title), label.count("\n"))
    corners = {method: (place % across * step[0], place // across * step[1]) for place, method in enumerate(grids)}
    everything = np.full(cells[::-1], np.nan)
    for method, (x, y) in corners.items():
        everything[y : y + len(layers), x : x + len(dims)] = grids[method].to_numpy(dtype=float)
    # before what is written over it: seaborn draws the figure once to see whether its labels overlap
    sns.heatmap(
        pd.DataFrame(everything), ax=axes, cmap=palette, vmin=scale.vmin, vmax=scale.vmax, cbar=False, linewidths=0.4,
        linecolor="white", xticklabels=False, yticklabels=False,
    )  # fmt: skip
    labels: list[Word] = []
    for method, corner in corners.items():
        values = grids[method].to_numpy(dtype=float)
        colors = ScalarMappable(scale, palette).to_rgba(values)
        _hatch(axes, corner, values)
        strong = bold[method].to_numpy(dtype=float) > 0 if bold else np.zeros(values.shape, dtype=bool)
        axes.add_artist(Words(_numbers(values, colors, strong, digits, corner), gid(method)))
        _name(axes, corner, len(layers), method, style)
        labels += _labels(corner, layers, dims, names_layers=corner[0] == 0)
    axes.add_artist(Words(labels))
    _color_bar(figure, bar, palette, scale, label)
    figure.text(0.02, 1 - 0.08 / figure.get_figheight(), title, fontsize=9, va="top")
    return figure


def _layout(cells: tuple[int, int], layers: int, title: int, breaks: int) -> tuple[Figure, Axes, Axes]:
    """Lay out by hand, so that cells have one size in every figure: the figure, its axes, the color bar's axes.

    Args:
        cells: across and down, those of the gaps included.
        layers: cells that the color bar is high.
        title: its letters, for which the figure is wide enough.
        breaks: of the lines of the color bar's label.
    """
    left, top, right, below = _MARGIN
    wide, high = _CELL[0] * cells[0], _CELL[1] * cells[1]
    size = (max(left + wide + right + 0.12 * breaks, _TITLE_LETTER * title + 0.2), top + high + below)
    figure = new_figure(size)
    axes = figure.add_axes((left / size[0], below / size[1], wide / size[0], high / size[1]))
    axes.set_axis_off()
    tall = _CELL[1] * layers
    bar = figure.add_axes(
        ((left + wide + 0.18) / size[0], (size[1] - top - tall) / size[1], 0.11 / size[0], tall / size[1])
    )
    return figure, axes, bar


class Word(NamedTuple):
    """A word centered at a place, in cells."""

    text: str
    x: float
    y: float
    color: str
    bold: bool


def _hatch(axes: Axes, corner: tuple[int, int], values: Array) -> None:
    """Hatch the cells that were not scored."""
    for row, column in zip(*np.nonzero(np.isnan(values)), strict=True):
        place = (corner[0] + int(column), corner[1] + int(row))
        axes.add_patch(Rectangle(place, 1, 1, facecolor="#E5E7EB", edgecolor="#9CA3AF", hatch="////", linewidth=0))


def _labels(corner: tuple[int, int], layers: list[int], dims: list[int], names_layers: bool) -> list[Word]:
    """The widths below a panel and, at the left edge, its layers."""
    x, y = corner
    below = y + len(layers) + 0.5
    words = [Word(str(dim), x + place + 0.5, below, INK, False) for place, dim in enumerate(dims)]
    words.append(Word("dim", x + len(dims) / 2, below + 0.85, INK, False))
    if names_layers:
        words += [Word(str(layer), x - 0.5, y + place + 0.5, INK, False) for place, layer in enumerate(layers)]
    return words


def _name(axes: Axes, corner: tuple[int, int], layers: int, method: str, style: Style) -> None:
    """Write a panel's method above it, and beside the left panels what goes down."""
    x, y = corner
    color = style[method].color if method == style.highlight else INK
    axes.text(x, y - 0.25, method, fontsize=8, fontweight="bold", color=color, va="bottom", gid=gid(method))
    if x == 0:
        axes.text(-1.05, y + layers / 2, "layer", fontsize=7.5, rotation=90, ha="center", va="center")


def _numbers(
    values: Array, colors: Array, strong: NDArray[np.bool_], digits: str, corner: tuple[int, int]
) -> list[Word]:
    """The numbers of a panel's cells; a cell that was not scored has none and stays hatched."""
    return [
        Word(
            _digits(float(values[at]), digits),
            corner[0] + at[1] + 0.5,
            corner[1] + at[0] + 0.5,
            ink(colors[at]),
            bool(strong[at]),
        )
        for at in np.ndindex(values.shape)
        if not np.isnan(values[at])
    ]


class Words(Artist):
    """Many short words, each centered at its place in data coordinates, drawn all at once.

    As texts of matplotlib's they would be laid out one by one, and take most of the time of a report with many heat maps.

    Args:
        words: what to write, and where.
        gid: id of the group in an SVG.
    """

    def __init__(self, words: Sequence[Word], gid: str | None = None) -> None:
        super().__init__()
        self.words = list(words)
        self.set_zorder(4)
        self.set_gid(gid)

    def draw(self, renderer: Any) -> None:
        """Write the words."""
        assert self.axes is not None
        if not self.words:
            return
        places = self.axes.transData.transform(np.array([(word.x, word.y) for word in self.words]))
        renderer.open_group("words", self.get_gid())
        if isinstance(renderer, RendererAgg):
            self._stamp(renderer, places)
        else:
            self._write(renderer, places)
        renderer.close_group("words")

    def _write(self, renderer: Any, places: Array) -> None:
        """As texts, for files that keep them as such."""
        sizes: dict[tuple[str, bool], float] = {}
        rise = renderer.get_text_width_height_descent("0", _FONTS[False], False)[1] / 2
        high = renderer.get_canvas_width_height()[1]
        for word, (x, y) in zip(self.words, places, strict=True):
            shape = "".join("0" if char.isdigit() else char for char in word.text)  # digits are all of one width
            if (shape, word.bold) not in sizes:
                sizes[shape, word.bold] = renderer.get_text_width_height_descent(shape, _FONTS[word.bold], False)[0]
            gc = renderer.new_gc()
            gc.set_foreground(word.color)
            below = high - y + rise if renderer.flipy() else y - rise
            renderer.draw_text(gc, x - sizes[shape, word.bold] / 2, below, word.text, _FONTS[word.bold], 0)
            gc.restore()

    def _stamp(self, renderer: RendererAgg, places: Array) -> None:
        """As pixels: one mask per color, laid over the place of its words."""
        size = _FONTS[False].get_size_in_points() * renderer.dpi / 72
        fonts = {bold: ImageFont.truetype(findfont(font), size) for bold, font in _FONTS.items()}
        low, high = np.floor(places.min(axis=0) - 4 * size), np.ceil(places.max(axis=0) + 4 * size)
        for color in sorted({word.color for word in self.words}):
            mask = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
            drawing = ImageDraw.Draw(mask)
            for word, (x, y) in zip(self.words, places, strict=True):
                if word.color == color:
                    # the middle of a digit lies 0.36 of the size above the line it stands on
                    where = (x - low[0], high[1] - y + 0.36 * size)
                    drawing.text(where, word.text, fill=255, font=fonts[word.bold], anchor="ms")
            pixels = np.empty((mask.height, mask.width, 4), dtype=np.uint8)
            pixels[..., :3] = [round(255 * part) for part in to_rgb(color)]
            pixels[..., 3] = np.asarray(mask)
            renderer.draw_image(renderer.new_gc(), low[0], low[1], pixels[::-1])


def ink(color: Array) -> str:
    """Black or white, whichever is easier to read on a color (WCAG's relative luminance)."""
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3])
    return _BLACK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else _WHITE


def _digits(value: float, digits: str) -> str:
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
