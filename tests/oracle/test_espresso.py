"""The laboratory's stand-in for ESE against the loops."""

import loops_layers
import loops_tasks
import pytest
from batches import DEPTH, DIMS, NESTING, agree, layers, states, term

from mipic_bench.errors import UserError

TASK = loops_tasks.info_nce_task(0.1)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_it_equals_the_loops(layer, monkeypatch):
    given = layers()
    monkeypatch.setattr("mipic_bench.objectives.espresso.sample", lambda values, count, generator: (layer,))
    found = term("espresso").loss(states(given), NESTING, None)
    agree(found, loops_layers.espresso(given, [layer], DIMS, TASK), [*given[layer], *given[DEPTH]])


def test_all_layers():
    given = layers(3)
    found = term("espresso", sampled_layers="all").loss(states(given), NESTING, None)
    expected = loops_layers.espresso(given, [1, 2, 3], DIMS, TASK)
    agree(found, expected, [column for layer in range(1, DEPTH + 1) for column in given[layer]])


def test_more_layers_than_there_are_is_refused():
    with pytest.raises(UserError, match="sampled_layers: 4 are to be drawn of 3"):
        term("espresso", sampled_layers=4)
