"""Starbucks against the loops, and its sizes."""

import loops_layers
import loops_tasks
import pytest
from batches import DEPTH, NESTING, agree, layers, states, term

from mipic_bench.errors import UserError
from mipic_bench.objectives import Nesting
from mipic_bench.shapes import Shape, default_dims


@pytest.mark.parametrize("parts", [2, 3])
def test_it_equals_the_loops(parts):
    given = layers(parts)
    own = term("starbucks")
    assert own.sizes == ((2, 1), (3, 2), (6, 3), (12, 4))
    pairs = [(layer, dim) for dim, layer in own.sizes]
    found = own.loss(states(given), NESTING, None)
    expected = loops_layers.starbucks(given, pairs, loops_tasks.info_nce_task(0.1))
    agree(found, expected, [column for layer in range(1, DEPTH + 1) for column in given[layer]])


def test_sizes_and_weight_of_ones_own():
    given = layers()
    found = term("starbucks", sizes=((3, 2), (12, 4)), kl_weight=0.6).loss(states(given), NESTING, None)
    expected = loops_layers.starbucks(given, [(2, 3), (4, 12)], loops_tasks.info_nce_task(0.1), kl_weight=2)
    agree(found, expected, [*given[2], *given[4]])


def test_the_rule_gives_the_published_sizes_at_twelve_layers_and_width_768():
    shape = Shape(12, 768)
    sizes = term("starbucks", Nesting(shape, default_dims(768), 0.05)).sizes
    assert sizes == ((32, 2), (64, 4), (128, 6), (256, 8), (512, 10), (768, 12))


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        (((3, 2), (2, 3), (12, 4)), "does not rise"),
        (((3, 2), (6, 4)), r"last size is \(6, 4\), the whole model is \(12, 4\)"),
        (((3, 2), (12, 9)), "above the backbone's"),
        ((), "missing"),
    ],
)
def test_bad_sizes_are_refused(sizes, problem):
    with pytest.raises(UserError, match=problem):
        term("starbucks", sizes=sizes)
