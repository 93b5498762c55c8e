"""One cell from top to bottom: load, train, encode once, score every budget, write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from mipic_bench import backbones, official
from mipic_bench.backbones import Backbone
from mipic_bench.errors import UserError
from mipic_bench.evaluators import Score
from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.results import failures
from mipic_bench.results import folder as results
from mipic_bench.results.rows import IDENTITY, typed, union
from mipic_bench.running import encoded
from mipic_bench.running.encoded import Encoded
from mipic_bench.running.progress import Reporter
from mipic_bench.running.record import Scored, joined, record_of, together
from mipic_bench.running.stopping import STOP, Stopped
from mipic_bench.tasks import Fold
from mipic_bench.training import checkpoint, memory, trainer
from mipic_bench.training.accelerating import accelerator, logged


class ScoringError(RuntimeError):
    """A task could not be scored; what the other tasks gave is kept."""

    task = ""  # which, of several the first


@dataclass(frozen=True)
class Finished:
    """What running a cell gave. Who has the results folder writes it; on a cluster that is not who computed it.

    Args:
        run: its name.
        rows: the new rows.
        record: the provenance, as if there had been no earlier run.
        error: why a task could not be scored; the others were.
        stopped: whether the user wanted to stop before all tasks were scored; those that were are here.
    """

    run: str
    rows: pd.DataFrame
    record: dict[str, Any]
    error: ScoringError | None = None
    stopped: bool = False


def run_cell(cell: Cell, request: Request, inputs: Inputs, reporter: Reporter) -> pd.DataFrame:
    """Run one cell and write it: `compute`, then `write`.

    Returns:
        All rows of the run.

    Raises:
        UserError, trainer.TrainingError: see `compute`; nothing is written then.
        ScoringError: a task could not be scored; the others are written.
        stopping.Stopped: the user wants to stop; the tasks that were scored are written.
    """
    finished = compute(cell, request, inputs, reporter)
    rows = write(finished, request.results)
    if finished.stopped:
        raise Stopped  # the next call tries all that is missing, also what could not be scored
    if finished.error:
        raise finished.error
    for part in cell.parts:
        checkpoint.remove(request.results / checkpoint.UNFINISHED / part.folder)
    return rows


def compute(cell: Cell, request: Request, inputs: Inputs, reporter: Reporter) -> Finished:
    """Run one cell: train (if the method trains), encode every text once, score each missing task. Writes no rows.

    Raises:
        UserError: what the cell was planned on changed since; see also `trainer.train`.
        trainer.TrainingError: see `trainer.train`.
        stopping.Stopped: the user wants to stop, and no task is scored yet.
    """
    folds = [inputs.folds[name] for name in cell.tasks]
    parts = [read_part(part, folds, request, inputs, reporter) for part in cell.parts]
    start = perf_counter()
    errors: list[ScoringError] = []
    read = [one for part in parts for one in part.encoded]
    scored = list(_score(cell, folds, read, request, reporter, errors))
    stopped = len(scored) + len(errors) < len(folds)
    if stopped and not scored:
        raise Stopped
    rows = pd.DataFrame(
        [row for item in scored for row in _rows(cell, item, inputs.protocol_of(item.fold))],
        columns=list(results.COLUMNS),
    )
    training = together([part.training for part in parts], [part.cell.width for part in parts])
    record = record_of(cell, parts[0].backbone, training, scored, request, inputs)
    record["scoring_seconds"] = perf_counter() - start + sum(part.seconds for part in parts)
    return Finished(cell.run, rows, record, _as_one(errors), stopped)


def _as_one(errors: Sequence[ScoringError]) -> ScoringError | None:
    """Return one error that tells all of them; None when there are none."""
    if len(errors) < 2:
        return errors[0] if errors else None
    whole = ScoringError("; ".join(map(str, errors)))
    whole.__cause__, whole.task = ExceptionGroup("tasks that could not be scored", errors), errors[0].task
    return whole


@dataclass(frozen=True)
class Part:
    """What one model of a cell gave: its vectors, how it was trained, and the seconds that encoding took."""

    cell: Cell
    backbone: Backbone
    training: dict[str, Any]
    encoded: list[Encoded]
    seconds: float


def read_part(cell: Cell, folds: Sequence[Fold], request: Request, inputs: Inputs, reporter: Reporter) -> Part:
    """Load one model, train it unless its weights were kept, and read out every text of some tasks."""
    backbone = _loaded(cell, request, inputs)
    training = _trained(cell, backbone, request, inputs, reporter) if cell.recipe.trains else {}
    start = perf_counter()
    read = encoded.read(cell, backbone, folds, request, inputs, reporter)
    return Part(cell, backbone, training, read, perf_counter() - start)


def write(finished: Finished, folder: Path) -> pd.DataFrame:
    """Write what a cell gave, joined with what its run holds already; rows whose task or scorer changed are dropped.

    Returns:
        All rows of the run.

    Raises:
        UserError: the folder or the disk does not take it; nothing that was there is lost.
    """
    old = results.read_run(folder, finished.run)
    if old is None:
        rows, record = finished.rows, finished.record
    else:
        fresh = results.units(finished.record)
        stale = [
            entry for entry in old.provenance["scored"] if not results.holds(entry, fresh.get(results.unit_of(entry)))
        ]
        kept = _without(old.rows, results.UNIT, [results.unit_of(entry) for entry in stale])
        # a number that holds stays as it is: scored again beside other texts and widths it could differ in its last digit
        added = _without(typed(finished.rows), IDENTITY, list(kept[list(IDENTITY)].itertuples(index=False, name=None)))
        rows, record = union(kept, added), joined(old.provenance, finished.record)
    if len(rows) or not finished.error:
        results.write_run(folder, finished.run, rows, record)
    return rows


def _without(rows: pd.DataFrame, columns: Sequence[str], values: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """Return the rows whose values in some columns are none of those given."""
    if not values or rows.empty:
        return rows
    return rows[~pd.MultiIndex.from_frame(rows[list(columns)]).isin(values)]


def _loaded(cell: Cell, request: Request, inputs: Inputs) -> Backbone:
    """Load the backbone with its weights, and make sure that everything is still what the cell was planned on."""
    backbone = backbones.load(cell.backbone, pooling=cell.recipe.training.pooling, offline=request.offline)
    found = {"weights": backbone.weights_digest, "tokenizer": backbone.tokenizer_digest}
    expected = {name: cell.identity["backbone"][name] for name in found}
    if "corpus" in cell.identity:
        found["corpus"], expected["corpus"] = inputs.corpus(cell.corpus_asked).digest, cell.identity["corpus"]["digest"]
    for what, digest in found.items():
        if digest != expected[what]:
            values = f"sha256 {expected[what][:12]}... was planned, {digest[:12]}... is there now"
            raise UserError(cell.run, f"the {what} changed after the plan was made: {values}", "give the command again")
    return backbone.to(request.device)


def _trained(cell: Cell, backbone: Backbone, request: Request, inputs: Inputs, reporter: Reporter) -> dict[str, Any]:
    """Bring the backbone to the cell's trained weights: those kept of an earlier run, else by training. Returns its record."""
    place = request.results / checkpoint.KEPT / cell.folder
    if not request.cluster and (head := checkpoint.kept(place)):
        backbone.model.load_state_dict(backbones.load(str(place), **head["readout"]).model.state_dict())
        reporter.say(f"{cell.run}: not trained again, its weights were kept")
        return dict(head["training"])
    most_memory = memory.watched(request.device)
    history = _train(cell, backbone, request, inputs, reporter)
    training = {
        "steps": history.steps,
        "seconds": history.seconds,
        "pairs_per_second": history.pairs / history.seconds if history.seconds else 0.0,
        "memory_mb": None if history.resumed else most_memory(),  # the peak of an earlier process is not known
        "weights": checkpoint.state_digest(backbone.model),
        "history": history.entries,
    }
    if request.keep_checkpoints:
        record = {"run": cell.run, "key": cell.key, "training": training, "transform": cell.recipe.posthoc is not None}
        size = checkpoint.keep(place, backbone, record)
        reporter.say(f"{cell.run}: kept its weights, {size / 1e6:.1f} MB")
    return training


def _train(cell: Cell, backbone: Backbone, request: Request, inputs: Inputs, reporter: Reporter) -> trainer.History:
    assert cell.seed is not None
    place = request.results / checkpoint.UNFINISHED / cell.folder
    saver = checkpoint.Saver(place, request.checkpoint_every, STOP.requested, lambda text: reporter.say(text))
    settings = {"cell": cell.labels, "dtype": request.dtype, **cell.recipe.identity()}
    accelerated = accelerator(request.device, request.dtype, cell.run, settings, request.track, request.results)
    with reporter.bar(f"train {cell.recipe.method}") as update, accelerated as machine:

        def on_step(step: int, steps: int, entry: Mapping[str, Any]) -> None:
            update(step, steps, f"loss {entry['loss']:.3f}")
            machine.log(logged(entry), step=step)
            STOP.check()

        corpus = inputs.corpus(cell.corpus_asked)
        keeper = None if request.cluster else saver
        return trainer.train(
            backbone, cell.recipe, corpus, cell.seed, machine, on_step, saver=keeper, diagnostics=request.diagnostics
        )


def _score(
    cell: Cell,
    folds: Sequence[Fold],
    read: Sequence[Encoded],
    request: Request,
    reporter: Reporter,
    errors: list[ScoringError],
) -> Iterator[Scored]:
    """Score every task, or those before the user wants to stop; one that cannot be scored goes to `errors`."""
    with reporter.bar(f"score {cell.recipe.method}") as update:
        for done, fold in enumerate(folds, start=1):
            if STOP.requested():
                return
            start = perf_counter()
            scorer = official.scorer(fold)
            try:
                scores: list[Score] = []
                notes: list[str] = []
                for vectors in read:
                    own = request.prompts.view(vectors.embeddings, fold, encoded.texts_of(fold, request))
                    for layers, precisions in request.budgets(cell.layers):
                        scores += scorer.score(fold, own, layers, vectors.dims, precisions, request.protocol)
                        notes += scorer.notes
            except Exception as error:
                wrapped = ScoringError(f"task {fold.data.name}: {failures.reason(error)}")
                wrapped.__cause__, wrapped.task = error, fold.data.name
                errors.append(wrapped)
                continue
            told = tuple(dict.fromkeys([*notes, *request.prompts.notes(fold)]))
            yield Scored(fold, scores, perf_counter() - start, told)
            update(done, len(folds), fold.data.name)


def _rows(cell: Cell, item: Scored, protocol: str) -> Iterator[dict[str, Any]]:
    data = item.fold.data
    labels = {"family": data.family, "task": data.name, "split": item.fold.split, "protocol": protocol}
    for score in item.scores:
        yield {"run": cell.run, **cell.labels, **labels, **vars(score)}
