"""What must hold of the public functions of MIPIC, whatever the input."""

import inspect
from collections.abc import Callable, Sequence

import loops
import pytest
import torch
from inputs import DIMS, GAMMAS, RAGGED, TOKENS, WIDTH, leaf, lifts_of, mask_of, normal
from torch import Tensor

from mipic_bench.objectives import attention_kl, chain_info_nce, nested_info_nce, topk_cka


def test_attention_kl_is_not_symmetric():
    mask = mask_of(RAGGED)
    h, q = normal(3, TOKENS, WIDTH).float(), normal(3, WIDTH, seed=1).float()
    reverse, forward = (attention_kl(h, q, mask, (2, 4), None, 0.5, direction=d) for d in ("reverse", "forward"))
    assert (reverse - forward).abs().max() > 1e-2
    assert (reverse > 0).all()
    assert (forward > 0).all()


def test_attention_kl_of_the_full_width_is_zero():
    mask = mask_of(RAGGED)
    h, q = normal(3, TOKENS, WIDTH).float(), normal(3, WIDTH, seed=1).float()
    identity = torch.eye(WIDTH)
    for lifts in (None, [identity]):
        torch.testing.assert_close(attention_kl(h, q, mask, (WIDTH,), lifts, 0.5), torch.zeros(1), rtol=0, atol=1e-5)


def test_attention_kl_does_not_see_pads():
    mask = mask_of((4, 7))
    h, q = normal(2, TOKENS, WIDTH).float(), normal(2, WIDTH, seed=1).float()
    lifts = [x.float() for x in lifts_of()]
    other = torch.where(mask[:, :, None] == 1, h, torch.full_like(h, 1e3))
    shorter = attention_kl(h[:, :7], q, mask[:, :7], DIMS, lifts, 0.5)
    for states in (h, other):
        torch.testing.assert_close(attention_kl(states, q, mask, DIMS, lifts, 0.5), shorter, rtol=1e-4, atol=1e-5)


def test_topk_cka_of_the_full_width_is_zero():
    mask, scores = mask_of(RAGGED), normal(3, TOKENS, seed=1).float()
    value = topk_cka(normal(3, TOKENS, WIDTH).float(), scores, mask, (WIDTH,), (0.7,))
    torch.testing.assert_close(value, torch.zeros(1), rtol=0, atol=1e-5)


def test_topk_cka_is_zero_under_rotation_and_scaling_of_one_side():
    """h = [x | c x Q] has Gram matrix (1 + c^2) x x^T, a multiple of its first half's."""
    mask, scores = mask_of(RAGGED), normal(3, TOKENS, seed=1).float()
    x = normal(3, TOKENS, 4)
    rotation = torch.linalg.qr(normal(4, 4, seed=2))[0]
    h = torch.cat([x, 2.5 * x @ rotation], dim=2).float()
    torch.testing.assert_close(topk_cka(h, scores, mask, (4,), (0.5,)), torch.zeros(1), rtol=0, atol=1e-5)


def test_topk_cka_does_not_change_when_everything_is_scaled_or_moved():
    mask, scores = mask_of(RAGGED), normal(3, TOKENS, seed=1).float()
    h = normal(3, TOKENS, WIDTH).float()
    value = topk_cka(h, scores, mask, DIMS, GAMMAS)
    for other in (10 * h, h + normal(WIDTH, seed=3).float()):
        torch.testing.assert_close(topk_cka(other, scores, mask, DIMS, GAMMAS), value, rtol=1e-4, atol=1e-5)


def test_the_token_sets_are_nested():
    """The k best tokens are among the k + 1 best: a gradient reaches just the chosen tokens, and more with each k."""
    mask, scores = mask_of(RAGGED), normal(3, TOKENS, seed=1).float()
    before = torch.zeros(3, TOKENS, dtype=torch.bool)
    for k in range(3, TOKENS + 1):  # two centered tokens are always aligned: no gradient
        h = leaf(normal(3, TOKENS, WIDTH), torch.float32)
        topk_cka(h, scores, mask, (3,), (0.0,), k_min=k).sum().backward()
        assert h.grad is not None
        chosen = h.grad.abs().sum(dim=2) > 0
        assert (chosen.sum(dim=1) == torch.tensor([min(k, real) for real in RAGGED])).all()
        assert (chosen | ~before).all()
        before = chosen


def test_topk_cka_gives_no_gradient_to_the_scores():
    scores = leaf(normal(2, TOKENS, seed=1), torch.float32)
    h = leaf(normal(2, TOKENS, WIDTH), torch.float32)
    topk_cka(h, scores, mask_of((11, 5)), DIMS, GAMMAS).sum().backward()
    assert scores.grad is None or not scores.grad.any()


def test_chain_gives_no_gradient_to_a_detached_target_and_the_same_one_to_the_source():
    gradients = []
    for detached in (False, True):
        source, target = leaf(normal(3, WIDTH), torch.float32), leaf(normal(3, WIDTH, seed=1), torch.float32)
        chain_info_nce(source, target.detach() if detached else target, 0.05).backward()
        gradients.append(source.grad)
        assert (target.grad is None) == detached
    torch.testing.assert_close(gradients[0], gradients[1])


def every_function(
    hidden: Tensor, query: Tensor, scores: Tensor, mask: Tensor, lifts: Sequence[Tensor]
) -> list[Tensor]:
    """All four on one batch; anchors and positives are the first two tokens."""
    return [
        nested_info_nce(hidden[:, 0], hidden[:, 1], DIMS, 0.05),
        attention_kl(hidden, query, mask, DIMS, lifts, 0.5),
        topk_cka(hidden, scores, mask, DIMS, GAMMAS),
        chain_info_nce(hidden[:, 0], query, 0.05),
    ]


def test_batch_order_does_not_matter():
    hidden, query, scores = normal(3, TOKENS, WIDTH), normal(3, WIDTH, seed=1), normal(3, TOKENS, seed=2)
    lifts = [x.float() for x in lifts_of()]
    batch = (hidden.float(), query.float(), scores.float(), mask_of(RAGGED))
    order = torch.tensor([2, 0, 1])
    for value, shuffled in zip(
        every_function(*batch, lifts), every_function(*(x[order] for x in batch), lifts), strict=True
    ):
        torch.testing.assert_close(shuffled, value, rtol=1e-4, atol=1e-5)


def test_a_mask_may_be_boolean_or_numbers():
    hidden, query, scores = normal(3, TOKENS, WIDTH), normal(3, WIDTH, seed=1), normal(3, TOKENS, seed=2)
    lifts = [x.float() for x in lifts_of()]
    batch = (hidden.float(), query.float(), scores.float())
    value = every_function(*batch, mask_of(RAGGED), lifts)
    for other in (torch.bool, torch.float32):
        for a, b in zip(every_function(*batch, mask_of(RAGGED).to(other), lifts), value, strict=True):
            torch.testing.assert_close(a, b)


def test_bfloat16_autocast_stays_near():
    """Inputs that bfloat16 represents exactly; what is left is its rounding in the matrix products, if there is any."""
    hidden = normal(3, TOKENS, WIDTH, dtype=torch.bfloat16)
    query, scores = normal(3, WIDTH, seed=1, dtype=torch.bfloat16), normal(3, TOKENS, seed=2, dtype=torch.bfloat16)
    lifts = [x.bfloat16() for x in lifts_of()]
    exact = (hidden.double(), query.double(), scores.double(), mask_of(RAGGED))
    expected = [
        loops.nested_info_nce(exact[0][:, 0], exact[0][:, 1], DIMS, 0.05),
        loops.attention_kl(exact[0], exact[1], exact[3], DIMS, [x.double() for x in lifts], 0.5),
        loops.topk_cka(exact[0], exact[2], exact[3], DIMS, GAMMAS),
        loops.chain_info_nce(exact[0][:, 0], exact[1], 0.05),
    ]
    for dtype in (torch.bfloat16, torch.float32):  # as a model under autocast gives them, and as they are kept
        states = leaf(hidden, dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            values = every_function(
                states, query.to(dtype), scores.to(dtype), mask_of(RAGGED), [x.to(dtype) for x in lifts]
            )
        for value, true in zip(values, expected, strict=True):
            assert value.dtype == torch.float32
            torch.testing.assert_close(value.detach().double(), true, rtol=0.03, atol=0.03)
        total = sum((value.sum() for value in values), torch.zeros(()))
        total.backward()
        assert states.grad is not None
        assert states.grad.isfinite().all()


@pytest.mark.parametrize("name", ["nested", "nested with negatives", "attention", "no lift", "cka", "chain"])
def test_gradients_are_the_slopes_of_the_values(name):
    """torch.autograd.gradcheck in float64: the functions must keep float64 when they are given it."""
    mask = mask_of((5, 3), tokens=5)
    scores = normal(2, 5, seed=9)
    cases: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
        "nested": (lambda a, p: nested_info_nce(a, p, DIMS, 0.5), (normal(3, 8), normal(3, 8, seed=1))),
        "nested with negatives": (
            lambda a, p, n: nested_info_nce(a, p, DIMS, 0.5, n),
            (normal(3, 8), normal(3, 8, seed=1), normal(3, 2, 8, seed=2)),
        ),
        "attention": (
            lambda h, q, x, y: attention_kl(h, q, mask, (2, 6), (x, y), 1.0),
            (normal(2, 5, 8), normal(2, 8, seed=1), normal(8, 2, seed=2), normal(8, 6, seed=3)),
        ),
        "no lift": (
            lambda h, q: attention_kl(h, q, mask, (2, 6), None, 1.0),
            (normal(2, 5, 8), normal(2, 8, seed=1)),
        ),
        "cka": (lambda h: topk_cka(h, scores, mask, (2, 6), (0.2, 0.7), k_min=3), (normal(2, 5, 8),)),
        "chain": (lambda s, t: chain_info_nce(s, t, 0.5), (normal(3, 8), normal(3, 8, seed=1))),
    }
    function, inputs = cases[name]
    assert torch.autograd.gradcheck(function, [leaf(x, torch.float64) for x in inputs])


def test_the_promised_defaults_stand():
    """Names and defaults that users rely on from outside."""
    defaults = {
        nested_info_nce: {"negatives": None},
        attention_kl: {"direction": "reverse", "detach": False},
        topk_cka: {"k_min": 8, "length": "padded"},
        chain_info_nce: {},
    }
    for function, expected in defaults.items():
        parameters = inspect.signature(function).parameters
        assert {name: parameters[name].default for name in expected} == expected


def test_topk_cka_of_states_with_outliers():
    """BERT has coordinates far from zero in every token, Qwen3 single tokens a thousand times the others."""
    scores, mask = normal(3, TOKENS, seed=1), mask_of(RAGGED)
    offset, massive = normal(3, TOKENS, WIDTH), normal(3, TOKENS, WIDTH)
    offset[..., 5] += 30
    massive[:, 0, 5] = 5000
    for states in (offset, massive):
        value = topk_cka(states.float(), scores.float(), mask, DIMS, GAMMAS)
        expected = loops.topk_cka(states.float().double(), scores, mask, DIMS, GAMMAS)
        torch.testing.assert_close(value.double(), expected, rtol=1e-4, atol=5e-5)
