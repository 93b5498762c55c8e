"""The public function `attention_kl` against the loops: values and gradients."""

import loops
import pytest
import torch
from inputs import DIMS, RAGGED, TOKENS, WIDTH, compare, leaf, lifts_of, mask_of, normal

from mipic_bench.objectives import attention_kl


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("detach", [False, True])
def test_attention_kl(direction, detach):
    mask = mask_of(RAGGED)
    inputs = (normal(3, TOKENS, WIDTH), normal(3, WIDTH, seed=1), *lifts_of())
    compare(
        lambda h, q, *lifts: attention_kl(h, q, mask, DIMS, lifts, 0.5, direction=direction, detach=detach),
        lambda h, q, *lifts: loops.attention_kl(h, q, mask, DIMS, lifts, 0.5, direction, detach),
        inputs,
        rtol=1e-4,
        atol=2e-5,
    )


@pytest.mark.parametrize("dims", [DIMS, (8,), (1, 5), (2, 4)])
@pytest.mark.parametrize("lengths", [(11, 11), (1, 2), (3, 11)])
def test_attention_kl_of_a_batch_of_two(dims, lengths):
    mask = mask_of(lengths)
    inputs = (normal(2, TOKENS, WIDTH), normal(2, WIDTH, seed=1), *lifts_of(dims))
    compare(
        lambda h, q, *lifts: attention_kl(h, q, mask, dims, lifts, 1.0),
        lambda h, q, *lifts: loops.attention_kl(h, q, mask, dims, lifts, 1.0),
        inputs,
        rtol=1e-4,
        atol=2e-5,
    )


@pytest.mark.parametrize("dims", [DIMS, (2, 4)])
def test_attention_kl_without_lift(dims):
    mask = mask_of(RAGGED)
    inputs = (normal(3, TOKENS, WIDTH), normal(3, WIDTH, seed=1))
    compare(
        lambda h, q: attention_kl(h, q, mask, dims, None, 0.5),
        lambda h, q: loops.attention_kl(h, q, mask, dims, None, 0.5),
        inputs,
        rtol=1e-4,
        atol=2e-5,
    )


def test_attention_kl_with_a_one_hot_teacher_is_finite_and_right():
    """The paper's temperature on states as large as BERT's: about 16 nats, under the ceiling -log(1e-8) = 18.4."""
    mask = mask_of(RAGGED)
    inputs = (6 * normal(3, TOKENS, WIDTH), 6 * normal(3, WIDTH, seed=1), *lifts_of())
    leaves = [leaf(x, torch.float32) for x in inputs]
    value = attention_kl(leaves[0], leaves[1], mask, DIMS, leaves[2:], 0.05)
    expected = loops.attention_kl(inputs[0], inputs[1], mask, DIMS, inputs[2:], 0.05)
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-3)
    assert expected.max() > 10, "the example is meant to be extreme"
    value.sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in leaves)
