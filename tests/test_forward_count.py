"""Evaluation encodes once: the number of forward passes does not depend on the number of budgets."""

from collections.abc import Sequence

import pytest
import torch

from mipic_bench import backbones, evaluators, tasks
from mipic_bench.encoding.embed import encode

FAMILIES = ("sts", "pair", "retrieval")


def forwards(layers: Sequence[int], dims: Sequence[int], precisions: Sequence[str]) -> int:
    """Evaluate three toy tasks at the given budgets and count the forwards of the transformer."""
    backbone = backbones.load("tiny")
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    backbone.model.register_forward_hook(counted)
    folds = [tasks.fold(tasks.load(f"toy-{family}")) for family in FAMILIES]
    scorers = [evaluators.evaluator(family) for family in FAMILIES]
    texts = [text for scorer, fold in zip(scorers, folds, strict=True) for text in scorer.texts(fold, precisions)]
    embeddings = encode(backbone, texts, layers, max_length=16, device=torch.device("cpu"))
    for scorer, fold in zip(scorers, folds, strict=True):
        scores = list(scorer.score(fold, embeddings, layers, dims, precisions, "clean"))
        assert {(score.layer, score.dim) for score in scores} == {(layer, dim) for layer in layers for dim in dims}
    return count


@pytest.fixture(scope="module")
def one_budget() -> int:
    shape = backbones.load("tiny").shape
    return forwards([shape.depth], [shape.width], ["float32"])


def test_many_budgets_cost_no_forward_more(one_budget: int):
    shape = backbones.load("tiny").shape
    layers, dims = range(1, shape.depth + 1), range(1, shape.width + 1, max(1, shape.width // 21))
    assert len(layers) * len(dims) >= 42
    assert forwards(list(layers), list(dims), ["float32"]) == one_budget


def test_the_other_precisions_cost_no_forward_more(one_budget: int):
    shape = backbones.load("tiny").shape
    assert forwards([shape.depth], [shape.width], ["float32", "binary"]) == one_budget
