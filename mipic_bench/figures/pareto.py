"""Quality against what a budget costs: bytes per vector always, latency and FLOPs where a profile gives them."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.evaluators import bytes_per_vector
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import method_handles, panels
from mipic_bench.figures._crowd import CAPTION, figures_of
from mipic_bench.figures._style import Style, gid

# Columns of a profile -> how the axis is called. Lower is cheaper.
COSTS: Mapping[str, str] = {
    "bytes": "bytes per vector",
    "flops": "FLOPs per text",
    "encode_ms": "encoding, ms per text",
    "search_ms": "search, ms per query",
}


class Pareto(Drawing):
    """Every budget as a point, and the front of those that nothing cheaper beats."""

    title = "Quality against cost"
    caption = (
        "Every (layer, width, precision) is a point; a line joins the budgets of a method that no cheaper budget of the "
        "same method reaches, and is one marker where the cheapest budget is the best. Bytes follow from width and precision "
        "(binary+rescore stores the same bits as binary); other costs come from a profile. A family is over the tasks that "
        "have every precision. Points carry no intervals: neighbors on a front may not be distinguishable. " + CAPTION
    )
    needs = "It needs two budgets of different cost or more."
    order = 70

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting, or several where methods are many: families across, costs down."""
        for setting in view.settings:
            points = priced(view, pick(view.stored, setting))
            costs = [cost for cost in COSTS if cost in points and points[cost].nunique() > 1]
            for of, methods in figures_of(view, style, points) if costs else ():
                yield f"{setting.slug}{of}", _figure(view, style, setting, points, costs, methods)


def priced(view: View, points: pd.DataFrame) -> pd.DataFrame:
    """Estimates with the columns of `COSTS` that are known; NaN for a budget the profile does not have."""
    stored = [
        bytes_per_vector(int(dim), precision) for dim, precision in zip(points["dim"], points["precision"], strict=True)
    ]
    points = points.assign(bytes=stored)
    if view.profile is None or view.profile.empty:
        return points
    keys = [name for name in ("backbone", "layer", "dim", "precision") if name in view.profile]
    known = view.profile[[*keys, *(cost for cost in COSTS if cost in view.profile and cost != "bytes")]]
    return points.merge(known.drop_duplicates(keys), on=keys, how="left")


def front(costs: pd.Series, quality: pd.Series) -> np.ndarray:
    """Positions of the points that no cheaper or equally cheap point reaches, cheapest first."""
    order = np.lexsort((-quality.to_numpy(), costs.to_numpy()))
    best = np.maximum.accumulate(np.concatenate([[-np.inf], quality.to_numpy()[order][:-1]]))
    return np.asarray(order[quality.to_numpy()[order] > best])


def fewer_tasks(view: View, setting: Setting, family: str) -> str:
    """Return ", 3 of 6 tasks" for a family of which some tasks lack a precision; otherwise nothing."""
    here = [tasks for group, tasks in view.tasks.items() if (*group[:3], group[4]) == (*setting, family)]
    common, every = view.stored_tasks[*setting, family], set().union(*here)
    return f", {len(common)} of {len(every)} tasks" if len(common) < len(every) else ""


def _figure(
    view: View, style: Style, setting: Setting, points: pd.DataFrame, costs: list[str], methods: Sequence[str]
) -> Figure:
    families = [family for family in view.families(setting) if (points["family"] == family).any()]
    across = len(families) if len(costs) > 1 else 3
    size = (2.45, 1.85) if len(families) > 1 else (3.9, 2.4)
    handles = method_handles(methods, style)
    figure, axes = panels(len(families) * len(costs), size, title=setting.title, handles=handles, columns=across)
    for place, (cost, family) in zip(axes, product(costs, families), strict=True):
        known = points[(points["family"] == family) & points[cost].notna()]
        for method in methods:
            _points(place, known[known["method"] == method], cost, method, style)
        _scale(place, cost)
        place.set_xlabel(COSTS[cost])
        place.set_title(f"{family} · {view.metric_title(family)} ×100{fewer_tasks(view, setting, family)}")
    return figure


def _scale(axes: Axes, cost: str) -> None:
    """Costs by factors: bytes in powers of two, the others at 1, 2 and 5 of each power of ten, FLOPs with a prefix."""
    axes.set_xscale("log", base=2 if cost == "bytes" else 10)
    if cost != "bytes":
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plain = FuncFormatter(lambda value, _: f"{value:,.4g}")
    axes.xaxis.set_major_formatter(EngFormatter(sep="") if cost == "flops" else plain)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _points(axes: Axes, own: pd.DataFrame, cost: str, method: str, style: Style) -> None:
    if own.empty:
        return
    look, alpha = style[method], style.alpha(method)
    axes.plot(own[cost], 100 * own["mean"], ".", color=look.color, alpha=0.5 * alpha, ms=4, gid=gid(method), mew=0)
    best = own.iloc[front(own[cost], own["mean"])]
    axes.plot(best[cost], 100 * best["mean"], drawstyle="steps-post", **style.line(method))
