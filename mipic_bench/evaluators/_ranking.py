"""Retrieval metrics from the ranks of the relevant documents, as trec_eval defines them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mipic_bench.evaluators._cosine import Floats, Rows

_NDCG_DEPTH, _RECALL_DEPTH, _MRR_DEPTH = 10, 100, 10


@dataclass(frozen=True)
class Judged:
    """The relevant documents of each query, as pairs ordered by query.

    Attributes:
        queries: (pair,) ascending, 0..count-1, every number present.
        documents: (pair,) which document.
        gains: (pair,) relevance, above 0.
        count: number of queries.
    """

    queries: Rows
    documents: Rows
    gains: Floats
    count: int


def per_query(judged: Judged, ranks: NDArray[np.int64]) -> dict[str, Floats]:
    """Return each metric of each query, (query,).

    ndcg@10 has linear gains and the discount 1 / log2(rank + 1); map is over the full ranked list.

    Args:
        judged: the relevant documents.
        ranks: (pair,) the rank of each in its query's list, from 1.
    """
    queries, gains = judged.queries, judged.gains
    relevant = np.bincount(queries, minlength=judged.count)

    def total(values: Floats) -> Floats:
        return np.bincount(queries, weights=values, minlength=judged.count).astype(np.float64)

    best_order = np.lexsort((-gains, queries))
    ideal = total(_discounted(gains[best_order], _places(queries)))
    by_rank = np.lexsort((ranks, queries))
    first = np.r_[True, queries[1:] != queries[:-1]]
    best_rank = ranks[by_rank][first]
    return {
        "ndcg@10": total(_discounted(gains, ranks)) / ideal,
        "recall@100": total((ranks <= _RECALL_DEPTH).astype(np.float64)) / relevant,
        "mrr@10": np.where(best_rank <= _MRR_DEPTH, 1 / best_rank, 0.0),
        "map": total(_places(queries) / ranks[by_rank]) / relevant,
    }


def _discounted(gains: Floats, ranks: NDArray[np.int64]) -> Floats:
    return np.where(ranks <= _NDCG_DEPTH, gains / np.log2(ranks + 1), 0.0)


def _places(queries: Rows) -> NDArray[np.int64]:
    """Number the pairs of each query from 1."""
    starts = np.flatnonzero(np.r_[True, queries[1:] != queries[:-1]])
    counts = np.diff(np.r_[starts, len(queries)])
    return np.arange(1, len(queries) + 1) - np.repeat(starts, counts)
