"""Quality against embedding width at the last layer, one panel per family."""

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import dim_axis, method_handles, panels
from mipic_bench.figures._crowd import CAPTION, figures_of
from mipic_bench.figures._style import INK, Style, gid


class QualityByDim(Drawing):
    """Curves of the family means over the widths, with intervals over seeds."""

    title = "Quality by width"
    caption = (
        "Mean over the tasks of each family at the last layer, float32 vectors. Bands are 95 % intervals over seeds. "
        "Widths the method was trained at are points; the line between them shows widths it was not trained at. "
        "The dotted line is the full-width score of the reference method. " + CAPTION
    )
    needs = "It needs rows at two widths or more."
    order = 10
    for_run = True

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting, or several where methods are many."""
        for setting in view.settings:
            points = last_layer(view.compared(pick(view.estimates, setting, precision="float32")))
            if points["dim"].nunique() > 1:
                for of, methods in figures_of(view, style, points):
                    own = points[points["method"].isin(methods)]
                    yield f"{setting.slug}{of}", _figure(view, style, setting, own, methods)


def _figure(view: View, style: Style, setting: Setting, points: pd.DataFrame, methods: Sequence[str]) -> Figure:
    families = [name for name in view.families(setting) if (points["family"] == name).any()]
    handles = method_handles(methods, style)
    if style.reference in methods and (points["dim"] == view.widths[setting.backbone]).any():
        handles.append(Line2D([], [], color=INK, linestyle=":", linewidth=1, label=f"{style.reference}, full width"))
    size = (2.45, 1.85) if len(families) > 1 else (3.9, 2.4)
    figure, axes = panels(len(families), size, title=_title(view, setting, points), handles=handles)
    for place, family in zip(axes, families, strict=True):
        part = points[points["family"] == family]
        for method in methods:
            _curve(place, part[part["method"] == method], method, style, view.trained_dims(method, setting.backbone))
        _full_width_line(place, part[part["dim"] == view.widths[setting.backbone]], style.reference)
        trained = set().union(*(view.trained_dims(method, setting.backbone) for method in methods))
        dim_axis(place, sorted(part["dim"].unique()), trained)
        place.set_title(f"{family} · {view.metric_title(family)} ×100")
    return figure


def _title(view: View, setting: Setting, points: pd.DataFrame) -> str:
    return f"{setting.title} · layer {points['layer'].max()} · {seeds_title(view, points)}"


def seeds_title(view: View, points: pd.DataFrame) -> str:
    """How many seeds the trained ones of the methods to compare have, in words."""
    trained = points["method"].isin(set(view.methods) - set(view.untrained))
    seeds = sorted(set(points.loc[trained, "seeds"])) or [1]
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"{many} seeds" if seeds[-1] > 1 else "1 seed, no intervals"


def _curve(
    axes: Axes, points: pd.DataFrame, method: str, style: Style, trained: Sequence[int] | frozenset[int]
) -> None:
    points = points.sort_values("dim")
    if points.empty:
        return
    look, alpha = style[method], style.alpha(method)
    axes.plot(
        points["dim"],
        100 * points["mean"],
        color=look.color,
        linestyle=look.line,
        linewidth=style.width(method),
        alpha=alpha,
        gid=gid(method),
        zorder=3 if style.highlight == method else 2,
    )
    seen = points[points["dim"].isin(trained)] if trained else points
    axes.plot(
        seen["dim"],
        100 * seen["mean"],
        look.marker,
        color=look.color,
        alpha=alpha,
        gid=gid(method),
        mec="white",
        mew=0.4,
    )
    if points["low"].notna().any():
        axes.fill_between(
            points["dim"].to_numpy(),
            100 * points["low"].to_numpy(),
            100 * points["high"].to_numpy(),
            color=look.color,
            alpha=0.15 * alpha,
            linewidth=0,
            gid=gid(method),
        )


def _full_width_line(axes: Axes, points: pd.DataFrame, reference: str | None) -> None:
    own = points[points["method"] == reference]
    if len(own):
        axes.axhline(100 * own.iloc[0]["mean"], color=INK, linestyle=":", linewidth=1, zorder=1)
