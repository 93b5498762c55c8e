"""The public function `nested_info_nce` against the loops: values and gradients."""

import loops
import pytest
import torch
from inputs import DIMS, WIDTH, compare, leaf, normal

from mipic_bench.objectives import nested_info_nce


@pytest.mark.parametrize("dims", [DIMS, (8,), (2, 5), (3, 4)])
@pytest.mark.parametrize("batch", [2, 5])
def test_nested_info_nce(dims, batch):
    inputs = (normal(batch, WIDTH), normal(batch, WIDTH, seed=1))
    compare(
        lambda a, p: nested_info_nce(a, p, dims, 0.05),
        lambda a, p: loops.nested_info_nce(a, p, dims, 0.05),
        inputs,
        rtol=2e-5,
        atol=2e-5,
    )


@pytest.mark.parametrize("shape", [(3, WIDTH), (3, 1, WIDTH), (3, 4, WIDTH)])
def test_nested_info_nce_with_hard_negatives(shape):
    inputs = (normal(3, WIDTH), normal(3, WIDTH, seed=1), normal(*shape, seed=2))
    compare(
        lambda a, p, n: nested_info_nce(a, p, DIMS, 0.1, n),
        lambda a, p, n: loops.nested_info_nce(a, p, DIMS, 0.1, n),
        inputs,
        rtol=2e-5,
        atol=2e-5,
    )


@pytest.mark.parametrize("negatives", [False, True])
def test_nested_info_nce_leaves_equal_texts_out(negatives):
    texts = ["x", "y", "x", "x", "z"]
    same = torch.tensor([[a == b for b in texts] for a in texts])
    inputs = (normal(5, WIDTH), normal(5, WIDTH, seed=1), normal(5, WIDTH, seed=2))
    compare(
        lambda a, p, n: nested_info_nce(a, p, DIMS, 0.1, n if negatives else None, same=same),
        lambda a, p, n: loops.nested_info_nce(a, p, DIMS, 0.1, n if negatives else None, texts=texts),
        inputs,
        rtol=2e-5,
        atol=2e-5,
    )


def test_nested_info_nce_of_width_one():
    """Cosines are 1 or -1 and the slope is zero; float32 leaves noise in it, so float64 is asked."""
    a, p = leaf(normal(5, WIDTH), torch.float64), leaf(normal(5, WIDTH, seed=1), torch.float64)
    value = nested_info_nce(a, p, (1,), 0.05)
    torch.testing.assert_close(value, loops.nested_info_nce(a, p, (1,), 0.05))
    value.sum().backward()
    torch.testing.assert_close(a.grad, torch.zeros_like(a), rtol=0, atol=1e-9)


def test_nested_info_nce_on_very_unequal_coordinates():
    """BERT has coordinates a hundred times the others: sums over blocks must not lose the small prefix."""
    scale = torch.tensor([1e-3, 1, 1e-3, 1, 50, 1, 1, 200], dtype=torch.float64)
    inputs = (normal(4, WIDTH) * scale, normal(4, WIDTH, seed=1) * scale)
    value = nested_info_nce(inputs[0].float(), inputs[1].float(), DIMS, 0.05)
    torch.testing.assert_close(value.double(), loops.nested_info_nce(*inputs, DIMS, 0.05), rtol=1e-4, atol=1e-5)
