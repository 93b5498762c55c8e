"""The attention term: sums or means of the public function over layers, with its options."""

import pytest
import torch
from batches import DIMS, NESTING, WIDTH, agree, heads, term, token_states

from mipic_bench.objectives import Nesting, attention_kl
from mipic_bench.shapes import Shape

NARROW = DIMS[:-1]


@pytest.mark.parametrize(
    "settings", [{}, {"direction": "forward"}, {"detach": True}, {"eps": 1e-4}, {"temperature": 1.0}]
)
@pytest.mark.parametrize("lift", [True, False])
def test_the_term_is_the_sum_over_layers_of_the_function(settings, lift):
    batch, own = token_states(), term("attention_kl", lift=lift, **settings)
    trained = heads(own).float() if lift else None  # the term stacks layers in float32
    options = {name: value for name, value in settings.items() if name != "temperature"}
    expected = torch.zeros((), dtype=torch.float64)
    for place, layer in enumerate(own.layers(NESTING)):
        lifts = trained["lifts"][place].split(NARROW, 1) if lift else None
        query = batch.embedding(layer)
        values = attention_kl(batch.hidden[layer], query, batch.mask, NARROW, lifts, own.temperature, **options)
        expected = expected + values.sum()
    given = [batch.hidden[layer] for layer in (1, 2, 3, 4)] + ([trained["lifts"]] if lift else [])
    agree(own.loss(batch, NESTING, trained).double(), expected, given, rtol=2e-3, atol=2e-3)


def test_the_mean_is_over_layers_and_widths():
    batch = token_states()
    total, mean = (term("attention_kl", reduction=r, lift=False).loss(batch, NESTING, None) for r in ("sum", "mean"))
    torch.testing.assert_close(mean * 4 * 3, total)


@pytest.mark.parametrize(
    ("rule", "chosen"), [("default", (1, 2, 3, 4)), ("last", (4,)), ("thirds", (1, 2)), ((2, 4), (2, 4))]
)
def test_layers_by_rule(rule, chosen):
    own = term("attention_kl", layer_set=rule)
    assert own.layer_set == chosen == own.layers(NESTING)
    assert heads(own)["lifts"].shape == (len(chosen), WIDTH, sum(NARROW))


@pytest.mark.parametrize(
    ("depth", "chosen"), [(1, (1,)), (2, (1,)), (5, (1, 3)), (6, (2, 4)), (8, (2, 5)), (12, (4, 8))]
)
def test_thirds_of_other_depths(depth, chosen):
    nesting = Nesting(Shape(depth, WIDTH), NESTING.dims, 0.1)
    assert term("attention_kl", nesting, layer_set="thirds").layer_set == chosen
