"""Our numbers beside published ones."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.compare import TELLING
from mipic_bench.analysis.tables import Column, Table
from mipic_bench.reporting import Block, Drawn, Material, Prose, Section, Shown

_MOST = 500  # pairs printed in the page; the CSV has all


class Published(Section):
    """Curves of others over ours, and every pair with the reason why it may not be compared."""

    title = "Published"
    order = 100

    def blocks(self, material: Material) -> Iterator[Block]:
        """The figures, the pairs that may be compared, and the others."""
        for setting in material.view.settings:
            yield Drawn("published", setting=setting)
        pairs = material.comparison
        if pairs.empty:
            return
        fair = pairs["comparable"].astype(bool)
        text = f"{int(fair.sum())} of {len(pairs)} pairs may be compared: same backbone, metric, split, protocol, precision."
        yield Prose(text)
        for note in pairs.attrs["doubts"]:
            yield Prose(note)
        telling = tuple(Column(name, name) for name in TELLING if pairs[name].nunique() > 1)
        every = (*_COLUMNS[:2], *telling, *_COLUMNS[2:])
        columns = tuple(column for column in every if column.key != "reason")
        if fair.any():
            yield Shown(_table("comparable", "Pairs that may be compared", pairs[fair], columns))
        if (~fair).any():
            yield Shown(_table("other", "Pairs that may not be compared", pairs[~fair], every), open=False)


def _table(name: str, title: str, pairs: pd.DataFrame, columns: tuple[Column, ...]) -> Table:
    cut = f"The first {_MOST} of {len(pairs)} pairs; `mipic-bench compare` writes all." if len(pairs) > _MOST else ""
    return Table(f"published--{name}", title, pairs.head(_MOST), columns, cut)


_COLUMNS = (
    Column("task", "task"),
    Column("metric", "metric"),
    Column("layer", "layer"),
    Column("dim", "dim", "integer"),
    Column("ours_method", "our method"),
    Column("ours", "ours ×100", "score", "ours_low", "ours_high"),
    Column("seeds", "seeds", "integer"),
    Column("baseline_method", "their method"),
    Column("baseline_backbone", "their backbone"),
    Column("baseline", "theirs ×100", "score"),
    Column("delta", "ours minus theirs, ×100", "difference"),
    Column("reason", "not comparable because", "words"),
    Column("source", "source"),
    Column("locator", "where", "words"),
)
