"""Quality at every budget as heat maps, layers down and widths across, one panel per method."""

import pandas as pd
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mipic_bench.figures import Drawing
from mipic_bench.figures._heat import color_bar, grid, heat_map, heat_panels
from mipic_bench.figures._style import Style
from mipic_bench.quality import Setting, View, pick


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
