"""Semantic textual similarity: how well cosines follow graded human scores."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from mipic_bench.errors import UserError
from mipic_bench.evaluators import Evaluator, Score
from mipic_bench.evaluators._emit import Emitter, require_rows
from mipic_bench.evaluators._estimates import pearson, ranked, spearman
from mipic_bench.evaluators._pairs import pair_cosines
from mipic_bench.evaluators._precision import frame_texts

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold


@final
class Sts(Evaluator):
    """Spearman's and Pearson's correlation of cosine with the score, over all pairs at once; the same in all protocols."""

    family: ClassVar[str] = "sts"
    version: ClassVar[int] = 1

    def _texts(self, fold: "Fold") -> Iterator[str]:
        """See `Evaluator._texts`: the scored pairs alone."""
        yield from frame_texts(fold.score)

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
        gold = fold.score["score"].to_numpy(np.float64)
        if not np.isfinite(gold).all() or gold.min() == gold.max():
            raise UserError(
                f"task {fold.data.name}, split {fold.split}",
                f"scores run from {gold.min()} to {gold.max()}: a correlation needs finite scores that differ",
                "mend the score column",
            )
        gold_ranked = ranked(gold)
        emitter = Emitter(fold.data.name, len(gold), self.notes)
        for layer, precision, (cosines,) in pair_cosines(fold, [fold.score], embeddings, layers, dims, precisions):
            for dim, cosine in zip(dims, cosines, strict=True):
                estimates = {"spearman": spearman(cosine, gold, gold_ranked), "pearson": pearson(cosine, gold)}
                yield from emitter.scores(layer, dim, precision, estimates)
        emitter.close()
