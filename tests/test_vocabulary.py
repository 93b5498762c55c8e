"""Training the used rows of the embedding table is training the whole table."""

from contextlib import nullcontext

import pytest
import torch
from training import corpus, on_tiny, train

from mipic_bench import backbones
from mipic_bench.recipes.methods import find
from mipic_bench.training import trainer
from mipic_bench.training.batches import Batches
from mipic_bench.training.vocabulary import only_used_rows

TABLE = "model.embeddings.word_embeddings.weight"


@pytest.mark.parametrize("method", ["mrl", "mrl-frozen-teacher", "mipic"])
def test_the_weights_are_those_of_training_the_whole_table(method, monkeypatch):
    resolved = on_tiny(*find([method]), max_steps=6, learning_rate=1e-3, weight_decay=0.1)
    small, _ = train(resolved)
    monkeypatch.setattr(trainer, "only_used_rows", lambda *_: nullcontext())
    whole, _ = train(resolved)
    assert small.keys() == whole.keys()
    for name, value in whole.items():
        torch.testing.assert_close(small[name], value, atol=2e-6, rtol=2e-5, msg=name)
    start = backbones.load("tiny").state_dict()[TABLE]
    untouched = (small[TABLE] / start).sub(small[TABLE][-1, 0] / start[-1, 0]).abs().amax(1) < 1e-5
    assert 1000 < int(untouched.sum()) < len(start)
    assert float(small[TABLE][-1, 0] / start[-1, 0]) < 1 - 1e-5


def batches_of(backbone):
    return Batches(backbone, corpus(), on_tiny(*find(["mrl"])).training, 0)


def test_the_small_table_is_used_and_the_whole_one_comes_back():
    backbone = backbones.load("tiny")
    table, batches = backbone.model.get_input_embeddings(), batches_of(backbone)
    whole, [plain] = table.weight, [next(iter(batches.epoch(0)))]
    expected = backbone.hidden(plain.input_ids, plain.mask, [2])[2]
    with only_used_rows(backbone, batches, 1.0):
        assert len(table.weight) < 200
        batch = next(iter(batches.epoch(0)))
        assert torch.equal(backbone.hidden(batch.input_ids, batch.mask, [2])[2], expected)
        assert torch.equal(batch.special, plain.special)
        assert torch.equal(batch.mask, plain.mask)
    assert table.weight is whole
    assert torch.equal(backbone.hidden(plain.input_ids, plain.mask, [2])[2], expected)


def test_it_comes_back_when_training_fails():
    backbone = backbones.load("tiny")
    table, whole = backbone.model.get_input_embeddings(), backbone.model.get_input_embeddings().weight
    with pytest.raises(RuntimeError), only_used_rows(backbone, batches_of(backbone), 1.0):
        raise RuntimeError
    assert table.weight is whole


def test_a_frozen_table_stays():
    backbone = backbones.load("tiny")
    table = backbone.model.get_input_embeddings()
    table.weight.requires_grad_(False)
    with only_used_rows(backbone, batches_of(backbone), 1.0):
        assert len(table.weight) == 1461


def test_a_tokenizer_may_have_no_special_tokens(monkeypatch):
    monkeypatch.setattr("mipic_bench.backbones.model.special_ids", lambda _: frozenset())
    weights, history = train(on_tiny(*find(["mipic"])))
    assert history.steps == 3 and all(value.isfinite().all() for value in weights.values())
