"""What every evaluator promises, on the toy tasks."""

import math
from itertools import product

import numpy as np
import pytest

from mipic_bench import evaluators, tasks
from mipic_bench.encoding.embed import Embeddings
from mipic_bench.families import FAMILIES

TOYS = {tasks.known()[name]: name for name in tasks.SUITES["toy"]}
LAYERS, DIMS = (1, 2), (5, 12)
CASES = [(family, protocol) for family in TOYS for protocol in evaluators.PROTOCOLS]


class Recorder(Embeddings):
    """Remembers which texts were looked up."""

    def rows(self, texts):
        self.__dict__.setdefault("asked", set()).update(texts)
        return super().rows(texts)


@pytest.fixture(scope="module")
def folds():
    return {family: tasks.fold(tasks.load(name)) for family, name in TOYS.items()}


def embed(texts):
    texts = list(dict.fromkeys(texts))
    generator = np.random.default_rng(0)
    arrays = {layer: generator.normal(size=(len(texts), 12)).astype(np.float32) for layer in LAYERS}
    return Recorder({text: row for row, text in enumerate(texts)}, arrays)


def test_every_family_has_one_evaluator():
    found = evaluators.scorers()
    assert {module: leaf.family for module, leaf in found.items()} == {family: family for family in FAMILIES}
    for leaf in found.values():
        assert leaf.__doc__ and leaf.version >= 1
        assert set(leaf.precisions) <= set(evaluators.PRECISIONS)


@pytest.mark.parametrize("family", TOYS)
def test_it_looks_up_what_it_named_and_nothing_else(folds, family):
    fold, scorer = folds[family], evaluators.evaluator(family)
    for precisions in (("float32",), ("float32", "int8")):
        named = set(scorer.texts(fold, precisions))
        table = embed(named)
        list(scorer.score(fold, table, LAYERS, DIMS, precisions, "clean"))
        assert table.asked == named


@pytest.mark.parametrize(("family", "protocol"), CASES)
def test_a_score_stands_at_every_budget_and_is_the_same_twice(folds, family, protocol):
    fold, scorer = folds[family], evaluators.evaluator(family)
    table = embed(scorer.texts(fold, evaluators.PRECISIONS))
    scores = list(scorer.score(fold, table, LAYERS, DIMS, evaluators.PRECISIONS, protocol))
    metrics = list(dict.fromkeys(score.metric for score in scores))
    assert set(metrics) <= set(FAMILIES[family].metrics) and metrics
    budgets = [(score.layer, score.precision, score.dim, score.metric) for score in scores]
    assert budgets == list(product(LAYERS, scorer.precisions, DIMS, metrics))
    for score in scores:
        assert -1 <= score.value <= 1 and 0 <= score.stderr < 0.5 and score.n >= 2, score
        assert isinstance(score.value, float) and isinstance(score.stderr, float) and isinstance(score.n, int)
    assert (
        list(evaluators.evaluator(family).score(fold, table, LAYERS, DIMS, evaluators.PRECISIONS, protocol)) == scores
    )


@pytest.mark.parametrize("family", TOYS)
def test_a_score_does_not_depend_on_what_else_was_asked(folds, family):
    fold, scorer = folds[family], evaluators.evaluator(family)
    table = embed(scorer.texts(fold))
    alone = list(scorer.score(fold, table, [2], [12], ["float32"], "clean"))
    among = [
        score
        for score in scorer.score(fold, table, (1, 2), (12, 3, 7, 3), ["float32", "binary"], "clean")
        if (score.layer, score.dim, score.precision) == (2, 12, "float32")
    ]
    assert [score.metric for score in alone] == [score.metric for score in among]
    for one, other in zip(alone, among, strict=True):
        assert math.isclose(one.value, other.value, abs_tol=1e-9), one
