"""Our 2DMSE against the loops, value and gradient."""

import pytest
import torch
from loops_layers import coordinate_kl as loop_kl
from loops_layers import two_d_mse as loop_two_d
from loops_tasks import info_nce_task

from mipic_bench.objectives._divergence import coordinate_kl
from mipic_bench.objectives.two_d_mse import two_d_mse


def columns(parts: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 12, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(parts)]


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("kl_temperature", [1.0, 0.5])
def test_two_d_mse_equals_the_loops(parts, kl_temperature):
    last, early = columns(parts, 0), columns(parts, 1)
    weights = (1.0, 0.5, 2.0, 1.0, 0.3, 0.7)
    expected = loop_two_d({1: early, 2: last}, 1, 5, info_nce_task(0.1), kl_temperature, weights)
    found = two_d_mse(torch.cat(last), torch.cat(early), 5, parts, 0.1, kl_temperature, weights)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip(
        torch.autograd.grad(found, [*last, *early]), torch.autograd.grad(expected, [*last, *early]), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("detach", [True, False])
def test_coordinate_kl_equals_the_loops(detach):
    student, teacher = columns(2, 2), columns(2, 3)
    expected = loop_kl(student, teacher, 0.3, detach)
    found = coordinate_kl(torch.cat(student), torch.cat(teacher), 0.3, detach=detach)
    torch.testing.assert_close(found, expected)
    assert (torch.autograd.grad(found, teacher, allow_unused=True)[0] is None) == detach
