"""Official mteb tasks at every budget, through an encoder that serves cuts of vectors that were encoded once.

mteb computes the numbers here, so they carry no standard error. What could go wrong when its tasks are looped over
budgets is kept out:
    stale scores     no cache is used, and the model's revision is its vectors' digest
    averaging        every budget is read from its own result, never through mteb's tables
    clustering       every budget gets a task object with fresh generators; the data is shared, not loaded again
    best of many     cosine metrics are read, never the best over five similarity functions
    side effects     Python's, NumPy's and torch's global generators, which mteb seeds, are put back as they were
    no direction     a budget at which a vector is zero, or no number, has no value: mteb would rank it somewhere, or fail
"""

import copy
import hashlib
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from math import isnan, nan
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from mipic_bench.errors import UserError, unknown
from mipic_bench.evaluators._cosine import Vectors, unit_prefix
from mipic_bench.evaluators._precision import read_back
from mipic_bench.tasks.local import SPLIT_NAMES

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings

METRICS: Mapping[str, Mapping[str, str]] = {
    "STS": {"spearman": "cosine_spearman", "pearson": "cosine_pearson"},
    "Classification": {"accuracy": "accuracy", "macro_f1": "f1"},
    "PairClassification": {"ap": "cosine_ap", "pair_accuracy": "cosine_accuracy", "pair_f1": "cosine_f1"},
    "Retrieval": {"ndcg@10": "ndcg_at_10", "recall@100": "recall_at_100", "mrr@10": "mrr_at_10", "map": "map_at_1000"},
    "Clustering": {"v_measure": "v_measure"},
}
FAMILIES: Mapping[str, str] = {
    "STS": "sts",
    "Classification": "classification",
    "PairClassification": "pair",
    "Retrieval": "retrieval",
    "Clustering": "clustering",
}
PRECISIONS = ("float32", "binary")  # int8 would need texts to take its limits from, which mteb does not name
_BATCH = 1024  # texts per look-up
LookUp = Callable[[Sequence[str], str, str | None], Vectors]  # texts, mteb's split, "query" or "document" or None


@dataclass(frozen=True)
class Asked:
    """The distinct texts that mteb looks up, in its order.

    Attributes:
        texts: all of them.
        scored: those of the scored split; the others are fitted on.
        queries: those of `scored` that are searched for, in retrieval.
        documents: those that are searched among; a text may be both.
    """

    texts: tuple[str, ...]
    scored: tuple[str, ...]
    queries: tuple[str, ...]
    documents: tuple[str, ...]


@dataclass(frozen=True)
class MtebTask:
    """An mteb task with its data loaded.

    Attributes:
        name: mteb's name of the task.
        family: our family.
        split: the split that is scored, in mteb's name.
        source: the dataset and its revision, as mteb pins it.
        task: mteb's own object.
        notes: sentences for the user.
    """

    name: str
    family: str
    split: str
    source: str
    task: Any
    notes: tuple[str, ...] = ()

    @cached_property
    def asked(self) -> Asked:
        """The texts that mteb will look up, found by running the task once on random vectors."""
        seen: dict[str, dict[str, None]] = {"texts": {}, "scored": {}, "queries": {}, "documents": {}}

        def look_up(texts: Sequence[str], split: str, prompt: str | None) -> Vectors:
            kinds = {"texts": True, "scored": split == self.split}
            kinds |= {"queries": prompt == "query", "documents": prompt == "document"}
            for kind in [kind for kind, holds in kinds.items() if holds]:
                seen[kind].update(dict.fromkeys(texts))
            draws = [np.random.default_rng(crc32(text.encode())).normal(size=4) for text in texts]
            return np.stack(draws).astype(np.float32)

        self._run(look_up, {"name": "mipic-bench/texts", "revision": "none", "embed_dim": 4})
        return Asked(**{kind: tuple(texts) for kind, texts in seen.items()})

    def score(
        self, embeddings: "Embeddings", layers: Sequence[int], dims: Sequence[int], precisions: Sequence[str]
    ) -> Iterator[tuple[int, int, str, dict[str, float]]]:
        """Run the task at every budget on unit-length cuts.

        Args:
            embeddings: the vectors of every text of `asked`.
            layers: layers to score.
            dims: widths to score.
            precisions: of `PRECISIONS`.

        Yields:
            (layer, dim, precision, metric -> value); nan where a vector has no direction.
        """
        looked_up = embeddings.rows(self.asked.texts)
        for layer in layers:
            digest = hashlib.sha256(np.ascontiguousarray(embeddings.at(layer)).data).hexdigest()
            for precision in precisions:
                vectors = read_back(embeddings.at(layer), precision)
                for dim in sorted(set(dims)):
                    budget = {"layer": layer, "dim": dim, "precision": precision}
                    meta = {"name": "mipic-bench/cuts", "revision": digest, "embed_dim": dim}
                    found: list[Mapping[str, Any]] = []
                    if np.isfinite(unit_prefix(vectors, dim)[looked_up]).all():
                        found = self._run(
                            partial(_cut, embeddings, vectors, dim), {**meta, "experiment_kwargs": budget}
                        )
                    yield layer, dim, precision, self._values(found)

    def _values(self, subsets: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return our metrics, each the mean over the subsets that have it."""
        values = {}
        for metric, theirs in METRICS[self.task.metadata.type].items():
            there = [float(scores[theirs]) for scores in subsets if not isnan(float(scores[theirs]))]
            values[metric] = float(np.mean(there)) if there else nan
        return values

    def rows(self) -> int:
        """Return the number of scored rows, or queries, over all subsets."""
        data = self.task.dataset
        subsets = list(data.values()) if self.split not in data else [data]
        return sum(_length(subset[self.split], self.family) for subset in subsets)

    def _run(self, look_up: LookUp, meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Evaluate a copy of the task with fresh generators; return the scores of each subset."""
        import mteb
        from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning

        task = copy.copy(self.task)
        task.rng_state, task.np_rng = random.Random(task.seed), np.random.default_rng(task.seed)
        task.filter_eval_splits([self.split])
        with _global_generators_kept(), _without_bars(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # its probes stop at 100 steps by design
            warnings.simplefilter("ignore", UndefinedMetricWarning)  # precision of classes that are never guessed
            result = mteb.evaluate(
                _encoder(look_up, meta),
                [task],
                cache=None,
                co2_tracker=False,
                encode_kwargs={"batch_size": _BATCH, "show_progress_bar": False},
                show_progress_bar=False,
            )
        scores: list[Mapping[str, Any]] = result.task_results[0].scores[self.split]
        return scores


def load(task: Any, split: str = "test", dataset: Callable[[Any, str], Any] | None = None) -> MtebTask:
    """Load the data of an mteb task.

    Args:
        task: mteb's object.
        split: "test" or "dev"; where the task is not evaluated on it, the first that it is evaluated on, with a note.
        dataset: from the task and mteb's name of the split to data in mteb's form; None to let mteb read its own.

    Raises:
        UserError: a kind of task we cannot cut, data that cannot be loaded.
    """
    name, kind, splits = task.metadata.name, task.metadata.type, task.eval_splits
    where = f"task mteb:{name}"
    if kind not in FAMILIES or task.is_aggregate or task.metadata.modalities != ["text"]:
        what = "several tasks in one" if task.is_aggregate else f"of mteb's kind {kind}"
        fix = f"give a task of texts, of one of these kinds: {', '.join(FAMILIES)}"
        raise UserError(where, f"it is {what}, which is not scored at budgets", fix)
    notes = []
    named = [theirs for theirs in splits if SPLIT_NAMES.get(theirs, theirs) == split]
    if not named:
        notes.append(f"mteb:{name} is evaluated on {', '.join(splits)}: {splits[0]} is scored")
    if kind == "Retrieval":
        notes.append(f"mteb:{name}: map is over mteb's 1,000 best documents")
    scored = [*named, *splits][0]
    if dataset is not None:
        task.dataset, task.data_loaded = dataset(task, scored), True
    _fetch(task, where)
    data = task.metadata.dataset
    return MtebTask(name, FAMILIES[kind], scored, f"{data['path']}@{data['revision']}", task, tuple(notes))


def find(name: str) -> Any:
    """Return the task object that mteb has under a name.

    Raises:
        UserError: it has none.
    """
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError:
        names = [task.metadata.name for task in mteb.get_tasks()]
        error = unknown("mteb task", name, names, "--task")
        listed = f"its {len(names)} names: mteb available-tasks"
        fix = error.fix if error.fix.startswith("did you mean") else listed
        raise UserError(error.where, error.what, fix) from None


def _fetch(task: Any, where: str) -> None:
    """Let mteb load the data of a task, unless it has it."""
    from datasets.exceptions import DatasetsError

    try:
        task.load_data()  # returns at once when the data is there
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        reason = str(error).split("\n")[0]
        fix = f"put its files into a folder {task.metadata.name} and name the folder above it with --data"
        raise UserError(where, f"its data cannot be had from the hub: {reason}", fix) from error


def _length(part: Any, family: str) -> int:
    """Return the rows of a split; a single row may hold them all as lists, as mteb's first pair tasks have it."""
    if family == "retrieval":
        return len(part["relevant_docs"])
    lists = [value for value in part[0].values() if isinstance(value, list)] if len(part) == 1 else []
    return len(lists[0]) if lists else len(part)


def _cut(embeddings: "Embeddings", vectors: Vectors, dim: int, texts: Sequence[str], *_: object) -> Vectors:
    return unit_prefix(vectors[embeddings.rows(texts)], dim)


def _encoder(look_up: LookUp, meta: Mapping[str, Any]) -> Any:
    """Return an encoder of mteb's kind that looks vectors up; its class is made here, because importing mteb takes seconds."""
    from mteb.models.abs_encoder import AbsEncoder
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    own = ModelMeta.create_empty(overwrites={**meta, "similarity_fn_name": ScoringFunction.COSINE})

    class Cuts(AbsEncoder):
        """Serves vectors that were encoded before; prompts do not exist for it."""

        mteb_model_meta = own

        def __init__(self) -> None:
            self.model = None

        def encode(self, inputs: Any, *, hf_split: str, prompt_type: Any = None, **_: Any) -> Vectors:
            prompt = None if prompt_type is None else str(getattr(prompt_type, "value", prompt_type))
            return look_up([text for batch in inputs for text in batch["text"]], hf_split, prompt)

    return Cuts()


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Put the global generators back: mteb seeds them, and a training in this process must not notice."""
    import torch

    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - looked at, not drawn from
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the progress bars of `datasets` off: one would come for every budget."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
