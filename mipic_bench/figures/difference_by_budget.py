"""What each method gains over the reference at every budget, as heat maps with a symmetric scale."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.figures import Drawing
from mipic_bench.figures._heat import grid, heat_figure, largest
from mipic_bench.figures._style import Style
from mipic_bench.results.folder import safe


class DifferenceByBudget(Drawing):
    """One heat map per method, against the reference method."""

    title = "Difference by layer and width"
    caption = (
        "Points gained over the reference method at each budget: paired by task and seed, on what both have. "
        "Bold numbers: the 95 % interval over seeds excludes 0. These many comparisons are exploratory: none is corrected."
    )
    needs = "It needs a reference method and another one, at two layers and two widths or more."
    order = 30

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting and family."""
        for setting in view.settings if style.reference else ():
            found = view.compared(pick(view.differences(str(style.reference)), setting))
            if found["layer"].nunique() < 2 or found["dim"].nunique() < 2:
                continue
            for family in view.families(setting):
                part = found[found["family"] == family]
                if len(part):
                    yield f"{setting.slug}--{safe(family)}", _figure(view, style, setting, family, part)


def _figure(view: View, style: Style, setting: Setting, family: str, part: pd.DataFrame) -> Figure:
    methods = [method for method in view.methods if (part["method"] == method).any()]
    grids = {method: grid(part[part["method"] == method], part, "difference") for method in methods}
    most = max(largest(table) for table in grids.values()) or 1.0
    part = part.assign(sure=(part["low"] > 0) | (part["high"] < 0))
    sure = {method: grid(part[part["method"] == method], part, "sure") for method in methods}
    title = f"{family} · {setting.title} · difference from {style.reference}"
    label = f"{view.metric_title(family)} ×100 minus {style.reference}"
    return heat_figure(grids, Normalize(-most, most), "RdBu", "+.1f", style, title=title, label=label, bold=sure)
