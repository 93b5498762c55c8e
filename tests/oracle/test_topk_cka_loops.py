"""The public function `topk_cka` against the loops: values and gradients."""

import loops
import pytest
import torch
from inputs import DIMS, GAMMAS, RAGGED, TOKENS, WIDTH, compare, leaf, mask_of, normal

from mipic_bench.objectives import topk_cka


@pytest.mark.parametrize("length", ["padded", "real"])
@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("k_min", [1, 3, 8])
def test_topk_cka(length, detach, k_min):
    mask, scores = mask_of(RAGGED), normal(3, TOKENS, seed=1)
    compare(
        lambda h: topk_cka(h, scores.float(), mask, DIMS, GAMMAS, k_min, length, detach=detach),
        lambda h: loops.topk_cka(h, scores, mask, DIMS, GAMMAS, k_min, length, detach=detach),
        [normal(3, TOKENS, WIDTH)],
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("dims", [(8,), (1, 5), (2, 4)])
@pytest.mark.parametrize("lengths", [(11, 11), (2, 11), (3, 4)])
def test_topk_cka_of_a_batch_of_two(dims, lengths):
    mask, scores = mask_of(lengths), normal(2, TOKENS, seed=1)
    gammas = GAMMAS[: len(dims)]
    compare(
        lambda h: topk_cka(h, scores.float(), mask, dims, gammas),
        lambda h: loops.topk_cka(h, scores, mask, dims, gammas),
        [normal(2, TOKENS, WIDTH)],
        rtol=1e-4,
        atol=1e-5,
    )


def test_topk_cka_with_fixed_k_is_gammas_of_zero():
    mask, scores = mask_of(RAGGED), normal(3, TOKENS, seed=1)
    compare(
        lambda h: topk_cka(h, scores.float(), mask, DIMS, (0.0,) * 4, k_min=5),
        lambda h: loops.topk_cka(h, scores, mask, DIMS, GAMMAS, fixed_k=5),
        [normal(3, TOKENS, WIDTH)],
        rtol=1e-4,
        atol=1e-5,
    )


def test_topk_cka_with_all_tokens():
    mask, scores = mask_of(RAGGED), normal(3, TOKENS, seed=1)
    compare(
        lambda h: topk_cka(h, scores.float(), mask, DIMS, (1.0,) * 4),
        lambda h: loops.topk_cka(h, torch.zeros_like(scores), mask, DIMS, (1.0,) * 4),
        [normal(3, TOKENS, WIDTH)],
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("lengths", [(1, 11), (1, 1), (2, 1)])
def test_topk_cka_of_a_single_token_is_one_and_its_gradient_finite(lengths):
    mask, scores = mask_of(lengths), normal(2, TOKENS, seed=1)
    h = leaf(normal(2, TOKENS, WIDTH), torch.float32)
    value = topk_cka(h, scores.float(), mask, DIMS, GAMMAS)
    expected = loops.topk_cka(h.detach().double(), scores, mask, DIMS, GAMMAS)
    torch.testing.assert_close(value.detach().double(), expected, rtol=1e-4, atol=1e-5)
    value.sum().backward()
    assert h.grad is not None
    assert h.grad.isfinite().all()
    assert (h.grad[mask == 0] == 0).all()
