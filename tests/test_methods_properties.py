"""What must hold of trained methods: a weight of zero is the ablation, methods that should coincide do, seeds decide."""

import pytest
import torch
from accelerate import Accelerator
from training import TEXTS, corpus, on_tiny, one_thread, recipe, same_bits, train

from mipic_bench import backbones
from mipic_bench.objectives import nested_cosines
from mipic_bench.recipes.methods import catalog
from mipic_bench.training import trainer

MIPIC_TERMS = ("mrl", "attention", "cka", "chain")


@pytest.fixture(scope="module")
def mipic():
    return catalog()["mipic"]


@pytest.mark.parametrize("left_out", ["attention", "cka", "chain"])
def test_weight_zero_is_the_recipe_without_the_term_bit_for_bit(mipic, left_out):
    zero = on_tiny(mipic.set(f"terms.{left_out}.weight", 0))
    terms = {name: mipic.body["terms"][name] for name in MIPIC_TERMS if name != left_out}
    without = on_tiny(recipe(terms, alpha=mipic.body["alpha"]))
    assert same_bits(train(zero)[0], train(without)[0])


def test_a_shipped_ablation_is_the_recipe_with_weight_zero(mipic):
    assert same_bits(
        train(on_tiny(catalog()["mipic-no-pic"]))[0], train(on_tiny(mipic.set("terms.chain.weight", 0)))[0]
    )


def test_mrl_with_one_width_is_full():
    one = on_tiny(catalog()["mrl"].set("dims", [64]))
    assert same_bits(train(one)[0], train(on_tiny(catalog()["full"]))[0])


def test_mipic_without_sia_and_with_no_chain_is_mrl_weighted_by_alpha():
    bare = on_tiny(catalog()["mipic-no-sia"].set("terms.chain.chain", []))
    scaled = on_tiny(catalog()["mrl"].set("terms.mrl.weight", 0.4))
    assert bare.terms.keys() == {"mrl", "chain"}
    assert same_bits(train(bare)[0], train(scaled)[0])


def test_mipic_at_alpha_one_is_mrl():
    assert same_bits(train(on_tiny(catalog()["mipic"].set("alpha", 1.0)))[0], train(on_tiny(catalog()["mrl"]))[0])


def test_the_model_of_a_width_is_mrl_at_that_width_alone():
    alone = on_tiny(catalog()["single-dim"])
    assert list(alone.per_dim) == [2, 4, 8, 16, 32, 64]
    assert same_bits(train(alone.per_dim[8])[0], train(on_tiny(catalog()["mrl"].set("dims", [8])))[0])
    assert same_bits(train(alone.per_dim[64])[0], train(on_tiny(catalog()["full"]))[0])


def test_fixed_k_is_gammas_of_zero_and_all_tokens_gammas_of_one():
    zeros = on_tiny(catalog()["mipic"].set("terms.cka.gammas", [0.0] * 5))
    ones = on_tiny(catalog()["mipic"].set("terms.cka.gammas", [1.0] * 5))
    assert same_bits(train(on_tiny(catalog()["mipic-fixed-k"]))[0], train(zeros)[0])
    assert same_bits(train(on_tiny(catalog()["mipic-all-tokens"]))[0], train(ones)[0])


def test_a_notebooks_rule_is_its_layers_in_numbers():
    """Thirds of tiny's four layers: 1 and 2; the chain at blocks 1, 1 and 3."""
    numbers = catalog()["mipic-notebook"].set("terms.cka.layer_set", [1, 2])
    numbers = numbers.set("terms.chain.chain", [[2, 1], [16, 1], [64, 3]])
    assert same_bits(train(on_tiny(catalog()["mipic-notebook"]))[0], train(on_tiny(numbers))[0])


@pytest.mark.parametrize("method", ["mipic", "2d-mrl-st", "sdr-mrl"])
def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(method):
    resolved = on_tiny(catalog()[method])
    first = train(resolved, seed=1)[0]
    torch.rand(17)  # the global generator elsewhere
    assert same_bits(first, train(resolved, seed=1)[0])
    assert not same_bits(first, train(resolved, seed=2)[0])


def test_leaving_a_term_out_changes_no_other_terms_start(mipic):
    backbone = backbones.load("tiny")
    whole = trainer.Objective(backbone, on_tiny(mipic), 0).heads.state_dict()
    less = trainer.Objective(backbone, on_tiny(catalog()["mipic-no-cka"]), 0).heads.state_dict()
    assert less and all(torch.equal(whole[name], less[name]) for name in less)


def test_a_frozen_teacher_is_the_untrained_backbone(monkeypatch):
    """What reaches the term is the vector of the same text before training, at every step."""
    resolved = on_tiny(catalog()["mrl-frozen-teacher"])
    seen = []
    name = "mipic_bench.objectives.similarity_distillation.similarity_gap"
    monkeypatch.setattr(
        name, lambda student, teacher, dims: seen.append(teacher) or nested_cosines(student, student, dims)
    )
    train(resolved)
    untrained = backbones.load("tiny")
    with one_thread():
        vectors = trainer.teacher_vectors(untrained, list(TEXTS), resolved.training.max_length)
    assert len(seen) == 2 * 3
    for teacher in seen:
        distances = torch.cdist(teacher, vectors)
        torch.testing.assert_close(distances.amin(1), torch.zeros(len(teacher)), rtol=0, atol=2e-2)


def test_masking_equal_texts_takes_their_cost_away():
    """Four copies of each text in every batch: the unmasked loss stays near ln 4 times the number of widths."""
    few = corpus(rows=2)
    repeated = type(few)("text", "text", {"anchor": few.columns["anchor"] * 20}, None, "digest", "toy")
    losses = {}
    for method in ("mrl", "mrl-mask-duplicates"):
        backbone = backbones.load("tiny")
        resolved = on_tiny(catalog()[method], max_steps=1, batch_size=8)
        with one_thread():
            losses[method] = trainer.train(backbone, resolved, repeated, 0, Accelerator(cpu=True)).entries[0]["loss"]
    assert losses["mrl-mask-duplicates"] < losses["mrl"] - 5
