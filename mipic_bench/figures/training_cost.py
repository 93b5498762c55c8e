"""What training each method costs: time per step and peak memory, beside the cheapest."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting
from mipic_bench.figures import Drawing
from mipic_bench.figures._axes import panels
from mipic_bench.figures._style import Style, gid

MEASURES = {"ms_per_step": "ms per step", "memory_mb": "peak memory, MB"}


class TrainingCost(Drawing):
    """Bars per method, the median of its runs, with the runs as points."""

    title = "Cost of training"
    caption = (
        "Median of the runs, each run a point; memory where it was measured for each training by itself. "
        "Times of runs on different machines, or beside other jobs, are not comparable; "
        "the provenance says where each ran."
    )
    needs = "It needs provenance with training times."
    order = 100

    def draw(self, view: View, style: Style) -> Iterator[tuple[str, Figure]]:
        """One figure per setting that was trained in."""
        for setting in view.settings:
            costs = training_costs(view, setting)
            measures = [name for name in MEASURES if name in costs and costs[name].notna().any()]
            if len(costs) and measures:
                yield setting.slug, _figure(view, style, setting, costs, measures)


def training_costs(view: View, setting: Setting) -> pd.DataFrame:
    """One line per trained run of a setting: run, method, seed, steps, seconds, ms_per_step, pairs_per_second, memory_mb."""
    lines: list[dict[str, Any]] = []
    for run, record in view.records(backbone=setting.backbone, corpus=setting.corpus):
        cell, training = record["cell"], record.get("training") or {}
        if not training.get("steps"):
            continue
        steps, seconds = float(training["steps"]), float(training.get("seconds") or "nan")
        line = {"run": run, "method": str(cell.get("method")), "seed": str(cell.get("seed")), "steps": steps}
        line |= {"seconds": seconds, "ms_per_step": 1000 * seconds / steps}
        line |= {name: float(training.get(name) or "nan") for name in ("pairs_per_second", "memory_mb")}
        lines.append(line)
    frame = pd.DataFrame(lines)
    return view.compared(frame).reset_index(drop=True) if len(frame) else frame


def _figure(view: View, style: Style, setting: Setting, costs: pd.DataFrame, measures: list[str]) -> Figure:
    methods = [method for method in view.methods if (costs["method"] == method).any()]
    left = 0.2 + 0.06 * max(map(len, methods))
    figure, axes = panels(
        len(measures), (2.3, 0.24 * len(methods)), title=setting.title, margins=(left, 0.36, 0.24, 0.42), gaps=(0.2, 0)
    )
    for place, measure in zip(axes, measures, strict=True):
        middle = costs.groupby("method")[measure].median()  # one run beside other jobs moves a mean
        for row, method in enumerate(methods):
            alpha = style.alpha(method)
            place.barh(row, middle[method], color=style[method].color, alpha=0.55 * alpha, height=0.66, gid=gid(method))
            runs = costs.loc[costs["method"] == method, measure]
            place.plot(runs, [row] * len(runs), "o", color=style[method].color, ms=3, alpha=alpha, gid=gid(method))
            known = runs.notna().any()
            told = f"{middle[method]:,.0f}  ({middle[method] / middle.min():.2f}×)" if known else "unknown"
            place.annotate(
                told, (runs.max() if known else 0, row), xytext=(5, 0),
                textcoords="offset points", va="center", fontsize=6.8,
            )  # fmt: skip
        place.set_xlabel(MEASURES[measure])
        place.set_xlim(0, 1.55 * costs[measure].max())
        place.xaxis.set_major_locator(MaxNLocator(4, prune="upper"))  # a last label would touch the next panel's first
        place.set_yticks(range(len(methods)), methods if place is axes[0] else [])
        place.set_ylim(len(methods) - 0.5, -0.5)
        place.grid(False, axis="y")
        place.tick_params(axis="y", length=0)
    return figure
