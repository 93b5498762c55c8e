"""Results of several folders (machines, colleagues) joined into one, or nothing written at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from . import packed, results
from .errors import UserError, raise_all
from .rows import IDENTITY, Run, covers, union

PACKED_NAME = "packed.parquet"


@dataclass(frozen=True)
class Merged:
    """What a merge did: how many runs and rows the folder holds now, and which runs were broken and left out."""

    runs: int
    rows: int
    left_out: tuple[UserError, ...]


def merge(sources: Sequence[Path], out: Path, pack: bool = False) -> Merged:
    """Join the finished runs of several results folders in one; what the folder `out` holds already is kept.

    A run that is in two folders must be one and the same: numbers of the same identity equal to the last digit. Then
    its rows are joined. Copies of a trained run without one number in common are refused too: nothing would show that
    they are the same trained model.

    Args:
        sources: results folders.
        out: the results folder to write to; made when it is not there.
        pack: write all runs into one Parquet file `packed.parquet` of `out`; loose runs there are left alone.

    Returns:
        what was done.

    Raises:
        UserError: a source is not there or holds no run, or runs conflict (every conflict is told, with both folders);
            nothing is written then. Also when the folder or the disk does not take the files.
    """
    runs, left_out = _gather([*([out] if out.is_dir() else []), *sources], required=set(sources))
    if pack:
        packed.write(out / PACKED_NAME, runs)
    else:
        kept = results.read(out).runs
        for name, run in runs.items():
            if name not in kept or not run.rows.equals(kept[name].rows):
                results.write_run(out, name, run.rows, run.provenance)
    return Merged(len(runs), sum(len(run.rows) for run in runs.values()), tuple(left_out))


def _gather(folders: Sequence[Path], required: set[Path]) -> tuple[dict[str, Run], list[UserError]]:
    runs: dict[str, Run] = {}
    origin: dict[str, Path] = {}
    wrong: list[UserError] = []
    left_out: list[UserError] = []
    for folder in dict.fromkeys(folders):
        store = results.read(folder)
        left_out += store.problems
        if folder in required and not store.runs:
            wrong.append(_nothing(folder))
        for name, run in store.runs.items():
            if name not in runs:
                runs[name], origin[name] = run, folder
            elif reason := _conflict(runs[name], run):
                where = f"run {name} in {origin[name]} and {folder}"
                wrong.append(UserError(where, reason, "delete the one you do not trust, or merge without that folder"))
            else:
                runs[name] = _joined(runs[name], run)
    raise_all(wrong)
    return runs, left_out


def _nothing(folder: Path) -> UserError:
    found = "holds no finished run" if folder.is_dir() else "is not there"
    return UserError(
        str(folder), found, f"give a results folder: one that holds {results.RUNS}/*.csv or a packed *.parquet"
    )


def _conflict(one: Run, other: Run) -> str:
    """Say why two copies of a run cannot be one; empty when they can."""
    pair = one.rows.merge(other.rows, on=list(IDENTITY), suffixes=("", "_other"))
    if pair.empty:
        trained = bool((one.rows["seed"] != "").any())
        return "the two copies share no number that would show them to be the same trained model" if trained else ""
    differing = pd.Series(False, index=pair.index)
    for column in ("value", "stderr", "n"):
        left, right = pair[column], pair[f"{column}_other"]
        differing |= (left != right) & ~(left.isna() & right.isna())
    if not differing.any():
        return ""
    first = pair[differing].iloc[0]
    what = f"{first['task']} {first['metric']} at layer {first['layer']}, dim {first['dim']}"
    count = int(differing.sum())
    return (
        f"{count} of {len(pair)} shared numbers differ, first {what}: {first['value']!r} and {first['value_other']!r}"
    )


def _joined(one: Run, other: Run) -> Run:
    """Join two copies of a run that agree; the provenance of the one with more rows stands, what was scored is joined."""
    if covers(one.rows, other.rows):
        return one
    if covers(other.rows, one.rows):
        return other
    scored = [*one.provenance.get("scored", []), *other.provenance.get("scored", [])]
    distinct = [entry for place, entry in enumerate(scored) if entry not in scored[:place]]
    return Run(union(one.rows, other.rows), {**one.provenance, "scored": distinct})
