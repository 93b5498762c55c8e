"""Our 2DMSE against the loops, value and gradient."""

import itertools

import pytest
import torch
from batches import DEPTH, DIMS, NESTING, agree, columns, layers, states, term
from loops_layers import coordinate_kl as loop_kl
from loops_layers import two_d_mse as loop_two_d
from loops_tasks import info_nce_task

from mipic_bench.errors import UserError
from mipic_bench.objectives import Nesting
from mipic_bench.objectives._divergence import coordinate_kl
from mipic_bench.objectives.two_d_mse import two_d_mse


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("kl_temperature", [1.0, 0.5])
def test_two_d_mse_equals_the_loops(parts, kl_temperature):
    last, early = columns(parts, seed=1), columns(parts, seed=2)
    weights = (1.0, 0.5, 2.0, 1.0, 0.3, 0.7)
    task = info_nce_task(0.1)

    def rows_task(rows, dims):
        return torch.stack([task([column[:, :dim] for column in rows.chunk(parts)]) for dim in dims])

    found = two_d_mse(torch.cat(last), torch.cat(early), 5, rows_task, kl_temperature, weights)
    agree(found, loop_two_d({1: early, 2: last}, 1, 5, task, kl_temperature, weights), [*last, *early])


def test_the_term_draws_one_layer_and_one_width_each_step():
    given, own = layers(), term("two_d_mse")
    sizes = list(itertools.product(range(1, DEPTH), DIMS[:-1]))
    values = {size: loop_two_d(given, *size, info_nce_task(0.1)).item() for size in sizes}
    drawn = set()
    for draw in range(60):
        found = own.loss(states(given, draw=draw), NESTING, None).item()
        [size] = [size for size, value in values.items() if abs(value - found) < 1e-9]
        drawn.add(size)
    assert drawn == set(sizes)


@pytest.mark.parametrize("detach", [True, False])
def test_coordinate_kl_equals_the_loops(detach):
    student, teacher = columns(seed=2), columns(seed=3)
    expected = loop_kl(student, teacher, 0.3, detach)
    found = coordinate_kl(torch.cat(student), torch.cat(teacher), 0.3, detach=detach)
    torch.testing.assert_close(found, expected)
    assert (torch.autograd.grad(found, teacher, allow_unused=True)[0] is None) == detach


def test_a_backbone_with_nothing_to_draw_is_refused():
    with pytest.raises(UserError, match="leave nothing shallower or narrower to draw"):
        term("two_d_mse", Nesting(NESTING.shape, (12,), 0.1))
