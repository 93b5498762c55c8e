"""`evaluate --funnel`: the retrieval tasks of one model through funnels of widths, beside exact search at full width."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mipic_bench.encoding.embed import Embeddings
from mipic_bench.errors import UserError, raise_all
from mipic_bench.evaluators.funnel import funnel, problems
from mipic_bench.official import OfficialFold
from mipic_bench.planning.parsing import Stages
from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.results import commit
from mipic_bench.running import encoded
from mipic_bench.running.progress import Reporter
from mipic_bench.running.run import read_part
from mipic_bench.tasks import Fold

FOLDER = "funnels"
_TEXT = ("run", "task", "split", "data", "funnel", "metric")  # "384" is a funnel, and "2024" may be a task
_WHERE = "--funnel"


def search(cell: Cell, request: Request, inputs: Inputs, funnels: Sequence[Stages], reporter: Reporter) -> pd.DataFrame:
    """Search every retrieval task of a request through each funnel, at the layers asked for, else at the last.

    Args:
        cell: the model, as `evaluating.evaluation` plans it.
        request, inputs: of the same.
        funnels: widths and shortlist sizes.
        reporter: told of the encoding.

    Returns:
        A row per task, layer, funnel and metric: `data`, the beginning of the task's sha256; the metric in the funnel and in
        exact search at full width, what is lost with its standard error over queries; multiply-adds and seconds per query
        of both.

    Raises:
        UserError: no retrieval task, widths that make no funnel, or a model whose widths are not prefixes of one vector.
    """
    card = inputs.backbone(cell.backbone, cell.recipe.training.pooling)
    width = card.own_width or card.shape.width
    raise_all([problem for stages in funnels for problem in problems(*stages, width)])
    folds = [fold for fold in inputs.folds.values() if fold.data.family == "retrieval"]
    folds = [fold for fold in folds if not isinstance(fold, OfficialFold)]
    if not folds:
        what = f"searches documents, and none of these is a retrieval task: {', '.join(inputs.folds)}"
        raise UserError(_WHERE, what, "give one with --task, under its own name")
    cell = cell if request.layers else replace(cell, layers=cell.layers[-1:])
    read = tuple(sorted({width, *(one for widths, _ in funnels for one in widths)}))
    embeddings = _encoded(replace(cell, dims=read), folds, request, inputs, reporter).cut(width)
    lines = [line for fold in folds for line in _lines(cell, fold, embeddings, request, funnels)]
    return pd.DataFrame(lines)


def write(frame: pd.DataFrame, results: Path) -> Path:
    """Write what `search` found as `<results>/funnels/<run>.csv`; what was measured for other funnels or tasks is kept.

    Of a task whose data changed since, nothing is kept.

    Raises:
        UserError: the folder or the disk does not take it.
    """
    [run] = frame["run"].unique()
    path = results / FOLDER / f"{run}.csv"
    if path.is_file():
        before = pd.read_csv(path, keep_default_na=False, dtype=dict.fromkeys(_TEXT, str))
        place = ["task", "split"]
        older = before.merge(frame[[*place, "data"]].drop_duplicates(), on=place, suffixes=("", "_now"), how="left")
        stale = older["data_now"].notna() & (older["data_now"] != older["data"])
        frame = pd.concat([before[~stale.to_numpy()], frame])
        frame = frame.drop_duplicates([*place, "layer", "funnel", "metric"], keep="last")
    commit.write(path, frame.to_csv(index=False, lineterminator="\n").encode())
    return path


def tables(frame: pd.DataFrame) -> list[Any]:
    """Return what `search` found as two tables for the terminal: what each funnel keeps, and what it saves."""
    from mipic_bench.analysis.tables import Column, Table, terminal

    place = (Column("task", "task"), Column("layer", "layer", "integer"), Column("funnel", "funnel"))
    quality = (
        *place,
        Column("metric", "metric"),
        Column("value", "funnel", "score"),
        Column("exact", "exact", "score"),
        Column("lost", "lost", "points"),
        Column("lost_stderr", "±", "points"),
    )
    note = (
        "Times 100; ± is the standard error of the loss over queries. Exact search ranks everything by the full width."
    )
    kept = Table("funnel-quality", "Funnels: quality", frame, quality, note)
    costs = frame.drop_duplicates(["task", "layer", "funnel"])
    costs = costs.assign(
        saved=1 - costs["multiply_adds"] / costs["exact_multiply_adds"],
        ms=1000 * costs["seconds"],
        exact_ms=1000 * costs["exact_seconds"],
    )
    cost = (
        *place,
        Column("multiply_adds", "multiply-adds", "integer"),
        Column("exact_multiply_adds", "exact", "integer"),
        Column("saved", "saved, %", "percent"),
        Column("ms", "ms", "number"),
        Column("exact_ms", "exact, ms", "number"),
    )
    note = "Per query. Wall time of products and order in batches of queries, on the CPU: small indexes are searched faster whole."
    return [terminal(kept), terminal(Table("funnel-cost", "Funnels: cost", costs, cost, note))]


def _encoded(cell: Cell, folds: Sequence[Fold], request: Request, inputs: Inputs, reporter: Reporter) -> Embeddings:
    """Read out the texts of some tasks; every width must be a prefix of the same vector."""
    read = [] if cell.recipe.per_dim else read_part(cell, folds, request, inputs, reporter).encoded
    if len(read) != 1:
        what = f"{cell.recipe.method} has vectors of its own for each width"
        raise UserError(
            _WHERE, f"{what}; a funnel carries products from a prefix to a longer one", "take another method"
        )
    return read[0].embeddings


def _lines(
    cell: Cell, fold: Fold, embeddings: Embeddings, request: Request, funnels: Sequence[Stages]
) -> Iterator[dict[str, Any]]:
    own = request.prompts.view(embeddings, fold, encoded.texts_of(fold, request))
    for layer in cell.layers:
        for widths, kept in funnels:
            found = funnel(fold, own, layer, widths, kept)
            place = {"run": cell.run, "task": fold.data.name, "split": fold.split, "layer": layer}
            place |= {"data": fold.data.digest[:12], "funnel": written(widths, kept)}
            costs = {
                "multiply_adds": found.multiply_adds,
                "exact_multiply_adds": found.exact_multiply_adds,
                "seconds": found.seconds,
                "exact_seconds": found.exact_seconds,
            }
            for metric, (value, _) in found.quality.items():
                lost = found.lost[metric]
                numbers = {"value": value, "exact": found.exact[metric].value, "lost": lost.value}
                yield {**place, "metric": metric, **numbers, "lost_stderr": lost.stderr, "n": found.n, **costs}


def written(widths: Sequence[int], kept: Sequence[int]) -> str:
    """Return a funnel as the command line takes it."""
    stages = [f"{width}:{size}" for width, size in zip(widths, kept, strict=False)]
    return ",".join([*stages, str(widths[-1])])
