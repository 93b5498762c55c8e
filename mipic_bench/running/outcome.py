"""What became of what was asked for: its rows, or an error that says which cells failed."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from mipic_bench.families import MAIN_METRIC
from mipic_bench.running.progress import Reporter, counted

if TYPE_CHECKING:
    from mipic_bench.planning.request import Cell, Inputs, Request


class FailedCellsError(RuntimeError):
    """Some cells failed; the others are finished and on disk.

    Attributes:
        rows: of the finished ones.
    """

    def __init__(self, message: str, rows: pd.DataFrame) -> None:
        super().__init__(message)
        self.rows = rows


def rows_of(cells: "Sequence[Cell]", request: "Request", inputs: "Inputs") -> pd.DataFrame:
    """Return the rows of what was asked for, of the cells that are finished."""
    from mipic_bench.results.folder import UNIT, read_rows

    rows = read_rows(request.results)
    kept = rows["precision"].isin(request.stored)
    scored = {(name, fold.split, inputs.protocol_of(fold)) for name, fold in inputs.folds.items()}
    units = zip(*(rows[name] for name in UNIT), strict=True)
    kept &= pd.Series([unit in scored for unit in units], index=rows.index, dtype=bool)
    asked = {cell.run: (cell.layers, cell.dims) for cell in cells}
    budgets = zip(rows["run"], rows["layer"], rows["dim"], strict=True)
    inside = [run in asked and layer in asked[run][0] and dim in asked[run][1] for run, layer, dim in budgets]
    return rows[kept & pd.Series(inside, index=rows.index, dtype=bool)].reset_index(drop=True)


def undefined(rows: pd.DataFrame) -> list[str]:
    """Return a sentence for each task whose main metric has no value at some budgets: tables and figures pass over those."""
    main = rows[(rows["metric"] == rows["family"].map(MAIN_METRIC)).to_numpy(dtype=bool)]
    told = []
    for (task, metric), own in main.groupby(["task", "metric"], sort=False):
        if count := int(own["value"].isna().sum()):
            why = "zero or non-finite vectors, or scores that are all equal"
            told.append(f"task {task}: {metric} is undefined at {count} of {counted(len(own), 'budget')} ({why})")
    return told


def swept(cells: "Sequence[Cell]", request: "Request", inputs: "Inputs", quiet: bool) -> pd.DataFrame:
    """Run what is not done and return the rows of what was asked for; warn of cells that cannot be run, and of undefined scores."""
    from mipic_bench.running.sweep import sweep

    reporter = Reporter(quiet=quiet)
    for note in inputs.notes(cells):
        reporter.say(f"note: {note}")
    summary = sweep(cells, request, inputs, reporter)
    if summary.signal:
        raise KeyboardInterrupt
    for cell in cells:
        if cell.status == "skipped":
            warnings.warn(f"{cell.run}: skipped, {cell.reason}", stacklevel=3)
    rows = rows_of(cells, request, inputs)
    for note in undefined(rows):
        warnings.warn(note, stacklevel=3)
    if summary.failed:
        told = "\n".join(f"{outcome.run}: {outcome.reason}" for outcome in summary.failed)
        raise FailedCellsError(f"{len(summary.failed)} of {len(cells)} cells failed:\n{told}", rows)
    return rows
