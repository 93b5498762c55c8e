"""Ranks of the methods over tasks."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.tables import Column, Table
from mipic_bench.figures.critical_difference import rankings
from mipic_bench.reporting import Block, Drawn, Material, Prose, Section, Shown


class Ranks(Section):
    """Critical-difference diagrams."""

    title = "Ranks"
    order = 70

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: the diagrams, what was left out, and the ranks."""
        for setting in material.view.settings:
            lines = []
            for dim, ranking in rankings(material.view, setting).items():
                if ranking.note:
                    yield Prose(f"{dim} dims: {ranking.note}.", note=True, setting=setting)
                shared = {"dim": dim, "critical_difference": ranking.critical_difference, "friedman_p": ranking.p}
                lines += [
                    {**shared, "method": method, "mean_rank": mean, "tasks": len(ranking.tasks)}
                    for method, mean in zip(ranking.methods, ranking.mean_ranks, strict=True)
                ]
            yield Drawn("critical_difference", setting=setting)
            if lines:
                columns = (
                    Column("dim", "dim", "integer"),
                    Column("method", "method"),
                    Column("mean_rank", "mean rank", "number"),
                    Column("critical_difference", "critical difference", "number"),
                    Column("friedman_p", "Friedman p", "p"),
                    Column("tasks", "tasks", "integer"),
                )
                title = f"Mean ranks over tasks: {setting.title}"
                yield Shown(
                    Table(f"ranks--{setting.slug}", title, pd.DataFrame(lines), columns), open=False, setting=setting
                )
