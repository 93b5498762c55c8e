"""Retrieval: are the relevant documents ranked first among all documents?"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np

from mipic_bench.evaluators import Evaluator, Score
from mipic_bench.evaluators._cosine import Floats, Rows, Vectors
from mipic_bench.evaluators._emit import Emitter
from mipic_bench.evaluators._estimates import UNDEFINED, Estimate, mean
from mipic_bench.evaluators._index import Index, build
from mipic_bench.evaluators._precision import read_back
from mipic_bench.evaluators._ranking import Judged, per_query
from mipic_bench.evaluators._search import prefix_norms, prefix_scores, query_blocks, relevant_ranks, rescored
from mipic_bench.families import FAMILIES

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold


@final
class Retrieval(Evaluator):
    """Exact cosine search of every query over all documents; the same in all protocols.

    Both sides are stored at the precision: int8 takes its limits from the documents. binary+rescore orders the 400
    best by Hamming distance again by the float query against the stored signs. Documents with equal scores rank by
    descending id, as trec_eval has it. A document that is the query itself (its id, and ending in its text, as in
    ArguAna) is no answer to it, unless it is judged relevant. Queries without a relevant document are left out.
    """

    family: ClassVar[str] = "retrieval"
    version: ClassVar[int] = 1
    precisions: ClassVar[tuple[str, ...]] = ("float32", "int8", "binary", "binary+rescore")
    limits_from_texts: ClassVar[bool] = False

    def _texts(self, fold: "Fold") -> Iterator[str]:
        """See `Evaluator._texts`: the queries of the scored split that have a relevant document, and all documents."""
        relevant = fold.score[fold.score["relevance"] > 0]
        yield from (fold.data.queries[name] for name in dict.fromkeys(relevant["query_id"]))
        yield from fold.data.documents.values()

    def _score(
        self,
        fold: "Fold",
        embeddings: "Embeddings",
        layers: list[int],
        dims: list[int],
        precisions: list[str],
        protocol: str,
    ) -> Iterator[Score]:
        index = build(fold, embeddings, self.notes)
        emitter = Emitter(fold.data.name, index.judged.count, self.notes)
        for layer in layers:
            table = embeddings.at(layer)[:, : dims[-1]]
            documents, queries = (
                np.ascontiguousarray(table[index.documents]),
                np.ascontiguousarray(table[index.queries]),
            )
            for precision in precisions:
                for dim, ranks in zip(dims, _ranks(index, queries, documents, dims, precision), strict=True):
                    yield from emitter.scores(layer, dim, precision, _estimates(index.judged, ranks))
        emitter.close()


def _ranks(
    index: Index, queries: Vectors, documents: Vectors, dims: Sequence[int], precision: str
) -> Iterator[Rows | None]:
    """Yield the ranks of all relevant pairs at each dim; None where a vector has no direction."""
    base = precision.split("+")[0]
    stored, asked = read_back(documents, base, documents), read_back(queries, base, documents)
    rescoring = precision == "binary+rescore"
    norms, query_norms = prefix_norms(stored, dims), prefix_norms(queries if rescoring else asked, dims)
    ranks = np.empty((len(dims), len(index.judged.queries)), dtype=np.int64)
    for block in query_blocks(len(queries), len(stored)):
        first, last = np.searchsorted(index.judged.queries, [block.start, block.stop])
        pairs = index.judged.queries[first:last] - block.start, index.judged.documents[first:last]
        itself = np.flatnonzero(index.own[block] >= 0)
        scores_by_dim = prefix_scores(asked[block], stored, dims, norms)
        if rescoring:
            scores_by_dim = _rescored(scores_by_dim, queries[block], stored, dims, norms)
        for place, scores in enumerate(scores_by_dim):
            by_document = scores if index.columns is None else scores[:, index.columns]
            by_document[itself, index.own[block][itself]] = -np.inf
            ranks[place, first:last] = relevant_ranks(by_document, *pairs)
    for row, *lengths in zip(ranks, norms, query_norms, strict=True):
        yield row if all((length > 0).all() and np.isfinite(length).all() for length in lengths) else None


def _rescored(
    coarse_by_dim: Iterator[Vectors], queries: Vectors, stored: Vectors, dims: Sequence[int], norms: Floats
) -> Iterator[Vectors]:
    lengths = prefix_norms(queries, dims)[:, :, None]
    fine_by_dim = prefix_scores(queries, stored, dims, norms)
    for dim, coarse, fine, length in zip(dims, coarse_by_dim, fine_by_dim, lengths, strict=True):
        with np.errstate(invalid="ignore"):  # a zero query has no direction; the caller looks at its length
            cosines = fine / length.astype(np.float32)
        yield rescored(coarse / np.float32(np.sqrt(dim)), cosines)


def _estimates(judged: Judged, ranks: Rows | None) -> dict[str, Estimate]:
    if ranks is None:
        return dict.fromkeys(FAMILIES["retrieval"].metrics, UNDEFINED)
    return {metric: mean(values) for metric, values in per_query(judged, ranks).items()}
