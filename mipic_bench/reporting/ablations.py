"""What each component is worth: the stated questions as a forest plot and a table."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.analysis.tables import Column, Table, number
from mipic_bench.reporting import Block, Drawn, Material, Section, Shown
from mipic_bench.reporting._worth import bases
from mipic_bench.results.folder import safe


class Ablations(Section):
    """Remove one, add one."""

    title = "Ablations"
    order = 30

    def blocks(self, material: Material) -> Iterator[Block]:
        """Per setting: the plot, then the table of each method with ablations."""
        view = material.view
        for setting in view.settings:
            yield Drawn("ablation_forest", setting=setting)
            for base in bases(view):
                answers = pick(view.questions(base), setting)
                if len(answers):
                    yield Shown(_table(setting, base, answers), setting=setting)


def _table(setting: Setting, base: str, answers: pd.DataFrame) -> Table:
    columns = (
        Column("component", "component"),
        Column("family", "family"),
        Column("dim", "dim", "integer"),
        Column("difference", "worth ×100", "difference", "low", "high"),
        Column("p_holm", "p (Holm)", "p"),
        Column("verdict", "verdict"),
        Column("wide", "for other tasks too"),
        Column("detectable", "detectable ×100", "points"),
        Column("seeds", "seeds", "integer"),
        Column("tasks", "tasks", "integer"),
        Column("excluded", "cells excluded", "integer"),
    )
    wide = [
        "–" if low != low else f"[{number(low, 'difference')}, {number(high, 'difference')}]"
        for low, high in zip(answers["low_wide"], answers["high_wide"], strict=True)
    ]
    count = int(answers["questions"].max())
    note = f"Worth: {base} with it minus {base} without it. Better: the method is better with it."
    if count:
        note += (
            f" The verdict stands on Holm's correction over the {count} questions of this setting; the intervals themselves "
            "are not corrected. Detectable: the smallest difference that this many seeds show with 80 % power."
        )
    title = f"What each component of {base}, or change to it, is worth: {setting.title}"
    frame = answers.assign(wide=wide).reset_index(drop=True)
    return Table(f"ablations--{setting.slug}--{safe(base)}", title, frame, columns, note)
