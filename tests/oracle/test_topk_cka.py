"""The CKA term: sums or means of the public function over layers; the rules that choose tokens."""

import loops
import pytest
import torch
from batches import DIMS, NESTING, WIDTH, agree, heads, term, token_states

from mipic_bench.errors import UserError
from mipic_bench.objectives import topk_cka

NARROW = DIMS[:-1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"detach": True},
        {"length": "real"},
        {"special_tokens": False},
        {"gammas": 1.0},
        {"gammas": 0.0},
        {"k_min": 3},
    ],
)
def test_the_term_is_the_sum_over_layers_of_the_function(settings):
    batch, own = token_states(), term("topk_cka", **settings)
    mask = batch.mask if own.special_tokens else batch.mask * ~batch.special
    expected = torch.zeros((), dtype=torch.float64)
    for layer in own.layers(NESTING):
        hidden = batch.hidden[layer]
        scores = (hidden * batch.embedding(layer).unsqueeze(1)).sum(2)
        arguments = (hidden, scores, mask, NARROW, own.gammas, own.k_min, own.length)
        expected = expected + topk_cka(*arguments, detach=own.detach).sum()
    given = [batch.hidden[layer] for layer in (1, 2, 3, 4)]
    agree(own.loss(batch, NESTING, None).double(), expected, given, rtol=1e-3, atol=1e-4)


def test_the_mean_is_over_layers_and_widths():
    batch = token_states()
    total, mean = (term("topk_cka", reduction=r).loss(batch, NESTING, None) for r in ("sum", "mean"))
    torch.testing.assert_close(mean * 4 * 3, total)


def test_each_width_by_its_own_scores_as_in_the_notebooks():
    """W_Q(P h_q) . W_K(P h_j) token by token, k_i = max(k_min, floor(k_full d_i / D)); CKA by its definition."""
    batch = token_states(tokens=9)
    own = term("topk_cka", ranking="own", k_full=8, k_min=2, layer_set=(2,), reduction="mean")
    maps = heads(own)
    assert not any(weight.requires_grad for weight in maps.parameters())
    values, given, hidden = [], iter(maps), batch.hidden[2]
    query = batch.embedding(2).detach()
    for dim in NARROW:
        project, to_query, to_key = next(given)
        k = max(2, 8 * dim // WIDTH)
        for row in range(6):
            tokens = hidden[row][batch.mask[row].bool()]
            keys = to_key(project(tokens.detach()[:, :dim]))
            scores = keys @ to_query(project(query[row, :dim]))
            best = loops.best_tokens(scores, torch.ones(len(scores)))[:k]
            values.append(1 - loops.cka(list(tokens[best][:, :dim]), list(tokens[best])))
    found = own.loss(batch, NESTING, maps.float())
    agree(found.double(), loops.mean(values), [hidden], rtol=1e-3, atol=1e-4)


def test_a_text_of_special_tokens_alone_does_no_harm():
    batch = token_states()
    batch.special[0] = True
    value = term("topk_cka", special_tokens=False).loss(batch, NESTING, None)
    gradients = torch.autograd.grad(value, [batch.hidden[layer] for layer in (1, 2, 3, 4)])
    assert value.isfinite() and all(gradient.isfinite().all() for gradient in gradients)


def test_gammas_of_the_wrong_number_are_refused():
    with pytest.raises(UserError, match=r"gammas: 2 gammas for 3 truncated widths \[2, 3, 6\]"):
        term("topk_cka", gammas=(0.1, 0.2))
    assert term("topk_cka", gammas=0.5).gammas == (0.5, 0.5, 0.5)
