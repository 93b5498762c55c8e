"""The public functions of MIPIC against the loops: values, gradients, arithmetic, properties."""

import inspect
from collections.abc import Callable, Sequence

import loops
import pytest
import torch
from torch import Tensor

from mipic_bench.objectives import attention_kl, chain_info_nce, nested_info_nce, topk_cka

DIMS = (2, 3, 6, 8)
WIDTH = 8
TOKENS = 11
GAMMAS = (0.2, 0.4, 0.6, 0.9)
RAGGED = (11, 4, 7)  # real tokens of each text


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def mask_of(lengths: Sequence[int], tokens: int = TOKENS) -> Tensor:
    mask = torch.zeros(len(lengths), tokens, dtype=torch.long)
    for n, length in enumerate(lengths):
        mask[n, :length] = 1
    return mask


def lifts_of(dims: Sequence[int] = DIMS, seed: int = 7) -> list[Tensor]:
    return [normal(WIDTH, d, seed=seed + d) / d**0.5 for d in dims]


def leaf(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().clone().to(dtype).requires_grad_()


def compare(
    fast: Callable[..., Tensor], slow: Callable[..., Tensor], inputs: Sequence[Tensor], rtol: float, atol: float
) -> None:
    """Same values and same gradients, each output weighted differently so that no two errors cancel."""
    results = []
    for function, dtype in ((fast, torch.float32), (slow, torch.float64)):
        leaves = [leaf(x, dtype) for x in inputs]
        value = function(*leaves)
        weights = torch.linspace(1, 2, max(value.numel(), 1), dtype=value.dtype).reshape(value.shape)
        gradients = torch.autograd.grad((value * weights).sum(), leaves, allow_unused=True)
        results.append((value.detach().double(), [None if g is None else g.double() for g in gradients]))
    (got, got_gradients), (expected, expected_gradients) = results
    torch.testing.assert_close(got, expected, rtol=rtol, atol=atol)
    for ours, theirs in zip(got_gradients, expected_gradients, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(
            *torch.broadcast_tensors(zero if ours is None else ours, zero if theirs is None else theirs),
            rtol=rtol,
            atol=atol,
            check_dtype=False,
        )


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
    for k in range(2, TOKENS + 1):
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


def test_chain_gives_no_gradient_to_a_detached_target_and_the_same_one_to_the_source():
    gradients = []
    for detached in (False, True):
        source, target = leaf(normal(3, WIDTH), torch.float32), leaf(normal(3, WIDTH, seed=1), torch.float32)
        chain_info_nce(source, target.detach() if detached else target, 0.05).backward()
        gradients.append(source.grad)
        assert (target.grad is None) == detached
    torch.testing.assert_close(gradients[0], gradients[1])


# --- all of them -------------------------------------------------------------------------------------------------------


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
    """DESIGN section 6: names and defaults from outside."""
    defaults = {
        nested_info_nce: {"negatives": None},
        attention_kl: {"direction": "reverse", "detach": False},
        topk_cka: {"k_min": 8, "length": "padded"},
        chain_info_nce: {},
    }
    for function, expected in defaults.items():
        parameters = inspect.signature(function).parameters
        assert {name: parameters[name].default for name in expected} == expected
