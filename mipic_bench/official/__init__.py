"""`mteb:NAME` among the tasks: an official task of the installed mteb, scored at every budget beside the project's own.

mteb's code runs as it is, so such a task is scored whole and under the protocol `mteb` whatever protocol is asked for. Its
rows come from a folder of `--data`, called as mteb calls the task (`SciFact`) or as the registry calls the same dataset
(`scifact`), else from the hub or the hub's cache.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from importlib import metadata
from math import nan
from pathlib import Path
from typing import Any, ClassVar, final

from mipic_bench import evaluators, tasks
from mipic_bench.encoding.embed import Embeddings
from mipic_bench.errors import UserError
from mipic_bench.evaluators import Evaluator, Score
from mipic_bench.evaluators._emit import Emitter
from mipic_bench.evaluators._estimates import Estimate
from mipic_bench.official import mteb_tasks
from mipic_bench.official.mteb_tasks import MtebTask
from mipic_bench.tasks import Fold, TaskData
from mipic_bench.tasks._base import frame_of
from mipic_bench.tasks.local import SPLIT_NAMES

PREFIX = "mteb:"
PROTOCOL = "mteb"


@dataclass(frozen=True)
class OfficialFold(Fold):
    """An official task in the place of a fold. mteb chooses the rows; `score` holds the distinct texts that it scores."""

    task: MtebTask = field(kw_only=True)


@final
class Official(Evaluator):
    """Scores an official task by mteb's own code; a row is stale when the installed mteb is another one."""

    version: ClassVar[str] = f"mteb {metadata.version('mteb')}"  # type: ignore[assignment]
    precisions: ClassVar[tuple[str, ...]] = mteb_tasks.PRECISIONS
    limits_from_texts: ClassVar[bool] = False

    def lacking(self, fold: Fold, precisions: Sequence[str]) -> list[str]:
        """See `Evaluator.lacking`."""
        left_out = [name for name in precisions if name not in self.precisions]
        return [f"{fold.data.name}: {name} is not scored through mteb" for name in left_out]

    def _texts(self, fold: Fold) -> Iterator[str]:
        """See `Evaluator._texts`: what mteb will look up."""
        assert isinstance(fold, OfficialFold)
        yield from fold.task.asked.texts

    def _score(
        self,
        fold: Fold,
        embeddings: Embeddings,
        layers: list[int],
        dims: list[int],
        precisions: list[str],
        protocol: str,
    ) -> Iterator[Score]:
        assert isinstance(fold, OfficialFold)
        emitter = Emitter(fold.data.name, fold.task.rows(), self.notes)
        for layer, dim, precision, values in fold.task.score(embeddings, layers, dims, precisions):
            estimates = {metric: Estimate(value, nan) for metric, value in values.items()}
            yield from emitter.scores(layer, dim, precision, estimates)
        emitter.close()


def load(name: str, data: Path | None = None, split: str = "test") -> OfficialFold:
    """Return an official task with its data.

    Args:
        name: as on the command line, "mteb:NAME".
        data: the folder of local datasets.
        split: "test" or "dev"; where mteb has another one, that is scored, with a note.

    Raises:
        UserError: a task that mteb does not know or that has no budgets, data that cannot be had or read.
    """
    named = mteb_tasks.find(name.removeprefix(PREFIX))
    folder = _folder(named, data)
    if not folder:
        task = mteb_tasks.load(named, split)
        return fold_of(task, f"hub:{task.source}", task.source)
    rows = tasks.load(folder, data)
    task = mteb_tasks.load(named, split, partial(_in_mtebs_form, rows=rows))
    note = f"{name}: rows of {rows.source}, where mteb itself reads {task.source}"
    return fold_of(task, rows.source, f"{task.source} {rows.digest}", (*rows.notes, note))


def fold_of(task: MtebTask, source: str, content: str, notes: Sequence[str] = ()) -> OfficialFold:
    """Return a loaded task as a fold.

    Args:
        task: with its data.
        source: where its rows are from, for the provenance.
        content: what identifies them.
        notes: sentences for the user.
    """
    retrieval, scored = task.family == "retrieval", task.asked.scored
    queries = {text: text for text in task.asked.queries}
    documents = {text: text for text in task.asked.documents}
    score = frame_of(query_id=list(queries)) if retrieval else frame_of(text=list(scored))
    split = SPLIT_NAMES.get(task.split, task.split)
    digest, name = sha256(content.encode()).hexdigest(), f"{PREFIX}{task.name}"
    data = TaskData(name, task.family, {split: score}, queries, documents, (), source, digest, tuple(notes))
    return OfficialFold(data, split, None, None, score, task.notes, task=task)


def scorer(fold: Fold) -> Evaluator:
    """Return a fresh evaluator of a task: mteb for an official one, else its family's."""
    return Official() if isinstance(fold, OfficialFold) else evaluators.evaluator(fold.data.family)


def _folder(task: Any, data: Path | None) -> str:
    """Return the name of the folder of `--data` that holds a task's rows; empty when there is none."""
    same = [own.name for own in tasks.registered().values() if own.source == task.metadata.dataset["path"]]
    there = tasks.found(data)
    return next((name for name in (task.metadata.name, *same) if name in there), "")


def _in_mtebs_form(task: Any, split: str, rows: TaskData) -> Any:
    """Return rows of ours as the dataset of an mteb task.

    Raises:
        UserError: a task whose form of data ours cannot fill, rows of another family, or a split that is not there.
    """
    where, family = f"task mteb:{task.metadata.name}", mteb_tasks.FAMILIES[task.metadata.type]
    if family == "clustering" or task.metadata.is_multilingual:
        what = "for clusterings" if family == "clustering" else "for a task of several languages"
        raise UserError(where, f"{rows.source} cannot stand in {what}", "rename the folder: mteb reads its own dataset")
    needed = (split, task.train_split) if family == "classification" else (split,)
    names = {theirs: SPLIT_NAMES.get(theirs, theirs) for theirs in needed}
    if rows.family != family or not set(names.values()) <= set(rows.splits):
        what = f"{rows.source} is a {rows.family} task with {' and '.join(rows.splits)}"
        raise UserError(
            where, what, f"make it a {family} task with {' and '.join(names.values())}, or rename the folder"
        )
    if family == "retrieval":
        return {"default": {split: _judged(rows, names[split])}}
    from datasets import Dataset, DatasetDict

    renamed = _columns(task, family)
    frames = {theirs: rows.splits[ours].rename(columns=renamed) for theirs, ours in names.items()}
    return DatasetDict({theirs: Dataset.from_pandas(frame) for theirs, frame in frames.items()})


def _columns(task: Any, family: str) -> dict[str, Any]:
    """Return our column -> the task's."""
    if family == "sts":
        return dict(zip(("sentence1", "sentence2"), task.column_names, strict=True))
    texts = ("input_column_name",) if family == "classification" else ("input1_column_name", "input2_column_name")
    own = ("text", "label") if family == "classification" else ("sentence1", "sentence2", "label")
    return {ours: getattr(task, theirs) for ours, theirs in zip(own, (*texts, "label_column_name"), strict=True)}


def _judged(rows: TaskData, split: str) -> dict[str, Any]:
    """Return one split of a retrieval task in mteb's form; a document's title and text are one text already."""
    from datasets import Dataset

    relevant: dict[str, dict[str, int]] = {}
    for query, document, grade in rows.splits[split].itertuples(index=False, name=None):
        relevant.setdefault(query, {})[document] = int(grade)
    corpus = [{"id": name, "title": "", "text": text} for name, text in rows.documents.items()]
    queries = [{"id": name, "text": rows.queries[name]} for name in relevant]
    return {
        "corpus": Dataset.from_list(corpus),
        "queries": Dataset.from_list(queries),
        "relevant_docs": relevant,
        "top_ranked": None,
    }
