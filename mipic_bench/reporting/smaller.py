"""How small a width is good enough: retention, the smallest widths within 1 % and 5 %, the area under the curve."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, last_layer, pick
from mipic_bench.analysis.tables import Column, Table, in_order
from mipic_bench.reporting import Block, Drawn, Material, Section, Shown


class Smaller(Section):
    """Retention curves and break-even widths."""

    title = "Smallest width"
    order = 50

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: the curves, then the table."""
        for setting in material.view.settings:
            yield Drawn("retention", setting=setting)
            table = _table(material.view, setting)
            if table is not None:
                yield Shown(table, setting=setting)


def _table(view: View, setting: Setting) -> Table | None:
    found = pick(view.budgets, setting, precision="float32") if len(view.budgets) else view.budgets
    if found.empty:
        return None
    frame = last_layer(view.compared(found)).copy()
    known = pick(view.retentions, setting, precision="float32")[["family", "method", "layer"]].drop_duplicates()
    known = frame.merge(known, on=["family", "method", "layer"], how="left", indicator="known")["known"] == "both"
    for name in ("dim_1", "dim_5"):
        ends = frame[[name, f"{name}_low", f"{name}_high"]].to_numpy(dtype=float)
        frame[f"{name}_text"] = [_span(*one) if there else "unknown" for one, there in zip(ends, known, strict=True)]
    columns = (
        Column("family", "family"),
        Column("method", "method"),
        Column("dim_1_text", "within 1 %"),
        Column("dim_5_text", "within 5 %"),
        Column("area", "area ×100", "score", "area_low", "area_high"),
        Column("dims", "area over widths"),
        Column("seeds", "seeds", "integer"),
        Column("note", "note", "words"),
    )
    note = (
        "The smallest width whose mean retention is within 1 % or 5 % of full width, and between brackets the widths "
        "that its 95 % interval allows; unknown where full width was not scored. Area: mean quality over log2(width), "
        "between the widths named."
    )
    title = f"Smallest widths within 1 % and 5 % of full width: {setting.title}"
    return Table(f"smallest--{setting.slug}", title, in_order(view, frame), columns, note)


def _span(dim: float, low: float, high: float) -> str:
    if pd.isna(dim):
        return "none"
    if pd.isna(low) and pd.isna(high):
        return f"{dim:.0f}"
    ends = (f"{low:.0f}" if not pd.isna(low) else "?", f"{high:.0f}" if not pd.isna(high) else "none")
    return f"{dim:.0f} [{ends[0]}, {ends[1]}]"
