"""Every architecture, through the real loading code, on a small random checkpoint of its own class."""

import copy
import sys

import numpy as np
import pytest
import torch
import transformers

from mipic_bench import backbones
from mipic_bench.backbones import tiny
from mipic_bench.backbones.loading import load
from mipic_bench.backbones.tuning import add_lora, recompute_activations
from mipic_bench.encoding.embed import encode

# transformers 5.17, our lower bound, scripts DeBERTa when it is imported, and torch 2.13 warns of that
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")

SHAPE = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48}
POSITIONS = {"vocab_size": 1500, "pad_token_id": 0, "max_position_embeddings": 64}
KINDS = {
    "Bert": SHAPE | POSITIONS,
    "DistilBert": {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 48} | POSITIONS,
    "MPNet": SHAPE | POSITIONS,
    "XLMRoberta": SHAPE | POSITIONS,
    # layers of both kinds, the local ones narrower than the texts
    "ModernBert": SHAPE | POSITIONS | {"global_attn_every_n_layers": 2, "local_attention": 4},
    "Qwen3": SHAPE | POSITIONS | {"num_key_value_heads": 2, "head_dim": 8},
    "NomicBert": SHAPE | POSITIONS,
    # not listed in architectures.py: probed
    "Electra": SHAPE | POSITIONS | {"embedding_size": 32},
    "Llama": SHAPE | POSITIONS | {"num_key_value_heads": 2},
    "GPT2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "vocab_size": 1500},
    "DebertaV2": SHAPE
    | POSITIONS
    | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
}
POOLER_KINDS = ("Bert", "MPNet", "XLMRoberta")
PRE_NORM = ("ModernBert", "Qwen3", "Llama", "GPT2")
CAUSAL = ("Qwen3", "Llama", "GPT2")
TEXTS = ["Yes.", "A cat sits on the mat and sleeps.", "Prices of bread rose again in the city last week, a paper said."]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Return a function that saves a small random model of a kind, once, and gives its folder."""
    home, words = tmp_path_factory.mktemp("models"), tiny.tokenizer()

    def folder(kind):
        path = home / kind
        if not path.exists():
            if not hasattr(transformers, f"{kind}Model"):
                pytest.skip(f"this transformers has no {kind}")
            config = getattr(transformers, f"{kind}Config")(**KINDS[kind])
            with torch.random.fork_rng(devices=[]):
                torch.random.manual_seed(7)
                model = getattr(transformers, f"{kind}Model")(config)
                for weight in model.parameters():  # far from their first values, or norms would be the identity
                    weight.data += 0.1 * torch.randn_like(weight)
            model.save_pretrained(path)
            words.save_pretrained(path)
        return path

    return folder


@pytest.fixture
def backbone(checkpoints, request, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return load(str(checkpoints(request.param)))


def batch(backbone, texts, extra=0):
    ids = backbone.tokenize(texts, 64)
    longest = max(map(len, ids)) + extra
    padded = torch.tensor([row + [backbone.pad_id] * (longest - len(row)) for row in ids])
    return padded, torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])


every = pytest.mark.parametrize("backbone", KINDS, indirect=True)
close = {"atol": 2e-6, "rtol": 1e-5}


@every
def test_cut_equals_hidden_under_the_recorded_readout(backbone, checkpoints, request, tmp_path):
    kind = request.node.callspec.params["backbone"]
    assert backbone.shape == (type(backbone.shape))(depth=4, width=32)
    assert backbone.causal == (kind in CAUSAL)
    assert backbone.readout.layer_readout == ("final_norm" if kind in PRE_NORM else "raw")
    assert backbone.readout.pooling == ("last" if kind in CAUSAL else "mean")
    ids, mask = batch(backbone, TEXTS)
    with torch.no_grad():
        hidden = backbone.hidden(ids, mask, range(5))
        for layer in range(1, 5):
            short = backbone.cut(layer).eval()
            assert short.config.num_hidden_layers == layer
            torch.testing.assert_close(
                short(input_ids=ids, attention_mask=mask).last_hidden_state, hidden[layer], **close
            )
        short = backbone.cut(3)
        short.save_pretrained(tmp_path / "short")
        again = transformers.AutoModel.from_pretrained(tmp_path / "short").eval()
        torch.testing.assert_close(again(input_ids=ids, attention_mask=mask).last_hidden_state, hidden[3], **close)


@every
def test_hidden_equals_what_transformers_reports(backbone, request, checkpoints):
    kind = request.node.callspec.params["backbone"]
    raw = load(str(checkpoints(kind)), layer_readout="raw")
    ids, mask = batch(raw, TEXTS)
    with torch.no_grad():
        reported = raw.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        ours = raw.hidden(ids, mask, range(5))
        normed = backbone.hidden(ids, mask, range(5))
        for layer in range(5):
            torch.testing.assert_close(ours[layer], reported[layer], **close)
        for layer in (0, 2):
            assert torch.allclose(normed[layer], ours[layer], atol=1e-4) == (kind not in PRE_NORM)
            # blocks behind the deepest asked layer are not run, and nothing changes
            torch.testing.assert_close(raw.hidden(ids, mask, [layer])[layer], ours[layer], rtol=0, atol=0)
            torch.testing.assert_close(backbone.hidden(ids, mask, [layer])[layer], normed[layer], rtol=0, atol=0)
    assert len(raw.blocks) == 4


@every
def test_a_text_without_tokens_has_a_vector_that_hangs_on_itself_alone(backbone, monkeypatch):
    """Tokenizers that add no special tokens make nothing of an empty document."""
    whole = backbone.tokenizer
    monkeypatch.setattr(
        backbone, "tokenizer", lambda texts, **options: whole(texts, add_special_tokens=False, **options)
    )
    assert [len(row) for row in backbone.tokenize(["", "A cat."], 8)][0] == 1
    device = torch.device("cpu")
    alone = encode(backbone, [""], [2, 4], max_length=64, device=device)
    beside = encode(backbone, ["", *TEXTS], [2, 4], max_length=64, device=device)
    for layer in (2, 4):
        assert np.linalg.norm(alone.at(layer)[0]) > 0
        np.testing.assert_allclose(alone.at(layer)[0], beside.at(layer)[beside.index[""]], atol=2e-6, rtol=1e-5)


@every
def test_padding_changes_nothing_and_runs_repeat(backbone):
    ids, mask = batch(backbone, TEXTS, extra=3)
    with torch.no_grad():
        together = backbone.hidden(ids, mask, (1, 4))
        again = backbone.hidden(ids, mask, (1, 4))
        for row, text in enumerate(TEXTS):
            alone = backbone.hidden(*batch(backbone, [text]), (1, 4))
            for layer in (1, 4):
                length = alone[layer].shape[1]
                torch.testing.assert_close(together[layer][row, :length], alone[layer][0], atol=2e-5, rtol=1e-4)
                assert torch.equal(together[layer], again[layer])


@pytest.mark.parametrize("kind", KINDS)
def test_loading_twice_gives_the_same_and_leaves_the_global_generator(checkpoints, kind, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = torch.random.get_rng_state()
    one, two = load(str(checkpoints(kind))), load(str(checkpoints(kind)))
    bare = load(str(checkpoints(kind)), weights=False)
    assert torch.equal(before, torch.random.get_rng_state())
    for (name, left), right in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(left, right), name
    assert {weight.dtype for weight in one.parameters()} == {torch.float32}
    assert not one.training and not one.model.training
    for known in ("shape", "readout", "causal", "has_dropout", "max_length", "pad_id", "special_ids", "weights_digest"):
        assert getattr(bare, known) == getattr(one, known), known


@every
def test_dropout_is_told_as_it_is(backbone):
    ids, mask = batch(backbone, TEXTS)
    backbone.train()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        differs = not torch.equal(backbone.hidden(ids, mask, [4])[4], backbone.hidden(ids, mask, [4])[4])
    assert backbone.has_dropout == differs


@pytest.mark.parametrize("backbone", ["Bert", "MPNet", "ModernBert", "Qwen3"], indirect=True)
def test_recomputed_activations_give_the_same_gradients(backbone):
    ids, mask = batch(backbone, TEXTS)
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

    def gradients(one):
        one.train()
        sum(value.square().mean() for value in one.hidden(ids, mask, (0, 2, 4)).values()).backward()
        return {name: weight.grad for name, weight in one.named_parameters() if weight.grad is not None}

    plain = gradients(copy.deepcopy(backbone))
    if not backbone.model.supports_gradient_checkpointing:
        with pytest.raises(backbones_error(), match="gradient checkpointing"):
            recompute_activations(backbone)
        return
    recompute_activations(backbone)
    checkpointed = gradients(backbone)
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-6, rtol=1e-5)


def backbones_error():
    from mipic_bench.errors import UserError

    return UserError


@pytest.mark.parametrize("backbone", ["Bert", "Qwen3"], indirect=True)
def test_adapters_train_alone_and_fold_into_the_cut(backbone):
    pytest.importorskip("peft")
    ids, mask = batch(backbone, TEXTS)
    with torch.no_grad():
        before = backbone.hidden(ids, mask, (2, 4))
    trainable = add_lora(backbone, rank=2)
    assert trainable == sum(weight.numel() for weight in backbone.parameters() if weight.requires_grad) > 0
    assert backbone.has_dropout
    with torch.no_grad():
        torch.testing.assert_close(backbone.hidden(ids, mask, [4])[4], before[4], **close)
        for name, weight in backbone.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.05)
        after = backbone.hidden(ids, mask, (2, 4))
        assert not torch.allclose(after[2], before[2], atol=1e-4)
        short = backbone.cut(2).eval()
        torch.testing.assert_close(short(input_ids=ids, attention_mask=mask).last_hidden_state, after[2], **close)
    assert not any("lora" in name for name, _ in short.named_parameters())


@pytest.mark.parametrize("backbone", ["Bert"], indirect=True)
def test_adapters_without_peft_name_the_extra(backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(backbones_error(), match=r"mipic-bench\[lora\]"):
        add_lora(backbone)


def test_raw_layers_of_a_pre_norm_model_cannot_be_cut(checkpoints):
    raw = load(str(checkpoints("ModernBert")), layer_readout="raw")
    with pytest.raises(backbones_error(), match="final_norm"):
        raw.cut(2)
    assert raw.cut(4).config.num_hidden_layers == 4


def test_a_causal_model_refuses_cls(checkpoints):
    with pytest.raises(backbones_error(), match="first token sees only itself"):
        load(str(checkpoints("Qwen3")), pooling="cls")
    assert load(str(checkpoints("Qwen3")), pooling="mean").readout.pooling == "mean"


def test_public_names():
    assert backbones.load is load
    assert issubclass(backbones.Backbone, torch.nn.Module)
