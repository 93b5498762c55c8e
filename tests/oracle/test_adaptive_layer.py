"""Adaptive layers and their 2D form against the loops, and against sentence-transformers 6.2 itself."""

import loops_layers
import loops_tasks
import pytest
import torch
from batches import DEPTH, DIMS, NESTING, agree, layers, states, term

from mipic_bench.errors import UserError
from mipic_bench.objectives import Nesting
from mipic_bench.shapes import Shape

TASK = loops_tasks.info_nce_task(0.1)


def flat(given):
    return [column for parts in given.values() for column in parts]


@pytest.fixture
def drawn(monkeypatch):
    """Let the term draw what the test says: the layers, then the widths of the last and of each drawn layer."""

    def script(*choices):
        following = iter(choices)

        def sample(values, count, generator):
            chosen = tuple(next(following))
            assert set(chosen) <= set(values)
            assert count == "all" or len(chosen) == count
            return chosen

        monkeypatch.setattr("mipic_bench.objectives.adaptive_layer.sample", sample)

    return script


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize(("layer", "last", "early"), [(0, 12, 2), (1, 3, 3), (3, 2, 12)])
def test_matryoshka_2d(drawn, parts, layer, last, early):
    given = layers(parts)
    drawn([layer], [last], [early])
    found = term("adaptive_layer").loss(states(given), NESTING, None)
    agree(found, loops_layers.matryoshka_2d(given, layer, [last], [early], TASK), flat(given))


@pytest.mark.parametrize(("layer", "last", "early"), [(1, 12, 2), (3, 2, 12)])
def test_matryoshka_2d_before_mid_2026(drawn, layer, last, early):
    given = layers()
    drawn([layer], [last], [early])
    own = term("adaptive_layer", embedding_output=False, layer_weights="inverse", detach=False)
    found = own.loss(states(given), NESTING, None)
    agree(found, loops_layers.matryoshka_2d_before(given, layer, [last], [early], TASK), flat(given))


@pytest.mark.parametrize("weighting", ["uniform", "linear", "log"])
@pytest.mark.parametrize("kl_temperature", [0.3, 1.0, 0.0])
def test_adaptive_layers(drawn, weighting, kl_temperature):
    """All widths off (the full one alone), two layers at once, every weight another."""
    given = layers()
    nesting = Nesting(NESTING.shape, (NESTING.shape.width,), 0.1)
    drawn([0, 2], [12], [12], [12])
    settings = {"last_weight": 0.7, "prior_weight": 1.3, "kl_weight": 0.4, "kl_temperature": kl_temperature}
    own = term("adaptive_layer", nesting, layer_weights=weighting, sampled_layers=2, sampled_dims="all", **settings)
    loop = {"uniform": loops_layers.uniform, "linear": loops_layers.linear, "log": loops_layers.logarithmic}[weighting]
    expected = loops_layers.adaptive_layer(given, [0, 2], TASK, weighting=loop, **settings)
    agree(own.loss(states(given), nesting, None), expected, flat(given))


def test_all_layers_and_all_widths():
    given = layers()
    own = term("adaptive_layer", sampled_layers="all", sampled_dims="all")
    expected = loops_layers.adaptive_layer(given, range(DEPTH), lambda c: loops_tasks.nested(c, DIMS, TASK))
    agree(own.loss(states(given), NESTING, None), expected, flat(given))
    assert own.layers(NESTING) == (0, 1, 2, 3, 4)


def test_every_layer_and_width_is_drawn_sooner_or_later(monkeypatch):
    from mipic_bench.objectives import adaptive_layer

    seen = []
    real = adaptive_layer.sample
    monkeypatch.setattr(adaptive_layer, "sample", lambda *a: seen.append(real(*a)) or seen[-1])
    own, given = term("adaptive_layer"), layers()
    for draw in range(60):
        own.loss(states(given, draw=draw), NESTING, None)
    assert {choice[0] for choice in seen[0::3]} == {0, 1, 2, 3}
    assert {choice[0] for choice in seen[1::3]} == {choice[0] for choice in seen[2::3]} == set(DIMS)
    assert any(last != early for last, early in zip(seen[1::3], seen[2::3], strict=True))


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="embedding output"):
        term("adaptive_layer", layer_weights="inverse")
    with pytest.raises(UserError, match="sampled_layers: 9 are to be drawn of 4"):
        term("adaptive_layer", sampled_layers=9)
    with pytest.raises(UserError, match="sampled_dims: 5 are to be drawn of 4"):
        term("adaptive_layer", sampled_dims=5)
    with pytest.raises(UserError, match="no earlier layer"):
        term("adaptive_layer", Nesting(Shape(1, 12), DIMS, 0.1), embedding_output=False)


def test_the_detached_last_layer_gets_no_gradient_from_the_divergence(drawn):
    given = layers()
    drawn([2], [12], [12])
    own = term("adaptive_layer", last_weight=0.0, prior_weight=0.0)
    gradients = torch.autograd.grad(own.loss(states(given), NESTING, None), [*given[4], *given[2]], allow_unused=True)
    assert all(g is None or not g.any() for g in gradients[:2]) and gradients[2].any()
