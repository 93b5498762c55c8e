"""The public functions of MIPIC against the loops: values and gradients."""

import loops
import pytest
import torch
from inputs import DIMS, GAMMAS, RAGGED, TOKENS, WIDTH, compare, leaf, lifts_of, mask_of, normal

from mipic_bench.objectives import attention_kl, chain_info_nce, nested_info_nce, topk_cka

# --- nested_info_nce ---------------------------------------------------------------------------------------------------


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


# --- attention_kl ------------------------------------------------------------------------------------------------------


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


# --- topk_cka ----------------------------------------------------------------------------------------------------------


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


# --- chain_info_nce ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [2, 5])
def test_chain_info_nce(batch):
    compare(
        lambda s, t: chain_info_nce(s, t, 0.05),
        lambda s, t: loops.chain_info_nce(s, t, 0.05),
        [normal(batch, WIDTH), normal(batch, WIDTH, seed=1)],
        rtol=2e-5,
        atol=2e-5,
    )
