"""Quality against what a budget costs."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.analysis.tables import Column, Table
from mipic_bench.figures.pareto import COSTS, fewer_tasks, front, priced
from mipic_bench.reporting import Block, Drawn, Material, Prose, Section, Shown


class Cost(Section):
    """Pareto fronts."""

    title = "Cost"
    order = 60

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: a figure per family, then the budgets on the fronts."""
        for setting in material.view.settings:
            yield Drawn("pareto", setting=setting)
            if told := _unlike_tasks(material.view, setting):
                yield Prose(told, setting=setting)
            table = _table(material.view, setting)
            if len(table.frame):
                yield Shown(table, open=False, setting=setting)


def _unlike_tasks(view: View, setting: Setting) -> str:
    """Say which families are over fewer tasks here than elsewhere, and why; nothing where none is."""
    told = [
        f"{family} over {', '.join(view.stored_tasks[*setting, family]) or 'none'}"
        for family in view.families(setting)
        if fewer_tasks(view, setting, family)
    ]
    over = "; ".join(told)
    return (
        f"Precisions are compared on the tasks that have them all: {over}. Other parts of this page have more."
        if told
        else ""
    )


def _table(view: View, setting: Setting) -> Table:
    points = priced(view, pick(view.stored, setting))
    parts = []
    for _, own in points.groupby(["family", "method"], sort=False, observed=True):
        for cost in COSTS:
            if cost in own and own[cost].notna().any():
                known = own[own[cost].notna()]
                parts.append(known.iloc[front(known[cost], known["mean"])].assign(against=COSTS[cost]))
    kept = ["family", "method", "against", "layer", "dim", "precision", *(cost for cost in COSTS if cost in points)]
    kept += ["mean", "low", "high", "seeds"]
    frame = pd.concat(parts)[kept].reset_index(drop=True) if parts else pd.DataFrame(columns=kept)
    columns = (
        Column("family", "family"),
        Column("method", "method"),
        Column("against", "cheapest in"),
        Column("layer", "layer", "integer"),
        Column("dim", "dim", "integer"),
        Column("precision", "precision"),
        *(Column(cost, title, "number") for cost, title in COSTS.items() if cost in points),
        Column("mean", "mean ×100", "score", "low", "high"),
    )
    return Table(f"pareto--{setting.slug}", f"Budgets that nothing cheaper reaches: {setting.title}", frame, columns)
