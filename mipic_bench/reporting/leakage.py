"""How much of what is scored was seen in training."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from mipic_bench.analysis.tables import Column, Table
from mipic_bench.reporting import Block, Material, Prose, Section, Shown


class Leakage(Section):
    """Overlap of each corpus with each scored split, from the provenance."""

    title = "Leakage"
    order = 90

    def blocks(self, material: Material) -> Iterator[Block]:
        """One table over all corpora and tasks."""
        lines: dict[tuple[str, ...], dict[str, Any]] = {}
        for record in material.view.provenance.values():
            corpus = str(record.get("cell", {}).get("corpus", ""))
            for scored in record.get("scored") or ():
                counted = scored.get("leakage")
                if counted and corpus:
                    place = {name: str(scored.get(name, "")) for name in ("family", "task", "split")}
                    rows, leaked = counted.get("rows"), counted.get("leaked_rows")
                    line = {"corpus": corpus, **place, "rows": rows, "leaked_rows": leaked}
                    line |= {"share": leaked / rows if rows else None}
                    line |= {name: counted.get(name) for name in ("exact_rows", "paired_rows", "leaked_texts", "texts")}
                    lines[(corpus, *place.values())] = line
        if not lines:
            return
        yield Prose(
            "Rows of the scored split with a text that also stands in the training corpus, compared after normalization."
        )
        columns = (
            Column("corpus", "corpus"),
            Column("family", "family"),
            Column("task", "task"),
            Column("split", "split"),
            Column("rows", "rows scored", "integer"),
            Column("leaked_rows", "rows seen", "integer"),
            Column("share", "share, %", "percent"),
            Column("exact_rows", "letter for letter", "integer"),
            Column("paired_rows", "as the same pair", "integer"),
            Column("leaked_texts", "texts seen", "integer"),
            Column("texts", "texts", "integer"),
        )
        frame = pd.DataFrame([lines[key] for key in sorted(lines)])
        frame = frame.astype({"paired_rows": "Int64"})  # unknown for pairs that mteb keeps to itself
        yield Shown(Table("leakage", "Overlap of corpus and scored split", frame, columns))
