"""Clustering: do the clusters of frozen vectors agree with the classes?"""

import random
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from mipic_bench.errors import UserError
from mipic_bench.evaluators import Evaluator, Score
from mipic_bench.evaluators._cosine import Rows, Vectors, unit_prefix
from mipic_bench.evaluators._emit import Emitter, require_rows, without_uncalibrated
from mipic_bench.evaluators._estimates import UNDEFINED, Estimate, Labels, v_measure
from mipic_bench.evaluators._precision import stored

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold

SEEDS = (0, 1, 2, 3, 4)
MTEB_SEED, MTEB_EXPERIMENTS, MTEB_TEXTS, MTEB_BATCH = 42, 10, 16_384, 512


@final
class Clustering(Evaluator):
    """V-measure of k-means on prefixes of unit length, as many clusters as classes.

    By protocol:
        clean, paper   all scored texts, scikit-learn's KMeans from k-means++, the mean over five fixed seeds
                       (the paper scores no clustering)
        mteb           the mean over ten samples of 16,384 texts with replacement, MiniBatchKMeans, as mteb draws them
                       from all texts of the split

    The standard error is over texts, given the clusters.
    """

    family: ClassVar[str] = "clustering"
    version: ClassVar[int] = 1

    def _texts(self, fold: "Fold") -> Iterator[str]:
        """See `Evaluator._texts`: the scored ones alone."""
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
        labels = fold.score["label"].to_numpy(np.int64)
        if len(np.unique(labels)) < 2:
            where = f"task {fold.data.name}, split {fold.split}"
            raise UserError(where, f"all {len(labels)} rows have one label", "give it rows of two classes")
        precisions, sample_rows = without_uncalibrated(fold, embeddings, precisions)
        rows = np.asarray(embeddings.rows(fold.score["text"]))
        emitter = Emitter(fold.data.name, len(labels), self.notes)
        experiments = _mteb if protocol == "mteb" else _seeded
        for layer, precision, vectors in stored(embeddings, layers, dims[-1], precisions, rows, sample_rows):
            for dim in dims:
                estimate = _estimate(labels, list(experiments(unit_prefix(vectors, dim), labels)))
                yield from emitter.scores(layer, dim, precision, {"v_measure": estimate})
        emitter.close()


def _estimate(labels: Labels, experiments: list[tuple[Rows, Labels]]) -> Estimate:
    return v_measure(labels, experiments) if experiments else UNDEFINED


def _seeded(vectors: Vectors, labels: Labels) -> Iterator[tuple[Rows, Labels]]:
    """Yield (rows, cluster of each) per seed; nothing when a vector has no direction."""
    from sklearn.cluster import KMeans

    rows, count = np.arange(len(labels)), len(np.unique(labels))
    if np.isfinite(vectors).all():
        for seed in SEEDS:
            yield rows, _clusters(KMeans(count, n_init=1, random_state=seed), vectors)


def _mteb(vectors: Vectors, labels: Labels) -> Iterator[tuple[Rows, Labels]]:
    """Yield (rows, cluster of each) per experiment, drawn as mteb draws them in one evaluation of a fresh task."""
    from sklearn.cluster import MiniBatchKMeans

    generator, count = random.Random(MTEB_SEED), len(np.unique(labels))
    if np.isfinite(vectors).all():
        model = MiniBatchKMeans(count, n_init=1, batch_size=MTEB_BATCH, random_state=MTEB_SEED)
        for _ in range(MTEB_EXPERIMENTS):
            rows = np.asarray(generator.choices(range(len(labels)), k=MTEB_TEXTS))
            yield rows, _clusters(model, vectors[rows])


def _clusters(model: Any, vectors: Vectors) -> Labels:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct vectors than clusters: binary, small dims
        return np.asarray(model.fit_predict(vectors), dtype=np.int64)
