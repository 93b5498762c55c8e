"""Our terms against sentence-transformers 6.2 itself, on the same hidden states and with the same draws."""

import pytest
import torch

pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

from batches import term  # noqa: E402
from test_sentence_transformers import BATCH, DIMS, LAYERS, WIDTH, agree, losses, script  # noqa: E402, F401 - a fixture

from mipic_bench.objectives import Nesting  # noqa: E402
from mipic_bench.shapes import Shape  # noqa: E402
from mipic_bench.states import States  # noqa: E402

NESTING = Nesting(Shape(LAYERS, WIDTH), tuple(sorted(DIMS)), 0.05)  # scale 20


def ours(name, nesting=NESTING, scores=None, **settings):
    """The loss of one of our terms as a function of columns per layer."""
    own = term(name, nesting, **settings)

    def loss(layers):
        hidden = {layer: torch.cat(columns).unsqueeze(1) for layer, columns in layers.items()}
        parts = len(layers[0])
        mask = torch.ones(parts * BATCH, 1, dtype=torch.long)
        return own.loss(States(hidden, mask, mask < 0, "cls", parts, scores=scores), nesting, None)

    return loss


@pytest.mark.parametrize("columns", [2, 3])
def test_mrl_is_matryoshka_of_multiple_negatives_ranking(columns):
    agree(
        lambda model: losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), DIMS),
        ours("nested_info_nce"),
        columns,
    )


def test_mrl_on_scored_pairs_is_matryoshka_of_cosent():
    labels = torch.tensor((0.1, 0.9, 0.5, 0.3), dtype=torch.float64)
    agree(
        lambda model: losses.MatryoshkaLoss(model, losses.CoSENTLoss(model), DIMS),
        ours("nested_info_nce", scores=labels),
        labels=labels,
    )


def test_both_directions():
    options = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
    agree(
        lambda model: losses.MultipleNegativesRankingLoss(model, **options),
        ours("nested_info_nce", Nesting(NESTING.shape, (WIDTH,), 0.05), directions="both"),
    )


@pytest.mark.parametrize(("drawn", "last", "early"), [(0, 0, 2), (1, 2, 0), (2, 1, 1)])
def test_2d_is_matryoshka_2d(script, monkeypatch, drawn, last, early):  # noqa: F811
    script([last], [drawn], [early])
    ours_draw = iter([(drawn,), (DIMS[last],), (DIMS[early],)])
    monkeypatch.setattr("mipic_bench.objectives.adaptive_layer.sample", lambda *arguments: next(ours_draw))
    agree(
        lambda model: losses.Matryoshka2dLoss(model, losses.MultipleNegativesRankingLoss(model), list(DIMS)),
        ours("adaptive_layer"),
    )


@pytest.mark.parametrize("drawn", range(LAYERS))
def test_adaptive_layer(script, monkeypatch, drawn):  # noqa: F811
    script([drawn])
    ours_draw = iter([(drawn,), (WIDTH,), (WIDTH,)])
    monkeypatch.setattr("mipic_bench.objectives.adaptive_layer.sample", lambda *arguments: next(ours_draw))
    agree(
        lambda model: losses.AdaptiveLayerLoss(model, losses.MultipleNegativesRankingLoss(model)),
        ours("adaptive_layer", Nesting(NESTING.shape, (WIDTH,), 0.05)),
    )
