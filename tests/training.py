"""Short trainings on the small random backbone, for the tests of methods."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from mipic_bench import backbones
from mipic_bench.corpora import Corpus
from mipic_bench.recipes.recipe import Recipe
from mipic_bench.recipes.resolved import Resolved, resolve
from mipic_bench.training import trainer

SUBJECTS = ("a cat", "the old dog", "my neighbor", "a very small bird", "the queen of the hill")
VERBS = ("sleeps on", "looks at", "runs away from", "sings to")
OBJECTS = ("the mat", "a big red box", "every tree in the garden", "snow")
TEXTS = tuple(f"{subject} {verb} {thing}" for subject in SUBJECTS for verb in VERBS for thing in OBJECTS)  # 80
QUICK = {"max_steps": 3, "batch_size": 4, "max_length": 16, "epochs": 5}


def corpus(kind: str = "text", rows: int = len(TEXTS)) -> Corpus:
    """A corpus of a kind: the positive of a text is the next one, its negative the one after."""
    texts = TEXTS[:rows]
    columns = {"anchor": texts}
    if kind != "text":
        columns["positive"] = (*texts[1:], texts[0])
    if kind == "triplets":
        columns["negative"] = (*texts[2:], *texts[:2])
    scores = [(7 * row % 11) / 10 for row in range(rows)] if kind == "scored" else None
    return Corpus(kind, kind, columns, scores, "digest", "toy")


def recipe(terms: Mapping[str, Any], name: str = "mine", **more: Any) -> Recipe:
    """A recipe of the given terms."""
    return Recipe(name, name, "", {"title": name, "source": "ours", "terms": terms, **more}, {})


def on_tiny(method: Recipe, **training: Any) -> Resolved:
    """A method on the small backbone."""
    return resolve(method, backbones.load("tiny").shape, "tiny", {**QUICK, **training})


def train(resolved: Resolved, kind: str = "text", seed: int = 0) -> tuple[dict[str, torch.Tensor], trainer.History]:
    """Train a recipe and return the backbone's weights and the history, every step of it."""
    backbone = backbones.load("tiny", pooling=resolved.training.pooling)
    with one_thread():
        history = trainer.train(backbone, resolved, corpus(kind), seed, Accelerator(cpu=True), log_every=1)
    return backbone.state_dict(), history


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread for a moment: work so small is slower when it is shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def same_bits(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
