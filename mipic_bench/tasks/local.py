"""Tasks from a folder of the user's own files: no code, no registry entry.

A folder is a task when it holds `train`, `dev` and `test` files (`.csv`, `.jsonl`, `.parquet`; any of them may be
missing; `validation` is dev), or one file `all`, or BEIR's `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`. The
family is inferred from the columns. What columns cannot tell stands in `task.toml` beside them:

    family = "clustering"          # the columns are those of classification
    positive = "same"              # which string label of a pair is the positive class
    range = [0, 1]                 # the scale of `score`, [0, 5] unless said
    [columns]                      # their name = ours
    premise = "sentence1"
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipic_bench.data import checks, datafiles
from mipic_bench.errors import UserError, gather, raise_all, readable, unknown
from mipic_bench.families import FAMILIES
from mipic_bench.registry import lazy
from mipic_bench.tasks._base import SPLITS, Task, TaskData, content_digest
from mipic_bench.tasks._cut import TENTHS, cut
from mipic_bench.tasks._retrieval import QRELS, Retrieval, join, read_documents, read_queries
from mipic_bench.tasks._tables import Reading, Rows, infer, nearest, read_rows

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

SPLIT_NAMES = {
    "train": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "test": "test",
    "all": "all",
}
_NOT_READ = (".gz", ".bz2", ".xz", ".zst", ".zip", ".tsv", ".json", ".arrow", ".feather", ".xlsx")  # data, not notes
_SETTINGS: Mapping[str, type] = {"family": str, "positive": str, "range": list, "columns": dict}


def folders(data: Path) -> list[Path]:
    """Return the folders of a folder of datasets in name order, without hidden ones.

    Raises:
        UserError: it is not there, is a file, or cannot be read.
    """
    check_data(data)
    with readable(f"--data {data}"):
        return [folder for folder in sorted(data.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]


def check_data(data: Path | None) -> None:
    """Refuse a folder of datasets that is none."""
    if data is not None and not os.path.isdir(data):
        what = "is a file, not a folder" if os.path.exists(data) else "no such folder"
        raise UserError(f"--data {data}", what, "name the folder that holds the datasets' folders")


def split_files(folder: Path) -> dict[str, Path]:
    """Return split -> file of a folder ("all" for a file without a split); BEIR folders give their qrels.

    Raises:
        UserError: one split in two files, or in a format that is not read; a folder that cannot be read.
    """
    if is_retrieval(folder):
        return _by_split(sorted((folder / "qrels").glob("*.tsv")))
    if not os.path.isdir(folder):
        return {}
    with readable(str(folder)):
        files = sorted(folder.iterdir())
    found = _by_split([path for path in files if path.suffix.lower() in datafiles.FORMATS])
    raise_all(
        [_not_read(path) for path in files if path.suffix.lower() in _NOT_READ and _split_of(path) not in {"", *found}]
    )
    return found


def is_retrieval(folder: Path) -> bool:
    """Tell whether a folder has BEIR's form."""
    return os.path.isfile(folder / "corpus.jsonl") or os.path.isdir(folder / "qrels")


def shown(place: Path) -> str:
    """Return the name of data at a path: a folder's own, also for a file in it that is named like a split."""
    if place.is_file() and place.stem.lower() not in SPLIT_NAMES:
        return place.stem
    return (place.resolve().parent if place.is_file() else place.resolve()).name


def guess_family(folder: Path) -> str:
    """Return the family of a folder from task.toml and the head of its files.

    "" means that it holds no files of a task: nothing at all, nothing that we may see (lost+found), or unlabelled
    training text. "?" means that it looks like a task but cannot be read as one; `load` says why.
    """
    try:
        next(folder.iterdir(), None)
    except OSError:
        return ""
    if is_retrieval(folder):
        return "retrieval"
    try:
        files, said = split_files(folder), settings(folder).get("family", "")
        headers = [_renamed(datafiles.header(path), folder) for path in files.values()]
    except UserError:
        return "?"
    family = infer(headers[0]) if headers else ""
    if not headers or (not family and not said and set(files) <= {"train", "all"} and headers[0]):
        return ""
    return said or family or "?"


def load(place: Path, name: str, task: Task | None = None) -> TaskData:
    """Read and check a folder, or a single file, as a task.

    Args:
        place: the folder or file.
        name: the task's name in rows.
        task: the registry's entry of that name, whose family and labels hold unless task.toml says otherwise.

    Raises:
        UserError: everything wrong with the files, at once.
    """
    files = {"all": place} if place.is_file() else split_files(place)
    source = f"local:{shown(place)}"
    said = {} if place.is_file() else settings(place)
    if is_retrieval(place):
        return _load_retrieval(place, files, name, source)
    if not files:
        names = f"{', '.join(SPLITS)} or all, each {', '.join(datafiles.FORMATS)}"
        raise UserError(
            str(place), "no files of a task in it", f"a task's files are named {names}; BEIR folders have corpus.jsonl"
        )
    read = gather(partial(datafiles.read, path) for path in files.values())
    named = gather(partial(renamed, frame, said, str(path)) for frame, path in zip(read, files.values(), strict=True))
    frames = dict(zip(files, named, strict=True))
    reading, notes = _reading(frames, said, task, name)
    rows = read_rows(frames, {split: str(path) for split, path in files.items()}, reading)
    return _assemble(rows, files, name, reading.family, source, notes)


def settings(folder: Path) -> dict[str, Any]:
    """Read a folder's task.toml; empty when there is none.

    Raises:
        UserError: broken TOML, an unknown key, a value of the wrong kind; a file that cannot be read.
    """
    path = folder / "task.toml"
    if not os.path.isfile(path):
        return {}
    try:
        with readable(str(path)):
            said = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(str(path), f"not TOML: {error}", "mend the file") from None
    raise_all([unknown("key", key, _SETTINGS, str(path)) for key in said if key not in _SETTINGS])
    for key, kind in _SETTINGS.items():
        if key in said and not isinstance(said[key], kind):
            raise UserError(
                str(path),
                f"{key} is a {type(said[key]).__name__}, not a {kind.__name__}",
                f"write {key} as a {kind.__name__}",
            )
    if said.get("family", "sts") not in FAMILIES:
        raise unknown("family", said["family"], FAMILIES, str(path))
    _check_range(said, path)
    _check_columns(said, path)
    return said


def renamed(frame: pd.DataFrame, said: Mapping[str, Any], where: str) -> pd.DataFrame:
    """Return a file's columns in our names, as `[columns]` of task.toml has them.

    Raises:
        UserError: two columns would have one name; either could be meant, so neither is taken.
    """
    ours = said.get("columns", {})
    sources: dict[str, list[str]] = {}
    for name in map(str, frame.columns):
        sources.setdefault(ours.get(name, name), []).append(name)
    raise_all([_one_name(name, theirs, where) for name, theirs in sources.items() if len(theirs) > 1])
    return frame.rename(columns=ours)


def _check_range(said: Mapping[str, Any], path: Path) -> None:
    scale = said.get("range", [0, 5])
    if len(scale) != 2 or not all(type(end) in (int, float) for end in scale) or not scale[0] < scale[1]:
        raise UserError(
            str(path), f"range is {scale}, not two rising numbers", "write the ends of the scale: range = [0, 5]"
        )


def _check_columns(said: Mapping[str, Any], path: Path) -> None:
    wrong = {name: ours for name, ours in said.get("columns", {}).items() if not isinstance(ours, str)}
    fix = "write our name of the column as text, such as 'sentence1'"
    raise_all([UserError(str(path), f"[columns] {name} is {ours!r}, not text", fix) for name, ours in wrong.items()])


def _one_name(name: str, theirs: Sequence[str], where: str) -> UserError:
    what = f"{' and '.join(map(repr, theirs))} would both be the column '{name}' by [columns] of task.toml"
    return UserError(where, what, f"keep one of them: take the line in task.toml away, or name '{name}' otherwise")


def _by_split(paths: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        split = SPLIT_NAMES.get(path.stem.lower(), "")
        if split in found:
            what = f"two files hold the split '{split}': {found[split].name} and {path.name}"
            raise UserError(str(path.parent), what, "keep one of them")
        if split:
            found[split] = path
    return {split: found[split] for split in (*SPLITS, "all") if split in found}


def _split_of(path: Path) -> str:
    """Return the split that a file which is not read is named after: "test" of test.tsv and test.csv.gz; "" of others."""
    return SPLIT_NAMES.get(path.name.partition(".")[0].lower(), "")


def _not_read(path: Path) -> UserError:
    what = f"it is named like the split '{_split_of(path)}', and '{path.suffix}' files are not read"
    return UserError(str(path), what, f"save it as one of {', '.join(datafiles.FORMATS)}, or name it otherwise")


def _renamed(header: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    names = settings(folder).get("columns", {})
    return tuple(names.get(column, column) for column in header)


def _reading(
    frames: Mapping[str, pd.DataFrame], said: Mapping[str, Any], task: Task | None, name: str
) -> tuple[Reading, tuple[str, ...]]:
    """Decide the family (task.toml, else the registry, else the columns) and how labels and scores are read."""
    columns = tuple(next(iter(frames.values())).columns)
    known = task.family if task else ""
    inferred = infer(columns)
    family = said.get("family") or known or inferred or nearest(columns)
    notes = []
    if not said.get("family") and not known and inferred:
        notes.append(
            f"{name}: the columns {', '.join(FAMILIES[inferred].columns)} make it a task of the family {inferred}"
        )
    scale = said.get("range") or (task.score_range if task else (0.0, 5.0))
    positive = said.get("positive") or (task.positive if task and "label" in columns else "")
    return Reading(family, positive, (float(scale[0]), float(scale[1]))), tuple(notes)


def _assemble(
    rows: Rows, files: Mapping[str, Path], name: str, family: str, source: str, notes: tuple[str, ...]
) -> TaskData:
    splits, cut_notes = whole(dict(rows.splits), family, name, next(iter(files.values())).name)
    digest = content_digest(family, splits, rows.labels)
    return TaskData(name, family, splits, {}, {}, rows.labels, source, digest, (*notes, *rows.notes, *cut_notes))


def whole(
    splits: dict[str, pd.DataFrame], family: str, name: str, file: str
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """Give splits to data that came as one file: cut where a probe or threshold needs it, else scored as it is.

    Raises:
        UserError: too few rows to cut.
    """
    if set(splits) not in ({"all"}, {"train"}):
        if "all" in splits:
            raise UserError(name, f"{file} stands beside files of splits", "keep either the one file or the splits")
        return splits, ()
    (frame,) = splits.values()
    if family not in ("pair", "classification"):
        return {"test": frame}, (f"{name} is one file, {file}: all its {len(frame)} rows are scored",)
    parts = cut(frame, TENTHS)
    if any(part["label"].nunique() < 2 for part in parts.values()):
        raise UserError(
            name, f"{len(frame)} rows are too few to be cut 80/10/10", "write train and test files, or add rows"
        )
    sizes = " / ".join(str(len(part)) for part in parts.values())
    return parts, (f"{name} is one file, {file}: it is cut 80/10/10 by a fixed seed ({sizes} rows)",)


def _load_retrieval(folder: Path, files: Mapping[str, Path], name: str, source: str) -> TaskData:
    needed = [folder / "corpus.jsonl", folder / "queries.jsonl"]
    lacking = [path for path in needed if not path.is_file()]
    raise_all([UserError(str(path), "this file of the BEIR form is missing", "add it") for path in lacking])
    if not files:
        raise UserError(
            str(folder / "qrels"), "no judgements: no qrels/<split>.tsv", f"add qrels/test.tsv with {', '.join(QRELS)}"
        )
    documents, queries, *judged = gather(
        [
            lambda: read_documents(datafiles.read_objects(needed[0]), str(needed[0])),
            lambda: read_queries(datafiles.read_objects(needed[1]), str(needed[1])),
            *(partial(_read_qrels, path) for path in files.values()),
        ]
    )
    judgements = dict(zip(files, judged, strict=True))
    found = join(documents, queries, judgements, {split: str(path) for split, path in files.items()})
    note = f"{name}: corpus.jsonl, queries.jsonl and qrels make it a task of the family retrieval"
    return retrieval_data(found, name, source, (note,), next(iter(files.values())).name)


def retrieval_data(found: Retrieval, name: str, source: str, notes: tuple[str, ...], file: str) -> TaskData:
    """Make a task's data of checked retrieval parts."""
    splits, cut_notes = whole(dict(found.splits), "retrieval", name, file)
    digest = content_digest("retrieval", splits, (), found.queries, found.documents)
    told = (*notes, *(f"{name}: {note}" for note in found.notes), *cut_notes)
    return TaskData(name, "retrieval", splits, found.queries, found.documents, (), source, digest, told)


def _read_qrels(path: Path) -> list[tuple[str, str, Any]]:
    header, rows = datafiles.read_tsv(path)
    raise_all([checks.missing(column, header, str(path), QRELS) for column in QRELS if column not in header])
    query, document, score = (header.index(column) for column in QRELS)
    return [(row[query], row[document], row[score]) for row in rows]
