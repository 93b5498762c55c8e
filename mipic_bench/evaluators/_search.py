"""Exact search over all documents at every prefix, and where the relevant documents land.

Metrics need no ranked list: the rank of a relevant document is one plus the number of documents that score higher, so
each budget costs one pass over the scores.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mipic_bench.evaluators._cosine import Floats, Rows, Vectors

CANDIDATES = 400  # binary+rescore: 4 x the deepest cut of our metrics (100), the multiplier of sentence-transformers
_BLOCK_SCORES = 1 << 24  # query-document scores held at a time (64 MB an array)
_FEW = 8  # relevant documents of a query up to which counting beats sorting


def query_blocks(queries: int, documents: int) -> Iterator[slice]:
    """Yield slices of queries, so that the scores of a block against all documents stay within memory."""
    size = max(1, _BLOCK_SCORES // max(1, documents))
    yield from (slice(start, min(start + size, queries)) for start in range(0, queries, size))


def prefix_norms(vectors: Vectors, dims: Sequence[int]) -> Floats:
    """Return the length of every prefix, (len(dims), text)."""
    squares = np.add.reduceat(vectors[:, : dims[-1]].astype(np.float64) ** 2, [0, *dims[:-1]], axis=1)
    norms: Floats = np.sqrt(squares.cumsum(axis=1)).T
    return norms


def prefix_scores(queries: Vectors, documents: Vectors, dims: Sequence[int], norms: Floats) -> Iterator[Vectors]:
    """Yield, per dim, the cosine of each query with each document times the query's length, (query, document) float32.

    The products of a prefix are those of the prefix before plus one block's. The array is written over at the next dim.

    Args:
        queries: (query, dim) float32.
        documents: (document, dim) float32.
        dims: ascending widths.
        norms: `prefix_norms` of the documents.
    """
    products = torch.zeros(len(queries), len(documents))
    scores = torch.empty_like(products)
    left, right = torch.from_numpy(queries), torch.from_numpy(documents)
    for start, dim, norm in zip([0, *dims[:-1]], dims, norms, strict=True):
        products.addmm_(left[:, start:dim], right[:, start:dim].T)
        with np.errstate(divide="ignore"):  # a zero document has no direction; the caller looks at `norms`
            inverse = (1 / norm).astype(np.float32)
        torch.mul(products, torch.from_numpy(inverse), out=scores)
        yield scores.numpy()


def rescored(coarse: Vectors, fine: Vectors) -> Vectors:
    """Order documents by `fine` among the `CANDIDATES` best by `coarse`, and by `coarse` below them.

    Args:
        coarse: (query, document) in [-1, 1]; of equal ones the earlier column is better.
        fine: (query, document) in [-1, 1].
    """
    documents = coarse.shape[1]
    if documents <= CANDIDATES:
        return fine
    best = best_columns(coarse, CANDIDATES)
    merged: Vectors = coarse - 4
    np.put_along_axis(merged, best, np.take_along_axis(fine, best, axis=1), axis=1)
    return merged


def best_columns(scores: Vectors, size: int) -> Rows:
    """Return the columns of the `size` best scores of each row, ascending; of equal ones the earlier columns.

    NaN, the score of a vector without direction, comes last: it is the caller's to say that its answer is undefined.
    """
    scores = np.where(np.isnan(scores), -np.inf, scores)
    least = np.partition(scores, scores.shape[1] - size, axis=1)[:, scores.shape[1] - size]
    kept = np.empty((len(scores), size), dtype=np.int64)
    for row, (values, limit) in enumerate(zip(scores, least, strict=True)):
        above = np.flatnonzero(values > limit)
        level = np.flatnonzero(values == limit)[: size - len(above)]
        kept[row] = np.sort(np.concatenate([above, level]))
    return kept


def relevant_ranks(scores: Vectors, queries: Rows, documents: Rows) -> NDArray[np.int64]:
    """Return the rank, from 1, of each relevant document.

    Args:
        scores: (query, document); of equal ones the earlier column ranks first.
        queries: (pair,) ascending rows of `scores`.
        documents: (pair,) columns of `scores`: the relevant document of each pair.
    """
    ranks = np.empty(len(queries), dtype=np.int64)
    starts = np.flatnonzero(np.r_[True, queries[1:] != queries[:-1]])
    for start, stop in zip(starts, np.r_[starts[1:], len(queries)], strict=True):
        row, columns = scores[queries[start]], documents[start:stop]
        ranks[start:stop] = _few_ranks(row, columns) if stop - start <= _FEW else _many_ranks(row, columns)
    return ranks


def _few_ranks(row: Vectors, columns: Rows) -> list[int]:
    return [1 + int((row > row[column]).sum() + (row[:column] == row[column]).sum()) for column in columns]


def _many_ranks(row: Vectors, columns: Rows) -> NDArray[np.int64]:
    in_order, own = np.sort(row), row[columns]
    ranks = 1 + len(row) - np.searchsorted(in_order, own, side="right")
    equal = np.searchsorted(in_order, own, side="right") - np.searchsorted(in_order, own, side="left")
    for place in np.flatnonzero(equal > 1):
        ranks[place] += np.count_nonzero(row[: columns[place]] == own[place])
    return ranks
