"""From the columns of a file to the checked rows of a family. Used for local files and for the hub alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING

from mipic_bench.data import checks
from mipic_bench.errors import UserError, gather, listed, raise_all, unknown
from mipic_bench.families import FAMILIES
from mipic_bench.registry import lazy
from mipic_bench.tasks._base import SPLITS, frame_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
else:
    np = lazy("numpy")
    pd = lazy("pandas")

INFERRED = ("sts", "pair", "classification")  # clustering has the columns of classification: only a task.toml can tell
POSITIVE = ("1", "true", "entailment", "entails", "paraphrase", "duplicate")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # not what only float() reads: nan, inf, 1_0
_NUMBERS = {"0", "1"}


@dataclass(frozen=True)
class Reading:
    """How the columns of one dataset are to be read; from the registry or from the folder's task.toml."""

    family: str
    positive: str = ""
    score_range: tuple[float, float] = (0.0, 5.0)


@dataclass(frozen=True)
class Rows:
    """Checked rows by split, and the class names."""

    splits: Mapping[str, pd.DataFrame]
    labels: tuple[str, ...]
    notes: tuple[str, ...]


def infer(columns: Sequence[str]) -> str:
    """Return the family whose columns are all there; "" when none is."""
    return next((family for family in INFERRED if set(FAMILIES[family].columns) <= set(columns)), "")


def nearest(columns: Sequence[str]) -> str:
    """Return the family that the columns come closest to, so that what is missing can be named."""

    def likeness(family: str) -> float:
        return sum(
            1.0 if name in columns else 0.6 * bool(get_close_matches(name, columns, n=1))
            for name in FAMILIES[family].columns
        ) / len(FAMILIES[family].columns)

    return max(INFERRED, key=likeness)


def read_rows(frames: Mapping[str, pd.DataFrame], where: Mapping[str, str], reading: Reading) -> Rows:
    """Check every split of a tabular family; all problems are told at once.

    Args:
        frames: split -> raw columns ("all" stands for a file with no split).
        where: split -> what to call its file in messages.
        reading: the family and its labels.

    Raises:
        UserError: a missing column, an empty text, a score or label that is not one, one class only, fewer than two rows.
    """

    def shape(split: str) -> None:
        checks.require(frames[split], FAMILIES[reading.family].columns, where[split])
        checks.require_rows(frames[split], where[split])

    gather(partial(shape, split) for split in frames)
    if reading.family == "sts":
        read = gather(partial(_sts, frames[split], where[split], reading) for split in frames)
        return Rows(dict(zip(frames, read, strict=True)), (), ())
    texts = FAMILIES[reading.family].columns[:-1]
    read = gather(partial(_labelled, frames[split], where[split], texts) for split in frames)
    tables = dict(zip(frames, read, strict=True))
    if reading.family == "pair":
        return _pairs(tables, where, reading)
    return _classes(tables, where, supervised=reading.family == "classification")


def pair_labels(found: Sequence[str], positive: str, where: str) -> set[str]:
    """Return which of the labels found mean the positive class.

    Numbers must be 0 and 1. Of strings, `positive` decides, else the known words (POSITIVE); never alphabetical order.

    Raises:
        UserError: a number other than 0 and 1, no known word, or words of which several might be the positive class.
    """
    if positive:
        if positive not in found:
            raise UserError(
                where, f"no row has the positive label '{positive}'", unknown("label", positive, found, where).fix
            )
        return {positive}
    odd = sorted(label for label in found if _is_number(label) and label not in _NUMBERS)
    if odd:
        raise UserError(
            where, f"label {', '.join(odd)} is outside 0 to 1", "write 1 for the positive class and 0 for the other"
        )
    known = {label for label in found if label.casefold() in POSITIVE}
    if len(known) == 1 or set(found) <= {"0", "1", "true", "false"}:
        return known
    labels = listed(sorted(found))
    fix = 'name the positive class in the folder\'s task.toml: positive = "..."'
    raise UserError(where, f"the positive class is not known among the labels {labels}", fix)


def _sts(frame: pd.DataFrame, where: str, reading: Reading) -> pd.DataFrame:
    low, high = reading.score_range
    first, second, scores = gather(
        (
            partial(checks.texts, frame, "sentence1", where),
            partial(checks.texts, frame, "sentence2", where),
            partial(checks.numbers, frame, "score", where, low, high),
        )
    )
    if scores.min() == scores.max():
        raise UserError(where, f"every 'score' is {scores[0]:g}: a rank correlation needs two", "check the column")
    return frame_of(sentence1=first, sentence2=second, score=scores)


def _labelled(frame: pd.DataFrame, where: str, texts: Sequence[str]) -> pd.DataFrame:
    """Check the text and label columns; labels stay text until every split has been seen."""
    read = [partial(checks.texts, frame, name, where) for name in texts]
    columns = gather([*read, partial(checks.labels, frame, "label", where)])
    return frame_of(**dict(zip([*texts, "label"], columns, strict=True)))


def _pairs(tables: Mapping[str, pd.DataFrame], where: Mapping[str, str], reading: Reading) -> Rows:
    found = sorted({label for table in tables.values() for label in table["label"]})
    positive = pair_labels(found, reading.positive, next(iter(where.values())))
    splits = {
        split: table.assign(label=table["label"].isin(positive).to_numpy(np.int64)) for split, table in tables.items()
    }
    raise_all([_one_class(where[s], tables[s]["label"].iloc[0]) for s, table in splits.items() if _flat(table)])
    words = not set(found) <= _NUMBERS
    note = f"positive class: {listed(sorted(positive))}; the rest ({listed(sorted(set(found) - positive))}) is negative"
    return Rows(splits, (), (note,) if words else ())


def _classes(tables: Mapping[str, pd.DataFrame], where: Mapping[str, str], *, supervised: bool) -> Rows:
    found = {label for table in tables.values() for label in table["label"]}
    numbers = all(_is_number(label) for label in found)
    if numbers:
        raise_all([problem for split, table in tables.items() for problem in _bad_numbers(table, where[split])])
    names = tuple(sorted(found, key=(lambda label: (float(label), label)) if numbers else None))
    raise_all([_one_class(where[s], table["label"].iloc[0]) for s, table in tables.items() if _flat(table)])
    raise_all(_unseen(tables, where) if supervised else [])
    number = {name: position for position, name in enumerate(names)}
    splits = {
        split: table.assign(label=np.array([number[label] for label in table["label"]], dtype=np.int64))
        for split, table in tables.items()
    }
    return Rows(splits, names, ())


def _bad_numbers(table: pd.DataFrame, where: str) -> list[UserError]:
    """Class numbers are 0, 1, 2, ...; a negative or broken one is a hidden or wrong label."""
    bad = np.array([not label.isdigit() for label in table["label"]])
    if not bad.any():
        return []
    row = int(np.argmax(bad))
    what = f"label {table['label'].iloc[row]} in {checks.name_rows(np.flatnonzero(bad))} is outside 0, 1, 2, ..."
    return [UserError(where, what, "number the classes from 0, or write their names")]


def _unseen(tables: Mapping[str, pd.DataFrame], where: Mapping[str, str]) -> list[UserError]:
    """A class that no training row has can only be scored wrong: it is told, not counted as the model's mistake."""
    if "train" not in tables:
        return []
    known = set(tables["train"]["label"])
    problems = []
    for split in [split for split in SPLITS[1:] if split in tables]:
        for label, count in sorted(Counter(tables[split]["label"]).items()):
            if label not in known:
                hint = unknown("label", label, known, where[split]).fix
                what = f"label '{label}' ({count} row{'s' if count > 1 else ''}) never occurs in the {len(known)} classes of train"
                problems.append(UserError(where[split], what, f"{hint} Else add training rows, or take the rows out"))
    return problems


def _flat(table: pd.DataFrame) -> bool:
    return int(table["label"].nunique()) < 2


def _one_class(where: str, label: str) -> UserError:
    return UserError(
        where, f"one class only: every label is on the side of '{label}'", "a score needs two classes at least"
    )


def _is_number(label: str) -> bool:
    return _NUMBER.fullmatch(label) is not None
