"""What each component of a method is worth, in sentences made from the stated questions."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.analysis.tables import DIFFERENCE, printed, records
from mipic_bench.reporting import Block, Bullets, Prose
from mipic_bench.stats.estimates import BETTER, SAME, UNKNOWN, WORSE

_WITH = (  # by the seeds that both sides have
    "which nothing tells: no seed and budget is scored on both sides. ",
    "from one seed, which cannot tell it from chance. ",
    "with 95 % intervals. ",
)


def bases(view: View) -> tuple[str, ...]:
    """The methods that have an ablation which speaks for a component."""
    return tuple(base for base in view.methods if base in set(view.bases.values()) and len(view.questions(base)))


def worth(view: View, setting: Setting) -> Iterator[Block]:
    """One list per method with ablations: each component at the smallest, the middle and the full width."""
    for base in bases(view):
        own = pick(view.questions(base), setting)
        if own.empty:
            continue
        seeds = int(own["seeds"].max())
        text = f"What each component of {base}, or change to it, is worth: the score with it minus the score without it, in points, "
        text += _WITH[min(seeds, 2)]
        count = int(own["questions"].max())
        text += f"Holm's correction covers these {count} questions." if seeds > 1 else ""
        yield Prose(text.strip(), setting=setting)
        yield Bullets(tuple(_component(own, name) for name in dict.fromkeys(own["component"])), setting=setting)


def _component(answers: pd.DataFrame, name: str) -> str:
    """One line per component: width by width, family by family."""
    own = answers[answers["component"] == name]
    said: dict[str, list[str]] = {}  # what is said -> the widths it is said of
    for dim, part in own.groupby("dim", sort=True):
        said.setdefault(_width(part), []).append(str(dim))
    return f"{name}: {'; '.join(f'at {in_words(dims)} dims {words}' for words, dims in said.items())}."


def _width(part: pd.DataFrame) -> str:
    """What is known at one width; the numbers of what cannot be told are in the table of the ablations."""
    lines = records(part)
    found = [
        f"{printed(record, DIFFERENCE)} on {record['family']}"
        for record in lines
        if record["verdict"] in (BETTER, WORSE)
    ]
    for verdict, words in ((SAME, "not distinguishable from no effect"), (UNKNOWN, "cannot be told")):
        some = [_named(record) for record in lines if record["verdict"] == verdict]
        if len(some) == len(lines) > 1 and verdict == SAME:
            found.append(f"{words} on any family")
        elif some:
            found.append(f"{words} on {in_words(some)}")
    return ", ".join(found)


def _named(record: dict[str, Any]) -> str:
    """The family, and the number of a single run, which no interval tells from chance but which is all there is."""
    alone = record["verdict"] == UNKNOWN and not pd.isna(record["difference"])
    return f"{record['family']} ({printed(record, DIFFERENCE)})" if alone else str(record["family"])


def in_words(names: Sequence[str]) -> str:
    """Names as prose: "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
