"""Published curves over ours, task by task."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mipic_bench import stats
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import dim_axis, method_handles, panels
from mipic_bench.figures._style import Style
from mipic_bench.tasks import official_names

_MOST = 6  # published curves in one figure
_LOOKS: tuple[tuple[str, Any], ...] = (
    ("o", (0, (5, 2))), ("s", (0, (3, 2))), ("^", (0, (6, 2, 1, 2))),
    ("D", (0, (2, 2))), ("v", (0, (8, 2))), ("X", (0, (4, 1, 1, 1, 1, 1))),
)  # fmt: skip


class Curve(NamedTuple):
    """What a published curve is of."""

    method: str
    backbone: str
    source: str


class Published(Drawing):
    """One panel per task that somebody else published numbers for."""

    title = "Published numbers beside ours"
    caption = (
        "Ours in color, at the deepest layer scored; published curves dashed in gray, each with its source: the best where it "
        "gives several numbers of a width. Backbones, corpora, protocols, splits and precisions may differ: the table of the "
        "comparison says which pairs may be compared and why others may not."
    )
    needs = "It needs published numbers of a task that was scored, in the same metric and at the same layer."
    order = 110

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting."""
        if view.published is None or view.published.empty:
            return
        for setting in view.settings:
            ours = view.compared(pick(view.vectors, setting))
            if ours.empty:  # scored at other precisions alone
                continue
            ours = last_layer(ours)
            layer = int(ours["layer"].max())
            # a number without a layer is of the whole model, so of our last layer alone
            last = {str(layer), *(("", "last") if layer == view.depths[setting.backbone] else ())}
            whole = view.published[view.published["layer"].astype(str).isin(last)]
            metric = ours[["task", "metric"]].drop_duplicates().astype(str)
            names = official_names()  # mteb:STSBenchmark is scored on the dataset stsb, on whichever side it stands
            metric["dataset"] = metric["task"].replace(names)
            theirs = whole.assign(dataset=whole["task"].replace(names)).drop(columns="task")
            theirs = theirs.merge(metric, on=["dataset", "metric"])
            if len(theirs):
                yield setting.slug, _figure(view, style, setting, ours, theirs)


def chosen(theirs: pd.DataFrame, backbone: str) -> list[Curve]:
    """The published curves to draw: those over several widths first, then our backbone, then the most tasks and widths."""
    sizes = theirs.groupby(list(Curve._fields), sort=True)[["task", "dim"]].nunique()
    curves = [(Curve(*map(str, key)), int(size["task"]), int(size["dim"])) for key, size in sizes.iterrows()]
    curves.sort(key=lambda item: (item[2] < 2, item[0].backbone != backbone, -item[1], -item[2], item[0]))
    return [curve for curve, _, _ in curves[:_MOST]]


def _figure(view: View, style: Style, setting: Setting, ours: pd.DataFrame, theirs: pd.DataFrame) -> Figure:
    curves = chosen(theirs, setting.backbone)
    drawn = theirs[[Curve(*map(str, key)) in curves for key in theirs[list(Curve._fields)].to_numpy()]]
    tasks = sorted(drawn["task"].unique())
    methods = [method for method in view.methods if (ours["method"] == method).any()]
    handles = method_handles(methods, style)
    handles += [
        Line2D([], [], color="#555555", marker=marker, mfc="white", linestyle=dash, label=_label(curve))
        for curve, (marker, dash) in zip(curves, _LOOKS, strict=False)
    ]
    size = (2.45, 1.75) if len(tasks) > 1 else (3.9, 2.4)
    title = f"{setting.title} · layer {ours['layer'].max()}"
    figure, axes = panels(len(tasks), size, title=title, handles=handles)
    for place, task in zip(axes, tasks, strict=True):
        own = ours[(ours["task"] == task).to_numpy()]
        _ours(place, view, own, methods, style)
        _theirs(place, drawn[drawn["task"] == task], curves)
        place.set_title(f"{task} · {view.metric_title(str(own['family'].iloc[0]))} ×100")
        dim_axis(place, sorted({*own["dim"], *drawn.loc[drawn["task"] == task, "dim"]}))
    return figure


def _label(curve: Curve) -> str:
    paper = re.search(r"arXiv:\d+\.\d+", curve.source)
    return f"{curve.method}, {curve.backbone or 'backbone not stated'} ({paper[0] if paper else curve.source})"


def _ours(axes: Axes, view: View, own: pd.DataFrame, methods: Sequence[str], style: Style) -> None:
    points = stats.scores(own, metrics=view.metrics)
    for method in methods:
        part = points[points["method"] == method].sort_values("dim")
        axes.plot(part["dim"], 100 * part["mean"], **style.line(method))


def _theirs(axes: Axes, part: pd.DataFrame, curves: Sequence[Curve]) -> None:
    for curve, (marker, dash) in zip(curves, _LOOKS, strict=False):
        own = part[(part[list(Curve._fields)].astype(str) == list(curve)).all(axis=1)]
        if len(own):
            # a source may give a number for several corpora or protocols: the best is drawn, all are in the table
            best = own.groupby("dim")["value"].max()
            axes.plot(
                best.index, 100 * best, marker=marker, linestyle=dash, color="#555555", mfc="white", ms=3.6, lw=1.1
            )
