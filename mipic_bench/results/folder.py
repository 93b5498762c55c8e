"""The results folder: finished runs as rows (CSV) with their provenance (JSON), written whole, verified when read.

`<results>/runs/<run>.csv` holds the rows of one run and `<run>.json` its provenance with the CSV's sha256: the commit
mark. A CSV without a fitting mark is not there for anybody who reads; it is told, and never averaged. Runs may also be
packed into Parquet files beside `runs/` (`packed.py`), which read the same.
"""

import hashlib
import json
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mipic_bench.errors import UserError, raise_all
from mipic_bench.results import commit, packed
from mipic_bench.results.rows import COLUMNS, IDENTITY, Run, covers, empty, from_csv, problems, to_csv, typed

__all__ = [
    "COLUMNS",
    "IDENTITY",
    "BrokenRun",
    "Run",
    "Store",
    "holds",
    "joined_entry",
    "joined_training",
    "read",
    "read_finished",
    "read_rows",
    "read_run",
    "run_name",
    "units",
    "warned",
    "write_run",
]

RUNS = "runs"
UNIT = ("task", "split", "protocol")  # what is scored as one piece of work, at any number of budgets
_LONGEST_NAME = 200  # bytes; file systems allow 255, and ".json.next.tmp" must fit behind it
_LONGEST_PART = 48
_UNSAFE = re.compile(r"^\.+|[^A-Za-z0-9._=+@,-]+")


class BrokenRun(UserWarning):
    """A run in a results folder that cannot be trusted and was left out."""


@dataclass(frozen=True)
class Store:
    """What a results folder holds: finished runs by name, and what was found broken and left out."""

    runs: Mapping[str, Run]
    problems: tuple[UserError, ...]

    def rows(self) -> pd.DataFrame:
        """Return the rows of every run, in the order of the runs' names."""
        frames = [self.runs[name].rows for name in sorted(self.runs)]
        return pd.concat(frames, ignore_index=True) if frames else empty()

    def provenance(self) -> dict[str, dict[str, Any]]:
        """Return the provenance of every run, by its name."""
        return {name: self.runs[name].provenance for name in sorted(self.runs)}


def run_name(method: str, backbone: str, corpus: str, seed: int | str, key: str) -> str:
    """Return the name of a run, safe as a file name: `<method>--<backbone>--<corpus>--s<seed>--<key>`.

    An empty corpus is called `none` and an empty seed 0. Signs that a file name cannot hold everywhere become `_`; a
    name changed or cut so gets six hexadecimal digits of its own, so that two names never meet in one file.
    """
    parts = [safe(part) for part in (method, backbone, corpus or "none")]
    tail = [f"s{seed if seed != '' else 0}", safe(key)]
    if len(name := "--".join(parts + tail)) <= _LONGEST_NAME:
        return name
    return "--".join([*(_cut(part) for part in parts), *tail])


def write_run(results: Path, name: str, rows: pd.DataFrame, provenance: Mapping[str, Any]) -> None:
    """Write a finished run: the rows first, the provenance last as their commit mark, each file whole or not at all.

    A run of the same name is replaced; until the new one is whole, the old one counts.

    Args:
        results: the results folder; made when it is not there.
        name: the run, as `run_name` returns it.
        rows: every row of the run, with the columns `COLUMNS`.
        provenance: what is known of its making; `run` and `rows_sha256` are set here, NaN and infinity become null.

    Raises:
        ValueError: a row is not one: a mistake of the caller, not of the user.
        UserError: the folder or the disk does not take the files; nothing that was there is lost.
    """
    if Path(name).name != name:
        raise ValueError(f"'{name}' is not a run's name: it would leave the folder; make it with run_name")
    frame = typed(rows)
    if found := problems(frame, name):
        raise ValueError(f"rows of the run {name}: {'; '.join(found)}")
    content = to_csv(frame)
    mark = _json({**provenance, "run": name, "rows_sha256": commit.digest(content)})
    csv_path = results / RUNS / f"{name}.csv"
    commit.write_marked(csv_path, content, csv_path.with_suffix(".json"), mark)


def read_run(results: Path, name: str) -> Run | None:
    """Return one run, loose or packed; None when it is not there or cannot be trusted."""
    packs, _ = packed.read_all(results)
    run, _ = _standing(_loose(results, name) if _names(results, name) else None, packs.get(name))
    return run


def written(results: Path, name: str) -> float | None:
    """Return when a loose run was written, as the file system has it; None when it is not there."""
    try:
        return (results / RUNS / f"{name}.json").stat().st_mtime
    except OSError:
        return None


def read(results: Path) -> Store:
    """Read and verify every finished run of a results folder, loose and packed; a folder that is not there is empty.

    A run that is loose and packed stands once: the loose one if it has every number of the packed one (rows were added
    since) but those of tasks that it scored anew, else the packed one, and that is told. The first of two packs, by file
    name, stands for both.
    """
    packs, found = packed.read_all(results)
    names = _names(results)
    runs: dict[str, Run] = {}
    for name in sorted(names | set(packs)):
        loose = _loose(results, name) if name in names else None
        run, problem = _standing(loose, packs.get(name))
        if run:
            runs[name] = run
        found += [problem] if problem else []
    return Store(runs, tuple(found))


def read_finished(results: Path) -> Store:
    """Return `read` of a folder that is to be reported.

    Raises:
        UserError: it holds no finished run.
    """
    store = read(results)
    if not store.runs:
        fix = "run a method first, or name another folder"
        raise_all([*store.problems, UserError(f"--results {results}", "holds no finished run", fix)])
    return store


def read_rows(results: Path) -> pd.DataFrame:
    """Return the rows of every finished run of a folder, loose and packed, in the columns `COLUMNS`.

    What is broken is left out, with one `BrokenRun` warning each; `read` returns the same as a list.
    """
    return warned(read(results)).rows()


def warned(store: Store) -> Store:
    """Return what was read, with one `BrokenRun` warning for each thing that was left out."""
    for problem in store.problems:
        warnings.warn(str(problem), BrokenRun, stacklevel=3)
    return store


def units(provenance: Mapping[str, Any]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    """Return what a provenance says of each task that was scored, by task, split and protocol."""
    return {unit_of(entry): entry for entry in provenance.get("scored") or ()}


def unit_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is scored as one piece of work: the values of `UNIT`."""
    return tuple(str(entry.get(name)) for name in UNIT)


def holds(entry: Mapping[str, Any], fresh: Mapping[str, Any] | None) -> bool:
    """Say whether what was scored before still holds beside what was scored now: the same data, the same scorer."""
    same = ("digest", "evaluator_version")
    return fresh is None or all(entry.get(name) == fresh.get(name) for name in same)


def joined_entry(before: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of a task that was scored in two goes: all budgets and notes, the weights of its first rows."""
    wider = {name: sorted({*before[name], *entry[name]}) for name in ("layers", "dims", "precisions")}
    first = {name: before[name] for name in ("weights",) if name in before}
    notes = list(dict.fromkeys([*before["notes"], *entry["notes"]]))
    return {**entry, **wider, **first, **_by_dim(entry, before), "notes": notes}


def joined_training(before: Mapping[str, Any], training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a run's last training; widths that have a model of an earlier one keep its digest."""
    return {**training, **_by_dim(before, training)}


def _by_dim(less: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of every width that one of two records has; the second counts. Nothing without any."""
    both = {**(less.get("weights_by_dim") or {}), **(more.get("weights_by_dim") or {})}
    return {"weights_by_dim": {dim: both[dim] for dim in sorted(both, key=int)}} if both else {}


def _names(results: Path, name: str | None = None) -> set[str]:
    """Return the names that have a file among the loose runs (or just the one asked for, if it has one)."""
    folder = results / RUNS
    if name is not None:
        if Path(name).name != name:
            return set()  # no run: it would lie outside the folder
        return {name} if any((folder / f"{name}{end}").is_file() for end in (".csv", ".json")) else set()
    return {path.stem for end in ("csv", "json") for path in folder.glob(f"*.{end}")}


def _loose(results: Path, name: str) -> Run | UserError:
    path = results / RUNS / f"{name}.csv"
    again = "run it again, or delete it"
    try:
        if not path.is_file():
            return UserError(str(path), "the rows are gone, the provenance is there", again)
        pair = commit.read_marked(path, path.with_suffix(".json"))
        if pair is None:
            return _unmarked(path, again)
        provenance = json.loads(pair[1])
        rows = from_csv(pair[0])
        found = problems(rows, name)
    except (OSError, ValueError) as error:
        return UserError(str(path), f"cannot be read: {error}", again)
    return UserError(str(path), "; ".join(found), again) if found else Run(rows, provenance)


def _unmarked(path: Path, again: str) -> UserError:
    """Say why no mark fits a file of rows."""
    mark = path.with_suffix(".json")
    if not mark.is_file():
        return UserError(str(path), f"its provenance {mark.name} is not there, so the run was never finished", again)
    try:
        expected = str(json.loads(mark.read_bytes()).get("rows_sha256"))
    except (OSError, ValueError, AttributeError):
        return UserError(str(mark), "is not the provenance of a run (no JSON object)", again)
    what = f"was cut off or edited: its sha256 is {commit.digest(path.read_bytes())[:12]}..., "
    return UserError(
        str(path), what + f"the provenance has {expected[:12]}...", f"{again}; it is left out of every table"
    )


def _standing(loose: Run | UserError | None, pack: Run | None) -> tuple[Run | None, UserError | None]:
    """Choose between the loose and the packed copy of a run: what stands, and what is to be told."""
    if isinstance(loose, UserError):
        return pack, loose
    if loose is None or pack is None or covers(loose.rows, _in_force(pack, loose)):
        return loose or pack, None
    name = pack.provenance["run"]
    what = f"the loose copy lacks numbers that the packed one has ({len(loose.rows)} rows against {len(pack.rows)})"
    return pack, UserError(f"run {name}", what, f"the packed one was taken; delete {RUNS}/{name}.csv and .json")


def _in_force(pack: Run, loose: Run) -> pd.DataFrame:
    """Return the packed rows without those of tasks that the loose copy scored anew, on other data or by another scorer."""
    if str(loose.provenance.get("created", "")) < str(pack.provenance.get("created", "")):
        return pack.rows  # a newer pack was laid beside it: what differs was scored anew in the pack
    fresh = units(loose.provenance)
    anew = {unit for unit, entry in units(pack.provenance).items() if not holds(entry, fresh.get(unit))}
    of = pack.rows[list(UNIT)].itertuples(index=False, name=None)
    return pack.rows[np.array([unit not in anew for unit in of], dtype=bool)]


def safe(part: str) -> str:
    """Return a name as a part of a file name, on every system: other signs become `_`, and six digits of its own follow."""
    clean = _UNSAFE.sub("_", part)
    return clean if clean == part else f"{clean}~{_own_digits(part)}"


def _cut(part: str) -> str:
    return part if len(part) <= _LONGEST_PART else f"{part[: _LONGEST_PART - 7]}~{_own_digits(part)}"


def _own_digits(part: str) -> str:
    return hashlib.sha256(part.encode()).hexdigest()[:6]


def _json(provenance: Mapping[str, Any]) -> bytes:
    text = json.dumps(jsonable(provenance), ensure_ascii=False, indent=1, allow_nan=False)
    return f"{text}\n".encode()


def jsonable(value: Any) -> Any:
    """Return a value as JSON can hold it: numpy numbers as numbers, sequences as lists, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
