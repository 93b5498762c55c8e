"""Which methods share a figure of lines when there are more than an eye can follow."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.figures._style import Style
from mipic_bench.results.folder import safe

LEGIBLE = 12  # lines in one panel that can still be told apart
CAPTION = (
    f"Where there are more than {LEGIBLE} methods, ablations have figures of their own, "
    "beside their method and the reference."
)


def figures_of(view: View, style: Style, points: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Yield what a figure's name ends in and its methods, of those that have points.

    One figure with all of them while they can be told apart; else one without ablations, and one per method that has some.
    An ablation whose method is not there stands with the methods.
    """
    methods = [method for method in view.methods if (points["method"] == method).any()]
    owner = {method: view.bases[method] for method in methods if view.bases.get(method) in methods}
    if len(methods) <= LEGIBLE or not owner:
        yield "", methods
        return
    yield "", [method for method in methods if method not in owner]
    for base in (method for method in methods if method in owner.values()):
        family = {style.reference, base, *(method for method in owner if owner[method] == base)}
        yield f"--{safe(base)}", [method for method in methods if method in family]
