"""Which rows of a task are fitted on, tuned on and scored. Nothing is ever tuned on the scored split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipic_bench.errors import UserError, unknown
from mipic_bench.registry import lazy
from mipic_bench.tasks._base import Fold, TaskData
from mipic_bench.tasks._cut import cut

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

_TENTH = {"fit": 9, "tune": 1}


def fold(data: TaskData, split: str = "test", protocol: str = "clean") -> Fold:
    """Choose the rows to fit, tune and score.

    Scored is the split asked for. A task without a test split has its dev split scored; asked for a dev split that it lacks, a fixed
    tenth of train. Probes are fitted on train and thresholds tuned on dev; where dev is missing or scored, on a fixed tenth of
    train, which is then not fitted on (probes tune nothing; classification leaves that tenth out all the same). Without train,
    thresholds come from dev alone. STS, retrieval and clustering need neither. Protocols other than `clean` tune on no rows of
    their own, so they fit on the whole of train.

    Raises:
        UserError: no split that could be scored, or a classification task without rows to fit a probe on.
    """
    if split not in ("test", "dev"):
        raise unknown("split", split, ("test", "dev"), f"task {data.name}")
    if data.family in ("pair", "classification"):
        return _fitted(data, split, protocol == "clean")
    return _plain(data, split)


def _plain(data: TaskData, split: str) -> Fold:
    """Fold of a family whose score needs no other rows; train is passed on for what is fitted outside the score (int8 ranges)."""
    scored, train, score, notes = _scored(data, split)
    tune = data.splits.get("dev") if scored == "test" else None
    return Fold(data, scored, train, tune, score, notes)


def _fitted(data: TaskData, split: str, tuned: bool) -> Fold:
    scored, train, score, notes = _scored(data, split)
    dev = data.splits.get("dev") if scored == "test" else None
    if train is None:
        return _without_train(data, scored, dev, score, notes, tuned)
    if dev is None and tuned:
        return _cut_train(data, scored, train, score, notes)
    return Fold(data, scored, train, dev, score, notes)


def _scored(data: TaskData, split: str) -> tuple[str, pd.DataFrame | None, pd.DataFrame, tuple[str, ...]]:
    """Return the split that is scored, the training rows that are left, the scored rows, and what to say."""
    train = data.splits.get("train")
    if split in data.splits:
        return split, train, data.splits[split], ()
    if split == "test" and "dev" in data.splits:
        return "dev", train, data.splits["dev"], (f"{data.name} has no test split: dev is scored",)
    if split == "dev" and train is not None and data.family != "retrieval":
        parts = cut(train, {"rest": 9, "dev": 1})
        if (rows := len(parts["dev"])) < 2:
            what = f"it has no dev split, and a tenth of train is {rows} of {len(train)} rows; at least 2 are needed to score"
            raise UserError(f"task {data.name}", what, "add a dev split, add rows to train, or ask for --split test")
        note = f"{data.name} has no dev split: a fixed tenth of train ({len(parts['dev'])} rows) is scored"
        return "dev", parts["rest"], parts["dev"], (note,)
    fix = "ask for --split test" if "test" in data.splits else f"add a {split} split"
    raise UserError(f"task {data.name}", f"no {split} split to score: it has {_there(data)}", fix)


def _cut_train(data: TaskData, scored: str, train: pd.DataFrame, score: pd.DataFrame, notes: tuple[str, ...]) -> Fold:
    parts = cut(train, _TENTH)
    fit, tune = parts["fit"], parts["tune"]
    why = "dev is scored" if scored == "dev" else "no dev split"
    if tune["label"].nunique() < 2:
        note = f"{data.name}: {why}, and a tenth of train has one class only: thresholds come from all of train"
        return Fold(data, scored, train, train, score, (*notes, note))
    use = "left out" if data.family == "classification" else "tuned on"
    note = f"{data.name}: {why}: a fixed tenth of train ({len(tune)} rows) is {use} and the rest fitted on"
    return Fold(data, scored, fit, tune, score, (*notes, note))


def _without_train(
    data: TaskData, scored: str, dev: pd.DataFrame | None, score: pd.DataFrame, notes: tuple[str, ...], tuned: bool
) -> Fold:
    if data.family == "classification":
        if dev is None:
            fix = "add a train split, or put all rows into one file named all, which is then cut 80/10/10"
            raise UserError(f"task {data.name}", f"no rows to fit a probe on: it has {_there(data)}", fix)
        notes = (*notes, f"{data.name} has no train split: dev stands in for it")
        return _cut_train(data, scored, dev, score, notes) if tuned else Fold(data, scored, dev, None, score, notes)
    if not tuned:
        return Fold(data, scored, None, dev, score, notes)
    if dev is None:
        note = f"{data.name} has no split to choose a threshold on: only threshold-free numbers are scored"
        return Fold(data, scored, None, None, score, (*notes, note))
    return Fold(data, scored, None, dev, score, (*notes, f"{data.name} has no train split: thresholds come from dev"))


def _there(data: TaskData) -> str:
    return " and ".join(data.splits) or "no rows"
