"""The loops, and our nested InfoNCE, against sentence-transformers 6.2 itself: the same embeddings through a stub model.

What it draws at random (layers, widths) comes from a script here, so that both sides draw the same.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import loops_layers
import loops_tasks
import pytest
import torch
from torch import Tensor, nn

from mipic_bench.objectives import nested_info_nce

sentence_transformers = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
VERSION = tuple(int(part) for part in sentence_transformers.__version__.split(".")[:2])
if VERSION < (6, 2):
    pytest.skip("nested losses differ below sentence-transformers 6.2", allow_module_level=True)

from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer import losses  # noqa: E402
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer  # noqa: E402

BATCH, WIDTH, LAYERS = 4, 8, 3  # hidden states 0..3
DIMS = (8, 6, 3)


class Stub(Transformer):
    """A transformer that answers with given hidden states; the token says which: column * BATCH + row.

    Like the real one it writes into the features it is given, where AdaptiveLayerLoss looks for all layers.
    """

    def __init__(self, states: dict[tuple[int, int], Tensor]) -> None:
        nn.Module.__init__(self)
        self.states = states  # (column, layer) -> (batch, dim)
        self.model = SimpleNamespace(config=SimpleNamespace(output_hidden_states=False, hidden_size=WIDTH))

    @property
    def auto_model(self):
        return self.model

    def forward(self, features, **kwargs):
        columns = range(max(column for column, _ in self.states) + 1)
        rows = features["input_ids"][:, 0]
        every = tuple(
            torch.cat([self.states[column, layer] for column in columns])[rows][:, None, :]
            for layer in range(LAYERS + 1)
        )
        features.update({"token_embeddings": every[-1], "all_layer_embeddings": every})
        return features

    def get_embedding_dimension(self):
        return WIDTH


def states(columns: int = 2) -> dict[tuple[int, int], Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        (column, layer): torch.randn(BATCH, WIDTH, generator=generator, dtype=torch.float64).requires_grad_()
        for column in range(columns)
        for layer in range(LAYERS + 1)
    }


def theirs(
    given: dict[tuple[int, int], Tensor], make: Callable[[SentenceTransformer], nn.Module], labels=None
) -> Tensor:
    """The loss of the library on given hidden states."""
    model = SentenceTransformer(modules=[Stub(given), Pooling(WIDTH, pooling_mode="cls")], device="cpu")
    columns = max(column for column, _ in given) + 1
    features = [
        {
            "input_ids": column * BATCH + torch.arange(BATCH)[:, None],
            "attention_mask": torch.ones(BATCH, 1, dtype=torch.long),
        }
        for column in range(columns)
    ]
    return make(model)(features, labels)


def layers_of(given: dict[tuple[int, int], Tensor]) -> dict[int, list[Tensor]]:
    columns = max(column for column, _ in given) + 1
    return {layer: [given[column, layer] for column in range(columns)] for layer in range(LAYERS + 1)}


def agree(
    make: Callable[[SentenceTransformer], nn.Module],
    loop: Callable[[dict[int, list[Tensor]]], Tensor],
    columns: int = 2,
    labels: Tensor | None = None,
) -> None:
    """Same value, and the same gradient at every hidden state of every column."""
    results = []
    for side in ("theirs", "ours"):
        given = states(columns)
        value = theirs(given, make, labels) if side == "theirs" else loop(layers_of(given))
        gradients = torch.autograd.grad(value, list(given.values()), allow_unused=True)
        zeros = torch.zeros(BATCH, WIDTH, dtype=torch.float64)
        results.append((value.detach(), torch.stack([zeros if g is None else g for g in gradients])))
    torch.testing.assert_close(results[0][0].double(), results[1][0], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-7, atol=1e-9)
    assert results[0][1].abs().max() > 1e-4, "a comparison of nothing with nothing"


@pytest.fixture
def script(monkeypatch) -> Callable[..., None]:
    """Let random.sample return the given lists of choices, one after the other."""

    def write(*draws: Sequence[int]) -> None:
        following: Iterator[Sequence[int]] = iter(draws)

        def sample(population, k):
            chosen = list(next(following))
            assert len(chosen) == k
            assert set(chosen) <= set(population)
            return chosen

        monkeypatch.setattr("random.sample", sample)

    return write


def test_the_stub_gives_out_its_states():
    given = states()
    model = SentenceTransformer(modules=[Stub(given), Pooling(WIDTH, pooling_mode="cls")], device="cpu")
    features = {"input_ids": BATCH + torch.arange(BATCH)[:, None], "attention_mask": torch.ones(BATCH, 1)}
    torch.testing.assert_close(model(features)["sentence_embedding"], given[1, LAYERS])


@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("both", [False, True])
def test_multiple_negatives_ranking(columns, both):
    options = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"} if both else {}
    agree(
        lambda model: losses.MultipleNegativesRankingLoss(model, **options),
        lambda layers: loops_tasks.ranking(layers[LAYERS], 20.0, both),
        columns,
    )


@pytest.mark.parametrize("labels", [(0.1, 0.9, 0.5, 0.3), (1.0, 0.0, 1.0, 0.0), (0.0, 0.5, 0.5, 1.0)])
def test_cosent(labels):
    agree(
        losses.CoSENTLoss,
        lambda layers: loops_tasks.cosent(layers[LAYERS], labels),
        labels=torch.tensor(labels, dtype=torch.float64),
    )


@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 2.0)])
@pytest.mark.parametrize("columns", [2, 3])
def test_matryoshka(weights, columns):
    agree(
        lambda model: losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), DIMS, weights),
        lambda layers: loops_tasks.nested(layers[LAYERS], DIMS, loops_tasks.ranking, weights),
        columns,
    )


def test_matryoshka_of_cosent():
    labels = (0.1, 0.9, 0.5, 0.3)
    agree(
        lambda model: losses.MatryoshkaLoss(model, losses.CoSENTLoss(model), DIMS),
        lambda layers: loops_tasks.nested(layers[LAYERS], DIMS, lambda c: loops_tasks.cosent(c, labels)),
        labels=torch.tensor(labels, dtype=torch.float64),
    )


def test_matryoshka_with_sampled_dims(script):
    script([2, 0])
    agree_with = {"n_dims_per_step": 2}
    agree(
        lambda model: losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), DIMS, **agree_with),
        lambda layers: loops_tasks.nested(layers[LAYERS], (8, 3), loops_tasks.ranking),
    )


@pytest.mark.parametrize("columns", [2, 3])
def test_our_nested_info_nce_is_matryoshka_of_ranking(columns):
    """Scale 20 is temperature 0.05; the fast function keeps float64."""

    def ours(layers):
        anchors, positives, *negatives = layers[LAYERS]
        dims = tuple(sorted(DIMS))
        return nested_info_nce(anchors, positives, dims, 0.05, negatives[0] if negatives else None).sum()

    agree(
        lambda model: losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), DIMS),
        ours,
        columns,
    )


@pytest.mark.parametrize("drawn", range(LAYERS))
@pytest.mark.parametrize("columns", [2, 3])
def test_adaptive_layer(script, drawn, columns):
    script([drawn])
    agree(
        lambda model: losses.AdaptiveLayerLoss(model, losses.MultipleNegativesRankingLoss(model)),
        lambda layers: loops_layers.adaptive_layer(layers, [drawn], loops_tasks.ranking),
        columns,
    )


@pytest.mark.parametrize("weighting", ["uniform", "linear", "log"])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 0.0])
def test_adaptive_layer_weightings_and_temperatures(script, weighting, temperature):
    script([2, 0])
    loop = {"uniform": loops_layers.uniform, "linear": loops_layers.linear, "log": loops_layers.logarithmic}
    agree(
        lambda model: losses.AdaptiveLayerLoss(
            model,
            losses.MultipleNegativesRankingLoss(model),
            n_layers_per_step=2,
            last_layer_weight=0.7,
            prior_layers_weight=1.3,
            kl_div_weight=0.4,
            kl_temperature=temperature,
            layer_weighting=weighting,
        ),
        lambda layers: loops_layers.adaptive_layer(
            layers,
            [2, 0],
            loops_tasks.ranking,
            weighting=loop[weighting],
            kl_temperature=temperature,
            last_weight=0.7,
            prior_weight=1.3,
            kl_weight=0.4,
        ),
    )


@pytest.mark.parametrize(("drawn", "last", "early"), list(itertools.product(range(LAYERS), (0, 2), (0, 1))))
def test_matryoshka_2d(script, drawn, last, early):
    script([last], [drawn], [early])
    agree(
        lambda model: losses.Matryoshka2dLoss(model, losses.MultipleNegativesRankingLoss(model), list(DIMS)),
        lambda layers: loops_layers.matryoshka_2d(layers, drawn, [DIMS[last]], [DIMS[early]], loops_tasks.ranking),
    )


def test_matryoshka_2d_with_all_dims(script):
    script([1])
    agree(
        lambda model: losses.Matryoshka2dLoss(
            model, losses.MultipleNegativesRankingLoss(model), list(DIMS), n_dims_per_step=-1
        ),
        lambda layers: loops_layers.matryoshka_2d(layers, 1, DIMS, DIMS, loops_tasks.ranking),
    )
