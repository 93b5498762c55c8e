"""Funnel retrieval: a shortlist at a small width, ranked again at growing widths, against exact full-width search.

Kusupati et al. 2022 (arXiv 2205.13147, section 4.3.1) call it adaptive retrieval with a funnel. Dot products are carried
from stage to stage: a stage multiplies only the coordinates that its width adds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mipic_bench.errors import UserError, raise_all
from mipic_bench.evaluators._cosine import Floats, Rows, Vectors
from mipic_bench.evaluators._estimates import Estimate, mean
from mipic_bench.evaluators._index import build
from mipic_bench.evaluators._ranking import Judged, per_query
from mipic_bench.evaluators._search import best_columns, prefix_norms, query_blocks, relevant_ranks

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold

_REPEATS = 3  # wall time is the least of these


@dataclass(frozen=True)
class Funnel:
    """What a funnel keeps and saves.

    Attributes:
        layer: the layer that was searched.
        widths: width of each stage, ascending.
        shortlists: documents kept after each stage but the last.
        n: queries.
        quality: metric -> its mean over queries in the funnel.
        exact: metric -> its mean over queries in exact search at the encoder's full width.
        lost: metric -> the mean of exact minus funnel, paired by query.
        multiply_adds: per query in the funnel.
        exact_multiply_adds: per query in exact search.
        seconds: wall time per query in the funnel: products, shortlists, final order.
        exact_seconds: wall time per query of exact search: products and the order of the last shortlist's size.
    """

    layer: int
    widths: tuple[int, ...]
    shortlists: tuple[int, ...]
    n: int
    quality: Mapping[str, Estimate]
    exact: Mapping[str, Estimate]
    lost: Mapping[str, Estimate]
    multiply_adds: int
    exact_multiply_adds: int
    seconds: float
    exact_seconds: float


def funnel(
    fold: "Fold", embeddings: "Embeddings", layer: int, widths: Sequence[int], shortlists: Sequence[int]
) -> Funnel:
    """Search a retrieval task through a funnel and exactly.

    A relevant document that is dropped keeps the rank it had at the stage that dropped it, below all that were kept.

    Args:
        fold: of a retrieval task.
        embeddings: the vectors of its queries and documents.
        layer: the layer to search.
        widths: ascending widths, one per stage.
        shortlists: descending numbers of documents kept, one for each stage but the last.

    Raises:
        UserError: widths or shortlists that make no funnel, or a task that is not retrieval.
    """
    raise_all([*_misfits(fold, embeddings, layer), *problems(widths, shortlists, embeddings.width)])
    index = build(fold, embeddings, [])
    documents, queries = embeddings.at(layer)[index.rows_in_order()], embeddings.at(layer)[index.queries]
    sizes = [min(size, len(documents)) for size in shortlists]
    narrow = _Search(queries, documents, index.own, [*widths])
    full = _Search(queries, documents, index.own, [embeddings.width])
    found = per_query(index.judged, narrow.ranks(index.judged, sizes))
    exact = per_query(index.judged, full.ranks(index.judged, []))
    return Funnel(
        layer=layer,
        widths=tuple(widths),
        shortlists=tuple(shortlists),
        n=index.judged.count,
        quality={metric: mean(values) for metric, values in found.items()},
        exact={metric: mean(values) for metric, values in exact.items()},
        lost={metric: mean(exact[metric] - found[metric]) for metric in found},
        multiply_adds=narrow.multiply_adds(sizes),
        exact_multiply_adds=full.multiply_adds([]),
        seconds=narrow.seconds(sizes, sizes[-1] if sizes else len(documents)),
        exact_seconds=full.seconds([], sizes[-1] if sizes else len(documents)),
    )


def problems(widths: Sequence[int], shortlists: Sequence[int], width: int) -> list[UserError]:
    """Return why widths and shortlists make no funnel on vectors of some width; nothing when they do."""
    found = []
    if not widths or list(widths) != sorted(set(widths)) or not 1 <= widths[0] <= widths[-1] <= width:
        what = f"widths are {list(widths)}; they must ascend within 1..{width}"
        found.append(UserError("--funnel", what, "start small and end at the width to rank by"))
    if len(shortlists) != len(widths) - 1:
        what = f"{len(widths)} widths and {len(shortlists)} shortlists"
        found.append(UserError("--funnel", what, "give one shortlist size for each width but the last"))
    if list(shortlists) != sorted(shortlists, reverse=True) or any(size < 1 for size in shortlists):
        what = f"shortlists are {list(shortlists)}; they must fall and be at least 1"
        found.append(UserError("--funnel", what, "keep fewer documents at each stage"))
    return found


def _misfits(fold: "Fold", embeddings: "Embeddings", layer: int) -> list[UserError]:
    found = []
    if fold.data.family != "retrieval":
        what = f"a funnel searches documents; the task is of the family {fold.data.family}"
        found.append(UserError(f"task {fold.data.name}", what, "give a retrieval task"))
    if layer not in embeddings.layers:
        at_hand = ", ".join(map(str, embeddings.layers))
        found.append(
            UserError("--funnel", f"layer {layer} was not encoded; encoded: {at_hand}", "ask for one of these")
        )
    return found


class _Search:
    """Staged cosine search.

    Args:
        queries: (query, dim) float32.
        documents: (document, dim) float32; of equal scores the earlier document is better.
        own: (query,) the document that is the query itself and is never found, else -1.
        widths: ascending.
    """

    def __init__(self, queries: Vectors, documents: Vectors, own: Rows, widths: list[int]) -> None:
        self.queries, self.documents, self.own, self.widths = queries, documents, own, widths
        lengths = {"documents": prefix_norms(documents, widths), "queries": prefix_norms(queries, widths)}
        raise_all([_undirected(what, found, widths) for what, found in lengths.items() if not _directed(found).all()])
        self.norms = lengths["documents"].astype(np.float32)

    def multiply_adds(self, sizes: Sequence[int]) -> int:
        """Return the multiply-adds per query; a stage multiplies only the coordinates that its width adds."""
        steps = np.diff([0, *self.widths])
        return int(np.dot([len(self.documents), *sizes], steps))

    def stages(self, block: slice, sizes: Sequence[int]) -> "list[tuple[Vectors, Rows | None]]":
        """Return per stage (scores (query, candidate), candidates (query, candidate) ascending; None for all)."""
        queries = torch.from_numpy(self.queries[block])
        documents = torch.from_numpy(self.documents)
        products = queries[:, : self.widths[0]] @ documents[:, : self.widths[0]].T
        candidates: Rows | None = None
        stages = [(self._cosines(block, products, 0, None), candidates)]
        for place, size in enumerate(sizes, start=1):
            kept = best_columns(stages[-1][0], size)
            products = torch.take_along_dim(products, torch.from_numpy(kept), dim=1)
            candidates = kept if candidates is None else np.take_along_axis(candidates, kept, axis=1)
            added = slice(self.widths[place - 1], self.widths[place])
            gathered = documents[:, added][torch.from_numpy(candidates)]
            products = products + torch.bmm(gathered, queries[:, added, None])[:, :, 0]
            stages.append((self._cosines(block, products, place, candidates), candidates))
        return stages

    def _cosines(self, block: slice, products: Tensor, place: int, candidates: Rows | None) -> Vectors:
        """Divide products by the documents' lengths, and put the query itself last."""
        norms = self.norms[place] if candidates is None else self.norms[place][candidates]
        cosines: Vectors = (products / torch.from_numpy(norms)).numpy()
        for row in np.flatnonzero(self.own[block] >= 0):
            own = self.own[block][row]
            cosines[row, slice(own, own + 1) if candidates is None else candidates[row] == own] = -np.inf
        return cosines

    def blocks(self, sizes: Sequence[int]) -> list[slice]:
        """Return slices of queries whose scores, and gathered candidates, stay within memory."""
        gathered = max([size * int(step) for size, step in zip(sizes, np.diff(self.widths), strict=True)], default=0)
        return list(query_blocks(len(self.queries), max(len(self.documents), gathered)))

    def ranks(self, judged: Judged, sizes: Sequence[int]) -> Rows:
        """Return the rank of each relevant document, by the last stage that it reached."""
        ranks = np.empty(len(judged.queries), dtype=np.int64)
        for block in self.blocks(sizes):
            first, last = np.searchsorted(judged.queries, [block.start, block.stop])
            asked = judged.queries[first:last] - block.start
            wanted = judged.documents[first:last]
            for scores, candidates in self.stages(block, sizes):
                here, places = _present(candidates, asked, wanted)
                ranks[first:last][here] = relevant_ranks(scores, asked[here], places) if here.any() else 0
        return ranks

    def seconds(self, sizes: Sequence[int], depth: int) -> float:
        """Return the least wall time per query of several runs, the order of the `depth` best included."""
        times = []
        for _ in range(_REPEATS):
            start = perf_counter()
            for block in self.blocks(sizes):
                scores = torch.from_numpy(self.stages(block, sizes)[-1][0])
                scores.topk(min(depth, scores.shape[1]), dim=1)
            times.append(perf_counter() - start)
        return min(times) / len(self.queries)


def _directed(norms: Floats) -> NDArray[np.bool_]:
    return (norms > 0) & np.isfinite(norms)


def _undirected(what: str, norms: Floats, widths: Sequence[int]) -> UserError:
    """Build the error for vectors whose prefix is zero or no number, so that they have no cosine with anything."""
    place = int(np.argmin(_directed(norms).all(axis=1)))
    count = int((~_directed(norms[place])).sum())
    told = f"{count} of {norms.shape[1]} {what} have no direction at width {widths[place]}: zero, or no number"
    return UserError("--funnel", told, "leave them out, start at a larger width, or look at the model")


def _present(candidates: Rows | None, asked: Rows, wanted: Rows) -> "tuple[np.ndarray, Rows]":
    """Return which wanted documents are still candidates of their query, and the columns of those."""
    if candidates is None:
        return np.ones(len(wanted), dtype=bool), wanted
    places = np.asarray(
        [np.searchsorted(candidates[query], document) for query, document in zip(asked, wanted, strict=True)]
    )
    inside = np.minimum(places, candidates.shape[1] - 1)
    here = candidates[asked, inside] == wanted
    return here, places[here]
