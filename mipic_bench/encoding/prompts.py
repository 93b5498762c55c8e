"""Prompts: what a model wants to read before a text, as "query: " of E5; retrieval queries may have one of their own."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mipic_bench.encoding.embed import Embeddings
from mipic_bench.errors import UserError
from mipic_bench.tasks import Fold

QUERY, DOCUMENT = "query", "document"


@dataclass(frozen=True)
class Prompts:
    """What stands before every text.

    Attributes:
        text: before every text.
        query: before the queries of retrieval tasks instead; None for the same as before every text.
    """

    text: str = ""
    query: str | None = None

    def __bool__(self) -> bool:
        return bool(self.text or self.query)

    def of(self, fold: Fold) -> Callable[[str], str]:
        """Return a function from a text of a task to what the model reads."""
        if self.query is None or not fold.data.queries:
            return lambda text: self.text + text
        queries, own = frozenset(fold.data.queries.values()), self.query
        return lambda text: (own if text in queries else self.text) + text

    def view(self, embeddings: Embeddings, fold: Fold, texts: Iterable[str]) -> Embeddings:
        """Return embeddings that are looked up by the texts of a task, from those of what the model read."""
        if not self:
            return embeddings
        read = self.of(fold)
        return Embeddings({text: embeddings.index[read(text)] for text in texts}, embeddings.arrays)

    def notes(self, fold: Fold) -> tuple[str, ...]:
        """Return sentences about what the prompts could not do right."""
        if self.query is None:
            return ()
        both = len(frozenset(fold.data.queries.values()) & frozenset(fold.data.documents.values()))
        return (f"{both} documents are also queries and were read with the queries' prompt",) if both else ()


def short(text: str) -> str:
    """Return what a prompt that has no name is called in rows: another text, another name."""
    return f"prompt-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def table(asked: Prompts) -> dict[str, str]:
    """Return prompts as sentence-transformers names them; `DOCUMENT` is the one before every text."""
    return {QUERY: asked.text if asked.query is None else asked.query, DOCUMENT: asked.text}


def find(prompt: str, names: dict[str, str], option: str) -> str:
    """Return a prompt's text: by its name in the model's table, else as it was given.

    Raises:
        UserError: it looks like a name (one word without a sign) and the model has none such.
    """
    if prompt in names or not prompt.isidentifier():
        return names.get(prompt, prompt)
    there = ", ".join(names) or "none"
    raise UserError(
        f"{option} {prompt}",
        f"the model has no prompt of that name; it has: {there}",
        f"write the text itself: {option} '{prompt}: '",
    )
