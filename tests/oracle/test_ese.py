"""ESE against the loops: the loss, the compression targets, its two halves."""

import loops_ese
import loops_tasks
import pytest
import torch
from batches import DEPTH, NESTING, agree, columns, layers, normal, states, term

from mipic_bench.errors import UserError
from mipic_bench.objectives import Nesting
from mipic_bench.objectives.ese import align, compression_targets
from mipic_bench.shapes import Shape, default_dims

TASK = loops_tasks.info_nce_task(0.1)


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("kl_temperature", [1.0, 0.5])
def test_it_equals_the_loops(parts, compress, kl_temperature):
    given = layers(parts)
    found = term("ese", dim=3, compress=compress, kl_temperature=kl_temperature).loss(states(given), NESTING, None)
    expected = loops_ese.ese(given, 3, TASK, kl_temperature, compress)
    agree(found, expected, [column for part in given.values() for column in part], rtol=1e-5, atol=1e-6)


def test_without_learning_to_express_only_the_last_layer_is_trained():
    given = layers()
    own = term("ese", dim=3, express=False)
    last = given[DEPTH]
    expected = TASK(last) + TASK(loops_tasks.cut(last, 3))
    expected = expected + loops_ese.align(loops_tasks.cut(last, 3), loops_ese.compression_targets(last, 3))
    agree(own.loss(states(given), NESTING, None), expected, last)
    assert own.layers(NESTING) == (4,) and term("ese").layers(NESTING) == (0, 1, 2, 4)


def test_compression_targets_equal_the_loops_and_carry_no_gradient():
    given = columns(batch=5)
    found = compression_targets(torch.cat(given), 3)
    torch.testing.assert_close(found, torch.cat(loops_ese.compression_targets(given, 3)))
    assert not found.requires_grad


def test_alignment_equals_the_loops():
    student, target = normal(4, 3), normal(4, 3, seed=1)
    torch.testing.assert_close(align(student, target, 0.5), loops_ese.align([student], [target], 0.5))


@pytest.mark.parametrize(("shape", "dim"), [((12, 768), 128), ((24, 1024), 128), ((6, 384), 64), ((4, 64), 8)])
def test_the_compressed_width_by_rule(shape, dim):
    own = term("ese", Nesting(Shape(*shape), default_dims(shape[1]), 0.05))
    assert own.dim == dim


def test_bad_widths_are_refused():
    with pytest.raises(UserError, match="dim: 12 is not below the backbone's width 12"):
        term("ese", dim=12)
    with pytest.raises(UserError, match="leave no earlier layer or narrower width"):
        term("ese", Nesting(NESTING.shape, (12,), 0.1))
    assert term("ese", Nesting(NESTING.shape, (12,), 0.1), dim=3).dim == 3
