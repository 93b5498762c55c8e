"""How sensitive methods are to swept values."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick
from mipic_bench.analysis.tables import Column, Table
from mipic_bench.figures.sweep import sweeps
from mipic_bench.reporting import Block, Drawn, Material, Section, Shown


class Sensitivity(Section):
    """Curves and table of every swept key."""

    title = "Sensitivity"
    order = 40

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: the figures, then one table over all keys."""
        for setting in material.view.settings:
            table = _table(material.view, setting)
            if table is not None:
                yield Drawn("sweep", setting=setting)
                yield Shown(table, open=False, setting=setting)


def _table(view: View, setting: Setting) -> Table | None:
    points = last_layer(pick(view.estimates, setting, precision="float32"))
    parts = [
        points[points["method"].isin(values)].assign(
            base=base, key=key, swept=lambda part, values=values: part["method"].map(values).astype(float)
        )
        for (base, key), values in sweeps(view).items()
    ]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if frame.empty:
        return None
    frame = frame.sort_values(["base", "key", "family", "dim", "swept"]).reset_index(drop=True)
    columns = (
        Column("base", "method"),
        Column("key", "key"),
        Column("swept", "value", "number"),
        Column("family", "family"),
        Column("dim", "dim", "integer"),
        Column("mean", "mean ×100", "score", "low", "high"),
        Column("seeds", "seeds", "integer"),
    )
    return Table(f"sensitivity--{setting.slug}", f"Swept values: {setting.title}", frame, columns)
