"""What is asked for, and which cells that makes: recipes x backbones x corpora x seeds, each done, pending, stale or skipped."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mipic_bench import backbones, corpora, evaluators, failures, results, tasks, trainer
from mipic_bench.changes import count, difference
from mipic_bench.errors import UserError
from mipic_bench.prompts import Prompts
from mipic_bench.recipe import Recipe, Resolved, resolve
from mipic_bench.shapes import default_dims

UNIT = ["task", "split", "protocol"]  # what is scored as one piece of work, at any number of budgets


@dataclass(frozen=True)
class Request:
    """Everything one command asks for. None means the default that DESIGN gives: every layer, the backbone's widths.

    Args:
        checkpoint_every: seconds between two checkpoints of a training.
        jobs: cells that run at the same time on this machine.
        cluster: HOST:PORT of a dask scheduler that runs the cells instead; empty for none.
        retry: whether cells that failed before are run again.
        prompts: what stands before every text that is scored.
        names: backbone as asked for -> its name in rows, where it is to have another than its own.
    """

    methods: tuple[Recipe, ...]
    backbones: tuple[str, ...] = ("minilm",)
    corpora: tuple[str, ...] = ("toy",)
    seeds: tuple[int, ...] = (0,)
    tasks: tuple[str, ...] = ()
    data: Path | None = None
    split: str = "test"
    protocol: str = "clean"
    dims: tuple[int, ...] | None = None
    layers: tuple[int, ...] | None = None
    precisions: tuple[str, ...] = ("float32",)
    training: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    device: str = "cpu"
    offline: bool = False
    keep_checkpoints: bool = False
    checkpoint_every: float = 60.0
    jobs: int = 1
    cluster: str = ""
    retry: bool = True
    prompts: Prompts = Prompts()
    names: Mapping[str, str] = field(default_factory=dict)
    results: Path = Path("results")


@dataclass(frozen=True)
class Cell:
    """The unit of training, and what is to be done about it.

    Args:
        recipe: resolved on the backbone.
        backbone: as asked for: table name, folder or hub id.
        backbone_name: as it stands in rows.
        corpus: empty for a method without training.
        seed: None for a method without training.
        identity: what decides the trained numbers; `key` is its digest.
        dims, layers: the budgets asked for.
        status: "done", "pending", "stale", "failed" or "skipped".
        reason: why it is not done, or nothing.
        tasks: the tasks that are to be scored.
    """

    recipe: Resolved
    backbone: str
    backbone_name: str
    corpus: str
    seed: int | None
    identity: Mapping[str, Any]
    dims: tuple[int, ...]
    layers: tuple[int, ...]
    status: str = "pending"
    reason: str = ""
    tasks: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits over the identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def run(self) -> str:
        """The run's name."""
        seed = "" if self.seed is None else self.seed
        return results.run_name(self.recipe.method, self.backbone_name, self.corpus, seed, self.key)

    @property
    def labels(self) -> dict[str, str]:
        """The cell's columns in a row."""
        return {
            "method": self.recipe.method,
            "base_method": self.recipe.base_method,
            "ablation": self.recipe.ablation,
            "backbone": self.backbone_name,
            "corpus": self.corpus,
            "seed": "" if self.seed is None else str(self.seed),
        }


class Inputs:
    """The backbones (without weights), corpora and tasks of a request, each loaded once, when first looked at."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self._backbones: dict[tuple[str, str | None], backbones.Backbone] = {}
        self._corpora: dict[str, corpora.Corpus] = {}

    def backbone(self, name: str, pooling: str | None = None) -> backbones.Backbone:
        """Return what there is to know of a backbone; its weights are not loaded."""
        if (name, pooling) not in self._backbones:
            self._backbones[name, pooling] = backbones.load(
                name, pooling=pooling, offline=self.request.offline, weights=False
            )
        return self._backbones[name, pooling]

    def corpus(self, name: str) -> corpora.Corpus:
        """Return a corpus."""
        if name not in self._corpora:
            self._corpora[name] = corpora.load(name, self.request.data)
        return self._corpora[name]

    @cached_property
    def folds(self) -> dict[str, tasks.Fold]:
        """Every task asked for, cut into what is fitted on, tuned on and scored."""
        loaded = (tasks.load(name, self.request.data) for name in self.request.tasks)
        return {data.name: tasks.fold(data, self.request.split) for data in loaded}


def plan(request: Request, inputs: Inputs) -> list[Cell]:
    """Return every cell of a request with its status; nothing is trained and nothing written.

    Raises:
        UserError: a recipe, width, layer, backbone, corpus or task that does not fit.
    """
    store = results.read(request.results)
    failed = failures.read(request.results)
    unique = {cell.run: cell for cell in _cells(request, inputs)}  # two names may stand for one cell
    return [_with_status(cell, request, inputs, store.runs, failed) for cell in unique.values()]


def refreshed(cell: Cell, request: Request, inputs: Inputs) -> Cell:
    """Return a cell with its status as it is now: other processes may have worked on it since it was planned."""
    run = results.read_run(request.results, cell.run)
    fresh = replace(cell, status="pending", reason="", tasks=())
    return _with_status(fresh, request, inputs, {cell.run: run} if run else {}, failures.read(request.results))


def unit_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is scored as one piece of work: the values of `UNIT`."""
    return tuple(str(entry[name]) for name in UNIT)


def _cells(request: Request, inputs: Inputs) -> Iterator[Cell]:
    for backbone in request.backbones:
        for recipe in request.methods:
            # a method without training has one cell per backbone
            trained = [(corpus, seed) for corpus in request.corpora for seed in request.seeds]
            for corpus, seed in trained if recipe.trains else [("", None)]:
                yield _cell(request, inputs, recipe, backbone, corpus, seed)


def _cell(request: Request, inputs: Inputs, recipe: Recipe, name: str, corpus: str, seed: int | None) -> Cell:
    shape = inputs.backbone(name).shape
    resolved = resolve(recipe, shape, inputs.backbone(name).name, dict(request.training))
    backbone = inputs.backbone(name, resolved.training.pooling)
    layers = _within(request.layers, shape.depth, "--layers", "layer", "depth", backbone.name)
    dims = _within(request.dims, shape.width, "--dims", "dim", "width", backbone.name)
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
    if resolved.trains:
        data = inputs.corpus(corpus)
        identity |= {"corpus": {"digest": data.digest, "rows": len(data)}, "trainer": trainer.VERSION}
        corpus = data.name
    return Cell(
        recipe=resolved,
        backbone=name,
        backbone_name=request.names.get(name, backbone.name),
        corpus=corpus,
        seed=seed,
        identity=identity,
        dims=dims or default_dims(shape.width),
        layers=layers or tuple(range(1, shape.depth + 1)),
    )


def _within(
    wanted: tuple[int, ...] | None, most: int, where: str, noun: str, measure: str, backbone: str
) -> tuple[int, ...] | None:
    """Return the wanted widths or layers, ascending, if the backbone has them."""
    if wanted and not 1 <= min(wanted) <= max(wanted) <= most:
        worst = min(wanted) if min(wanted) < 1 else max(wanted)
        limit = f"is above the {measure} {most} of backbone {backbone}" if worst > most else "is below 1"
        raise UserError(where, f"{noun} {worst} {limit}", f"ask for {noun}s of 1..{most}")
    return tuple(sorted(set(wanted))) if wanted else None


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
    if cell.status != "done" and cell.run in failed:
        return replace(cell, status="failed", reason=failed[cell.run].reason)
    return cell


def _compared(cell: Cell, request: Request, inputs: Inputs, runs: Mapping[str, results.Run]) -> Cell:
    if cell.run in runs:
        missing = _missing(cell, request, inputs, runs[cell.run])
        reasons = [f"{task}: {why}" for task, why in missing.items()]
        if request.keep_checkpoints and cell.recipe.trains and not _kept(cell, request):
            reasons.append("its weights were not kept")
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
    from mipic_bench import checkpoint

    return checkpoint.kept(request.results / checkpoint.KEPT / cell.run) is not None


def _refusal(cell: Cell, inputs: Inputs) -> str:
    try:
        trainer.check_views(inputs.backbone(cell.backbone, cell.recipe.training.pooling), inputs.corpus(cell.corpus))
    except UserError as error:
        return error.what
    return ""


def _missing(cell: Cell, request: Request, inputs: Inputs, run: results.Run) -> dict[str, str]:
    """Return the tasks a finished run lacks, and why: not scored, budgets not scored, data or scorer changed."""
    scored = {unit_of(entry): entry for entry in run.provenance["scored"]}
    missing = {}
    for name, fold in inputs.folds.items():
        entry = scored.get((name, fold.split, request.protocol))
        scorer = evaluators.evaluator(fold.data.family)
        if entry is None:
            missing[name] = "not scored yet"
        elif entry["digest"] != fold.data.digest:
            missing[name] = f"its data changed: {count(entry.get('rows'), len(fold.score), 'scored rows')}"
        elif entry["evaluator_version"] != scorer.version:
            missing[name] = f"its scorer changed: version {entry['evaluator_version']} -> {scorer.version}"
        elif budgets := _lacking(cell, request, fold, scorer.precisions, run.rows):
            missing[name] = f"{budgets} budgets not scored yet"
    return missing


def _lacking(cell: Cell, request: Request, fold: tasks.Fold, precisions: Sequence[str], rows: pd.DataFrame) -> int:
    """Return how many budgets were asked for and are not in the rows; precisions the family does not know are no budgets."""
    own = rows[
        (rows["task"] == fold.data.name) & (rows["split"] == fold.split) & (rows["protocol"] == request.protocol)
    ]
    there = set(zip(own["layer"], own["dim"], own["precision"], strict=True))
    asked = [precision for precision in request.precisions if precision in precisions]
    wanted = {(layer, dim, precision) for layer in cell.layers for dim in cell.dims for precision in asked}
    return len(wanted - there)


def pieces(values: Sequence[str] | None) -> list[str]:
    """Split list options: every one takes commas and may be repeated."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]
