"""Which methods share a figure of lines when there are more than an eye can follow."""

from collections.abc import Iterator

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.figures._style import Style
from mipic_bench.results.folder import safe

LEGIBLE = 12  # lines in one panel that can still be told apart
CAPTION = (
    f"Where there are more than {LEGIBLE} methods, ablations have figures of their own, beside their method and the "
    f"reference; so have, where more than {LEGIBLE} are left, methods that fit a transform to frozen vectors."
)


def figures_of(view: View, style: Style, points: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    """Yield what a figure's name ends in and its methods, of those that have points.

    One figure with all of them while they can be told apart. Else one per method that has ablations, with them, and one
    of the others; if those are still too many, the transforms of frozen vectors stand apart too. The reference is in each.
    An ablation whose method is not there stands with the methods.
    """
    methods = [method for method in view.methods if (points["method"] == method).any()]
    if len(methods) <= LEGIBLE:
        yield "", methods
        return
    owner = {method: view.bases[method] for method in methods if view.bases.get(method) in methods}
    families = {"": [method for method in methods if method not in owner]}
    if len(families[""]) > LEGIBLE and (fitted := view.fitted.intersection(families[""]) - {style.reference}):
        families[""] = [method for method in families[""] if method not in fitted]
        families["--posthoc"] = [*fitted]
    for base in (method for method in methods if method in owner.values()):
        families[f"--{safe(base)}"] = [base, *(method for method in owner if owner[method] == base)]
    for of, family in families.items():
        yield of, [method for method in methods if method in {style.reference, *family}]
