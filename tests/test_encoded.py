"""Post-hoc methods and one model per width, run as cells: which cells, which rows, and that they are what they say."""

import numpy as np
import pandas as pd
import pytest
import torch
from training import one_thread

from mipic_bench import backbones, corpora, evaluators, tasks
from mipic_bench.encoding.embed import Embeddings, encode
from mipic_bench.errors import UserError
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs, Request
from mipic_bench.posthoc import transforms
from mipic_bench.recipes.methods import find
from mipic_bench.results.folder import read
from mipic_bench.running import encoded
from mipic_bench.running.progress import Reporter
from mipic_bench.running.run import run_cell
from mipic_bench.shapes import served

DIMS, LAYERS = (4, 8, 20, 64), (3, 4)


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with one_thread():
        yield


@pytest.fixture
def run(tmp_path):
    """Run methods on the small backbone and return their rows, the cells and the store."""

    def go(*methods: str, changes: tuple[str, ...] = (), dims=DIMS, **options):
        request = Request(
            methods=tuple(find(methods, changes)),
            backbones=("tiny",),
            tasks=("toy-sts",),
            dims=dims,
            layers=LAYERS,
            training={"max_steps": 2, "batch_size": 4},
            results=tmp_path / "results",
            **options,
        )
        inputs, reporter = Inputs(request), Reporter(quiet=True)
        cells = plan(request, inputs)
        for cell in cells:
            if cell.status not in ("done", "skipped"):
                run_cell(cell, request, inputs, reporter)
        return read(request.results), plan(request, inputs)

    return go


def values(store, method: str) -> pd.DataFrame:
    rows = store.rows()
    return rows[rows["method"] == method].set_index(["layer", "dim"])["value"].sort_index()


def test_which_widths_a_trained_one_serves():
    assert served((2, 8, 64), (1, 2, 5, 8, 9, 64)) == {2: (1, 2), 8: (5, 8), 64: (9, 64)}
    assert served((2, 8), (5, 9)) == {8: (5, 9)}  # above all: read off the widest
    assert served((8, 64), (8,)) == {8: (8,)}


def test_a_transform_has_one_cell_per_corpus_and_no_seed(run):
    store, cells = run("pca", seeds=(0, 1))
    assert [(cell.corpus, cell.seed, cell.status) for cell in cells] == [("toy", None, "done")]
    [(name, found)] = store.runs.items()
    assert name.startswith("pca--tiny--toy--s0--")
    assert set(found.rows["seed"]) == {""} and set(found.rows["corpus"]) == {"toy"}
    record = found.provenance
    assert record["identity"]["recipe"]["posthoc"]["transform"] == "pca" and record["identity"]["corpus"]["rows"] > 0
    assert record["training"] == {} and "leakage" in record["scored"][0]


def test_its_rows_are_those_of_transformed_vectors(run):
    """Fitted on the corpus's texts at each layer, applied to the task's, scored as any vectors."""
    store, _ = run("pca", "random-dims")
    backbone, fold = backbones.load("tiny"), tasks.fold(tasks.load("toy-sts"))
    scorer, cpu = evaluators.evaluator("sts"), torch.device("cpu")
    texts = list(dict.fromkeys(corpora.load("toy").columns["anchor"]))
    own = encode(backbone, texts, LAYERS, max_length=128, device=cpu)
    scored = encode(backbone, scorer.texts(fold, ["float32"]), LAYERS, max_length=128, device=cpu)
    for method, name in (("pca", "pca"), ("random-dims", "random_dims")):
        arrays = {
            layer: transforms()[name]().fit(own.at(layer), (2, 64), 0).apply(scored.at(layer)) for layer in LAYERS
        }
        scores = scorer.score(fold, Embeddings(scored.index, arrays), LAYERS, DIMS, ["float32"], "clean")
        expected = {(score.layer, score.dim): score.value for score in scores if score.metric == "spearman"}
        rows = store.rows()
        rows = rows[(rows["method"] == method) & (rows["metric"] == "spearman")]
        found = {(row.layer, row.dim): row.value for row in rows.itertuples()}
        assert found == pytest.approx(expected, abs=1e-6) and len(found) == len(DIMS) * len(LAYERS)


def test_each_width_comes_from_its_own_model(run):
    """Rows at a width are those of MRL trained at that width alone; 20 is cut from the model of 32."""
    store, cells = run("single-dim")
    assert [cell.status for cell in cells] == ["done"]
    for dim, trained in ((4, 4), (8, 8), (20, 32), (64, 64)):
        alone, _ = run("mrl", changes=(f"dims = [{trained}]",), dims=(dim,))
        pd.testing.assert_series_equal(
            values(store, "single-dim").xs(dim, level="dim"),
            values(alone, f"mrl-dims=[{trained}]").xs(dim, level="dim"),
        )


def test_the_record_of_one_model_per_width(run):
    store, _ = run("single-dim")
    [found] = store.runs.values()
    training = found.provenance["training"]
    assert list(training["weights_by_dim"]) == ["4", "8", "32", "64"]  # the widths that serve those asked for
    assert training["steps"] == 8 and [entry["step"] for entry in training["history"]] == list(range(1, 9))
    assert [entry["dim"] for entry in training["history"]] == [4, 4, 8, 8, 32, 32, 64, 64]


def test_a_width_asked_for_later_is_added(run, tmp_path):
    run("single-dim", dims=(4,))
    store, cells = run("single-dim", dims=(4, 8), keep_checkpoints=True)
    assert [cell.status for cell in cells] == ["done"]
    assert set(values(store, "single-dim").index.get_level_values("dim")) == {4, 8}
    kept = sorted(path.name.rpartition("--")[2] for path in (tmp_path / "results" / "checkpoints").iterdir())
    assert kept == ["d4", "d8"]
    assert not (tmp_path / "results" / "unfinished").exists() or not any(
        (tmp_path / "results" / "unfinished").iterdir()
    )


def test_widths_asked_for_one_after_another_keep_their_weights(run):
    run("single-dim", dims=(4,))
    store, _ = run("single-dim", dims=(8,))
    [found] = store.runs.values()
    assert list(found.provenance["training"]["weights_by_dim"]) == ["4", "8"]
    [entry] = found.provenance["scored"]
    assert entry["dims"] == [4, 8]
    assert entry["weights_by_dim"] == found.provenance["training"]["weights_by_dim"]
    assert not any("second training" in note for note in entry["notes"])


def test_compressed_widths_are_no_prefixes_and_are_scored_all_the_same(run):
    changes = ("posthoc.iterations = 3", "posthoc.memory = 32", "posthoc.batch_size = 16")
    store, _ = run("smec", changes=changes)
    [found] = store.runs.values()
    assert set(found.rows["dim"]) == set(DIMS) and np.isfinite(found.rows["value"]).all()


def test_a_transform_after_training(run):
    store, cells = run("full-pca", seeds=(0, 1))
    assert [(cell.corpus, cell.seed) for cell in cells] == [("toy", 0), ("toy", 1)]
    assert set(store.rows()["seed"]) == {"0", "1"}


def test_every_seed_of_a_random_transform_has_a_fit_of_its_own(run):
    store, cells = run("random-dims", seeds=(0, 1))
    assert [(cell.corpus, cell.seed) for cell in cells] == [("toy", 0), ("toy", 1)]
    one, other = (own.set_index(["layer", "dim"])["value"].sort_index() for _, own in store.rows().groupby("seed"))
    assert not one.equals(other)


def test_a_sample_of_texts_is_drawn_without_repeats():
    texts = [f"text {number}" for number in range(50)] * 2
    chosen = encoded.sample(texts, 10, 0)
    assert len(set(chosen)) == 10 and chosen == encoded.sample(texts, 10, 0) != encoded.sample(texts, 10, 1)
    assert encoded.sample(texts, 50, 0) == texts[:50]


def test_a_term_that_needs_scores_refuses_other_corpora(run):
    _, cells = run("starbucks-as-published-stsb")
    assert [cell.status for cell in cells] == ["skipped"] and "needs scored pairs" in cells[0].reason
    with pytest.raises(UserError, match="not within 1..64"):
        run("pca", dims=(128,))


def test_scored_texts_are_read_up_to_the_length_of_the_recipe():
    asked = Request(
        methods=tuple(find(["pretrained"])), backbones=("tiny",), tasks=("toy-sts",), training={"max_length": 5}
    )
    inputs, backbone = Inputs(asked), backbones.load("tiny")
    [cell] = plan(asked, inputs)
    [view] = encoded.read(cell, backbone, list(inputs.folds.values()), asked, inputs, Reporter(quiet=True))
    short, long = (
        encode(backbone, view.embeddings.index, [4], max_length=length, device=torch.device("cpu")).at(4)
        for length in (5, 128)
    )
    np.testing.assert_allclose(view.embeddings.at(4), short, atol=1e-5)
    assert np.abs(short - long).max() > 1e-2
