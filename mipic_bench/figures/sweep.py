"""How sensitive a method is to a value: quality over the values a recipe was swept through."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick, swept_value
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import panels
from mipic_bench.figures._style import INK, PALETTE, Style, gid
from mipic_bench.results.folder import safe

_MARKERS = ("o", "s", "^")


class Sweep(Drawing):
    """Curves over the swept values, at the smallest, middle and full width."""

    title = "Sensitivity to swept values"
    caption = (
        "Mean over the family's tasks at the last layer against the swept value, with 95 % intervals over seeds. "
        "The dashed lines are the method's own value, unswept. Choosing a value here would be tuning on the scored split."
    )
    needs = "It needs runs with a value of some setting (methods named like mipic-alpha=0.5) beside the method itself, or with two."
    order = 50

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting, method and swept key."""
        for (base, key), values in sweeps(view).items():
            for setting in view.settings:
                points = last_layer(pick(view.estimates, setting, precision="float32"))
                own = points[points["method"].isin(values)]
                alike = "=" not in key  # else the method itself differs in more than the value
                unswept = points[(points["method"] == base) & alike]
                if own["method"].nunique() > (0 if len(unswept) else 1):
                    yield (
                        f"{setting.slug}--{safe(base)}-{safe(key)}",
                        _figure(view, setting, (base, key), values, own, unswept),
                    )


def sweeps(view: View) -> dict[tuple[str, str], dict[str, float]]:
    """(method, swept key) -> {name of the swept method: its value}; keys whose values are no numbers are left out.

    An ablation that is there too is the method that was swept: `mipic-no-pic` of `mipic-no-pic-alpha=0.5`.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for method, base in view.bases.items():
        value, head = swept_value(method), method.rpartition("=")[0]
        if value is not None:
            own = max((name for name in view.every_method if head.startswith(f"{name}-")), key=len, default=base)
            found.setdefault((own, head.removeprefix(f"{own}-")), {})[method] = value
    return dict(sorted(found.items()))


def _figure(
    view: View,
    setting: Setting,
    swept: tuple[str, str],
    values: Mapping[str, float],
    own: pd.DataFrame,
    unswept: pd.DataFrame,
) -> Figure:
    families = [family for family in view.families(setting) if (own["family"] == family).any()]
    dims = sorted(own["dim"].unique())
    shown = sorted({dims[0], dims[(len(dims) - 1) // 2], dims[-1]})
    handles = [
        Line2D([], [], color=PALETTE[at], marker=_MARKERS[at], label=f"{dim} dims") for at, dim in enumerate(shown)
    ]
    if len(unswept):
        handles.append(Line2D([], [], color=INK, linestyle=(0, (4, 2)), linewidth=0.9, label=f"{swept[0]}, unswept"))
    size = (2.45, 1.75) if len(families) > 1 else (3.6, 2.4)
    figure, axes = panels(len(families), size, title=f"{swept[0]}, {swept[1]} · {setting.title}", handles=handles)
    for place, family in zip(axes, families, strict=True):
        for at, dim in enumerate(shown):
            part = own[(own["family"] == family) & (own["dim"] == dim)]
            part = part.assign(value=part["method"].map(values).astype(float)).sort_values("value")
            reach = [100 * (part["mean"] - part["low"]).fillna(0), 100 * (part["high"] - part["mean"]).fillna(0)]
            line = place.errorbar(
                part["value"], 100 * part["mean"], yerr=reach, color=PALETTE[at], marker=_MARKERS[at], capsize=2, lw=1.4
            )
            line.lines[0].set_gid(gid(list(part["method"])))
            base = unswept[(unswept["family"] == family) & (unswept["dim"] == dim)]
            for mean in base["mean"]:
                place.axhline(100 * mean, color=PALETTE[at], linestyle=(0, (4, 2)), linewidth=0.9, alpha=0.8)
        place.set_title(f"{family} · {view.metric_title(family)} ×100")
        _value_axis(place, sorted({values[method] for method in own["method"].unique()}))
        place.set_xlabel(swept[1])
    return figure


def _value_axis(axes: Axes, values: Sequence[float]) -> None:
    """Ticks at the swept values; by factors where they span more than one power of ten, zero a step before the first."""
    positive = [value for value in values if value > 0]
    if values[0] >= 0 and positive and positive[-1] / positive[0] > 10:
        axes.set_xscale("symlog", linthresh=positive[0]) if values[0] == 0 else axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(values, [f"{value:g}" for value in values])
