"""Fitted transforms: kept they come back bit for bit; not kept, they are fitted again to the same bits in the same place."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_sweeps import SMALL, planned, request, swept, write_data

from mipic_bench import backbones, posthoc
from mipic_bench.encoding.embed import encode
from mipic_bench.errors import UserError
from mipic_bench.models import mapping
from mipic_bench.models.evaluating import evaluation
from mipic_bench.models.export import export
from mipic_bench.posthoc import keep, kept, transforms
from mipic_bench.recipes.methods import find
from mipic_bench.results import folder as results
from mipic_bench.running import encoded
from mipic_bench.training import checkpoint

QUICK = {
    "adaptor": ("posthoc.iterations = 20", "posthoc.batch_size = 8"),
    "rotation": ("posthoc.iterations = 9", "posthoc.batch_size = 8"),
    "smec": ("posthoc.iterations = 5", "posthoc.memory = 8", "posthoc.batch_size = 8"),
}
METHODS = {
    "pca": "pca",
    "pca-whitened": "pca",
    "random-dims": "random_dims",
    "random-projection": "random_projection",
    "smec": "smec",
    "matryoshka-adaptor": "adaptor",
    "mrl-pca": "pca",
    "pivot": "rotation",
}


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.fixture
def fits(monkeypatch):
    """What `encoded.fit` gave, in order."""
    found, fit = [], encoded.fit
    monkeypatch.setattr(encoded, "fit", lambda *args: found.append(fit(*args)) or found[-1])
    return found


def asked(tmp_path, method, **changes):
    methods = tuple(find([method], QUICK.get(METHODS[method], ())))
    return replace(request(write_data(tmp_path / "data", rows=72).parent), methods=methods, layers=(3,), **changes)


@pytest.mark.parametrize("name", transforms())
def test_what_is_kept_comes_back(name, tmp_path):
    settings = {
        text.split(" = ")[0].removeprefix("posthoc."): int(text.split(" = ")[1]) for text in QUICK.get(name, ())
    }
    transform, rows = transforms()[name](**settings), np.random.default_rng(0).standard_normal((30, 12))
    fitted = {layer: transform.fit((rows + layer).astype(np.float32), (4, 12), layer) for layer in (2, 10)}
    path = tmp_path / "deep" / "x.safetensors"
    keep(path, fitted, "some weights")
    back = kept(path, transform, "some weights")
    assert list(back) == [2, 10]
    for layer, one in fitted.items():
        assert type(back[layer]) is type(one) and same(back[layer].arrays(), one.arrays())
        fresh = rows[:3].astype(np.float32)
        for dim in (3, 4, 12):
            np.testing.assert_allclose(back[layer].at(fresh, dim), one.at(fresh, dim), atol=1e-5)
    assert kept(path, transform, "other weights") == {}
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert kept(path, transform, "some weights") == {}
    path.write_bytes(content[:40])
    assert kept(path, transform, "some weights") == {} == kept(tmp_path / "none", transform, "some weights")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("keeps", [False, True])
def test_export_takes_the_transform_that_was_scored(method, keeps, tmp_path, fits, monkeypatch):
    trains = find([method])[0].trains
    one = asked(tmp_path, method, keep_checkpoints=keeps)
    [cell] = planned(one)
    assert swept(one).exit_code == 0
    [[scored]] = [list(fit.values()) for fit in fits]
    record = results.read(one.results).provenance()[cell.run]
    place = posthoc.place(one.results / checkpoint.KEPT / cell.run)
    assert place.is_file() == keeps
    if trains and not keeps:
        return  # without its weights there is nothing to export
    weights = str(one.results / checkpoint.KEPT / cell.run) if trains else "tiny"
    backbone = backbones.load(weights, pooling=record["backbone"]["pooling"])
    if keeps:
        monkeypatch.setattr(type(cell.recipe.posthoc), "fit", None)
    again = mapping.fitted(record, cell.recipe.nesting.dims, backbone, 3, place, None if keeps else one.data)
    assert same(again.arrays(), scored.arrays())


def test_a_transform_that_was_not_kept_is_fitted_again_when_that_is_asked_for(tmp_path, fits):
    one = asked(tmp_path, "pca")
    assert swept(one).exit_code == 0
    keeping = replace(one, keep_checkpoints=True)
    [cell] = planned(keeping)
    assert cell.reason == "its fitted transform was not kept"
    assert swept(keeping).exit_code == 0
    assert posthoc.place(one.results / checkpoint.KEPT / cell.run).is_file() and len(fits) == 2
    assert [cell.status for cell in planned(keeping)] == ["done"]


@pytest.mark.parametrize("keeps", [False, True])
def test_one_model_per_width_exports_the_transform_of_its_own_width(keeps, tmp_path, fits):
    from sentence_transformers import SentenceTransformer

    changes = [
        'posthoc = {transform = "rotation", texts = 60, iterations = 30, batch_size = 8}',
        "training.max_steps = 1",
    ]
    methods = tuple(find(["single-dim"], changes))
    one = replace(asked(tmp_path, "pca", dims=(16,), keep_checkpoints=True), methods=methods)
    assert swept(one).exit_code == 0
    [cell] = planned(one)
    [part] = [part for part in cell.parts if part.width == 16]
    weights = one.results / checkpoint.KEPT / part.folder
    if not keeps:
        posthoc.place(weights).unlink()
    scored, texts = fits[0][3], ["so cat 1", "a stone in the river", "so house 9"]
    out = export(one.results, cell.run, 3, 16, tmp_path / "out", data=one.data)
    read = encode(backbones.load(str(weights)), texts, [3], max_length=SMALL["max_length"], device=torch.device("cpu"))
    expected = scored.at(read.at(3), 16)
    expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    found = SentenceTransformer(str(out), device="cpu").encode(texts)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_kept_weights_are_not_scored_without_their_transform(tmp_path):
    one = asked(tmp_path, "pivot", keep_checkpoints=True)
    assert swept(one).exit_code == 0
    [cell] = planned(one)
    weights = one.results / checkpoint.KEPT / cell.run
    apart = shutil.copytree(weights, tmp_path / "apart")  # nothing beside it: the folder itself says so
    for folder in (weights, apart):
        with pytest.raises(UserError, match=f"weights of the run {cell.run} without its transform"):
            evaluation(str(folder), results=one.results)
    with pytest.raises(UserError, match="leave these options out"):
        evaluation(cell.run, name="other", results=one.results)


def test_a_run_fits_only_the_layers_that_were_not_kept(tmp_path, fits):
    one = asked(tmp_path, "pca", keep_checkpoints=True)
    assert swept(one).exit_code == 0
    assert swept(replace(one, layers=(2, 3))).exit_code == 0
    assert swept(replace(one, tasks=("likeness", "kinds"))).exit_code == 0
    assert [list(fit) for fit in fits] == [[3], [2]]
    [cell] = planned(one)
    weights = checkpoint.state_digest(backbones.load("tiny").model)
    assert list(kept(posthoc.place(one.results / checkpoint.KEPT / cell.run), cell.recipe.posthoc, weights)) == [2, 3]
