"""The training loop: which batches make which step, rates, refusals, and what a loss that is not finite does."""

import itertools
import math

import pytest
import torch
from accelerate import Accelerator
from training import on_tiny, recipe, train

from mipic_bench import backbones
from mipic_bench.corpora._base import read_corpus
from mipic_bench.errors import UserError
from mipic_bench.recipes.methods import find
from mipic_bench.recipes.resolved import resolve
from mipic_bench.recipes.schema import Training
from mipic_bench.tasks._base import frame_of
from mipic_bench.training import trainer
from mipic_bench.training.batches import Batch, Batches

WORDS = [f"word {number}" + " more" * (number % 7) for number in range(23)]
PAIRS = read_corpus(frame_of(anchor=WORDS, positive=[f"so {text}" for text in WORDS]), "pairs", "pairs", "toy")
TEXTS = read_corpus(frame_of(text=WORDS), "texts", "texts", "toy")


@pytest.fixture(scope="module")
def tiny():
    return backbones.load("tiny")


def resolved(method, backbone, **settings):
    [recipe] = find([method])
    return resolve(recipe, backbone.shape, backbone.name, settings)


def examples(windows):
    return [[batch.input_ids.tolist() for batch in window] for window in windows]


@pytest.mark.parametrize(
    ("batch_size", "accumulation", "max_steps"), list(itertools.product((2, 5, 100), (1, 2, 50), (None, 7)))
)
def test_windows_from_any_step_on_are_the_rest_of_all_windows(tiny, batch_size, accumulation, max_steps):
    settings = Training(batch_size=batch_size, accumulation=accumulation, max_steps=max_steps, epochs=3)
    batches = Batches(tiny, PAIRS, settings, seed=1)
    steps = trainer.step_count(len(batches), settings)
    whole = examples(trainer._windows(batches, settings, steps, 0))
    assert len(whole) == steps
    for done in {0, 1, steps // 2, steps - 1, steps}:
        assert examples(trainer._windows(batches, settings, steps, done)) == whole[done:]


def test_an_epoch_holds_every_example_once_and_a_lone_one_is_left_out(tiny):
    for batch_size, expected in ((5, 23), (11, 22), (22, 22), (100, 23)):
        batches = Batches(tiny, PAIRS, Training(batch_size=batch_size), seed=0)
        seen = [len(batch.same) for batch in batches.epoch(0)]
        assert (len(seen), sum(seen)) == (len(batches), expected)
        assert min(seen) >= 2


def test_which_example_is_left_out_of_an_epoch_is_drawn(tiny):
    texts = [" ".join(["word"] * count) for count in range(1, 6)]
    corpus = read_corpus(frame_of(text=texts), "texts", "texts", "toy")
    batches = Batches(tiny, corpus, Training(batch_size=2), seed=0)
    seen = [{int(length) for batch in batches.epoch(number) for length in batch.mask.sum(1)} for number in range(20)]
    lengths = set(batches.lengths.tolist())
    assert {len(lengths - epoch) for epoch in seen} == {1}
    assert set.union(*(lengths - epoch for epoch in seen)) == lengths  # not the longest every time


def test_epochs_and_seeds_have_orders_of_their_own(tiny):
    def order(seed, epoch):
        return [batch.draw for batch in Batches(tiny, PAIRS, Training(batch_size=4), seed).epoch(epoch)]

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_heads_start_anew_for_every_seed_and_term(tiny):
    draws = {torch.rand(1, generator=trainer.head_generator(seed, name)).item() for seed in range(9) for name in "ab"}
    assert len(draws) == 18
    first, other = (trainer.Objective(tiny, resolved("mipic", tiny), seed).heads for seed in (0, 1))
    weights = [(one, two) for one, two in zip(first.parameters(), other.parameters(), strict=True)]
    assert weights and not any(torch.equal(one, two) for one, two in weights)


def test_the_rate_rises_then_falls_to_its_minimum():
    settings = Training(warmup=0.1, learning_rate=1.0, min_learning_rate=0.1)
    rates = [trainer.rate(settings, step, 100) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10] == 1.0
    assert all(one >= other for one, other in itertools.pairwise(rates[10:]))
    assert 0.1 <= rates[-1] < 0.102
    flat = Training(warmup=0.0, schedule="constant")
    assert {trainer.rate(flat, step, 9) for step in range(1, 10)} == {2e-5}
    line = Training(warmup=0.0, schedule="linear", learning_rate=1.0, min_learning_rate=0.0)
    assert [trainer.rate(line, step, 4) for step in range(1, 5)] == [1.0, 0.75, 0.5, 0.25]


def test_a_loss_that_is_not_finite_ends_training_with_step_and_term_named():
    backbone = backbones.load("tiny")
    with torch.no_grad():
        next(backbone.parameters()).fill_(math.nan)
    recipe = resolved("mipic", backbone, max_steps=2, batch_size=4)
    with pytest.raises(trainer.TrainingError, match=r"step 1: term '\w+' is nan"):
        trainer.train(backbone, recipe, PAIRS, 0, Accelerator(cpu=True))


def test_constant_terms_are_told():
    alone = recipe({"chain": {"term": "chain_info_nce", "chain": [[64, 4]]}})
    with pytest.raises(trainer.TrainingError, match="nothing to train: chain is constant on this backbone"):
        train(on_tiny(alone))
    with pytest.raises(UserError, match="its terms read no layer"):
        on_tiny(recipe({"chain": {"term": "chain_info_nce", "chain": []}}))


def test_text_on_a_backbone_without_dropout_is_refused():
    backbone = backbones.load("tiny")
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    backbone.model.config.attention_probs_dropout_prob = backbone.model.config.hidden_dropout_prob = 0.0
    recipe = resolved("mrl", backbone, max_steps=1, batch_size=4)
    with pytest.raises(UserError, match="no dropout"):
        trainer.train(backbone, recipe, TEXTS, 0, Accelerator(cpu=True))
    assert trainer.train(backbone, recipe, PAIRS, 0, Accelerator(cpu=True)).steps == 1


def test_adapters_train_few_weights_and_are_folded_in():
    pytest.importorskip("peft")
    backbone, before = backbones.load("tiny"), backbones.load("tiny").state_dict()
    recipe = resolved("mipic", backbone, max_steps=3, batch_size=4, lora=2, learning_rate=1e-2)
    trainer.train(backbone, recipe, PAIRS, 0, Accelerator(cpu=True), diagnostics=True)
    after = backbone.state_dict()
    assert after.keys() == before.keys()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved and all(".layer." in name and name.endswith("weight") for name in moved)
    ranks = [torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-4) for name in moved]
    assert max(ranks) <= 2
    assert all(weight.requires_grad for weight in backbone.parameters())


def test_adapters_have_dropout_of_their_own():
    pytest.importorskip("peft")
    backbone = backbones.load("tiny")
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    backbone.model.config.attention_probs_dropout_prob = backbone.model.config.hidden_dropout_prob = 0.0
    recipe = resolved("mrl", backbone, max_steps=1, batch_size=4, lora=2)
    assert trainer.train(backbone, recipe, TEXTS, 0, Accelerator(cpu=True)).steps == 1


def test_recomputing_changes_no_number_and_no_key():
    weights, identities = [], []
    for recompute in (False, True):
        backbone = backbones.load("tiny")
        recipe = resolved("mipic", backbone, max_steps=2, batch_size=4, recompute=recompute)
        trainer.train(backbone, recipe, PAIRS, 0, Accelerator(cpu=True))
        weights.append(backbone.state_dict())
        identities.append(recipe.identity())
    assert identities[0] == identities[1] and "lora" not in identities[0]["training"]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)


def test_the_history_holds_every_term_and_training_ends_in_evaluation_mode():
    backbone = backbones.load("tiny")
    recipe = resolved("mipic", backbone, max_steps=6, batch_size=4, max_length=16)
    history = trainer.train(backbone, recipe, PAIRS, 0, Accelerator(cpu=True), log_every=2)
    assert [entry["step"] for entry in history.entries] == [1, 2, 4, 6]
    assert all(set(entry["terms"]) == set(recipe.terms) for entry in history.entries)
    assert (history.steps, history.pairs) == (6, 23)
    assert not backbone.training
    weights = {name: term.weight for name, term in recipe.terms.items()}
    for entry in history.entries:
        assert entry["loss"] == pytest.approx(sum(weights[name] * value for name, value in entry["terms"].items()))


def test_a_rate_below_the_minimum_is_kept():
    settings = Training(warmup=0.0, learning_rate=1e-6, min_learning_rate=1e-5)
    assert {trainer.rate(settings, step, 9) for step in range(1, 10)} == {1e-6}


class OneWeight(torch.nn.Module):
    """The value of its term on a batch is the weight times the sum of the tokens."""

    def __init__(self):
        super().__init__()
        self.backbone, self.heads = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(self.backbone.weight)

    def forward(self, batch):
        return {"mrl": self.backbone.weight.sum() * batch.input_ids.sum()}


def batch_of(number):
    nothing = torch.ones(1, 1)
    return Batch(torch.tensor([[number]]), nothing, nothing, 1, nothing, None, 0)


@pytest.mark.parametrize(("clip", "moved"), [(None, 3.0), (1.0, 1.0)])
def test_a_step_goes_along_the_mean_of_its_batches_clipped_first(tiny, clip, moved):
    recipe = resolved("mrl", tiny, clip="none" if clip is None else clip, accumulation=2)
    objective, terms = OneWeight(), {"mrl": recipe.terms["mrl"]}
    optimizer = torch.optim.SGD(objective.parameters(), lr=1.0)
    for _ in range(2):  # the second starts without the gradient of the first
        before = objective.backbone.weight.item()
        window = [batch_of(2), batch_of(4)]
        step = (objective, optimizer, window, terms, recipe.training, Accelerator(cpu=True), 1, False)
        entry = trainer._step(*step)
        assert objective.backbone.weight.item() == pytest.approx(before - terms["mrl"].weight * moved, rel=1e-4)
        assert entry["terms"]["mrl"] == pytest.approx(3 * before)


def test_every_weight_is_decayed_and_heads_learn_at_a_rate_of_their_own():
    objective = OneWeight()
    settings = Training(weight_decay=0.3, head_rate_factor=5.0, learning_rate=1e-3)
    optimizer = trainer.make_optimizer(objective, settings)
    trainer.set_rate(optimizer, settings, 50, 100)
    rate = trainer.rate(settings, 50, 100)
    found = {
        id(weight): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    expected = {id(weight): (rate, 0.3) for weight in objective.backbone.parameters()}
    assert found == expected | {id(weight): (5 * rate, 0.3) for weight in objective.heads.parameters()}


def test_examples_that_hold_an_equal_text_are_no_negatives_of_each_other(tiny):
    corpus = read_corpus(frame_of(anchor=[*"abac"], positive=[*"ppqa"]), "pairs", "pairs", "toy")
    same = Batches(tiny, corpus, Training(batch_size=4), seed=0).collate(torch.arange(4)).same
    assert same.int().tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 1], [0, 0, 0, 1]]


def test_batches_are_of_similar_length(tiny):
    texts = [" ".join(["word"] * (1 + 7 * number % 20)) for number in range(20)]
    corpus = read_corpus(frame_of(anchor=texts[::-1], positive=texts), "pairs", "pairs", "toy")
    batches = Batches(tiny, corpus, Training(batch_size=4), seed=0)
    longest = sorted(max(len(batches.tokens[text]) for text in pair) for pair in batches.columns.T)
    area = sum(batch.input_ids.numel() for batch in batches.epoch(0))
    assert area == sum(8 * max(longest[at : at + 4]) for at in range(0, 20, 4))


def test_seeds_have_dropout_of_their_own(monkeypatch):
    monkeypatch.setattr(trainer, "Batches", lambda *given: Batches(*given[:-1], 0))  # the same order
    losses = set()
    for seed in (0, 1):
        backbone = backbones.load("tiny")
        recipe = resolved("mrl", backbone, max_steps=1, batch_size=4)
        losses.add(trainer.train(backbone, recipe, TEXTS, seed, Accelerator(cpu=True)).entries[0]["loss"])
    assert len(losses) == 2


def test_terms_whose_names_seed_alike_start_apart_and_others_as_ever():
    chain = {"term": "chain_info_nce"}
    heads = trainer.heads_of(on_tiny(recipe({"chain_short": chain, "chain_long": chain, "chain": chain})), 0)
    alone = trainer.heads_of(on_tiny(recipe({"chain": chain})), 0)
    short, long, other, same = (
        next(one.parameters()) for one in (heads["chain_short"], heads["chain_long"], heads["chain"], alone["chain"])
    )
    assert not torch.equal(short, long) and not torch.equal(short, other)
    assert torch.equal(other, same)


@pytest.mark.parametrize("name", ["half", "train"])
def test_a_term_named_as_a_part_of_torch_is_told(name):
    terms = {"mrl": {"term": "nested_info_nce"}, name: {"term": "attention_kl"}}
    with pytest.raises(UserError, match=f"mine: terms.{name}: trains weights of its own"):
        trainer.heads_of(on_tiny(recipe(terms)), 0)
    without_weights = {name: {"term": "nested_info_nce"}}
    assert not trainer.heads_of(on_tiny(recipe(without_weights)), 0)
