"""What a retrieval task searches: documents in the order that breaks ties, queries, and who is relevant to whom."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mipic_bench.errors import UserError
from mipic_bench.evaluators._cosine import Rows
from mipic_bench.evaluators._ranking import Judged

if TYPE_CHECKING:
    from mipic_bench.encoding.embed import Embeddings
    from mipic_bench.tasks import Fold


@dataclass(frozen=True)
class Index:
    """Documents are numbered by descending id (in bytes), so that of equal scores the lower number ranks first.

    Attributes:
        queries: (query,) rows of the embeddings.
        documents: rows of the embeddings, one per distinct text.
        columns: (document,) where each document stands in `documents`; None when no text repeats and `documents` is
            in the order of the numbers itself. Equal texts are scored once, so that they tie exactly.
        judged: the relevant pairs.
        own: (query,) the number of the document that is the query itself, else -1.
    """

    queries: Rows
    documents: Rows
    columns: Rows | None
    judged: Judged
    own: Rows

    def rows_in_order(self) -> Rows:
        """Return (document,) rows of the embeddings, by number."""
        return self.documents if self.columns is None else self.documents[self.columns]


def build(fold: "Fold", embeddings: "Embeddings", notes: list[str]) -> Index:
    """Number the queries and documents of a task; queries without a relevant document are left out, with a note.

    Raises:
        UserError: no query has a relevant document.
    """
    data = fold.data
    relevant = fold.score[fold.score["relevance"] > 0]
    names = list(dict.fromkeys(relevant["query_id"]))
    left_out = fold.score["query_id"].nunique() - len(names)
    if left_out:
        notes.append(f"{data.name}: {left_out} queries without a relevant document are left out")
    if not names:
        raise UserError(f"task {data.name}, split {fold.split}", "no query has a relevant document", "add judgements")
    order = sorted(data.documents, key=str.encode, reverse=True)
    place, number = ({name: position for position, name in enumerate(ids)} for ids in (names, order))
    pairs = sorted(
        (place[query], number[document], gain)
        for query, document, gain in zip(relevant["query_id"], relevant["doc_id"], relevant["relevance"], strict=True)
    )
    queries, documents, gains = (np.asarray(column) for column in zip(*pairs, strict=True))
    rows = np.asarray(embeddings.rows([data.documents[name] for name in order]))
    distinct, columns = _distinct(rows)
    repeats = len(distinct) < len(rows)
    return Index(
        np.asarray(embeddings.rows([data.queries[name] for name in names])),
        distinct if repeats else rows,
        columns if repeats else None,
        Judged(queries, documents, gains.astype(np.float64), len(names)),
        _own(fold, names, number, {(query, document) for query, document, _ in pairs}),
    )


def _distinct(rows: Rows) -> tuple[Rows, Rows]:
    """Return the distinct rows by their first place, so that ties fall by id and not by the order of encoding; and who is where."""
    found, first, place = np.unique(rows, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return found[order], np.argsort(order)[place]


def _own(fold: "Fold", names: list[str], number: dict[str, int], answers: set[tuple[int, int]]) -> Rows:
    own = np.full(len(names), -1)
    for query, name in enumerate(names):
        document = fold.data.documents.get(name)
        if document is not None and document.endswith(fold.data.queries[name]) and (query, number[name]) not in answers:
            own[query] = number[name]
    return own
