"""Costs: what is counted is right, what is timed is there, and reports can read it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mipic_bench import backbones
from mipic_bench.analysis.quality import View
from mipic_bench.errors import UserError
from mipic_bench.evaluators import PRECISIONS
from mipic_bench.figures.pareto import COSTS, priced
from mipic_bench.models import profiling
from mipic_bench.models.costs import COLUMNS, read, write
from mipic_bench.models.export import parameters
from mipic_bench.models.profiling import NEAREST, Settings, index, profile, search_seconds

SMALL = Settings(layers=(1, 4), dims=(5, 64), index_size=600)


@pytest.fixture(scope="module")
def frame():
    return profile("tiny", SMALL)


def test_every_budget_has_a_row(frame):
    assert tuple(frame.columns) == COLUMNS
    assert set(zip(frame["layer"], frame["dim"], frame["precision"], strict=True)) == {
        (layer, dim, precision) for layer in (1, 4) for dim in (5, 64) for precision in PRECISIONS
    }
    assert set(COSTS) <= set(frame.columns)
    timed = frame[["flops", "encode_ms", "texts_per_second", "search_ms", "tokens"]]
    assert np.isfinite(timed).all().all()
    assert (timed > 0).all().all()
    np.testing.assert_allclose(frame["encode_ms"] * frame["texts_per_second"], 1000)
    sizes = frame[frame["layer"] == 1].set_index(["dim", "precision"])["bytes"]
    assert [sizes[5, precision] for precision in PRECISIONS] == [20, 5, 1, 1]
    assert [sizes[64, precision] for precision in PRECISIONS] == [256, 64, 8, 8]


def test_parameters_and_flops_are_those_of_the_cut_model(frame):
    backbone = backbones.load("tiny")
    one, four = (frame[frame["layer"] == layer].iloc[0] for layer in (1, 4))
    assert one["parameters"] == parameters(backbone.cut(1))
    assert four["parameters"] == parameters(backbone.model)
    np.testing.assert_allclose(four["flops"], 4 * one["flops"], rtol=5e-3)  # pooling is once
    ids = torch.tensor([backbone.tokenize(["some words to read"], 64)[0]])
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        backbone.cut(1)(input_ids=ids, attention_mask=torch.ones_like(ids))
    token, width, inner = ids.shape[1], 64, 128
    by_hand = 2 * token * (4 * width * width + 2 * width * inner) + 4 * token * token * width
    assert counter.get_total_flops() == by_hand


def test_costs_are_those_of_one_text_and_one_query(frame, monkeypatch):
    one, width, inner = frame[frame["layer"] == 1].iloc[0], 64, 128
    by_hand = 2 * one["tokens"] * (4 * width * width + 2 * width * inner) + 4 * one["tokens"] ** 2 * width
    assert one["flops"] == pytest.approx(by_hand, rel=0.25)  # rows of one batch differ in length
    monkeypatch.setattr(profiling, "_timed", lambda _: 0.5)
    timed = profile("tiny", replace(SMALL, layers=(1,), dims=(5,), precisions=("binary",))).iloc[0]
    assert timed["encode_ms"] == pytest.approx(500 / profiling.TEXTS)
    assert timed["search_ms"] == pytest.approx(500)


@pytest.mark.parametrize("dim", [3, 8, 70])
def test_searches_find_what_is_nearest(dim):
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((500, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = generator.standard_normal(dim, dtype=np.float32)
    best = np.argsort(-(vectors @ query))
    np.testing.assert_array_equal(index(vectors, "float32")(query), best[:NEAREST])
    close = vectors @ query
    assert close[index(vectors, "int8")(query)].min() > close[best[NEAREST - 1]] - 0.05 * np.linalg.norm(query)
    agreeing = ((vectors > 0) == (query > 0)).sum(axis=1)
    found = index(vectors, "binary")(query)
    assert sorted(agreeing[found])[::-1] == sorted(agreeing)[::-1][:NEAREST]
    near = np.argpartition(-agreeing, 399)[:400]
    floor = np.sort(agreeing)[::-1][399]
    signs = np.where(vectors > 0, 1, -1) @ query
    again = index(vectors, "binary+rescore")(query)
    assert (agreeing[again] >= floor).all()
    sure = near[agreeing[near] > floor]
    assert signs[again].min() >= np.sort(signs[sure])[::-1][:NEAREST][-1] - 1e-4


def test_an_index_smaller_than_what_is_asked():
    assert {precision for _, precision, seconds in search_seconds([8], PRECISIONS, 3) if seconds > 0} == set(PRECISIONS)


def test_profiles_are_kept_and_joined(frame, tmp_path):
    assert read(tmp_path) is None
    path, replaced = write(frame, tmp_path)
    assert not replaced and path == tmp_path / "profile" / "tiny.csv"
    pd.testing.assert_frame_equal(read(tmp_path), frame, check_dtype=False)
    more = profile("tiny", Settings(layers=(4,), dims=(64, 16), precisions=("float32",), index_size=600))
    write(more, tmp_path)
    both = read(tmp_path)
    assert len(both) == len(frame) + 1
    fresh = both[(both["layer"] == 4) & (both["dim"] == 64) & (both["precision"] == "float32")]
    assert fresh["encode_ms"].item() == more.loc[more["dim"] == 64, "encode_ms"].item()


def test_a_profile_without_weights_is_still_read(frame, tmp_path):
    write(frame, tmp_path)
    path = tmp_path / "profile" / "tiny.csv"
    pd.read_csv(path).drop(columns="weights").to_csv(path, index=False)
    assert (read(tmp_path)["weights"] == "").all()
    _, replaced = write(frame.head(1), tmp_path)
    assert "weights" in replaced and len(read(tmp_path)) == 1


def test_profiles_of_other_settings_do_not_mix(frame, tmp_path):
    write(frame, tmp_path)
    other = profile("tiny", Settings(layers=(4,), dims=(16,), precisions=("float32",), index_size=700))
    _, replaced = write(other, tmp_path)
    before = frame["index_size"].iloc[0]
    assert replaced == f"{len(frame)} budgets measured in another setting are replaced (index_size {before}, now 700)"
    assert read(tmp_path)["index_size"].tolist() == [700]


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "cuda"},
        {"dtype": "bfloat16"},
        {"threads": 99},
        {"processor": "another"},
        {"tokens": 200.5},
        {"weights": "f00"},
    ],
)
def test_nor_do_profiles_of_other_machines(frame, tmp_path, changes):
    write(frame, tmp_path)
    write(frame.head(1).assign(**changes), tmp_path)
    assert len(read(tmp_path)) == 1


def test_a_file_that_is_no_profile(tmp_path):
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "tiny.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is no profile"):
        read(tmp_path)


def test_the_pareto_figure_takes_it(frame):
    scored = synthetic.rows(
        ("mrl", "mipic"), backbones=("tiny",), layers=(1, 4), dims=(5, 64), precisions=("float32", "binary")
    )
    view = View(scored, profile=frame)
    points = priced(view, view.estimates)
    assert len(points)
    assert points[list(COSTS)].notna().all().all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(layers=(5,)), "5 is not within 1..4"),
        (Settings(dims=(65,)), "65 is not within 1..64"),
        (Settings(precisions=("int4",)), "unknown precision 'int4'"),
        (Settings(index_size=0), "0 vectors are no index"),
        (Settings(max_length=-3), "-3 tokens of a text are fewer than 4"),
        (Settings(max_length=0), "0 tokens of a text are fewer than 4"),
        (Settings(corpus="tyo"), "toy"),
    ],
)
def test_slips_are_told(settings, words):
    with pytest.raises(UserError, match=words):
        profile("tiny", settings)
