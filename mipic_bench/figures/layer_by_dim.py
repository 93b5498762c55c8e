"""Quality at every budget as heat maps, layers down and widths across, one panel per method."""

from collections.abc import Iterator

import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.figures import Drawing
from mipic_bench.figures._heat import grid, heat_figure
from mipic_bench.figures._style import Style
from mipic_bench.results.folder import safe


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

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting and family."""
        for setting in view.settings:
            points = view.compared(pick(view.estimates, setting, precision="float32"))
            if points["layer"].nunique() < 2 or points["dim"].nunique() < 2:
                continue
            for family in view.families(setting):
                part = points[points["family"] == family]
                if len(part):
                    yield f"{setting.slug}--{safe(family)}", _figure(view, style, setting, family, part)


def _figure(view: View, style: Style, setting: Setting, family: str, part: pd.DataFrame) -> Figure:
    methods = [method for method in view.methods if (part["method"] == method).any()]
    grids = {method: grid(part[part["method"] == method], part) for method in methods}
    scale = Normalize(100 * part["mean"].min(), 100 * part["mean"].max())
    title, label = f"{family} · {setting.title}", f"{view.metric_title(family)} ×100"
    return heat_figure(grids, scale, "viridis", ".1f", style, title=title, label=label)
