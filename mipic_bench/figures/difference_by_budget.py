"""What each method gains over the reference at every budget, as heat maps with a symmetric scale."""

import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mipic_bench.figures import Drawing
from mipic_bench.figures._heat import color_bar, grid, heat_map, heat_panels, largest
from mipic_bench.figures._style import Style
from mipic_bench.quality import Setting, View, pick


class DifferenceByBudget(Drawing):
    """One heat map per method, against the reference method."""

    title = "Difference by layer and width"
    caption = (
        "Points gained over the reference method at each budget: paired by task and seed, on what both have. "
        "Bold numbers: the 95 % interval over seeds excludes 0. These many comparisons are exploratory: none is corrected."
    )
    needs = "It needs a reference method and another one, at two layers and two widths or more."
    order = 30

    def draw(self, view: View, style: Style) -> dict[str, Figure]:
        """One figure per setting and family."""
        drawn = {}
        for setting in view.settings if style.reference else ():
            found = pick(view.differences(str(style.reference)), setting)
            if found["layer"].nunique() < 2 or found["dim"].nunique() < 2:
                continue
            for family in view.families(setting):
                part = found[found["family"] == family]
                if len(part):
                    drawn[f"{setting.slug}--{family}"] = _figure(view, style, setting, family, part)
        return drawn


def _figure(view: View, style: Style, setting: Setting, family: str, part: pd.DataFrame) -> Figure:
    methods = [method for method in view.methods if (part["method"] == method).any()]
    grids = {method: grid(part[part["method"] == method], part, "difference") for method in methods}
    figure, axes, bar = heat_panels(len(methods), grids[methods[0]].shape)
    most = max(largest(table) for table in grids.values()) or 1.0
    scale = Normalize(-most, most)
    for place, method in zip(axes, methods, strict=True):
        own = part[part["method"] == method]
        sure = own.assign(sure=(own["low"] > 0) | (own["high"] < 0))
        heat_map(place, grids[method], method, "RdBu", scale, "+.1f", style, bold=grid(sure, part, "sure"))
    color_bar(figure, bar, "RdBu", scale, f"{view.metric_title(family)} ×100 minus {style.reference}")
    figure.suptitle(
        f"{family} · {setting.title} · difference from {style.reference}",
        fontsize=9, x=0.02, ha="left", y=1 - 0.08 / figure.get_figheight(),
    )  # fmt: skip
    return figure
