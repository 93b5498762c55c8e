"""`MipicLoss` in the trainer of sentence-transformers, against this project's own trainer."""

from pathlib import Path

import pytest
import torch

from mipic_bench import backbones
from mipic_bench.adapter import MipicLoss, _never_empty, merge
from mipic_bench.backbones import tiny
from mipic_bench.corpora import Corpus
from mipic_bench.errors import UserError
from mipic_bench.models.export import sentence_transformer
from mipic_bench.recipes.methods import catalog
from mipic_bench.recipes.resolved import resolve
from mipic_bench.shapes import Shape
from mipic_bench.states import pool
from mipic_bench.training.trainer import Batches, Objective, teacher_vectors

# sentence-transformers imports what transformers 5.17, our lower bound, scripts; torch 2.13 warns of that
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

ANCHORS = [
    "A cat sleeps.",
    "Prices of bread rose again in the city last week.",
    "A cat sleeps.",
    "A dog barks at night.",
]
POSITIVES = ["A cat is asleep on the mat.", "Bread costs more.", "He is running in the park.", "A dog barks at night."]
NEGATIVES = ["A dog is awake.", "Bread is cheap.", "She sits still.", "It is silent, says the old man."]
COLUMNS = {"text": (ANCHORS,), "pairs": (ANCHORS, POSITIVES), "triplets": (ANCHORS, POSITIVES, NEGATIVES)}
METHODS = sorted(
    name
    for name, recipe in catalog().items()
    if recipe.trains and not recipe.fits and not recipe.ablation and not resolve(recipe, Shape(4, 64), "").per_dim
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random sentence-transformers model, saved, with a Normalize behind its pooling."""
    place = tmp_path_factory.mktemp("model")
    model = sentence_transformer(backbones.load("tiny"), 4, [], 64, place / "cut")
    model.save(str(place / "saved"), create_model_card=False)
    return place / "saved"


@pytest.fixture
def model(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def features(model, columns):
    return [model.preprocess(list(column)) for column in columns]


def ours(folder, loss, columns, scores=None):
    """The terms of this project's trainer on one batch, dropout off, with the draw that the loss makes next."""
    backbone = backbones.load(str(folder))
    names = ("anchor", "positive", "negative")
    kind = "scored" if scores else {1: "text", 2: "pairs", 3: "triplets"}[len(columns)]
    corpus = Corpus("test", kind, dict(zip(names, columns, strict=False)), scores, "", "", ())
    recipe = loss.recipe
    batches = Batches(backbone, corpus, recipe.training, seed=0)
    if any(term.needs_teacher for term in recipe.terms.values()):
        batches.teacher = teacher_vectors(backbone, batches.texts, recipe.training.max_length)
    batch = batches.collate(torch.arange(len(columns[0])), loss._draw())
    return Objective(backbone, recipe, seed=loss.seed).eval()(batch)


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("method", METHODS)
def test_its_value_is_that_of_our_own_trainer(model, folder, method, kind, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loss = MipicLoss(model, method, seed=3).eval()
    expected = ours(folder, loss, COLUMNS[kind])
    found = loss.terms(features(model, COLUMNS[kind]))
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=2e-4, atol=2e-5)
    total = sum(loss.recipe.terms[name].weight * value for name, value in expected.items())
    torch.testing.assert_close(loss(features(model, COLUMNS[kind]), None), total, rtol=2e-4, atol=2e-5)


def test_a_teacher_is_the_model_as_it_was(model, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    frozen = 'terms.sim = {term = "similarity_distillation", teacher = "frozen"}'
    loss = MipicLoss(model, "mrl", changes=[frozen]).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 1.1
    found = loss.terms(features(model, COLUMNS["pairs"]))
    with torch.no_grad():
        for weight in model.parameters():
            weight /= 1.1
    same = loss.terms(features(model, COLUMNS["pairs"]))
    expected = ours(folder, loss, COLUMNS["pairs"])
    torch.testing.assert_close(same["sim"], expected["sim"], rtol=2e-4, atol=2e-5)
    assert not torch.allclose(found["sim"], same["sim"])


def test_scored_pairs(model, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loss = MipicLoss(model, "mrl", changes=['terms.mrl.task = "cosent"']).eval()
    scores = [0.9, 0.2, 0.7, 1.0]
    expected = ours(folder, loss, COLUMNS["pairs"], scores)
    found = loss.terms(features(model, COLUMNS["pairs"]), torch.tensor(scores))
    torch.testing.assert_close(found["mrl"], expected["mrl"], rtol=2e-4, atol=2e-5)
    with pytest.raises(UserError, match="needs scored pairs"):
        loss(features(model, COLUMNS["pairs"]))
    for kind in ("text", "triplets"):
        with pytest.raises(UserError, match=r"a label beside \d columns? of text(?s:.*)remove_columns"):
            loss(features(model, COLUMNS[kind]), torch.tensor(scores))


def test_the_model_runs_once_a_batch(model):
    calls = []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    MipicLoss(model, "mipic")(features(model, COLUMNS["triplets"]))
    assert len(calls) == 1


def test_gradients_reach_the_model_and_the_heads(model):
    loss = MipicLoss(model, "mipic").eval()
    loss(features(model, COLUMNS["pairs"])).backward()
    heads = dict(loss.heads.named_parameters())
    assert heads
    reached = [
        name for name, weight in loss.named_parameters() if weight.grad is not None and weight.grad.abs().sum() > 0
    ]
    assert {f"heads.{name}" for name in heads} <= set(reached)
    inner = {name for name, _ in loss.named_parameters() if ".layer." in name}
    assert {name for name in inner if name.endswith("weight")} <= set(reached)
    # the model's weights stand in the loss once, as in the library's own losses
    assert len(list(loss.parameters())) == len(list(model.parameters())) + len(heads)


def gradients(model, loss):
    loss.zero_grad()
    loss(features(model, COLUMNS["pairs"])).backward()
    return {name: weight.grad.clone() for name, weight in loss.named_parameters() if weight.grad is not None}


def test_recomputed_activations_change_no_gradient(folder):
    from sentence_transformers import SentenceTransformer

    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = SentenceTransformer(str(folder), device="cpu", config_kwargs=off)
    loss = MipicLoss(model, "mipic").train()
    plain = gradients(model, loss)
    inner = model[0].auto_model
    # renamed during transformers 5
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    for reentrant in (False, True):
        enable({"use_reentrant": reentrant})
        inner.enable_input_require_grads()
        recomputed = gradients(model, loss)
        assert set(plain) == set(recomputed)
        for name, value in plain.items():
            torch.testing.assert_close(recomputed[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_real_training(model, kind, tmp_path, monkeypatch):
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments

    names = ("anchor", "positive", "negative")
    data = Dataset.from_dict({name: column * 2 for name, column in zip(names, COLUMNS[kind], strict=False)})
    loss = MipicLoss(model, "mipic", components=True)
    before = {name: weight.detach().clone() for name, weight in loss.named_parameters()}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        learning_rate_mapping={r"heads\..*": 2e-3},
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss)
    trainer.train()
    assert loss.step == 3
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(logged) == 3
    assert all(torch.isfinite(torch.tensor(entry["loss"])) for entry in logged)
    assert set(loss.recipe.terms) <= set(logged[0])  # each term under its name
    moved = {name for name, weight in loss.named_parameters() if not torch.equal(weight, before[name])}
    assert {name for name in before if name.startswith("heads.")} <= moved
    assert any(".layer.0." in name for name in moved)
    model.save(str(tmp_path / "trained"))  # its model card asks the loss for its settings
    card = (tmp_path / "trained" / "README.md").read_text()
    assert "MipicLoss" in card
    assert '"recipe": "mipic"' in card


def test_columns_are_padded_to_one_length():
    columns = [
        {
            "input_ids": torch.tensor([[5, 6], [7, 9]]),
            "attention_mask": torch.tensor([[1, 1], [1, 0]]),
            "modality": "text",
        },
        {"input_ids": torch.tensor([[1, 2, 3], [4, 9, 9]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]])},
    ]
    right, left = merge(columns, 9, "right"), merge(columns, 9, "left")
    assert right["input_ids"].tolist() == [[5, 6, 9], [7, 9, 9], [1, 2, 3], [4, 9, 9]]
    assert right["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]]
    assert left["input_ids"].tolist()[:2] == [[9, 5, 6], [9, 7, 9]]
    assert right["modality"] == "text"


def test_vectors_are_read_off_real_tokens_on_whichever_side_the_padding_stands():
    hidden = torch.arange(4.0).reshape(1, 4, 1).repeat(2, 1, 1)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1]])
    found = {pooling: pool(hidden, mask, pooling).flatten().tolist() for pooling in ("cls", "last", "mean")}
    assert found == {"cls": [0, 2], "last": [1, 3], "mean": [0.5, 2.5]}


def test_what_is_drawn_at_random_differs_by_step_and_seed(model):
    draws = []
    for seed in (0, 1):
        loss = MipicLoss(model, "mrl", seed=seed).train()
        for _ in range(2):
            draws.append(loss._draw())
            loss(features(model, COLUMNS["pairs"]))
    assert len(set(draws)) == 4


@pytest.mark.parametrize("method", ["mipic", "2d-mrl"])
def test_a_causal_model_padded_on_the_left(method, tmp_path, monkeypatch):
    from sentence_transformers import SentenceTransformer
    from transformers import Qwen3Config, Qwen3Model

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sizes = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
    }
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(3)
        inner = Qwen3Model(Qwen3Config(**sizes, intermediate_size=48, vocab_size=1500, max_position_embeddings=64))
    inner.save_pretrained(tmp_path / "inner")
    tiny.tokenizer().save_pretrained(tmp_path / "inner")
    backbone = backbones.load(str(tmp_path / "inner"))
    sentence_transformer(backbone, 3, [], 64, tmp_path / "cut").save(str(tmp_path / "saved"), create_model_card=False)
    model = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    model.tokenizer.padding_side = "left"
    assert features(model, COLUMNS["pairs"])[0]["attention_mask"][0, 0] == 0
    loss = MipicLoss(model, method).eval()
    expected = ours(tmp_path / "saved", loss, COLUMNS["pairs"])
    for name, value in loss.terms(features(model, COLUMNS["pairs"])).items():
        torch.testing.assert_close(value, expected[name], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("pretrained", "has no terms"),
        ("single-dim", "one model per width"),
        ("mipc", "did you mean mipic"),
        ("mipic*", "stands for .* methods"),
        ("no.toml", "no file"),
        ("pivot", "fits 'rotation' on the trained vectors.*such as 'mrl'"),
        ("mrl-lora=2", "adapters of rank 2.*add_adapter"),
        ("mrl-as-published", "is 'cls', the model's pooling is 'mean'"),
    ],
)
def test_recipes_that_are_no_loss(model, recipe, words):
    with pytest.raises(UserError, match=f"(?s){words}"):
        MipicLoss(model, recipe)
    with pytest.raises(UserError, match="did you mean bert-base"):
        MipicLoss(model, "mipic", backbone="bert_base")


def test_changes_are_put_over_a_recipe_however_it_is_given(model):
    shipped = Path(__file__).parents[1] / "methods" / "mrl.toml"
    for recipe in ("mrl", shipped, str(shipped), catalog()["mrl"]):
        for changes in ("dims = [8, 64]", ["dims = [8, 64]"]):
            assert MipicLoss(model, recipe, changes=changes).recipe.method == "mrl-dims=[8,64]"
    assert MipicLoss(model, catalog()["mrl"]).recipe.method == "mrl"


def test_models_that_are_read_out_in_another_way(folder):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    transformer = Transformer(str(folder))
    wide = SentenceTransformer(modules=[transformer, Pooling(64, "mean"), Dense(64, 8)], device="cpu")
    with pytest.raises(UserError, match="Dense module stands behind the pooling"):
        MipicLoss(wide)
    highest = SentenceTransformer(modules=[transformer, Pooling(64, "max")], device="cpu")
    with pytest.raises(UserError, match="its pooling is max"):
        MipicLoss(highest)


def test_one_column_needs_dropout(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(folder), device="cpu", config_kwargs={"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    )
    loss = MipicLoss(model, "mrl").train()
    with pytest.raises(UserError, match="two views of each text would be equal"):
        loss(features(model, COLUMNS["text"]))


def test_evaluating_changes_no_training(model):
    """A trainer that evaluates says so to the model, not to the loss: no evaluation row may reach SDR's queue."""
    loss = MipicLoss(model, "sdr-mrl").train()
    loss(features(model, COLUMNS["pairs"]))
    before = {name: value.clone() for name, value in loss.heads.state_dict().items()}
    model.eval()
    loss(features(model, (NEGATIVES, ANCHORS)))
    assert loss.step == 1
    assert all(torch.equal(value, before[name]) for name, value in loss.heads.state_dict().items())
    model.train()
    loss(features(model, COLUMNS["pairs"]))
    assert loss.step == 2 and not torch.equal(loss.heads["sdr"].count, before["sdr.count"])


def test_a_training_goes_on_with_the_state_of_its_loss(model):
    loss, other = MipicLoss(model, "sdr-mrl").train(), MipicLoss(model, "sdr-mrl").train()
    for _ in range(3):
        loss(features(model, COLUMNS["pairs"]))
    other.load_state_dict(loss.state_dict())
    assert other.step == 3 and other._draw() == loss._draw()
    assert torch.equal(other.heads["sdr"].past, loss.heads["sdr"].past)


@pytest.mark.parametrize("method", METHODS)
def test_a_model_in_half_precision_trains(method, folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "bfloat16"})
    loss = MipicLoss(model, method).train()
    value = loss(features(model, COLUMNS["pairs"]))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_text_without_tokens_has_one(side):
    ids, mask = torch.tensor([[7, 8], [9, 9]]), torch.tensor([[1, 1], [0, 0]])
    found = _never_empty({"input_ids": ids, "attention_mask": mask, "modality": "text"}, 3, side)
    assert found["input_ids"][1].tolist() == ([9, 3] if side == "left" else [3, 9])
    assert found["attention_mask"][1].tolist() == ([0, 1] if side == "left" else [1, 0]) and found["modality"] == "text"
    assert mask[1].tolist() == [0, 0]  # the batch itself stays what it was


def test_a_word_of_number_0_is_no_padding(model):
    ids = torch.tensor([[5, 0], [5, 99], [7, 8], [6, 4]])
    column = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1], [1, 0], [1, 1], [1, 1]])}
    same = MipicLoss(model, "mrl")._states([column, column], None).same
    assert torch.equal(same, torch.eye(4, dtype=torch.bool))
