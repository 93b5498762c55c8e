"""Published numbers beside ours: CSV files with the columns of rows, and where each number stands.

`baselines/README.md` says what the columns hold and how a number is transcribed. What a source does not state is empty,
never 0. Another results folder, or any CSV with these columns, can stand in for a published table.
"""

import glob
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.data import datafiles
from mipic_bench.data.checks import name_rows
from mipic_bench.errors import UserError, gather, raise_all, unknown
from mipic_bench.evaluators import PROTOCOLS
from mipic_bench.families import FAMILIES, METRICS
from mipic_bench.paths import expanded, shipped
from mipic_bench.results import folder as results
from mipic_bench.results.rows import COLUMNS as ROW_COLUMNS
from mipic_bench.tasks import SPLITS

COLUMNS = (
    "method", "backbone", "corpus",
    "family", "task", "split", "protocol",
    "layer", "dim", "precision",
    "metric", "value",
    "source", "locator", "note",
)  # fmt: skip
REQUIRED = ("method", "backbone", "task", "dim", "metric", "value")  # as columns
FILLED = ("task", "dim", "metric", "value")  # in every row
LAST = "last"  # the layer of a number that belongs to the whole model, however deep
DEFAULT = ("baselines/*.csv",)
_CELL = [column for column in COLUMNS if column not in ("value", "note")]


def load(sources: Sequence[str | Path] = DEFAULT) -> pd.DataFrame:
    """Read and check baselines.

    Args:
        sources: files (CSV, JSONL, Parquet), patterns, folders of such files, results folders of ours (means over their
            seeds), or names of shipped files ("starbucks"). `baselines/...` is looked for here and then in the package.

    Returns:
        one row per number: the columns `COLUMNS` (all text but `dim`, int64, and `value`, float64; `layer` is "", "last"
        or a number), then `data` (what it was scored on, digest and scorer, where a results folder says; else ""), `file`,
        where it was read, and `published`, True throughout.

    Raises:
        UserError: nothing is found, or a file is not one of baselines; all problems of all files at once.
    """
    actions = [lambda path=path: _read(path) for path in find(sources)]
    read = gather(actions)
    apart = [part for part in read if "seed" not in part]
    if seeded := [part for part in read if "seed" in part]:  # a seed may have a file of its own
        apart.append(_over_seeds(_named_apart(pd.concat(seeded, ignore_index=True))))
    return pd.concat([part[[*COLUMNS, "data", "file"]] for part in apart], ignore_index=True).assign(published=True)


def check(path: Path) -> list[UserError]:
    """Return everything that is wrong with one file of baselines; an empty list when it can be used."""
    try:
        _read(path)
    except UserError as error:
        return list(error.problems)
    return []


def known() -> dict[str, str]:
    """Return shipped file -> how many numbers it holds, and from where."""
    found = {}
    for path in _shipped_files():
        frame = _read(path)
        found[path.stem] = f"{len(frame)} numbers, {'; '.join(frame['source'].unique())}"
    return found


def find(sources: Sequence[str | Path]) -> list[Path]:
    """Return the files and results folders that sources name, each once.

    Raises:
        UserError: a source names nothing; all of them at once.
    """
    found: dict[Path, Path] = {}  # where a file really is -> as it was named first
    missing = []
    for source in sources:
        if paths := list(_paths(str(source))):
            for path in paths:
                found.setdefault(path.resolve(), path)
        else:
            names = [path.stem for path in _shipped_files()]
            missing.append(unknown("file, folder or baseline", str(source), names, "--baselines"))
    raise_all(missing)
    return list(found.values())


def _shipped_files() -> list[Path]:
    return sorted(shipped("baselines").glob("*.csv"))


def _paths(source: str) -> Iterator[Path]:
    path = expanded(source)
    if path.is_file():
        yield path
    elif path.is_dir():
        yield from (
            [path]
            if _is_results(path)
            else sorted(file for file in path.iterdir() if file.suffix.lower() in datafiles.FORMATS)
        )
    elif here := sorted(glob.glob(str(path))):
        yield from map(Path, here)
    elif path.parts[:1] == ("baselines",):
        yield from sorted(shipped("baselines").glob("/".join(path.parts[1:]) or "*.csv"))
    else:
        yield from (shipped for shipped in _shipped_files() if shipped.stem == source)


def _is_results(folder: Path) -> bool:
    packs = (file for file in folder.glob("*.parquet") if file.with_suffix(".jsonl").is_file())
    return (folder / results.RUNS).is_dir() or any(packs)


def _read(path: Path) -> pd.DataFrame:
    frame = _from_results(path) if path.is_dir() else _from_file(path)
    return frame.assign(file=path.name, folder=str(path.resolve() if path.is_dir() else path.resolve().parent))


def _from_results(folder: Path) -> pd.DataFrame:
    store = results.read(folder)
    told = [str(problem) for problem in store.problems]
    if not store.runs:
        raise UserError(str(folder), "; ".join(["holds no finished run", *told]), "choose another folder")
    for problem in told:
        warnings.warn(problem, results.BrokenRun, stacklevel=2)
    rows = store.rows()
    view = View(rows, store.provenance())
    rows = rows.iloc[view.rows.index]  # of two runs of a cell the newer, of a task the newest data
    data = [view.data.get(unit, "") for unit in rows[list(results.UNIT)].astype(str).itertuples(index=False, name=None)]
    return _typed(rows.assign(source=_ours(folder.resolve()), locator="", note="", data=data))


def _from_file(path: Path) -> pd.DataFrame:
    raw = datafiles.read(path)
    where = str(path)
    found = list(_column_problems(raw, where))
    text = pd.DataFrame({column: raw[column].map(_text) for column in raw.columns})
    if text.empty:
        found.append(UserError(where, "has a header and no row", "add a row, or take the file away"))
    elif set(REQUIRED) <= set(text):
        text = text.assign(**{column: "" for column in COLUMNS if column not in text})
        found += _value_problems(text, where)
    raise_all(found)
    if "run" in text:
        folder = path.resolve().parent
        own = _ours(folder.parent) if folder.name == results.RUNS else f"rows in {folder.name}"
        text["source"] = text["source"].where(text["source"] != "", own)
    return _typed(text.assign(family=text["metric"].map(METRICS), data=""))


def _ours(folder: Path) -> str:
    return f"results folder {folder.name}"


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(
        dim=frame["dim"].astype(float).astype(np.int64),
        layer=[_layer(str(layer)) for layer in frame["layer"]],
        value=frame["value"].map(_number).astype(np.float64),
    )


def _named_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Name sources by their whole path where folders of one name hold them: no mean may be over two folders."""
    shared = frame.groupby("source")["folder"].transform("nunique") > 1
    return frame.assign(source=frame["source"].mask(shared, frame["source"] + " (" + frame["folder"] + ")"))


def _over_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the mean of rows that differ in their seed alone, NaN when one of them has no value.

    Raises:
        UserError: a seed is there twice.
    """
    twice = frame[frame.duplicated([*_CELL, "seed"])]
    if len(twice):
        first = twice.iloc[0]
        what = f"seed {first['seed']} of {first['method']} on {first['task']} stands there in two runs"
        raise UserError(f"--baselines {first['folder']}", what, "name the files of one of them, or the results folder")
    frame = frame.assign(undefined=frame["value"].isna())
    means = frame.groupby(_CELL, sort=False, as_index=False).agg(
        value=("value", "mean"), note=("note", "first"), data=("data", "first"), file=("file", "first"),
        runs=("value", "size"), undefined=("undefined", "any"),
    )  # fmt: skip
    means["value"] = means["value"].mask(means["undefined"])  # as `compare` has it: a gap, not the mean of the others
    noted = means["note"].str.cat("mean of " + means["runs"].astype(str) + " runs", sep="; ").str.removeprefix("; ")
    return means.assign(note=noted.where(means["runs"] > 1, means["note"]))


def _column_problems(raw: pd.DataFrame, where: str) -> Iterator[UserError]:
    allowed = dict.fromkeys((*COLUMNS, *ROW_COLUMNS))
    for column in raw.columns:
        if column not in allowed:
            yield unknown("column", str(column), allowed, where)
    for column in REQUIRED:
        if column not in raw.columns:
            there = ", ".join(map(str, raw.columns))
            yield UserError(
                where, f"has no column '{column}' (it has {there})", "add it; baselines/README.md lists them"
            )


def _value_problems(text: pd.DataFrame, where: str) -> Iterator[UserError]:
    own = "run" in text  # rows of ours: a value may be undefined, and a protocol may leave rows out
    for column in [name for name in FILLED if not (own and name == "value")]:
        fix = "leave a number out when this is unknown: nothing is filled in"
        yield from _bad(text[column] == "", f"column {column} is empty", text[column], where, fix)
    for column, allowed in (("metric", METRICS), ("family", FAMILIES), ("split", SPLITS), ("protocol", PROTOCOLS)):
        for name in sorted(set(text[column]) - {*allowed, ""}):
            if column == "protocol" and name.partition("-without-")[0] in allowed:
                continue
            rows = name_rows(np.flatnonzero(text[column] == name))
            yield unknown(column, name, allowed, f"{where}, {rows}")
    family = text["metric"].map(METRICS)
    other = (text["family"] != "") & text["family"].isin(FAMILIES) & family.notna() & (text["family"] != family)
    yield from _bad(
        other, "the metric is not one of the family", text["family"] + " " + text["metric"], where, "mend one"
    )
    whole = text["dim"].map(_is_whole) & (text["dim"].map(_number) >= 1)
    yield from _bad(~whole & (text["dim"] != ""), "dim is not a width", text["dim"], where, "write a number from 1 on")
    layer = text["layer"].map(lambda cell: cell in ("", LAST) or _is_whole(cell))
    yield from _bad(~layer, "layer is not one", text["layer"], where, f"write a number, '{LAST}', or nothing")
    yield from _fraction_problems(text["value"], where)
    twice = text.duplicated([column for column in text.columns if column not in ("value", "stderr", "n", "note")])
    yield from _bad(
        twice, "the same number stands there twice", text["task"], where, "keep one, or tell them apart by locator"
    )


def _fraction_problems(cells: pd.Series, where: str) -> Iterator[UserError]:
    value = cells.map(_number)
    broken = (value.isna() | np.isinf(value)) & (cells != "")
    yield from _bad(broken, "value is not a number", cells, where, "write a decimal fraction such as 0.8203")
    outside = value[(value.abs() > 1) & ~np.isinf(value)]
    if len(outside):
        first = outside.iloc[0]
        hint = f"these look like percent: write {first / 100:.6g}, and so on" if abs(first) <= 100 else "see the source"
        yield from _bad(
            cells.index.isin(outside.index), "value is outside [-1, 1]", cells, where, f"fractions are due; {hint}"
        )


def _bad(bad: pd.Series | np.ndarray, what: str, cells: pd.Series, where: str, fix: str) -> Iterator[UserError]:
    places = np.flatnonzero(bad)
    if len(places):
        yield UserError(where, f"{what} in {name_rows(places)} (found '{cells.iloc[places[0]]}')", fix)


def _text(cell: object) -> str:
    if cell is None or cell != cell:
        return ""
    return str(cell).strip()


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _is_whole(cell: str) -> bool:
    number = _number(cell)
    return bool(np.isfinite(number)) and number % 1 == 0 and 0 <= number < 2**31


def _layer(cell: str) -> str:
    return cell if cell in ("", LAST) else str(int(float(cell)))
