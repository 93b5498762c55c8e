"""Vectors kept between runs: only new texts are encoded, and nothing damaged or of another model is ever taken."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_sweeps import planned, request, swept, write_data

from mipic_bench import backbones
from mipic_bench.encoding import embed, vectors
from mipic_bench.encoding.embed import encode
from mipic_bench.encoding.vectors import Kept
from mipic_bench.results import folder as results
from mipic_bench.running import encoded
from mipic_bench.running.progress import Reporter

LAYERS = (2, 4)
TEXTS = [f"a text about {thing} number {n}" for n in range(9) for thing in ("boats", "rain")]


@pytest.fixture
def said():
    return []


@pytest.fixture
def kept(tmp_path, said):
    return Kept.of(tmp_path, said.append, weights="these")


@pytest.fixture
def read(monkeypatch):
    """Encode, and tell how many texts went through the tokenizer."""
    backbone, count = backbones.load("tiny"), []
    plain = backbone.tokenize
    monkeypatch.setattr(backbone, "tokenize", lambda texts, *rest: count.append(len(texts)) or plain(texts, *rest))

    def go(texts, kept=None, layers=LAYERS):
        count.clear()
        found = encode(backbone, texts, layers, max_length=16, device=torch.device("cpu"), kept=kept)
        return found, sum(count)

    return go


def same(one, other):
    rows = one.rows(list(other.index))
    return all(np.allclose(one.at(layer)[rows], other.at(layer), atol=1e-6) for layer in other.layers)


def test_only_new_texts_are_encoded(read, kept, said):
    assert read(TEXTS[:7], kept)[1] == 7 and not said
    more, encoded = read(TEXTS[3:] + TEXTS[:2], kept)
    assert encoded == len(TEXTS) - 7
    assert said == ["6 of 17 texts are not encoded again, their vectors were kept"]
    assert same(more, read(TEXTS[3:])[0])
    again, encoded = read(TEXTS, kept)
    assert encoded == 0 and same(again, read(TEXTS)[0])


def test_what_is_taken_is_what_was_kept_bit_for_bit(read, kept):
    first, _ = read(TEXTS, kept)
    again, _ = read(TEXTS[::-1], kept)
    rows = again.rows(TEXTS)
    assert all(np.array_equal(again.at(layer)[rows], first.at(layer)) for layer in LAYERS)


def test_a_layer_that_was_not_kept_is_read(read, kept):
    read(TEXTS, kept)
    assert read(TEXTS, kept, layers=(4,))[1] == 0
    deeper, encoded = read(TEXTS, kept, layers=(1, 4))
    assert encoded == len(TEXTS) and same(deeper, read(TEXTS, layers=(1, 4))[0])


def test_another_model_finds_nothing(read, kept, tmp_path, said):
    read(TEXTS, kept)
    assert read(TEXTS, Kept.of(tmp_path, said.append, weights="others"))[1] == len(TEXTS)


@pytest.mark.parametrize("name", [vectors.NAMES, "layer-4.npy", vectors.MARK])
@pytest.mark.parametrize("how", ["cut", "changed", "gone"])
def test_a_damaged_lot_is_passed_over(name, how, read, kept):
    read(TEXTS[:5], kept)
    path = next(kept.folder.glob(f"*/{name}"))
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if how == "cut" else content[:-9] + bytes(9))
    again, encoded = read(TEXTS, kept)
    assert encoded == len(TEXTS) and same(again, read(TEXTS)[0])
    assert read(TEXTS, kept)[1] == 0


def test_vectors_read_out_in_another_way_are_others(tmp_path):
    asked, quiet = request(tmp_path), Reporter(quiet=True)

    def folder(length=16, tokenizer="", pooling=None, **changes):
        backbone = backbones.load("tiny", pooling=pooling)
        backbone.tokenizer_digest += tokenizer
        return encoded._kept_vectors(backbone, length, replace(asked, **changes), quiet).folder

    others = [
        folder(length=8),
        folder(tokenizer="another"),
        folder(pooling="cls"),
        folder(dtype="bfloat16"),
        folder(device="cuda:0"),
    ]
    assert len({folder(), *others}) == 6
    assert folder() == folder() and folder(device="cuda:1") == others[-1]


def test_what_a_killed_process_left_goes_a_day_later(read, kept):
    old, new = kept.folder / "a.tmp", kept.folder / "b.tmp"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "texts.npy").write_bytes(b"half")
    os.utime(old, (0, 0))
    read(TEXTS, kept)
    assert not old.exists() and new.is_dir()


def test_a_disk_that_takes_nothing_costs_no_run(read, kept, said):
    kept.folder.parent.mkdir()
    kept.folder.write_text("in the way")
    assert same(read(TEXTS, kept)[0], read(TEXTS)[0])
    assert len(said) == 1 and said[0].startswith("vectors are not kept: ")


def test_a_disk_that_becomes_full_costs_no_run(tmp_path):
    """Under a limit on the size of files a write is refused as on a full disk. A mapped page would end the process."""
    code = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from mipic_bench.encoding.vectors import Kept, _mapped
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
said = []
kept = Kept.of(Path(sys.argv[1]), said.append, weights="these")
texts = [str(number) for number in range(1000)]
kept.add(texts, np.arange(1000), {1: np.ones((1000, 64), np.float32)})
assert len(said) == 1 and said[0].startswith("vectors are not kept: "), said
_mapped((1000, 64))[:] = 1
assert not list(kept.folder.iterdir())
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_large_arrays_lie_in_a_file(read, kept, monkeypatch):
    plain, _ = read(TEXTS)
    monkeypatch.setattr(vectors, "LARGE", 0)
    mapped, _ = read(TEXTS, kept)
    assert all(isinstance(array, np.memmap) for array in mapped.arrays.values()) and same(mapped, plain)


def test_a_second_run_with_more_tasks_encodes_only_their_texts(tmp_path, monkeypatch):
    asked = request(write_data(tmp_path / "data").parent, ("pretrained",), tasks=("likeness", "kinds"))
    counts, plain = [], embed._padded

    def counting(rows, pad_id):
        counts.append(len(rows))
        return plain(rows, pad_id)

    monkeypatch.setattr(embed, "_padded", counting)

    def encoded(asked):
        counts.clear()
        swept(asked)
        return sum(counts)

    first = encoded(replace(asked, tasks=("likeness",), keep_vectors=True))
    second = encoded(replace(asked, keep_vectors=True))
    fresh = replace(asked, results=tmp_path / "fresh")
    assert first and second and first + second == encoded(fresh)
    one, other = (results.read(where).rows() for where in (asked.results, fresh.results))
    assert np.allclose(one["value"], other["value"], atol=1e-6)
    assert all(cell.status == "done" for cell in planned(asked))
