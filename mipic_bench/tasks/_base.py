"""What a task is: its entry in the registry, its data, and which rows of it are fitted, tuned and scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mipic_bench.data import datafiles
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
else:
    np = lazy("numpy")
    pd = lazy("pandas")

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Task:
    """One task of the registry: an uppercase constant in a module of this folder is enough to add one.

    Args:
        name: as on the command line and in rows; also the name of its folder under `--data`.
        family: one of `mipic_bench.families.FAMILIES`.
        title: a line for people.
        source: id of the dataset on the Hugging Face hub; "" when it is generated or only read from local files.
        revision: the commit of that dataset; "" when none is known, which is then said at every load.
        licence: as stated by the source.
        citation: authors, year, venue, and an address.
        mteb: what mteb calls its task on the same dataset; "" when it has none.
        config: the hub configuration to read.
        columns: their name for a column -> ours, where it differs.
        splits: the hub splits to read, in their names; empty for all. Splits with hidden labels are left out here.
        positive: the string label of the positive class, where the rule of `pair_labels` does not know it.
        label_names: names of integer labels, by id, where the source has numbers alone.
        score_range: the scale of `score`, both ends included.
    """

    name: str
    family: str
    title: str
    source: str
    revision: str
    licence: str
    citation: str
    mteb: str = ""
    config: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    positive: str = ""
    label_names: tuple[str, ...] = ()
    score_range: tuple[float, float] = (0.0, 5.0)


@dataclass(frozen=True)
class TaskData:
    """The rows of a task, checked.

    Args:
        name: the task's name, or its folder's.
        family: one of `mipic_bench.families.FAMILIES`.
        splits: any of "train", "dev", "test" -> rows, with the columns of `FAMILIES[family]`: text as str, `score` as float64, `label` as
            int64 (0/1 for pairs, class number else), ids as str, `relevance` as int64.
        queries: retrieval: query id -> text, for queries with a judgement; else empty.
        documents: retrieval: document id -> title and text joined by a space; else empty.
        labels: classification and clustering: class names by number.
        source: "toy", "hub:ID@REVISION" or "local:FOLDER".
        digest: sha256 of the content, the same for the same rows in CSV, JSONL and Parquet.
        notes: sentences for the user: what was inferred, left out or cut.
    """

    name: str
    family: str
    splits: Mapping[str, pd.DataFrame]
    queries: Mapping[str, str]
    documents: Mapping[str, str]
    labels: tuple[str, ...]
    source: str
    digest: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fold:
    """Which rows a probe is fitted on, a threshold is tuned on, and which are scored.

    Args:
        data: the task's data.
        split: the split really scored, "test" or "dev".
        fit: probes (and int8 ranges) are fitted here; None when the task has no training rows.
        tune: thresholds are chosen here; None when no row may serve.
        score: the scored rows.
        notes: sentences for the user on how the rows were chosen.
    """

    data: TaskData
    split: str
    fit: pd.DataFrame | None
    tune: pd.DataFrame | None
    score: pd.DataFrame
    notes: tuple[str, ...] = ()


def content_digest(
    family: str,
    splits: Mapping[str, pd.DataFrame],
    labels: tuple[str, ...] = (),
    queries: Mapping[str, str] | None = None,
    documents: Mapping[str, str] | None = None,
) -> str:
    """Return the sha256 of a task's content. It changes when a row, a label name, a query or a document changes."""
    rows = {split: {name: frame[name].tolist() for name in frame.columns} for split, frame in splits.items()}
    content = {"family": family, "splits": rows, "labels": list(labels)}
    return datafiles.digest({**content, "queries": dict(queries or {}), "documents": dict(documents or {})})


def frame_of(**columns: object) -> pd.DataFrame:
    """Build a frame that keeps text as plain str objects, numbers as NumPy columns."""
    return pd.DataFrame(
        {
            name: values if isinstance(values, np.ndarray) else pd.Series(values, dtype=object)
            for name, values in columns.items()
        }
    )
