"""The cells that a request makes, recipes x backbones x corpora x seeds: each done, pending, stale, failed or skipped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from mipic_bench import official, posthoc, tasks
from mipic_bench.errors import UserError
from mipic_bench.planning import estimate
from mipic_bench.planning.changes import count, difference
from mipic_bench.planning.request import Cell, Inputs, Request, check
from mipic_bench.recipes.recipe import Recipe
from mipic_bench.recipes.resolved import resolve
from mipic_bench.results import failures, locks
from mipic_bench.results import folder as results
from mipic_bench.shapes import default_dims, require
from mipic_bench.training import checkpoint, trainer

__all__ = ["plan", "refreshed"]


def plan(request: Request, inputs: Inputs) -> list[Cell]:
    """Return every cell of a request with its status; nothing is trained and nothing written.

    Raises:
        UserError: a recipe, width, layer, backbone, corpus or task that does not fit.
    """
    check(request)
    store = results.read(request.results)
    failed = failures.read(request.results)
    unique = {cell.run: cell for cell in _cells(request, inputs)}  # two names may stand for one cell
    _refuse_namesakes(list(unique.values()))
    cells = [_with_status(cell, request, inputs, store.runs, failed) for cell in unique.values()]
    records = [run.provenance for run in store.runs.values()]
    return [_with_prospects(cell, request, inputs, records) for cell in cells]


def _refuse_namesakes(cells: Sequence[Cell]) -> None:
    """Refuse different cells of one name: their rows could not be told apart, and a report would show one of them."""
    first: dict[tuple[str, ...], Cell] = {}
    for cell in cells:
        other = first.setdefault(tuple(cell.labels.values()), cell)
        if other is not cell:
            corpora = cell.corpus_asked != other.corpus_asked
            ours, theirs = ((one.corpus_asked if corpora else one.backbone) for one in (cell, other))
            what = f"{theirs} and {ours} are both called {cell.corpus if corpora else cell.backbone_name}"
            raise UserError(
                "--corpus" if corpora else "--backbone", what, "rename one, or give each --results of its own"
            )


def refreshed(cell: Cell, request: Request, inputs: Inputs) -> Cell:
    """Return a cell with its status as it is now: other processes may have worked on it since it was planned."""
    run = results.read_run(request.results, cell.run)
    fresh = replace(cell, status="pending", reason="", tasks=())
    return _with_status(fresh, request, inputs, {cell.run: run} if run else {}, failures.read(request.results))


def _cells(request: Request, inputs: Inputs) -> Iterator[Cell]:
    for backbone in request.backbones:
        for recipe in request.methods:
            for corpus, seed in _lots(request, recipe):
                yield _cell(request, inputs, recipe, backbone, corpus, seed)


def _lots(request: Request, recipe: Recipe) -> list[tuple[str, int | None]]:
    """Return (corpus, seed) of each cell of a method on a backbone.

    Without training there is one; a transform that is fitted on text has one per corpus, and per seed if it draws.
    """
    corpora = request.corpora if recipe.trains or recipe.fits else ("",)
    return [(corpus, seed) for corpus in corpora for seed in (request.seeds if recipe.seeded else (None,))]


def _cell(request: Request, inputs: Inputs, recipe: Recipe, name: str, corpus: str, seed: int | None) -> Cell:
    shape = inputs.backbone(name).shape
    resolved = resolve(recipe, shape, inputs.backbone(name).name, request.training_of(recipe.method))
    backbone = inputs.backbone(name, resolved.training.pooling)
    layers, dims = (tuple(sorted(set(wanted or ()))) for wanted in (request.layers, request.dims))
    require(shape, backbone.name, layers, dims)
    identity: dict[str, Any] = {
        "recipe": resolved.identity(),
        "backbone": {
            "weights": backbone.weights_digest,
            "tokenizer": backbone.tokenizer_digest,
            "pooling": backbone.readout.pooling,
            "layer_readout": backbone.readout.layer_readout,
        },
        "max_length": resolved.training.max_length,
        "dtype": request.dtype,
    }
    if request.prompts:
        identity |= {"prompts": vars(request.prompts)}
    data = inputs.corpus(corpus) if corpus else None
    if data is not None:
        identity |= {"corpus": {"digest": data.digest, "rows": len(data)}}
    if resolved.trains:
        identity |= {"trainer": trainer.VERSION}
    return Cell(
        recipe=resolved,
        backbone=name,
        backbone_name=request.names.get(name, backbone.name),
        corpus=data.name if data else "",
        corpus_asked=corpus,
        seed=seed,
        identity=identity,
        dims=dims or tuple(sorted({*default_dims(shape.width), *resolved.nesting.dims})),
        layers=layers or tuple(range(1, shape.depth + 1)),
    )


def _with_status(
    cell: Cell,
    request: Request,
    inputs: Inputs,
    runs: Mapping[str, results.Run],
    failed: Mapping[str, failures.Failure],
) -> Cell:
    """Compare a cell with the finished runs and the recorded failures: what is there, what is missing, and why."""
    if cell.recipe.trains and (refusal := _refusal(cell, inputs)):
        return replace(cell, status="skipped", reason=refusal)
    cell = _compared(cell, request, inputs, runs)
    if cell.status != "done" and cell.run in failed and failed[cell.run].of(cell.tasks):
        return replace(cell, status="failed", reason=failed[cell.run].reason)
    return cell


def _with_prospects(cell: Cell, request: Request, inputs: Inputs, records: Sequence[Mapping[str, Any]]) -> Cell:
    """Say of a cell that is not done how long it will take, where its training goes on, and who runs it now."""
    if cell.over:
        return cell
    notes = [cell.reason] if cell.reason else []
    kept = _kept(cell, request)
    if kept:
        notes.append("its weights were kept")
    else:
        begun = (checkpoint.peek(request.results / checkpoint.UNFINISHED / part.folder) for part in cell.parts)
        notes += [f"goes on after step {head['record']['history']['steps']}" for head in begun if head][:1]
    if holder := locks.holder(request.results, cell.run):
        notes.append(f"{holder} runs it now")
    seconds = estimate.seconds(cell, request, inputs, records, kept)
    return replace(cell, reason="; ".join(notes), seconds=seconds)


def _compared(cell: Cell, request: Request, inputs: Inputs, runs: Mapping[str, results.Run]) -> Cell:
    if cell.run in runs:
        missing = _missing(cell, request, inputs, runs[cell.run])
        reasons = [f"{task}: {why}" for task, why in missing.items()]
        if request.keep_checkpoints and cell.recipe.trains and not _kept(cell, request):
            reasons.append("its weights were not kept")
        if request.keep_checkpoints and cell.recipe.posthoc and not _transform_kept(cell, request):
            reasons.append("its fitted transform was not kept")
        status = "pending" if reasons else "done"
        return replace(cell, status=status, tasks=tuple(missing), reason="; ".join(reasons))
    everything = tuple(inputs.folds)
    older = [run.provenance for run in runs.values() if run.provenance["cell"] == cell.labels]
    if older:
        latest = max(older, key=lambda record: str(record.get("created", "")))
        why = difference(latest.get("identity", {}), cell.identity)
        return replace(cell, status="stale", tasks=everything, reason=why)
    return replace(cell, tasks=everything)


def _kept(cell: Cell, request: Request) -> bool:
    return all(checkpoint.kept(request.results / checkpoint.KEPT / part.folder) is not None for part in cell.parts)


def _transform_kept(cell: Cell, request: Request) -> bool:
    return all(posthoc.place(request.results / checkpoint.KEPT / part.folder).is_file() for part in cell.parts)


def _refusal(cell: Cell, inputs: Inputs) -> str:
    """Return why a cell cannot be trained at all, or nothing."""
    backbone, corpus = inputs.backbone(cell.backbone, cell.recipe.training.pooling), inputs.corpus(cell.corpus_asked)
    try:
        trainer.check_views(backbone, corpus, cell.recipe.training)
        trainer.check_kind(cell.recipe, corpus)
    except UserError as error:
        return error.what
    return ""


def _missing(cell: Cell, request: Request, inputs: Inputs, run: results.Run) -> dict[str, str]:
    """Return the tasks a finished run lacks, and why: not scored, budgets not scored, data or scorer changed."""
    scored = results.units(run.provenance)
    missing = {}
    for name, fold in inputs.folds.items():
        entry = scored.get((name, fold.split, inputs.protocol_of(fold)))
        scorer = official.scorer(fold)
        if entry is None:
            missing[name] = "not scored yet"
        elif entry["digest"] != fold.data.digest:
            missing[name] = f"its data changed: {count(entry.get('rows'), len(fold.score), 'scored rows')}"
        elif entry["evaluator_version"] != scorer.version:
            missing[name] = f"its scorer changed: version {entry['evaluator_version']} -> {scorer.version}"
        elif budgets := _lacking(cell, request, inputs.protocol_of(fold), fold, entry, run.rows):
            missing[name] = f"{budgets} budgets not scored yet"
    return missing


def _lacking(
    cell: Cell, request: Request, protocol: str, fold: tasks.Fold, entry: Mapping[str, Any], rows: pd.DataFrame
) -> int:
    """Return how many budgets were asked for and are not in the rows."""
    own = rows[(rows["task"] == fold.data.name) & (rows["split"] == fold.split) & (rows["protocol"] == protocol)]
    there = set(zip(own["layer"], own["dim"], own["precision"], strict=True))
    # asked for before and no row came: a precision that this family does not know, or int8 without rows to take limits from
    impossible = set(entry["precisions"]) - set(own["precision"])
    wanted = {
        (layer, dim, precision)
        for layers, precisions in request.budgets(cell.layers)
        for layer in layers
        for dim in cell.dims
        for precision in precisions
        if precision not in impossible
    }
    return len(wanted - there)
