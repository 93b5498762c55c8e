"""Official mteb tasks at every budget, through an encoder that serves cuts of vectors that were encoded once.

mteb computes the numbers here, so they carry no standard error. What could go wrong when its tasks are looped over
budgets is kept out:
    stale scores     no cache is used, and the model is named by its weights' digest
    averaging        every budget is read from its own result, never through mteb's tables
    clustering       every budget gets a task object with fresh generators; the data is shared, not loaded again
    best of many     cosine metrics are read, never the best over five similarity functions
    side effects     Python's, NumPy's and torch's global generators, which mteb seeds, are put back as they were
"""

import copy
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import isnan, nan
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.evaluators import Score, problems
from mipic_bench.evaluators._cosine import Vectors, unit_prefix
from mipic_bench.evaluators._precision import read_back

if TYPE_CHECKING:
    from mipic_bench.embed import Embeddings

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
LookUp = Callable[[Sequence[str]], Vectors]


@dataclass
class MtebTask:
    """An mteb task with its data loaded.

    Attributes:
        name: mteb's name of the task.
        family: our family.
        split: the split that is scored.
        digest: what identifies the data and the scorer: dataset, revision, mteb's version.
        notes: sentences for the user; `score` adds to them.
    """

    name: str
    family: str
    split: str
    digest: str
    task: Any
    notes: list[str] = field(default_factory=list)

    def texts(self) -> list[str]:
        """Return the distinct texts that mteb will ask for, found by running the task once on random vectors."""
        seen: dict[str, None] = {}

        def look_up(texts: Sequence[str]) -> Vectors:
            seen.update(dict.fromkeys(texts))
            return np.stack([np.random.default_rng(crc32(text.encode())).normal(size=4) for text in texts]).astype(
                np.float32
            )

        self._run(look_up, {"name": "mipic-bench/texts", "revision": "none", "embed_dim": 4})
        return list(seen)

    def score(
        self,
        embeddings: "Embeddings",
        layers: Sequence[int],
        dims: Sequence[int],
        precisions: Sequence[str],
        *,
        model: str,
        digest: str,
    ) -> Iterator[Score]:
        """Run the task at every budget on unit-length cuts.

        Args:
            embeddings: the vectors of `texts()`.
            layers: layers to score.
            dims: widths to score.
            precisions: storage precisions; int8 and binary+rescore are left out with a note.
            model: the model's name, for mteb's record.
            digest: the digest of the model's weights; it becomes the revision.

        Yields:
            The scores, with a standard error of nan; `n` is the number of scored rows or queries.

        Raises:
            UserError: a budget that does not exist.
        """
        raise_all(list(problems(embeddings, layers, dims, precisions)))
        for precision in precisions:
            if precision not in PRECISIONS:
                self.notes.append(f"mteb:{self.name}: {precision} is not scored through mteb")
        kept = [precision for precision in precisions if precision in PRECISIONS]
        for layer in layers:
            for precision in kept:
                vectors = read_back(embeddings.at(layer), precision)
                for dim in sorted(set(dims)):
                    budget = {"layer": layer, "dim": dim, "precision": precision}
                    meta = {"name": f"mipic-bench/{model}", "revision": digest, "embed_dim": dim}
                    found = self._run(partial(_cut, embeddings, vectors, dim), {**meta, "experiment_kwargs": budget})
                    for metric, value in self._values(found).items():
                        yield Score(layer, dim, precision, metric, value, nan, self.rows())

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
        parts = [subset[self.split] for subset in subsets]
        return sum(
            len(part["relevant_docs"]) if FAMILIES[self.task.metadata.type] == "retrieval" else len(part)
            for part in parts
        )

    def _run(self, look_up: LookUp, meta: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Evaluate a copy of the task with fresh generators; return the scores of each subset."""
        import mteb
        from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning

        task = copy.copy(self.task)
        task.rng_state, task.np_rng = random.Random(task.seed), np.random.default_rng(task.seed)
        task.filter_eval_splits([self.split])
        with _global_generators_kept(), warnings.catch_warnings():
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


def load(task: Any, split: str = "test") -> MtebTask:
    """Load an mteb task and its data.

    Args:
        task: a name of mteb's registry, or a task object (the way to run local data).
        split: scored when the task has it, else the first it is evaluated on, with a note.

    Raises:
        UserError: an unknown name, a kind of task we cannot cut, data that cannot be loaded.
    """
    found = _by_name(task) if isinstance(task, str) else task
    name, kind = found.metadata.name, found.metadata.type
    where = f"task mteb:{name}"
    if kind not in FAMILIES:
        fix = f"give one of these kinds: {', '.join(FAMILIES)}"
        raise UserError(where, f"it is of mteb's kind {kind}, which is not scored at budgets", fix)
    notes = []
    if split not in found.eval_splits:
        notes.append(f"mteb:{name} is evaluated on {', '.join(found.eval_splits)}: {found.eval_splits[0]} is scored")
        split = found.eval_splits[0]
    if not found.data_loaded:
        try:
            found.load_data()
        except (OSError, ValueError, RuntimeError) as error:
            fix = "fetch it once with the network, or give a local task"
            raise UserError(where, f"its data could not be loaded ({error})", fix) from error
    if kind == "Retrieval":
        notes.append(f"mteb:{name}: map is over mteb's 1,000 best documents")
    return MtebTask(name, FAMILIES[kind], split, _digest(found), found, notes)


def _by_name(name: str) -> Any:
    import mteb

    try:
        return mteb.get_task(name)
    except KeyError:
        raise unknown("mteb task", name, [task.metadata.name for task in mteb.get_tasks()], "--task") from None


def _digest(task: Any) -> str:
    import mteb

    data = task.metadata.dataset
    return f"mteb {mteb.__version__}: {data['path']}@{data['revision']}"


def _cut(embeddings: "Embeddings", vectors: Vectors, dim: int, texts: Sequence[str]) -> Vectors:
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

        def encode(self, inputs: Any, **_: Any) -> Vectors:
            return look_up([text for batch in inputs for text in batch["text"]])

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
