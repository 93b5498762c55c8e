"""What one command asks for, the cells it makes, and what they are made from."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mipic_bench import backbones, corpora, official, tasks
from mipic_bench.corpora import Corpus
from mipic_bench.encoding.prompts import Prompts
from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.evaluators import PRECISIONS
from mipic_bench.planning import leakage
from mipic_bench.recipes.recipe import Recipe
from mipic_bench.recipes.resolved import Resolved
from mipic_bench.results import folder as results
from mipic_bench.shapes import served

LAST = "@last"  # behind a precision: at the last layer alone


@dataclass(frozen=True)
class Request:
    """Everything one command asks for. None means the default: every layer, the backbone's widths.

    Args:
        exclude_leaked: whether scored rows with a text of the corpus are left out, as a protocol of its own.
        precisions: how vectors are stored; "int8@last" scores one at the last of the layers alone.
        training: settings that stand above the recipes' own.
        rates: method -> its learning rate, above all else; the key "" is for every other one.
        diagnostics: whether trainings log each term's share of the gradient norm; no part of any key.
        keep_vectors: whether vectors are kept in the results folder, and those that are there are taken instead of encoding.
        checkpoint_every: seconds between two checkpoints of a training.
        jobs: cells that run at the same time on this machine.
        cluster: HOST:PORT of a dask scheduler that runs the cells instead; empty for none.
        retry: whether cells that failed before are run again.
        verify: whether weights are read anew instead of trusting what is remembered of their files; no part of any key.
        prompts: what stands before every text that is scored.
        names: backbone as asked for -> its name in rows, where it is to have another than its own.
        track: experiment trackers that trainings log to: "tensorboard", "wandb", "mlflow".
        study: the options of the study file that was given, copied into the provenance.
    """

    methods: tuple[Recipe, ...]
    backbones: tuple[str, ...] = ("minilm",)
    corpora: tuple[str, ...] = ("toy",)
    seeds: tuple[int, ...] = (0,)
    tasks: tuple[str, ...] = ()
    data: Path | None = None
    split: str = "test"
    protocol: str = "clean"
    exclude_leaked: bool = False
    dims: tuple[int, ...] | None = None
    layers: tuple[int, ...] | None = None
    precisions: tuple[str, ...] = ("float32",)
    training: Mapping[str, Any] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    dtype: str = "float32"
    device: str = "cpu"
    offline: bool = False
    diagnostics: bool = False
    keep_checkpoints: bool = False
    keep_vectors: bool = False
    checkpoint_every: float = 60.0
    jobs: int = 1
    cluster: str = ""
    retry: bool = True
    verify: bool = False
    prompts: Prompts = Prompts()
    names: Mapping[str, str] = field(default_factory=dict)
    track: tuple[str, ...] = ()
    study: Mapping[str, Any] = field(default_factory=dict)
    results: Path = Path("results")

    def training_of(self, method: str) -> dict[str, Any]:
        """Return the training settings that stand above a method's own."""
        rate = self.rates.get(method, self.rates.get(""))
        return {**self.training, **({} if rate is None else {"learning_rate": rate})}

    @property
    def stored(self) -> tuple[str, ...]:
        """The precisions by name, wherever they are scored."""
        return tuple(dict.fromkeys(name.removesuffix(LAST) for name in self.precisions))

    def budgets(self, layers: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[str, ...]]]:
        """Return which precisions are scored at which of the layers."""
        everywhere = tuple(name for name in self.stored if name in self.precisions)
        last = tuple(name for name in self.stored if name not in everywhere)
        return [(where, names) for where, names in ((layers, everywhere), (layers[-1:], last)) if names]


@dataclass(frozen=True)
class Cell:
    """The unit of training, and what is to be done about it.

    Args:
        recipe: resolved on the backbone.
        backbone: as asked for: table name, folder or hub id.
        backbone_name: as it stands in rows.
        corpus: as it stands in rows; empty for a method that neither trains nor is fitted.
        corpus_asked: as asked for: a name, folder or file.
        seed: None where nothing is drawn at random.
        identity: what decides the trained numbers; `key` is its digest.
        dims, layers: the budgets asked for.
        status: "done", "pending", "stale", "failed" or "skipped".
        reason: why it is not done, or nothing.
        tasks: the tasks that are to be scored.
        seconds: how long it will take, judged by finished runs; None when none is like it.
        width: of a part of a method with one model per width; None for the whole cell.
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
    corpus_asked: str = ""
    seconds: float | None = None
    width: int | None = None

    @property
    def over(self) -> bool:
        """Whether there is nothing to do about it."""
        return self.status in ("done", "skipped")

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
    def parts(self) -> "tuple[Cell, ...]":
        """What is trained on its own: the cell itself, or one part per width that is asked for, with the widths it serves."""
        if not self.recipe.per_dim:
            return (self,)
        lots = served(list(self.recipe.per_dim), self.dims).items()
        return tuple(replace(self, recipe=self.recipe.per_dim[dim], dims=dims, width=dim) for dim, dims in lots)

    @property
    def folder(self) -> str:
        """The name of what is stored beside the rows of the run: its checkpoints."""
        return self.run if self.width is None else f"{self.run}--d{self.width}"

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
        self._backbones: dict[tuple[str, str | None], backbones.Card] = {}
        self._corpora: dict[str, corpora.Corpus] = {}

    def backbone(self, name: str, pooling: str | None = None) -> backbones.Card:
        """Return what there is to know of a backbone; it is not loaded."""
        if (name, pooling) not in self._backbones:
            asked = self.request
            self._backbones[name, pooling] = backbones.card(
                name, pooling=pooling, offline=asked.offline, verify=asked.verify
            )
        return self._backbones[name, pooling]

    def corpus(self, name: str) -> corpora.Corpus:
        """Return a corpus."""
        if name not in self._corpora:
            self._corpora[name] = corpora.load(name, self.request.data)
        return self._corpora[name]

    @cached_property
    def folds(self) -> dict[str, tasks.Fold]:
        """Every task asked for as it is scored: `whole`, without its leaked rows if that is asked for."""
        return {name: self._seen(fold) for name, fold in self.whole.items()}

    @cached_property
    def whole(self) -> dict[str, tasks.Fold]:
        """Every task asked for, cut into what is fitted on, tuned on and scored."""
        found: dict[str, tasks.Fold] = {}
        for name in self.request.tasks:
            fold = self._loaded(name)
            other = found.setdefault(fold.data.name, fold)
            if other.data.digest != fold.data.digest:
                what = f"two different tasks are called {fold.data.name}: {other.data.source} and {fold.data.source}"
                raise UserError("--task", what, "rename the folder of one of them")
        return found

    def _loaded(self, name: str) -> tasks.Fold:
        if name.startswith(official.PREFIX):
            return official.load(name, self.request.data, self.request.split)
        return tasks.fold(tasks.load(name, self.request.data), self.request.split, self.request.protocol)

    def _seen(self, fold: tasks.Fold) -> tasks.Fold:
        if not self.request.exclude_leaked:
            return fold
        corpus = self.corpus(self.request.corpora[0])
        rest = leakage.excluded(fold, leakage.leakage(corpus, fold))
        digest = hashlib.sha256(f"{fold.data.digest} without {corpus.digest}".encode()).hexdigest()
        return replace(rest, data=replace(rest.data, digest=digest))

    @cached_property
    def protocol(self) -> str:
        """The protocol as it stands in rows."""
        name = self.request.protocol
        return f"{name}-without-{self.corpus(self.request.corpora[0]).name}" if self.request.exclude_leaked else name

    def protocol_of(self, fold: tasks.Fold) -> str:
        """The protocol of a task: an official one of mteb has its own."""
        return official.PROTOCOL if isinstance(fold, official.OfficialFold) else self.protocol

    def notes(self, cells: Sequence[Cell]) -> list[str]:
        """Return what to know of some cells: of their data what was inferred, cut, left out, is short, or has no such precision; of
        their training a rate that does not fall.
        """
        notes: list[str] = []
        for fold in self.folds.values():
            notes += [*fold.data.notes, *fold.notes, *official.scorer(fold).lacking(fold, self.request.stored)]
        for cell in cells:
            if cell.corpus and not cell.over:
                corpus, batch = self.corpus(cell.corpus_asked), cell.recipe.training.batch_size
                notes += [*corpus.notes, *self._scored_too(corpus)]
                if len(corpus) < batch:
                    notes.append(
                        f"corpus {corpus.name} has {len(corpus)} rows: batches of {len(corpus)} instead of {batch}"
                    )
                notes += _flat_schedule(cell.recipe)
        return list(dict.fromkeys(notes))

    def _scored_too(self, corpus: Corpus) -> Iterator[str]:
        """Say that rows are trained on and scored, where one folder is both and its scored rows are cut from what is trained on."""
        fold = self.folds.get(corpus.name)
        if fold is not None and (leak := leakage.leakage(corpus, fold)).leaked_rows:
            yield f"corpus {corpus.name} is scored as a task too: {leak.sentence()}"


def _flat_schedule(recipe: Resolved) -> Iterator[str]:
    """Say that a rate stays where it starts, because it starts at or below the one that the schedule ends at."""
    own = recipe.training
    if recipe.trains and own.schedule != "constant" and own.learning_rate <= own.min_learning_rate:
        yield (
            f"training.learning_rate {own.learning_rate:g} is not above training.min_learning_rate {own.min_learning_rate:g}: the "
            f"{own.schedule} schedule is flat; lower training.min_learning_rate for one that falls"
        )


def check(request: Request) -> None:
    """Refuse what cannot be asked for, whatever the backbone; all problems at once.

    Raises:
        UserError: an unknown precision, a results folder that is a file, options that contradict each other.
    """
    found = [unknown("precision", name, PRECISIONS, "--precision") for name in request.stored if name not in PRECISIONS]
    methods = [recipe.method for recipe in request.methods]
    strange = [name for name in request.rates if name and name not in methods]
    found += [unknown("method", name, methods, "--learning-rate") for name in strange]
    there = next(place for place in (request.results.absolute(), *request.results.absolute().parents) if place.exists())
    if not there.is_dir():
        found.append(
            UserError(f"--results {request.results}", f"{there.name} is a file, not a folder", "name a folder")
        )
    if request.exclude_leaked and len(request.corpora) > 1:
        what = f"{len(request.corpora)} corpora were asked for, and each leaks into other rows"
        found.append(UserError("--exclude-leaked", what, "give one --corpus per command"))
    if request.exclude_leaked and (whole := [name for name in request.tasks if name.startswith(official.PREFIX)]):
        fix = "leave it out, or score the same set by the project's own scorers"
        found.append(UserError("--exclude-leaked", f"mteb scores {', '.join(whole)} whole", fix))
    for option in ("keep_checkpoints", "keep_vectors"):
        if request.cluster and getattr(request, option):
            flag = f"--{option.replace('_', '-')}"
            what = f"the cluster's workers may not have the results folder; {flag} was asked for"
            found.append(UserError("--cluster", what, "leave one of the two out"))
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        what = f"WORLD_SIZE is {os.environ['WORLD_SIZE']}: this is one of several processes of one training"
        found.append(UserError("accelerate launch", f"{what}, which no cell does", "use --jobs: one cell per card"))
    raise_all(found)
