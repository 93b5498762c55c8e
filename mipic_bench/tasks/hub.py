"""Tasks from the Hugging Face hub, at the revision that the registry pins."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mipic_bench.errors import UserError
from mipic_bench.registry import lazy
from mipic_bench.tasks._base import Task, TaskData, content_digest
from mipic_bench.tasks._retrieval import QRELS, join, read_documents, read_queries
from mipic_bench.tasks._tables import Reading, read_rows
from mipic_bench.tasks.local import SPLIT_NAMES, retrieval_data, whole

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")


def load(task: Task) -> TaskData:
    """Download (or take from the hub's cache) and check a task's data.

    Rows without text and rows with a hidden label (-1) are left out and counted.

    Raises:
        UserError: no hub source, a hub that cannot be reached, or data that no longer fit the registry's entry.
    """
    if not task.source:
        what = f"{task.title} has no hub source that this project knows"
        raise UserError(
            f"task {task.name}",
            what,
            f"put its files into a folder {task.name} and name the folder above it with --data",
        )
    source = f"hub:{task.source}@{task.revision or 'main'}"
    pin = () if task.revision else (f"{task.name}: no revision is pinned; the hub's present one is read",)
    if task.family == "retrieval":
        return _retrieval(task, source, pin)
    read = _splits(fetch(task.source, task.revision, task.config, task.name), task)
    frames, notes = {}, list(pin)
    for split, frame in read.items():
        kept = _usable(frame)
        if len(kept) < len(frame):
            notes.append(
                f"{task.name}: {len(frame) - len(kept)} rows of {split} have no text or no label and are left out"
            )
        frames[split] = kept
    where = {split: f"{source} {split}" for split in frames}
    rows = read_rows(frames, where, Reading(task.family, task.positive, task.score_range))
    splits, cut_notes = whole(dict(rows.splits), task.family, task.name, "train")
    digest = content_digest(task.family, splits, rows.labels)
    return TaskData(
        task.name, task.family, splits, {}, {}, rows.labels, source, digest, (*notes, *rows.notes, *cut_notes)
    )


def fetch(source: str, revision: str, config: str | None, name: str) -> Mapping[str, Any]:
    """Return split name -> dataset, read by the `datasets` library.

    Raises:
        UserError: whatever keeps the hub from answering; it names the local way out.
    """
    import datasets

    try:
        return dict(datasets.load_dataset(source, config, revision=revision or None))
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).split("\n")[0]
        fix = f"without the hub, put its files into a folder {name} and name the folder above it with --data; --offline waits for none"
        raise UserError(f"{name} from the hub ({source})", f"cannot be had: {reason}", fix) from error


def _splits(found: Mapping[str, Any], task: Task) -> dict[str, pd.DataFrame]:
    """Return our split -> raw columns, in our names, with class numbers turned into class names."""
    frames = {}
    for their, dataset in found.items():
        if task.splits and their not in task.splits:
            continue
        frame = _flat(_named(dataset, task).rename(columns=dict(task.columns)))
        frames[SPLIT_NAMES.get(their, their)] = frame
    order = [split for split in ("train", "dev", "test", "all") if split in frames]
    return {split: frames[split] for split in order}


def _named(dataset: Any, task: Task) -> pd.DataFrame:
    frame: pd.DataFrame = dataset.to_pandas()
    for column, feature in dataset.features.items():
        names = task.label_names if task.columns.get(column, column) == "label" else ()
        names = names or tuple(getattr(feature, "names", None) or ())
        if names and column in frame and pd.api.types.is_integer_dtype(frame[column]):
            frame[column] = [names[value] if 0 <= value < len(names) else None for value in frame[column]]
    return frame


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Open up rows that hold lists (mteb's clustering sets: a list of texts and a list of labels per row), each text once."""
    if "text" in frame.columns and len(frame) and not isinstance(frame["text"].iloc[0], str):
        return frame[["text", "label"]].explode(["text", "label"]).drop_duplicates("text").reset_index(drop=True)
    return frame


def _usable(frame: pd.DataFrame) -> pd.DataFrame:
    keep = pd.Series(True, index=frame.index)
    for column in [name for name in ("text", "sentence1", "sentence2") if name in frame.columns]:
        keep &= frame[column].map(lambda value: isinstance(value, str) and bool(value.strip())).astype(bool)
    if "label" in frame.columns:
        keep &= frame["label"].map(lambda value: value is not None and value == value and value != -1).astype(bool)
    return frame[keep].reset_index(drop=True)


def _retrieval(task: Task, source: str, notes: tuple[str, ...]) -> TaskData:
    """Read mteb's form of BEIR: configurations `corpus`, `queries` and `default` (the judgements, by split)."""
    read = partial(fetch, task.source, task.revision)
    corpus, queries, judged = (read(config, task.name) for config in ("corpus", "queries", "default"))
    documents = read_documents(_objects(corpus), f"{source} corpus")
    texts = read_queries(_objects(queries), f"{source} queries")
    judgements, lost = {}, 0
    for split, dataset in judged.items():
        rows = list(zip(*(dataset[column] for column in QRELS), strict=True))
        kept = [row for row in rows if str(row[0]) in texts and str(row[1]) in documents]
        lost += len(rows) - len(kept)
        judgements[SPLIT_NAMES.get(split, split)] = kept
    if lost:
        notes = (*notes, f"{task.name}: {lost} judgements name unknown queries or documents and are left out")
    found = join(documents, texts, judgements, {split: f"{source} {split}" for split in judgements})
    return retrieval_data(found, task.name, source, notes, "judgements")


def _objects(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [row for dataset in found.values() for row in dataset.to_list()]
