"""Results of several folders (machines, colleagues) joined into one, or nothing written at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mipic_bench.errors import UserError, raise_all
from mipic_bench.results import folder as results
from mipic_bench.results import packed
from mipic_bench.results.rows import IDENTITY, Run, covers, union

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
        UserError: a source is not there or holds no run, or runs conflict (every conflict is told, with both folders),
            or the pack that would be replaced holds what cannot be read; nothing is written then. Also when the folder or
            the disk does not take the files.
    """
    runs, left_out = _gather([*([out] if out.is_dir() else []), *sources], required=set(sources))
    if pack:
        raise_all([_would_be_lost(problem) for problem in left_out if problem.where == str(out / PACKED_NAME)])
        packed.write(out / PACKED_NAME, runs)
    else:
        kept = results.read(out).runs
        for name, run in runs.items():
            if name not in kept or not run.rows.equals(kept[name].rows):
                results.write_run(out, name, run.rows, run.provenance)
    return Merged(len(runs), sum(len(run.rows) for run in runs.values()), tuple(left_out))


def _gather(folders: Sequence[Path], required: set[Path]) -> tuple[dict[str, Run], list[UserError]]:
    runs: dict[str, Run] = {}
    copies: dict[str, dict[Path, Run]] = {}
    wrong: list[UserError] = []
    left_out: list[UserError] = []
    for folder in dict.fromkeys(folders):
        store = results.read(folder)
        left_out += store.problems
        if folder in required and not store.runs:
            wrong.append(_nothing(folder))
        for name, run in store.runs.items():
            earlier = copies.setdefault(name, {})
            if conflict := _conflict(name, earlier, folder, run):
                wrong.append(conflict)
            else:
                runs[name] = _joined(runs[name], run) if name in runs else run
                earlier[folder] = run
    raise_all(wrong)
    return runs, left_out


def _nothing(folder: Path) -> UserError:
    found = "holds no finished run" if folder.is_dir() else "is not there"
    return UserError(
        str(folder), found, f"give a results folder: one that holds {results.RUNS}/*.csv or a packed *.parquet"
    )


def _would_be_lost(problem: UserError) -> UserError:
    what = f"would be replaced, and the rows in it would be lost: {problem.what}"
    return UserError(problem.where, what, "mend it, or move it and the .jsonl beside it away, then merge again")


def _conflict(name: str, earlier: Mapping[Path, Run], folder: Path, run: Run) -> UserError | None:
    """Say why a copy of a run cannot be one with the copies of earlier folders; None when it can."""
    if not earlier:
        return None
    fix = "delete the one you do not trust, or merge without that folder"
    for place, other in earlier.items():
        if reason := _other_scoring(other, run) or _other_numbers(other, run):
            return UserError(f"run {name} in {place} and {folder}", reason, fix)
    trained = bool((run.rows["seed"] != "").any())
    if trained and all(_shared(other, run).empty for other in earlier.values()):
        what = "the two copies share no number that would show them to be the same trained model"
        return UserError(f"run {name} in {next(iter(earlier))} and {folder}", what, fix)
    return None


def _other_scoring(one: Run, other: Run) -> str:
    """Say of which task two copies hold numbers of other data, or by another scorer; empty when of none."""
    ours, theirs = results.units(one.provenance), results.units(other.provenance)
    for unit in [unit for unit in ours if unit in theirs and not results.holds(ours[unit], theirs[unit])]:
        entries = (ours[unit], theirs[unit])
        said = [f"data {str(part['digest'])[:12]}..., scorer version {part['evaluator_version']}" for part in entries]
        return f"the task {unit[0]} ({unit[1]}, {unit[2]}) was scored on {said[0]} and on {said[1]}"
    return ""


def _shared(one: Run, other: Run) -> pd.DataFrame:
    """Return the numbers that two copies of a run both have, side by side."""
    return one.rows.merge(other.rows, on=list(IDENTITY), suffixes=("", "_other"))


def _other_numbers(one: Run, other: Run) -> str:
    """Say which numbers two copies of a run both have and differ in; empty when none."""
    pair = _shared(one, other)
    differing = pd.DataFrame(index=pair.index)
    for column in ("value", "stderr", "n"):
        left, right = pair[column], pair[f"{column}_other"]
        differing[column] = (left != right) & ~(left.isna() & right.isna())
    places = differing.any(axis=1)
    if not places.any():
        return ""
    first, column = pair[places].iloc[0], differing[places].iloc[0].idxmax()
    what = f"{column} of {first['task']} {first['metric']} at layer {first['layer']}, dim {first['dim']}"
    return (
        f"{int(places.sum())} of {len(pair)} shared numbers differ, first the {what}: {first[column]} and "
        f"{first[f'{column}_other']}"
    )


def _joined(one: Run, other: Run) -> Run:
    """Join two copies of a run that agree; the provenance of the first stands, unless the other has all its numbers."""
    if covers(one.rows, other.rows):
        return one
    if covers(other.rows, one.rows):
        return other
    scored = results.units(one.provenance)
    for unit, entry in results.units(other.provenance).items():
        scored[unit] = results.joined_entry(scored[unit], entry) if unit in scored else entry
    trainings = (run.provenance.get("training") or {} for run in (other, one))
    record = {**one.provenance, "training": results.joined_training(*trainings), "scored": list(scored.values())}
    return Run(union(one.rows, other.rows), record)
