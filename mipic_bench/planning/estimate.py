"""How long the cells of a plan will take, judged by finished runs."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.training import checkpoint, trainer


def seconds(
    cell: Cell, request: Request, inputs: Inputs, records: Sequence[Mapping[str, Any]], kept: bool
) -> float | None:
    """Return the seconds that a cell will take, None when no finished run is like it.

    The most similar run on the same backbone and device is taken: of the same method, else of the same base method, with
    the same batch size and length, the newest. Its training is scaled to this cell's steps and batch size.

    Args:
        cell: not done.
        request: names the device.
        inputs: for the corpus's size.
        records: provenance of the finished runs.
        kept: whether the cell's trained weights are there.
    """
    alike = [record for record in records if _alike(record, cell, request)]
    if not alike:
        return None
    best = max(alike, key=lambda record: _similarity(record, cell))
    scoring = float(best.get("scoring_seconds") or 0.0)
    if not cell.recipe.trains or kept:
        return scoring
    settings = cell.recipe.training
    steps = trainer.step_count(ceil(len(inputs.corpus(cell.corpus_asked)) / settings.batch_size), settings)
    heads = [checkpoint.peek(request.results / checkpoint.UNFINISHED / part.folder) for part in cell.parts]
    left = steps * len(heads) - sum(head["record"]["history"]["steps"] for head in heads if head)
    batch = settings.batch_size * settings.accumulation / _batch(best)
    return float(best["training"]["seconds"] / best["training"]["steps"] * left * batch) + scoring


def sentence(cells: Sequence[Cell], jobs: int) -> str:
    """Say how long the cells that are not done will take."""
    left = [cell for cell in cells if not cell.over]
    known = [cell.seconds for cell in left if cell.seconds is not None]
    if not left:
        return "nothing to run"
    if not known:
        return "no finished run tells how long this will take"
    guess = " (cells unlike any finished run are taken as the mean of the others)" if len(known) < len(left) else ""
    return f"about {duration(sum(known) / len(known) * len(left) / jobs)} left, judged by finished runs{guess}"


def duration(time: float) -> str:
    """Write seconds as people say them."""
    if time < 90:
        return f"{time:.0f} s"
    return f"{time / 60:.0f} min" if time < 5400 else f"{time / 3600:.1f} h"


def _alike(record: Mapping[str, Any], cell: Cell, request: Request) -> bool:
    trained = bool((record.get("training") or {}).get("steps"))
    device = str((record.get("device") or {}).get("device"))  # --jobs on several cards: cuda:0, cuda:1, ...
    same_device = device.partition(":")[0] == request.device.partition(":")[0]
    return trained == cell.recipe.trains and same_device and record["cell"]["backbone"] == cell.backbone_name


def _similarity(record: Mapping[str, Any], cell: Cell) -> tuple[object, ...]:
    told = (record.get("recipe") or {}).get("training") or {}
    settings = cell.recipe.training
    return (
        record["cell"]["method"] == cell.recipe.method,
        record["cell"]["base_method"] == cell.recipe.base_method,
        told.get("max_length") == settings.max_length,
        told.get("batch_size") == settings.batch_size,
        str(record.get("created", "")),
    )


def _batch(record: Mapping[str, Any]) -> float:
    told = (record.get("recipe") or {}).get("training") or {}
    return float(told.get("batch_size", 16) * told.get("accumulation", 1))
