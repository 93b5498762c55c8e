"""What every entry of the table and every architecture promises."""

import re

import pytest
import torch
from transformers import AutoConfig, AutoModel

from mipic_bench import backbones
from mipic_bench.backbones import architectures, probing, table
from mipic_bench.backbones.architectures import Architecture
from mipic_bench.backbones.sources import ENTRIES

CONSTANTS = {name: value for name, value in vars(table).items() if isinstance(value, table.Entry)}
KNOWN = [value for value in vars(architectures).values() if isinstance(value, Architecture)]
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 100,
    "pad_token_id": 0,
}


def test_names_are_their_own_and_listed():
    assert len({entry.name for entry in CONSTANTS.values()}) == len(CONSTANTS)
    assert backbones.known() == {entry.name: entry.title for entry in CONSTANTS.values()}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_an_entry_is_complete(entry):
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", entry.name), "a name is also a TOML key and a part of file names"
    assert entry.title and entry.pooling in backbones.POOLINGS
    assert (entry.revision == table.UNPINNED) or re.fullmatch(r"[0-9a-f]{40}", entry.revision)
    assert entry.name == "tiny" or re.fullmatch(r"[\w.-]+/[\w.-]+", entry.hub)
    assert not entry.sha256 or re.fullmatch(r"[0-9a-f]{64}", entry.sha256)


@pytest.mark.parametrize("name", ["minilm", "minilm-3", "tiny"])
def test_the_shape_in_the_table_is_the_models(name, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    backbone = backbones.load(name, weights=False)
    assert (backbone.name, backbone.shape, backbone.licence) == (name, ENTRIES[name].shape, ENTRIES[name].licence)


@pytest.mark.parametrize(
    ("facts", "model_type"),
    [(facts, model_type) for facts in KNOWN for model_type in facts.model_types],
    ids=lambda value: str(value)[:40],
)
def test_the_facts_of_an_architecture_are_what_its_model_computes(facts, model_type):
    try:
        config = AutoConfig.for_model(model_type, **SMALL)
    except ValueError:
        pytest.skip(f"this transformers has no {model_type}")
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(3)
        model = AutoModel.from_config(config).eval()
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
    found = probing.probe(model, model_type)
    assert (found.blocks, found.final_norm, found.causal) == (facts.blocks, facts.final_norm, facts.causal)
    assert architectures.known(model_type) is facts
