"""What a smaller width keeps of the full-width score, and where it falls below 99 % and 95 %."""

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.figure import Figure

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import dim_axis, method_handles, panels
from mipic_bench.figures._crowd import CAPTION, figures_of
from mipic_bench.figures._style import INK, Style, gid


class Retention(Drawing):
    """Retention curves with the 1 % and 5 % lines."""

    title = "What a smaller width keeps"
    caption = (
        "Score divided by the full-width score of the same run, at the last layer; bands are 95 % intervals over seeds. "
        "Where a curve crosses a dotted line is the smallest width within 1 % or 5 % of full width. " + CAPTION
    )
    needs = "It needs the full width and a smaller one."
    order = 60

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting, or several where methods are many."""
        for setting in view.settings:
            kept = last_layer(view.compared(pick(view.retentions, setting)))
            families = [name for name in view.families(setting) if (kept["family"] == name).any()]
            if not families or kept["dim"].nunique() < 2:
                continue
            for of, methods in figures_of(view, style, kept):
                yield f"{setting.slug}{of}", _figure(style, setting, kept, families, methods)


def _figure(
    style: Style, setting: Setting, kept: pd.DataFrame, families: Sequence[str], methods: Sequence[str]
) -> Figure:
    size = (2.45, 1.75) if len(families) > 1 else (3.9, 2.4)
    title = f"{setting.title} · layer {kept['layer'].max()}"
    figure, axes = panels(len(families), size, title=title, handles=method_handles(methods, style))
    for place, family in zip(axes, families, strict=True):
        for method in methods:
            own = kept[(kept["family"] == family) & (kept["method"] == method)].sort_values("dim")
            look, alpha = style[method], style.alpha(method)
            place.plot(own["dim"], 100 * own["mean"], **style.line(method))
            if own["low"].notna().any():
                ends = (100 * own["low"].to_numpy(), 100 * own["high"].to_numpy())
                place.fill_between(
                    own["dim"].to_numpy(), *ends, color=look.color, alpha=0.15 * alpha, lw=0, gid=gid(method)
                )
        for share, side in ((99, "bottom"), (95, "top")):
            place.axhline(share, color=INK, linestyle=":", linewidth=0.9)
            place.annotate(f"{share} %", (0.01, share), xycoords=("axes fraction", "data"), fontsize=6.5, va=side)
        dim_axis(place, sorted(kept["dim"].unique()))
        place.set_title(f"{family} · % of full width")
    return figure
