"""Quality at every layer and width, and the differences from the reference method."""

from collections.abc import Iterator

import pandas as pd
from markupsafe import Markup

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick
from mipic_bench.analysis.tables import DIFFERENCE, SCORE, Column, Table, budget_tables, in_order
from mipic_bench.reporting import Block, Drawn, Live, Material, Prose, Section, Shown
from mipic_bench.reporting._heat import heat_table


class Budgets(Section):
    """Heat maps: scores in one color scale per family, differences in a symmetric one."""

    title = "Layers"
    order = 20

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: scores, then differences; the tables as files."""
        view = material.view
        for setting in view.settings:
            points = pick(view.estimates, setting, precision="float32")
            yield Live(_families(view, setting, points, None), setting=setting)
            yield Drawn("layer_by_dim", inline=False, setting=setting)
            for table in budget_tables(view, view.methods, [setting]):
                yield Shown(table, open=None, setting=setting)
            found = pick(view.differences(material.reference), setting)
            if len(found):
                yield Prose(f"Difference from {material.reference}: points gained at each budget.", setting=setting)
                yield Live(_families(view, setting, found, material.reference), setting=setting)
                yield Drawn("difference_by_budget", inline=False, setting=setting)
                yield Shown(_table(view, setting, found, material.reference), open=False, setting=setting)


def _families(view: View, setting: Setting, points: pd.DataFrame, reference: str | None) -> Markup:
    """A closed block per family but the first, each with one table per method."""
    column, palette = (DIFFERENCE, "RdBu") if reference else (SCORE, "viridis")
    blocks: list[Markup] = []
    for family in view.families(setting):
        part = points[points["family"] == family]
        if part.empty:
            continue
        low, high = float(part[column.key].min()), float(part[column.key].max())
        most = max(abs(low), abs(high))
        scale = (-most, most) if reference else (low, high)
        tables = Markup("").join(
            heat_table(method, part[part["method"] == method], scale, column, palette)
            for method in view.methods
            if (part["method"] == method).any()
        )
        blocks.append(
            Markup('<details{}><summary>{} · {} ×100{}</summary><div class="grid">{}</div></details>').format(
                Markup(" open") if not blocks else "",
                family,
                view.metric_title(family),
                f", minus {reference}" if reference else "",
                tables,
            )
        )
    return Markup("").join(blocks)


def _table(view: View, setting: Setting, found: pd.DataFrame, reference: str) -> Table:
    columns = (
        Column("family", "family"),
        Column("method", "method"),
        Column("layer", "layer", "integer"),
        Column("dim", "dim", "integer"),
        Column("difference", f"minus {reference}, ×100", "difference", "low", "high"),
        Column("p", "p", "p"),
        Column("verdict", "verdict"),
        Column("seeds", "seeds", "integer"),
        Column("tasks", "tasks", "integer"),
        Column("excluded", "cells excluded", "integer"),
    )
    note = "Exploratory: no p is corrected for the number of comparisons. Paired by task and seed, on what both have."
    title = f"Difference from {reference} at layer {found['layer'].max()}: {setting.title}"
    return Table(f"differences--{setting.slug}", title, in_order(view, last_layer(found), "dim"), columns, note)
