"""What is asked for, and which cells that makes: recipes x backbones x corpora x seeds, each done, pending, stale or skipped."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from mipic_bench import backbones, corpora, evaluators, results, tasks, trainer
from mipic_bench.errors import UserError
from mipic_bench.recipe import Recipe, Resolved, resolve
from mipic_bench.shapes import default_dims

UNIT = ["task", "split", "protocol"]  # what is scored as one piece of work, at any number of budgets


@dataclass(frozen=True)
class Request:
    """Everything one command asks for. None means the default that DESIGN gives: every layer, the backbone's widths."""

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
        status: "done", "pending", "stale" or "skipped".
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
    return [_with_status(cell, request, inputs, store) for cell in _cells(request, inputs)]


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
    if resolved.trains:
        data = inputs.corpus(corpus)
        identity |= {"corpus": {"digest": data.digest, "rows": len(data)}, "trainer": trainer.VERSION}
        corpus = data.name
    return Cell(
        recipe=resolved,
        backbone=name,
        backbone_name=backbone.name,
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


def _with_status(cell: Cell, request: Request, inputs: Inputs, store: results.Store) -> Cell:
    """Compare a cell with the finished runs: what is there, what is missing, and why."""
    if cell.recipe.trains and (refusal := _refusal(cell, inputs)):
        return replace(cell, status="skipped", reason=refusal)
    if cell.run in store.runs:
        missing = _missing(cell, request, inputs, store.runs[cell.run])
        if not missing:
            return replace(cell, status="done")
        return replace(cell, tasks=tuple(missing), reason="; ".join(f"{task}: {why}" for task, why in missing.items()))
    everything = tuple(inputs.folds)
    older = [run for run in store.runs.values() if run.provenance["cell"] == cell.labels]
    if older:
        return replace(cell, status="stale", tasks=everything, reason=_difference(older[-1].provenance, cell))
    return replace(cell, tasks=everything)


def _refusal(cell: Cell, inputs: Inputs) -> str:
    try:
        trainer.check_views(inputs.backbone(cell.backbone, cell.recipe.training.pooling), inputs.corpus(cell.corpus))
    except UserError as error:
        return error.what
    return ""


def _missing(cell: Cell, request: Request, inputs: Inputs, run: results.Run) -> dict[str, str]:
    """Return the tasks a finished run lacks, and why: not scored, budgets not scored, data or scorer changed."""
    scored = {tuple(entry[name] for name in UNIT): entry for entry in run.provenance["scored"]}
    missing = {}
    for name, fold in inputs.folds.items():
        entry = scored.get((name, fold.split, request.protocol))
        if entry is None:
            missing[name] = "not scored yet"
        elif entry["digest"] != fold.data.digest:
            missing[name] = "its data changed"
        elif entry["evaluator_version"] != evaluators.evaluator(fold.data.family).version:
            missing[name] = "its scorer changed"
        elif budgets := _lacking(cell, request, name, fold.split, run.rows):
            missing[name] = f"{budgets} budgets not scored yet"
    return missing


def _lacking(cell: Cell, request: Request, task: str, split: str, rows: pd.DataFrame) -> int:
    own = rows[(rows["task"] == task) & (rows["split"] == split) & (rows["protocol"] == request.protocol)]
    there = set(zip(own["layer"], own["dim"], own["precision"], strict=True))
    wanted = {(a, b, c) for a in cell.layers for b in cell.dims for c in request.precisions}
    return len(wanted - there)


def _difference(provenance: Mapping[str, Any], cell: Cell) -> str:
    """Say what decides the numbers and is no longer the same, with both values."""
    old, new = _flat(provenance.get("identity", {})), _flat(cell.identity)
    changed = [
        f"{name} changed: {_short(old.get(name))} -> {_short(new.get(name))}"
        for name in sorted(old | new)
        if old.get(name) != new.get(name)
    ]
    return "; ".join(changed[:3]) + (f"; and {len(changed) - 3} more" if len(changed) > 3 else "")


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix.rstrip("."): value}
    return {key: leaf for name, item in value.items() for key, leaf in _flat(item, f"{prefix}{name}.").items()}


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text[:12] + "..." if len(text) > 40 else text


def pieces(values: Sequence[str] | None) -> list[str]:
    """Split list options: every one takes commas and may be repeated."""
    return [part.strip() for value in values or () for part in value.split(",") if part.strip()]
