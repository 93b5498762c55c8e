"""Checkpoints: what is read is what was written, whole or not at all; a resumed training ends in the same weights."""

import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from mipic_bench import backbones
from mipic_bench.corpora._base import read_corpus
from mipic_bench.errors import UserError
from mipic_bench.recipes.methods import find
from mipic_bench.recipes.resolved import resolve
from mipic_bench.tasks._base import frame_of
from mipic_bench.training import checkpoint, trainer

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.tensor([1, 2], dtype=torch.uint8)}

WORDS = [
    f"{first} {second}" for first in ("red", "old", "a big", "the") for second in ("cat", "house", "tree", "x y", "z")
]
PAIRS = read_corpus(frame_of(anchor=WORDS, positive=[f"so {text}" for text in WORDS]), "pairs", "pairs", "toy")


class CutOffError(Exception):
    pass


def training(saver=None, method="mipic", stop_after=None, seed=5, **settings):
    """Train the tiny backbone; return the weights' digest and the history."""
    backbone = backbones.load("tiny")
    [recipe] = find([method])
    settings = {"max_steps": 8, "batch_size": 4, "max_length": 16, "accumulation": 2, "epochs": 9} | settings
    recipe = resolve(recipe, backbone.shape, backbone.name, settings)

    def on_step(step, _steps, _entry):
        if step == stop_after:
            raise CutOffError

    history = trainer.train(backbone, recipe, PAIRS, seed, Accelerator(cpu=True), on_step, log_every=3, saver=saver)
    return checkpoint.state_digest(backbone), history


def test_what_is_read_is_what_was_written(tmp_path):
    checkpoint.write(tmp_path, TENSORS, {"history": {"loss": 0.1}, "text": "ä"})
    saved = checkpoint.read(tmp_path)
    assert saved.record == {"history": {"loss": 0.1}, "text": "ä"}
    assert all(torch.equal(saved.tensors[name], value) for name, value in TENSORS.items())
    checkpoint.remove(tmp_path)
    assert checkpoint.read(tmp_path) is None


def test_tensors_that_share_memory_are_written_each(tmp_path):
    base = torch.arange(4.0)
    checkpoint.write(tmp_path, {"whole": base, "view": base[1:], "same": base}, {})
    tensors = checkpoint.read(tmp_path).tensors
    assert tensors["view"].tolist() == [1, 2, 3]
    assert tensors["same"].tolist() == tensors["whole"].tolist()


def test_the_new_checkpoint_replaces_the_old_one(tmp_path):
    for step in range(3):
        checkpoint.write(tmp_path, TENSORS, {"step": step})
    assert checkpoint.read(tmp_path).record == {"step": 2}
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


@pytest.mark.parametrize("damage", ["cut", "edit", "gone", "mark", "format", "outside", "empty mark"])
def test_a_damaged_checkpoint_is_none(tmp_path, damage):
    checkpoint.write(tmp_path, TENSORS, {})
    [file] = tmp_path.glob("*.safetensors")
    mark = tmp_path / checkpoint.MARK
    content = file.read_bytes()
    head = json.loads(mark.read_text())
    {
        "cut": lambda: file.write_bytes(content[:-1]),
        "edit": lambda: file.write_bytes(content[:-1] + bytes([content[-1] ^ 1])),
        "gone": file.unlink,
        "mark": lambda: mark.write_text(mark.read_text()[:-3]),
        "format": lambda: mark.write_text(json.dumps(head | {"format": 99})),
        "outside": lambda: mark.write_text(json.dumps(head | {"tensors": "../x.safetensors"})),
        "empty mark": lambda: mark.write_text("[]"),
    }[damage]()
    assert checkpoint.read(tmp_path) is None


def test_a_checkpoint_cut_off_while_it_was_written_leaves_the_one_before(tmp_path, monkeypatch):
    checkpoint.write(tmp_path, TENSORS, {"step": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.commit, "_write", full)
    with pytest.raises(checkpoint.UserError, match="No space left"):
        checkpoint.write(tmp_path, TENSORS, {"step": 2})
    assert checkpoint.read(tmp_path).record == {"step": 1}
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


@pytest.mark.parametrize("method", ["mipic", "mrl"])
@pytest.mark.parametrize("stop_after", [1, 5, 8])
def test_a_resumed_training_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path, stop_after, method):
    expected, whole = training(method=method)
    saver = checkpoint.Saver(tmp_path, every=0.0)
    with pytest.raises(CutOffError):
        training(saver, method, stop_after)
    found, resumed = training(checkpoint.Saver(tmp_path, every=0.0), method)
    assert found == expected
    assert resumed.entries == whole.entries
    assert (resumed.steps, resumed.pairs) == (whole.steps, whole.pairs)


def test_a_resumed_training_has_the_time_of_both_parts(tmp_path):
    with pytest.raises(CutOffError):
        training(checkpoint.Saver(tmp_path, every=0.0), stop_after=5)
    saved = checkpoint.read(tmp_path)
    checkpoint.write(tmp_path, saved.tensors, {"history": saved.record["history"] | {"seconds": 1000.0}})
    assert 1000 < training(checkpoint.Saver(tmp_path, every=0.0))[1].seconds < 2000


def test_training_twice_gives_the_same_weights_and_another_seed_others():
    assert training()[0] == training()[0]
    assert training()[0] != training(seed=6)[0]


def test_no_checkpoint_is_written_before_its_time(tmp_path):
    training(checkpoint.Saver(tmp_path / "none", every=3600.0), max_steps=2)
    assert not (tmp_path / "none").exists()


def test_the_wish_to_stop_makes_a_checkpoint_due(tmp_path):
    with pytest.raises(CutOffError):
        training(checkpoint.Saver(tmp_path, every=3600.0, stopping=lambda: True), stop_after=2)
    assert checkpoint.peek(tmp_path)["record"]["history"]["steps"] == 2


def test_a_training_that_wrote_a_checkpoint_writes_its_last_step(tmp_path):
    asked = iter([True])
    training(checkpoint.Saver(tmp_path, every=3600.0, stopping=lambda: next(asked, False)), max_steps=4)
    assert checkpoint.peek(tmp_path)["record"]["history"]["steps"] == 4


def test_a_damaged_checkpoint_is_told_and_training_starts_anew(tmp_path):
    expected, _ = training(max_steps=4)
    with pytest.raises(CutOffError):
        training(checkpoint.Saver(tmp_path, every=0.0), stop_after=2, max_steps=4)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"")
    said = []
    found, history = training(checkpoint.Saver(tmp_path, every=3600.0, warn=said.append), max_steps=4)
    assert (found, history.steps) == (expected, 4)
    assert "damaged" in said[0]


def test_a_checkpoint_of_another_kind_of_device_is_told_and_training_starts_anew(tmp_path, monkeypatch):
    """On the CPU the embedding table is trained by its used rows, on a card whole; neither takes the other's weights."""
    told = []
    with pytest.raises(CutOffError):
        training(checkpoint.Saver(tmp_path, every=0), "mrl", stop_after=4)
    monkeypatch.setattr(trainer, "only_used_rows", lambda *_: nullcontext())
    digest, history = training(checkpoint.Saver(tmp_path, every=0, warn=told.append), "mrl")
    assert len(told) == 1 and "starts anew" in told[0]
    assert history.steps == 8 and digest == training(method="mrl")[0]


def test_a_full_disk_is_told_and_does_not_end_the_training(tmp_path):
    (tmp_path / "file").write_text("in the way")
    said = []
    _, history = training(checkpoint.Saver(tmp_path / "file" / "run", every=0.0, warn=said.append), max_steps=2)
    assert history.steps == 2
    assert "cannot be written" in said[0]


def test_kept_weights_load_as_a_backbone(tmp_path):
    backbone = backbones.load("tiny", pooling="cls")
    with torch.no_grad():
        next(backbone.parameters()).add_(1)
    size = checkpoint.keep(tmp_path / "run", backbone, {"run": "r"})
    assert size == sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    head = checkpoint.kept(tmp_path / "run")
    assert (head["run"], head["readout"]) == ("r", {"pooling": "cls", "layer_readout": "raw"})
    again = backbones.load(str(tmp_path / "run"))
    assert again.readout == backbone.readout
    assert checkpoint.state_digest(again.model) == checkpoint.state_digest(backbone.model)
    assert again.tokenize(["a b"], 9) == backbone.tokenize(["a b"], 9)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_weights_that_cannot_be_put_in_place_leave_those_before(tmp_path, monkeypatch):
    replace = os.replace

    def refuse(source, target):
        if str(source).endswith(".tmp") and Path(source).is_dir():
            raise OSError("no")
        replace(source, target)

    checkpoint.keep(tmp_path / "run", backbones.load("tiny"), {"run": "first"})
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(UserError, match="cannot be written"):
        checkpoint.keep(tmp_path / "run", backbones.load("tiny"), {"run": "second"})
    assert checkpoint.kept(tmp_path / "run")["run"] == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    monkeypatch.undo()
    checkpoint.keep(tmp_path / "run", backbones.load("tiny"), {"run": "third"})
    assert checkpoint.kept(tmp_path / "run")["run"] == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_kept_weights_that_were_edited_are_none(tmp_path):
    checkpoint.keep(tmp_path / "run", backbones.load("tiny"), {})
    file = tmp_path / "run" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    assert checkpoint.kept(tmp_path / "run") is None
    assert checkpoint.kept(tmp_path / "nothing") is None
