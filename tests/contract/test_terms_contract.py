"""What every term promises: words, an oracle, gradients, its own random draws, and a loss that does not see batch order."""

import inspect
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "oracle"))

from batches import DEPTH, NESTING, TERMS, heads, layers, states, term, token_states  # noqa: E402

from mipic_bench.objectives import TaskTerm  # noqa: E402

ORACLES = Path(__file__).parents[1] / "oracle"
KINDS = ("text", "pairs", "triplets", "scored")
TOKENS = ("attention_kl", "topk_cka")  # read every token; the others the read-out alone


def value(name, batch, **settings):
    """The loss of a term on a batch as training has it: float32 (or less) with float32 heads."""
    own = term(name, **settings)
    made = own.heads(NESTING, torch.Generator().manual_seed(0))
    hidden = {layer: x.float() if x.dtype == torch.float64 else x for layer, x in batch.hidden.items()}
    return own.loss(replace(batch, hidden=hidden, _cache={}), NESTING, made)


@pytest.mark.parametrize("name", TERMS)
def test_it_says_what_it_is_and_has_an_oracle_test(name):
    kind = TERMS[name]
    assert kind.__doc__ and kind.formula and kind.source
    assert isinstance(kind.version, int) and kind.version >= 1
    assert (ORACLES / f"test_{name}.py").is_file()
    assert len(inspect.getsource(sys.modules[kind.__module__]).splitlines()) <= 300


@pytest.mark.parametrize("name", TERMS)
def test_its_loss_is_a_finite_scalar_with_a_gradient(name):
    batch = token_states(teacher=torch.randn(6, 12, generator=torch.Generator().manual_seed(1)))
    found = value(name, batch)
    assert found.ndim == 0 and found.isfinite()
    own = term(name)
    assert set(own.layers(NESTING)) <= set(range(DEPTH + 1)) and own.layers(NESTING) == tuple(
        sorted(own.layers(NESTING))
    )
    read = [batch.hidden[layer] for layer in own.layers(NESTING)]
    gradients = [g for g in torch.autograd.grad(found, read, allow_unused=True) if g is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)
    pads = batch.mask == 0
    assert all(not gradient[pads].any() for gradient in gradients), "padding must not be trained"


@pytest.mark.parametrize("name", TERMS)
def test_reduced_precision_is_summed_in_float32(name):
    """Under autocast, bfloat16 states give a float32 loss near the one of the same numbers in float32."""
    exact = token_states(teacher=torch.zeros(6, 12))
    plain = {layer: hidden.detach().float() for layer, hidden in exact.hidden.items()}
    rounded = {layer: hidden.bfloat16() for layer, hidden in plain.items()}
    results = []
    for hidden in ({layer: x.float() for layer, x in rounded.items()}, rounded):
        batch = replace(exact, hidden=hidden, _cache={})
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=hidden is rounded):
            results.append(value(name, batch))
    assert results[1].dtype == torch.float32
    torch.testing.assert_close(results[1], results[0], rtol=3e-2, atol=3e-2)


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("name", TERMS)
def test_the_order_of_a_batch_does_not_matter(name, parts):
    order = torch.tensor([2, 0, 3, 1])
    given = layers(parts)
    moved = {layer: [column[order] for column in columns] for layer, columns in given.items()}
    found, other = value(name, states(given), **alone(name)), value(name, states(moved), **alone(name))
    torch.testing.assert_close(found, other, rtol=1e-4, atol=1e-5)


def alone(name):
    return {"queue": 0} if name == "sdr" else {}


@pytest.mark.parametrize("name", TERMS)
def test_it_draws_from_the_steps_generator_alone(name):
    before = torch.get_rng_state()
    given = layers()
    first = [value(name, states(given, draw=draw)) for draw in (5, 5)]
    assert torch.equal(torch.get_rng_state(), before), "the global generator was moved"
    assert torch.equal(*first)


@pytest.mark.parametrize("name", TERMS)
def test_its_heads_come_from_their_generator_alone(name):
    own = term(name)
    before = torch.get_rng_state()
    one, same, other = (own.heads(NESTING, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    if one is None:
        return
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    drawn = [weight for weight in one.parameters() if weight.any()]
    assert not drawn or any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert heads(own) is not None


@pytest.mark.parametrize("name", TERMS)
def test_resolving_twice_changes_nothing(name):
    own = term(name)
    assert own.resolved(NESTING) == own
    assert TERMS[name](**own.model_dump()) == own, "the numbers in a provenance build the term again"


@pytest.mark.parametrize("name", TERMS)
def test_by_default_it_trains_on_every_kind_of_corpus(name):
    assert not any(term(name).refusal(kind) for kind in KINDS)
    if issubclass(TERMS[name], TaskTerm):
        assert [kind for kind in KINDS if not term(name, task="cosent").refusal(kind)] == ["scored"]
