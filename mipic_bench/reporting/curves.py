"""Quality over the widths, per family: curves that can be hovered, and the numbers behind them."""

from collections.abc import Iterator

import pandas as pd
from markupsafe import Markup

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick
from mipic_bench.analysis.tables import Column, Table, in_order
from mipic_bench.figures._crowd import figures_of
from mipic_bench.reporting import Block, Drawn, Live, Material, Section, Shown
from mipic_bench.reporting._chart import legend, quality_chart


class Curves(Section):
    """The charts of the last layer."""

    title = "Quality by width"
    order = 10

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: one chart per family, the printable figure, the table."""
        view = material.view
        for setting in view.settings:
            every = pick(view.estimates, setting, precision="float32")
            points = last_layer(view.compared(every))
            if points.empty:
                continue
            if points["dim"].nunique() > 1:
                for _, methods in figures_of(view, material.style, points):
                    yield Live(legend(material.style, methods), setting=setting)
                    yield Live(_charts(material, setting, points[points["method"].isin(methods)]), setting=setting)
                yield Drawn("quality_by_dim", inline=False, setting=setting)
            yield Shown(
                _table(view, setting, every[every["layer"] == points["layer"].max()]), open=False, setting=setting
            )


def _charts(material: Material, setting: Setting, points: pd.DataFrame) -> Markup:
    families = [name for name in material.view.families(setting) if (points["family"] == name).any()]
    charts = Markup("").join(
        Markup("<figure><h4>{} · {} ×100</h4>{}</figure>").format(
            family,
            material.view.metric_title(family),
            quality_chart(material.view, material.style, setting, family, points[points["family"] == family]),
        )
        for family in families
    )
    return Markup('<div class="charts{}">{}</div>').format(" one" if len(families) == 1 else "", charts)


def _table(view: View, setting: Setting, points: pd.DataFrame) -> Table:
    columns = (
        Column("family", "family"),
        Column("metric", "metric"),
        Column("method", "method"),
        Column("layer", "layer", "integer"),
        Column("dim", "dim", "integer"),
        Column("mean", "mean ×100", "score", "low", "high"),
        Column("seeds", "seeds", "integer"),
        Column("tasks", "tasks", "integer"),
        Column("missing", "cells left out", "integer"),
    )
    kept = ["family", "metric", "method", "layer", "dim", "mean", "low", "high", "low_wide", "high_wide"]
    kept += ["seeds", "tasks", "missing", "kind", "note"]
    note = "Mean over the family's tasks, then over seeds; ± is the 95 % interval over seeds, with the tasks fixed."
    title = f"Quality at layer {points['layer'].max()}: {setting.title}"
    return Table(f"quality--{setting.slug}", title, in_order(view, points, "dim")[kept], columns, note)
