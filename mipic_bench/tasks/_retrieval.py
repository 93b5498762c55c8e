"""Retrieval data in BEIR's form: documents, queries, and judgements by split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mipic_bench.data import checks
from mipic_bench.errors import UserError, gather, raise_all
from mipic_bench.registry import lazy
from mipic_bench.tasks._base import frame_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
else:
    np = lazy("numpy")
    pd = lazy("pandas")

QRELS = ("query-id", "corpus-id", "score")
Judgement = tuple[str, str, Any]
_HIGHEST = 2**31 - 1  # grade, as trec_eval reads them


@dataclass(frozen=True)
class Retrieval:
    """Checked retrieval data; see `TaskData` for the fields."""

    splits: Mapping[str, pd.DataFrame]
    queries: Mapping[str, str]
    documents: Mapping[str, str]
    notes: tuple[str, ...]


def read_documents(objects: Iterable[Mapping[str, Any]], where: str) -> dict[str, str]:
    """Return document id -> title and text, joined as mteb and BEIR do.

    Raises:
        UserError: an object without `_id` or `text`, an id that is empty or stands twice, a title or text that is no text.
    """
    rows = list(objects)
    ids = _ids(rows, where)
    checks.unique(ids, "document id", where)
    titles = checks.texts_or_empty((row.get("title") for row in rows), "title", where)
    texts = checks.texts_or_empty((row["text"] for row in rows), "text", where)
    return {name: f"{title} {text}".strip() for name, title, text in zip(ids, titles, texts, strict=True)}


def read_queries(objects: Iterable[Mapping[str, Any]], where: str) -> dict[str, str]:
    """Return query id -> text, of all queries.

    Raises:
        UserError: an object without `_id` or `text`, an id that is empty or stands twice, an empty query.
    """
    rows = list(objects)
    ids = _ids(rows, where)
    checks.unique(ids, "query id", where)
    texts = checks.texts(frame_of(text=[row["text"] for row in rows]), "text", where)
    return dict(zip(ids, texts, strict=True))


def join(
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    judgements: Mapping[str, Sequence[Judgement]],
    where: Mapping[str, str],
) -> Retrieval:
    """Join judgements to their texts.

    Args:
        documents: id -> text.
        queries: id -> text; those without a relevant document in any split are counted and left out.
        judgements: split -> (query id, document id, relevance).
        where: split -> what to call its file in messages.

    Raises:
        UserError: judgements of unknown ids, relevance that is not a whole number of 32 bits, a pair judged twice, fewer than two queries.
    """
    read = gather(partial(_judged, judgements[s], documents, queries, where[s]) for s in judgements)
    splits, notes = {}, []
    for split, frame in zip(judgements, read, strict=True):
        relevant = frame.loc[frame["relevance"] > 0, "query_id"].unique()
        kept = frame[frame["query_id"].isin(relevant)].reset_index(drop=True)
        left_out = frame["query_id"].nunique() - len(relevant)
        if left_out:
            notes.append(
                f"{split}: {left_out} of {frame['query_id'].nunique()} queries have no relevant document and are left out"
            )
        if len(relevant) < 2:
            found = "1 query" if len(relevant) == 1 else "no query"
            raise UserError(where[split], f"{found} with a relevant document, at least 2 are needed", "add judgements")
        splits[split] = kept
    judged = {name for frame in splits.values() for name in frame["query_id"]}
    if len(judged) < len(queries):
        notes.append(f"{len(queries) - len(judged)} of {len(queries)} queries have no judgement and are left out")
    empty = sum(not text for text in documents.values())
    if empty:
        notes.append(f"{empty} of {len(documents)} documents are empty; they are indexed as they are")
    used = {name: text for name, text in queries.items() if name in judged}
    return Retrieval(splits, used, dict(documents), tuple(notes))


def _ids(rows: Sequence[Mapping[str, Any]], where: str) -> list[str]:
    for key in ("_id", "text"):
        bad = [row for row, values in enumerate(rows) if key not in values]
        if bad:
            names = tuple(rows[bad[0]])
            problem = checks.missing(key, names, where)
            raise UserError(where, f"{checks.name_rows(bad)}: {problem.what}", problem.fix)
    return checks.texts(frame_of(_id=[row["_id"] for row in rows]), "_id", where)


def _judged(
    rows: Sequence[Judgement], documents: Mapping[str, str], queries: Mapping[str, str], where: str
) -> pd.DataFrame:
    query_ids, doc_ids = [str(row[0]) for row in rows], [str(row[1]) for row in rows]
    raise_all(
        [
            *_unknown_ids(query_ids, queries, "query", where),
            *_unknown_ids(doc_ids, documents, "document", where),
        ]
    )
    relevance = checks.numbers(frame_of(score=[row[2] for row in rows]), "score", where)
    broken = np.flatnonzero(relevance != np.round(relevance))
    if len(broken):
        what = f"relevance {relevance[broken[0]]:g} in {checks.name_rows(broken)} is not a whole number"
        raise UserError(where, what, "grade relevance as 0, 1, 2, ...")
    beyond = np.flatnonzero(np.abs(relevance) > _HIGHEST)
    if len(beyond):
        what = f"relevance {relevance[beyond[0]]:g} in {checks.name_rows(beyond)} is beyond {_HIGHEST}"
        raise UserError(where, what, "grade relevance as 0, 1, 2, ...")
    checks.unique(list(zip(query_ids, doc_ids, strict=True)), "judgement", where)
    return frame_of(query_id=query_ids, doc_id=doc_ids, relevance=relevance.astype(np.int64))


def _unknown_ids(ids: Sequence[str], known: Mapping[str, str], what: str, where: str) -> list[UserError]:
    bad = [row for row, name in enumerate(ids) if name not in known]
    if not bad:
        return []
    told = f"{what} id '{ids[bad[0]]}' in {checks.name_rows(bad)} is not among the {len(known)} {what} ids"
    return [UserError(where, told, "take the judgements out, or add what they name")]
