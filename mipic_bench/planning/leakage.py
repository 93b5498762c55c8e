"""How much of what is scored was trained on: exact and near-exact overlap between a corpus and a scored split."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from mipic_bench.corpora import Corpus
from mipic_bench.errors import UserError
from mipic_bench.families import FAMILIES
from mipic_bench.tasks import Fold

_DROPPED = re.compile(r"[\W_]+")  # punctuation, white space, symbols; marks too, see `_marks`
# How the names of accents begin that NFKC could not join to their letter, and of what makes an emoji of a sign.
_OVER_ANY_LETTER = ("COMBINING", "VARIATION SELECTOR")
_ASCII_DROPPED = {code: None for code in range(128) if not chr(code).isalnum()}


@dataclass(frozen=True, eq=False)
class Leakage:
    """Overlap of a scored split with a corpus. Near-exact means equal after `normalized`; exact rows are among them.

    Args:
        corpus: the corpus's name.
        rows: scored rows (retrieval: judgements).
        leaked_rows: rows with any text in the corpus (retrieval: whose query is in it).
        whole_rows: rows with every text in the corpus, in whatever rows of it.
        paired_rows: rows whose two texts stand together in one row of the corpus, in either order; None when unknown,
            because mteb keeps the pairs of its tasks to itself.
        exact_rows: rows with any text in the corpus letter for letter.
        texts: different texts of the scored rows (retrieval: queries and all documents).
        leaked_texts: those of them in the corpus.
        mask: bool (row,), True for leaked rows.
    """

    corpus: str
    rows: int
    leaked_rows: int
    whole_rows: int
    paired_rows: int | None
    exact_rows: int
    texts: int
    leaked_texts: int
    mask: np.ndarray

    def counts(self) -> dict[str, Any]:
        """Return everything but the mask, for the provenance."""
        return {name: value for name, value in asdict(self).items() if name != "mask"}

    def sentence(self) -> str:
        """Say it in one line."""
        share = 100 * self.leaked_rows / max(self.rows, 1)
        paired = "" if self.paired_rows is None else f" ({self.paired_rows} as the same pair)"
        return (
            f"{self.leaked_rows} of {self.rows} scored rows ({share:.1f} %) have a text of {self.corpus}{paired}; "
            f"{self.leaked_texts} of {self.texts} texts"
        )


def normalized(text: str) -> str:
    """Return a text with case, punctuation and white space taken away (NFKC, casefold); itself when nothing would be left.

    Vowel signs and other marks of a script's own stay; accents that NFKC joins to no letter go.
    """
    if text.isascii():
        return text.lower().translate(_ASCII_DROPPED) or text
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _DROPPED.sub(lambda run: _marks(run[0]), folded) or text


@lru_cache(maxsize=4096)
def _marks(run: str) -> str:
    """Return the marks of a script's own in a run of what is dropped: without its vowel signs, Hindi has other words."""
    return "".join(
        char
        for char in run
        if unicodedata.category(char) in ("Mn", "Mc") and not unicodedata.name(char, "").startswith(_OVER_ANY_LETTER)
    )


def leakage(corpus: Corpus, fold: Fold) -> Leakage:
    """Count the scored rows and texts that also stand in a corpus."""
    index = _indexed(corpus)
    scored = _scored_texts(fold)  # one tuple of texts per row
    words = {text: normalized(text) for row in scored for text in row}
    found = np.array([[words[text] in index.near for text in row] for row in scored], dtype=bool)
    exact = np.array([any(text in index.exact for text in row) for row in scored], dtype=bool)
    paired = sum(len(row) == 2 and frozenset(words[text] for text in row) in index.pairs for row in scored)
    of_pairs = "sentence1" in FAMILIES[fold.data.family].columns
    unique = set(words) | set(fold.data.documents.values())
    mask = np.asarray(found.any(axis=1))
    return Leakage(
        corpus=corpus.name,
        rows=len(scored),
        leaked_rows=int(mask.sum()),
        whole_rows=int(found.all(axis=1).sum()),
        paired_rows=None if of_pairs and "sentence1" not in fold.score.columns else paired,
        exact_rows=int(exact.sum()),
        texts=len(unique),
        leaked_texts=sum((words[text] if text in words else normalized(text)) in index.near for text in unique),
        mask=mask,
    )


def excluded(fold: Fold, leak: Leakage) -> Fold:
    """Return the fold without its leaked rows, for `--exclude-leaked`.

    Raises:
        UserError: what is left cannot be scored: fewer than two rows, or one class or score only.
    """
    kept = fold.score[~leak.mask].reset_index(drop=True)
    target = {"retrieval": "query_id", "sts": "score"}.get(fold.data.family, "label")
    if len(kept) < 2 or kept[target].nunique() < 2:
        what = f"without the {leak.leaked_rows} leaked of {leak.rows} rows, {len(kept)} are left: too few to score"
        raise UserError(f"task {fold.data.name}", what, "score it without --exclude-leaked, or train on another corpus")
    note = f"{fold.data.name}: {leak.leaked_rows} of {leak.rows} rows with a text of {leak.corpus} are left out"
    return replace(fold, score=kept, notes=(*fold.notes, note))


def _scored_texts(fold: Fold) -> Sequence[tuple[str, ...]]:
    if fold.data.family == "retrieval":
        return [(fold.data.queries[query],) for query in fold.score["query_id"]]
    names = [name for name in ("text", "sentence1", "sentence2") if name in fold.score.columns]
    return list(zip(*(fold.score[name] for name in names), strict=True))


@dataclass(frozen=True)
class _Index:
    exact: frozenset[str]
    near: frozenset[str]
    pairs: frozenset[frozenset[str]]  # unordered: an anchor with its positive or negative


@lru_cache(maxsize=2)  # one corpus meets many tasks
def _indexed(corpus: Corpus) -> _Index:
    columns = {name: [normalized(text) for text in column] for name, column in corpus.columns.items()}
    others = [columns[name] for name in ("positive", "negative") if name in columns]
    return _Index(
        exact=frozenset(text for column in corpus.columns.values() for text in column),
        near=frozenset(text for column in columns.values() for text in column),
        pairs=frozenset(frozenset(pair) for other in others for pair in zip(columns["anchor"], other, strict=True)),
    )
