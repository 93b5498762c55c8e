"""The loops themselves, against formulas written another way: an oracle that is wrong proves nothing."""

import math

import loops
import pytest
import torch
from torch.nn import functional


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_info_nce_is_the_cross_entropy_of_the_cosine_matrix():
    a, p = normal(5, 8), normal(5, 8, seed=1)
    cosines = functional.normalize(a, dim=1) @ functional.normalize(p, dim=1).T
    torch.testing.assert_close(loops.info_nce(a, p, 0.05), functional.cross_entropy(cosines / 0.05, torch.arange(5)))


@pytest.mark.parametrize("shape", [(5, 8), (5, 3, 8)])
def test_hard_negatives_are_more_columns_for_everybody(shape):
    a, p, n = normal(5, 8), normal(5, 8, seed=1), normal(*shape, seed=2)
    candidates = functional.normalize(torch.cat([p, n.reshape(-1, 8)]), dim=1)
    logits = functional.normalize(a, dim=1) @ candidates.T / 0.05
    torch.testing.assert_close(loops.info_nce(a, p, 0.05, n), functional.cross_entropy(logits, torch.arange(5)))


def test_equal_texts_are_minus_infinity_off_the_diagonal():
    a, p = normal(4, 8), normal(4, 8, seed=1)
    texts = ["x", "y", "x", "z"]
    logits = functional.normalize(a, dim=1) @ functional.normalize(p, dim=1).T / 0.1
    logits[0, 2] = logits[2, 0] = -math.inf
    torch.testing.assert_close(
        loops.info_nce(a, p, 0.1, texts=texts), functional.cross_entropy(logits, torch.arange(4))
    )


def test_nested_info_nce_cuts_before_it_normalises():
    a, p = normal(4, 8), normal(4, 8, seed=1)
    expected = []
    for d in (2, 5, 8):
        cosines = functional.normalize(a[:, :d], dim=1) @ functional.normalize(p[:, :d], dim=1).T
        expected.append(functional.cross_entropy(cosines / 0.05, torch.arange(4)))
    torch.testing.assert_close(loops.nested_info_nce(a, p, (2, 5, 8), 0.05), torch.stack(expected))


@pytest.mark.parametrize("direction", ["reverse", "forward"])
@pytest.mark.parametrize("lifted", [True, False])
def test_attention_kl_is_torchs_kl_of_torchs_softmax(direction, lifted):
    h, q = normal(3, 6, 8), normal(3, 8, seed=1)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    lift = normal(8, 3, seed=2) if lifted else torch.eye(8, 3, dtype=torch.float64)
    value = loops.attention_kl(h, q, mask, [3], [lift if lifted else None], 0.5, direction)

    def attention(states: torch.Tensor) -> torch.Tensor:
        scores = torch.einsum("bd,btd->bt", q, states) / math.sqrt(8)
        return torch.softmax(scores.masked_fill(mask == 0, -math.inf) / 0.5, dim=1) + 1e-8

    student, teacher = attention(h[:, :, :3] @ lift.T), attention(h)
    p, other = (student, teacher) if direction == "reverse" else (teacher, student)
    torch.testing.assert_close(value[0], functional.kl_div(other.log(), p, reduction="batchmean"))


def test_cka_is_the_dual_form_on_centred_gram_matrices():
    x, y = normal(6, 3), normal(6, 8, seed=1)
    centre = torch.eye(6, dtype=torch.float64) - 1 / 6
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    expected = (k * m).sum() / (k.norm() * m.norm() + 1e-8)
    torch.testing.assert_close(loops.cka(list(x), list(y)), expected)


@pytest.mark.parametrize("length", ["padded", "real"])
def test_topk_cka_is_cka_of_sorted_rows(length):
    h, scores = normal(2, 12, 5), normal(2, 12, seed=1)
    mask = torch.ones(2, 12)
    mask[1, 5:] = 0
    value = loops.topk_cka(h, scores, mask, (2, 5), (0.3, 0.9), k_min=3, length=length)
    expected = []
    for d, padded, own in ((2, (4, 4), (4, 3)), (5, (11, 5), (11, 5))):
        losses = []
        for n, k in enumerate(padded if length == "padded" else own):
            order = scores[n].masked_fill(mask[n] == 0, -math.inf).argsort(descending=True)[:k]
            losses.append(1 - loops.cka(list(h[n, order, :d]), list(h[n, order])))
        expected.append(sum(losses) / 2)
    torch.testing.assert_close(value, torch.stack(expected))


def test_number_of_tokens():
    assert loops.number_of_tokens(0.2, 256, 8, 256) == 52
    assert loops.number_of_tokens(0.2, 20, 8, 20) == 8
    assert loops.number_of_tokens(0.7, 10, 8, 5) == 5


def test_ties_go_to_the_earlier_token_and_pads_to_nobody():
    assert loops.best_tokens(torch.tensor([1.0, 3.0, 3.0, 9.0]), torch.tensor([1, 1, 1, 0])) == [1, 2, 0]


def test_a_single_token_gives_loss_one_and_no_gradient():
    h = normal(1, 4, 5).requires_grad_()
    mask = torch.tensor([[1, 0, 0, 0]])
    loss = loops.topk_cka(h, normal(1, 4), mask, (2,), (0.5,))
    assert loss.item() == 1
