"""Classification: how well a linear probe reads the classes out of frozen vectors."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from mipic_bench.errors import UserError
from mipic_bench.evaluators import Evaluator, Score, _logistic
from mipic_bench.evaluators._cosine import Rows, Vectors, unit_prefix
from mipic_bench.evaluators._emit import Emitter, require_rows, without_uncalibrated
from mipic_bench.evaluators._estimates import UNDEFINED, Estimate, Labels, macro_f1, mean
from mipic_bench.evaluators._precision import stored

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold

MTEB_EXPERIMENTS = 10
MTEB_PER_LABEL = 8
MTEB_SEED = 42


@final
class Classification(Evaluator):
    """Accuracy and macro-F1 of a logistic regression fitted on the fit rows.

    By protocol:
        clean   C = 1 at every budget (tuning it per budget would compare tuning), on prefixes of unit length, solved
                to a gradient of 1e-5 by our own solver
        paper   scikit-learn's LogisticRegression(max_iter=200, random_state=42) on raw prefixes (the evaluation code
                of MIPIC's authors)
        mteb    the mean of ten LogisticRegression(max_iter=100) fits on eight texts per label each, drawn as mteb
                draws them, on prefixes of unit length
    """

    family: ClassVar[str] = "classification"
    version: ClassVar[int] = 1

    def _texts(self, fold: "Fold") -> Iterator[str]:
        """See `Evaluator._texts`: the probe is fitted on some and scored on the others."""
        if fold.fit is not None:
            yield from fold.fit["text"]
        yield from fold.score["text"]

    def _score(
        self,
        fold: "Fold",
        embeddings: "Embeddings",
        layers: list[int],
        dims: list[int],
        precisions: list[str],
        protocol: str,
    ) -> Iterator[Score]:
        require_rows(fold)
        fit_labels, truth = self._labels(fold)
        assert fold.fit is not None
        precisions, sample_rows = without_uncalibrated(fold, embeddings, precisions)
        rows = np.asarray(embeddings.rows([*fold.fit["text"], *fold.score["text"]]))
        emitter = Emitter(fold.data.name, len(truth), self.notes)
        log = _FitLog(fold.data.name)
        probes = {"clean": _clean, "paper": _paper, "mteb": _mteb}
        for layer, precision, vectors in stored(embeddings, layers, dims[-1], precisions, rows, sample_rows):
            for dim in dims:
                cut = vectors[:, :dim] if protocol == "paper" else unit_prefix(vectors, dim)
                estimates = dict.fromkeys(("accuracy", "macro_f1"), UNDEFINED)
                if np.isfinite(cut).all():
                    train, test = cut[: len(fit_labels)], cut[len(fit_labels) :]
                    estimates = _estimates(truth, probes[protocol](train, fit_labels, test, log))
                yield from emitter.scores(layer, dim, precision, estimates)
        emitter.close()
        self.notes.extend(log.sentences())

    def _labels(self, fold: "Fold") -> tuple[Labels, Labels]:
        """Return the labels of the fit and of the scored rows, refusing what no probe can be fitted on."""
        where = f"task {fold.data.name}"
        if fold.fit is None or not len(fold.fit):
            raise UserError(where, "no rows to fit the probe on", "give it a train split")
        fit_labels, truth = (frame["label"].to_numpy(np.int64) for frame in (fold.fit, fold.score))
        if len(np.unique(fit_labels)) < 2:
            raise UserError(
                where, f"the {len(fit_labels)} rows to fit on hold one class", "give it rows of two classes"
            )
        unseen = ~np.isin(truth, fit_labels)
        if unseen.any():
            self.notes.append(
                f"{fold.data.name}: {int(unseen.sum())} of {len(truth)} scored rows have a label that is not among the "
                "rows to fit on; they count as wrong"
            )
        return fit_labels, truth


class _FitLog:
    """Counts fits, and the steps they took."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.steps: list[int] = []
        self.failed = 0

    def add(self, steps: int, converged: bool) -> None:
        self.steps.append(steps)
        self.failed += not converged

    def sentences(self) -> Iterator[str]:
        if self.steps:
            yield (
                f"{self.task}: {len(self.steps) - self.failed} of {len(self.steps)} probe fits converged, in "
                f"{min(self.steps)} to {max(self.steps)} steps"
            )


def _estimates(truth: Labels, guesses: list[Labels]) -> dict[str, Estimate]:
    """Return the mean metrics over several fits; the errors over texts, given the fits."""
    correct = np.mean([guess == truth for guess in guesses], axis=0)
    return {"accuracy": mean(correct), "macro_f1": macro_f1(truth, guesses)}


def _clean(train: Vectors, labels: Labels, test: Vectors, log: _FitLog) -> list[Labels]:
    probe = _logistic.fit(train, labels)
    log.add(probe.gradients, probe.converged)
    return [probe.predict(test)]


def _paper(train: Vectors, labels: Labels, test: Vectors, log: _FitLog) -> list[Labels]:
    return [_sklearn(train, labels, test, log, 200)]


def _mteb(train: Vectors, labels: Labels, test: Vectors, log: _FitLog) -> list[Labels]:
    return [_sklearn(train[rows], labels[rows], test, log, 100) for rows in _mteb_samples(labels)]


def _mteb_samples(labels: Labels) -> Iterator[Rows]:
    """Yield the rows of each of mteb's experiments: one running order, shuffled again by the same seed each time."""
    order = list(range(len(labels)))
    for _ in range(MTEB_EXPERIMENTS):
        np.random.RandomState(MTEB_SEED).shuffle(order)  # noqa: NPY002 - a generator of our own, of the kind mteb uses
        taken: dict[int, int] = {}
        rows = []
        for row in order:
            label = int(labels[row])
            if taken.setdefault(label, 0) < MTEB_PER_LABEL:
                taken[label] += 1
                rows.append(row)
        yield np.asarray(rows)


def _sklearn(train: Vectors, labels: Labels, test: Vectors, log: _FitLog, most_steps: int) -> Labels:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=most_steps, random_state=42)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
    steps = int(model.n_iter_.max())
    log.add(steps, steps < most_steps)
    return np.asarray(model.predict(test))
