"""What was left out of the numbers, and what not every method has."""

from collections.abc import Iterator, Sequence

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.reporting import Block, Bullets, Material, Prose, Section
from mipic_bench.reporting._worth import in_words


class LeftOut(Section):
    """Missing cells and older runs; unequal seeds, families and budgets."""

    title = "Left out"
    order = 140

    def blocks(self, material: Material) -> Iterator[Block]:
        """One sentence per gap."""
        view = material.view
        uneven = tuple(sentence for setting in view.settings for sentence in _uneven(view, setting))
        notes = tuple(dict.fromkeys(view.notes))
        if notes:
            yield Prose(
                "Nothing below is averaged into a number of this report; methods are compared on what both have."
            )
            yield Bullets(notes)
        if uneven:
            yield Prose(
                "Not every method has the same; means are over what a method has, differences over what both have:"
            )
            yield Bullets(uneven)
        if not notes and not uneven:
            yield Prose("Nothing: every method has every task at every seed and budget that others have.")


def _uneven(view: View, setting: Setting) -> Iterator[str]:
    """Say which methods have fewer seeds, families or budgets than others of a setting."""
    scored = pick(view.estimates, setting)
    there = [method for method in view.every_method if (scored["method"] == method).any()]
    yield from _seeds(view, setting, scored)
    both = pick(view.scores, setting)[["method", "family"]].drop_duplicates()
    families = set(both.astype(str).itertuples(index=False, name=None))
    for family in view.families(setting):
        if lacking := [method for method in there if (method, family) not in families]:
            yield f"{setting.title}: {in_words(lacking)} {_have(lacking)} no scores on {family}."
    for precision, part in scored.groupby("precision", observed=True):
        budgets = {method: _budgets(part[part["method"] == method]) for method in there}
        every = frozenset().union(*budgets.values())
        short: dict[int, list[str]] = {}
        for method, own in budgets.items():
            if own and own != every:
                short.setdefault(len(every - own), []).append(method)
        for count, methods in sorted(short.items()):
            told = f"{count} of the {len(every)} (layer, dim) budgets that are scored in {precision}"
            yield f"{setting.title}: {in_words(methods)} {_have(methods)} no scores at {told}."


def _seeds(view: View, setting: Setting, scored: pd.DataFrame) -> Iterator[str]:
    """Say which methods have fewer seeds than others, and which have other seeds: a family alone where it differs."""
    trained = scored[~scored["method"].isin(view.untrained)]
    ends = trained.groupby(["family", "method"], observed=True, sort=False)["seeds"].agg(["min", "max"]).reset_index()
    alike = len(ends[["method", "min", "max"]].drop_duplicates()) == ends["method"].nunique()
    for family, part in [("", ends)] if alike else ends.groupby("family", sort=False, observed=True):
        if sentence := _counts(view, part):
            yield f"{setting.title}{f', {family}' if family else ''}: unequal numbers of seeds, {sentence}."
    names: dict[str, set[str]] = {}
    for method, seed in pick(view.scores, setting)[["method", "seed"]].drop_duplicates().astype(str).to_numpy():
        if seed:
            names.setdefault(method, set()).add(seed)
    every = set().union(*names.values()) if names else set()
    if not any(own == every for own in names.values()) and every:
        each = "; ".join(f"{', '.join(sorted(own, key=int))} of {method}" for method, own in names.items())
        yield f"{setting.title}: no method has all the seeds that others have, {each}."


def _counts(view: View, ends: pd.DataFrame) -> str:
    """How many seeds the methods have, most first; nothing where all have as many at every budget."""
    reach = {str(method): (int(high), int(low)) for method, low, high in ends[["method", "min", "max"]].to_numpy()}
    counts: dict[tuple[int, int], list[str]] = {}
    for method in view.every_method:
        if method in reach:
            counts.setdefault(reach[method], []).append(method)
    if len(counts) < 2 and all(low == high for high, low in counts):
        return ""
    return "; ".join(
        f"{f'{low} to {high}' if low < high else high} of {in_words(methods)}"
        for (high, low), methods in sorted(counts.items(), reverse=True)
    )


def _budgets(part: pd.DataFrame) -> frozenset[tuple[int, int]]:
    return frozenset(part[["layer", "dim"]].astype(int).itertuples(index=False, name=None))


def _have(methods: Sequence[str]) -> str:
    return "has" if len(methods) == 1 else "have"
