"""What a corpus is, and how its kind is read from its columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

from mipic_bench.data import checks, datafiles
from mipic_bench.errors import UserError, gather, listed
from mipic_bench.registry import lazy
from mipic_bench.tasks._tables import pair_labels

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

KINDS = ("text", "pairs", "triplets", "scored")
# columns -> (kind, our name for each text column), the first that is there wins
_SHAPES: tuple[tuple[tuple[str, ...], str, Mapping[str, str]], ...] = (
    (
        ("anchor", "positive", "negative"),
        "triplets",
        {"anchor": "anchor", "positive": "positive", "negative": "negative"},
    ),
    (("sentence1", "sentence2", "score"), "scored", {"sentence1": "anchor", "sentence2": "positive"}),
    (("anchor", "positive", "score"), "scored", {"anchor": "anchor", "positive": "positive"}),
    (("anchor", "positive"), "pairs", {"anchor": "anchor", "positive": "positive"}),
    (("sentence1", "sentence2"), "pairs", {"sentence1": "anchor", "sentence2": "positive"}),
    (("text",), "text", {"text": "anchor"}),
)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Rows to train on, checked.

    Args:
        name: as in rows.
        kind: one of KINDS.
        columns: "anchor"; for pairs, triplets and scored also "positive"; for triplets also "negative"; each as long as the corpus.
        scores: graded similarity, as it stands in the source; None unless scored.
        digest: sha256 of kind, columns and scores, the same for the same rows in CSV, JSONL and Parquet.
        source: "toy", "hub:ID@REVISION[#CONFIG]" or "local:NAME".
        notes: sentences for the user: the kind that was inferred, rows left out, repeated rows.
    """

    name: str
    kind: str
    columns: Mapping[str, Sequence[str]]
    scores: Sequence[float] | None
    digest: str
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.columns["anchor"])


@dataclass(frozen=True)
class HubCorpus:
    """One corpus of the registry: an uppercase constant in a module of this folder. The fields are those of `Task`."""

    name: str
    kind: str
    source: str
    revision: str
    licence: str
    citation: str
    config: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def infer(header: Sequence[str]) -> tuple[str, Mapping[str, str]]:
    """Return (kind, column name -> our name) for the columns of a file; ("", {}) when they fit no kind."""
    for needed, kind, names in _SHAPES:
        if set(needed) <= set(header):
            return kind, names
    return "", {}


def read_corpus(frame: pd.DataFrame, name: str, where: str, source: str, positive: str = "") -> Corpus:
    """Check a table and make a corpus of it.

    Args:
        frame: raw columns.
        name: the corpus's name.
        where: what to call its file in messages.
        source: as in `Corpus`.
        positive: for pairs with a label: which label is the positive class, where `pair_labels` does not know it.

    Raises:
        UserError: columns of no kind, fewer than two rows, an empty text, a score that is not a number.
    """
    kind, names = infer(tuple(frame.columns))
    if not kind:
        options = "; ".join(", ".join(needed) for needed, _, _ in _SHAPES)
        raise UserError(
            where, f"the columns {', '.join(frame.columns)} are those of no corpus", f"name them one of: {options}"
        )
    checks.require_rows(frame, where)
    shown = [*names, "score"] if kind == "scored" else names
    notes = [f"corpus {name}: the columns {', '.join(shown)} make it {_WORDS[kind]}"]
    chosen = [True] * len(frame)
    if kind == "pairs" and "label" in frame.columns:
        chosen, note = _positive_pairs(frame, where, positive)
        notes.append(f"corpus {name}: {note}")
        # they keep their places, so that a bad row is told by its number in the file
        frame = frame[list(names)].astype(object)
        frame.loc[[not one for one in chosen]] = "left out"
    reads: list[Callable[[], Any]] = [partial(checks.texts, frame, column, where) for column in names]
    if kind == "scored":
        reads.append(partial(checks.numbers, frame, "score", where))
    read = gather(reads)
    columns = {ours: list(compress(cells, chosen)) for ours, cells in zip(names.values(), read, strict=False)}
    scores = read[-1].tolist() if kind == "scored" else None
    # another negative makes no other positive
    alike = [cells for column, cells in columns.items() if column != "negative"]
    repeated = sum(chosen) - len(set(zip(*alike, strict=True)))
    if repeated:
        notes.append(f"corpus {name}: {repeated} of {sum(chosen)} rows repeat {_REPEATED[kind]}")
    digest = datafiles.digest({"kind": kind, "columns": columns, "scores": scores})
    return Corpus(name, kind, columns, scores, digest, source, tuple(notes))


_WORDS = {
    "text": "unlabelled text (two dropout views of each sentence)",
    "pairs": "pairs",
    "triplets": "triplets with a hard negative",
    "scored": "scored pairs",
}

_REPEATED = {
    "text": "an earlier one; in a batch they are false negatives",
    "pairs": "an earlier one; in a batch they are false negatives",
    "triplets": "the anchor and positive of an earlier one; in a batch they are false negatives",
    "scored": "the texts of an earlier one",
}


def _positive_pairs(frame: pd.DataFrame, where: str, positive: str) -> tuple[list[bool], str]:
    """Say which rows are of the positive class: only those are a sentence and its paraphrase."""
    labels = checks.labels(frame, "label", where)
    wanted = pair_labels(sorted(set(labels)), positive, where)
    chosen = [label in wanted for label in labels]
    checks.require_rows(frame[chosen], f"{where}, positive pairs")
    told = f"{sum(chosen)} pairs of the positive class {listed(sorted(wanted))} are kept"
    return chosen, f"{told}, {len(frame) - sum(chosen)} left out"
