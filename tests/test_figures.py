"""The figures show the numbers of the rows, one look per method, and only what is there."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from matplotlib import rc_context

from mipic_bench import figures
from mipic_bench.analysis.quality import View
from mipic_bench.figures import ablation_forest, pareto, quality_by_dim
from mipic_bench.figures._axes import roomy
from mipic_bench.figures._crowd import figures_of
from mipic_bench.figures._heat import Words, ink
from mipic_bench.figures._style import RC, Style, bind
from mipic_bench.figures.layer_by_dim import LayerByDim
from mipic_bench.figures.published import Published
from mipic_bench.figures.quality_by_dim import QualityByDim
from mipic_bench.figures.sweep import Sweep, sweeps
from mipic_bench.figures.training_terms import TrainingTerms


@pytest.fixture(scope="module")
def view():
    frame = synthetic.rows(dims=(8, 12, 16, 32, 64, 384))
    return View(frame, synthetic.provenance(frame, trained_dims=(8, 16, 32, 64, 384)))


def test_run_draws_its_two_figures_as_png_and_svg(tmp_path):
    frame = synthetic.rows(methods=("mipic",), seeds=(0,), tasks={"sts": ("stsb",)})
    paths = figures.draw_all(frame, synthetic.provenance(frame), tmp_path / "out")
    names = [path.name for path in paths]
    assert names == [
        "quality-by-dim--minilm--toy.png",
        "quality-by-dim--minilm--toy.svg",
        "layer-by-dim--minilm--toy--sts.png",
        "layer-by-dim--minilm--toy--sts.svg",
    ]
    assert paths[0].read_bytes().startswith(b"\x89PNG") and b"<svg" in paths[1].read_bytes()


def test_a_curve_is_the_last_layers_estimates(view):
    ((_, figure),) = QualityByDim().draw(view, Style(bind(view), "mrl"))
    line = next(line for line in figure.axes[0].lines if line.get_gid() == "method:mipic")
    estimates = view.estimates
    wanted = estimates[(estimates["family"] == "sts") & (estimates["method"] == "mipic") & (estimates["layer"] == 6)]
    np.testing.assert_allclose(line.get_ydata(), 100 * wanted.sort_values("dim")["mean"])


@pytest.mark.parametrize("ours", ["stsb", "mteb:STSBenchmark"])
@pytest.mark.parametrize("theirs", ["stsb", "mteb:STSBenchmark"])
def test_published_curves_of_a_dataset_stand_beside_ours_by_either_name(ours, theirs):
    frame = synthetic.rows(methods=("mrl",), tasks={"sts": (ours, "sick_r")})
    told = synthetic.published().assign(task=theirs)
    view = View(frame, synthetic.provenance(frame), None, told)
    ((_, figure),) = Published().draw(view, Style(bind(view), "mrl"))
    [axes] = figure.axes
    assert axes.get_title().startswith(ours)
    assert len(axes.lines) == 1 + told["method"].nunique()


def test_only_trained_widths_have_points(view):
    ((_, figure),) = QualityByDim().draw(view, Style(bind(view), "mrl"))
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "method:mipic"]
    curve, points = lines
    assert 12 in curve.get_xdata() and 12 not in points.get_xdata()
    assert list(points.get_xdata()) == [8, 16, 32, 64, 384]


def test_every_method_has_one_look_in_every_figure(view):
    looks = bind(view)
    assert len({(look.color, look.marker, look.line) for look in looks.values()}) == len(looks)
    assert bind(view) == looks
    ((_, figure),) = QualityByDim().draw(view, Style(looks, "mrl"))
    for axes in figure.axes:
        for line in axes.lines:
            if (line.get_gid() or "").startswith("method:"):
                assert line.get_color() == looks[line.get_gid().removeprefix("method:")].color


def test_an_ablation_is_not_of_its_methods_color_nor_of_the_references():
    names = ["full", "mrl", "2d-mrl", *(f"mipic-no-{part}" for part in "abcdef"), "mipic"]
    looks = bind(View(synthetic.rows(methods=names, seeds=(0,), layers=(1,), dims=(8, 16), tasks={"sts": ("stsb",)})))
    family = [name for name in names if name.startswith("mipic")]
    assert len({looks[name].color for name in [*family, "mrl"]}) == len(family) + 1


def test_a_long_name_is_shortened_in_the_middle_of_a_legend():
    names = ("mrl", "a" * 100 + "b")
    view = View(synthetic.rows(methods=names, tasks={"sts": ("stsb",)}, layers=(6,)))
    parts = {"quality_by_dim": QualityByDim}
    [(_, _, figure)] = list(figures.draw_each(view, Style(bind(view), "mrl"), parts))
    [long] = [text for text in figure.legends[0].get_texts() if "…" in text.get_text()]
    assert long.get_text().startswith("aaa") and long.get_text().endswith("aab")
    with rc_context(RC):
        figure.canvas.draw()
    box = long.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_twenty_methods_still_differ():
    names = [f"method{i}" for i in range(20)]
    looks = bind(View(synthetic.rows(methods=names, seeds=(0,), layers=(1,), dims=(8, 16), tasks={"sts": ("stsb",)})))
    assert len({(look.color, look.marker) for look in looks.values()}) == 20


def test_of_many_methods_those_with_the_most_seeds_are_solid():
    grid = {"layers": (1,), "dims": (8, 16), "tasks": {"sts": ("stsb",)}}
    few = synthetic.rows(methods=[f"few{i}" for i in range(8)], seeds=(0,), **grid)
    looks = bind(View(pd.concat([few, synthetic.rows(methods=["many"], seeds=(0, 1), **grid)])))
    assert looks["many"].dashes == () and [name for name, look in looks.items() if look.dashes] == ["few7"]


def test_a_budget_that_was_not_scored_is_hatched_not_zero():
    rows = synthetic.rows(methods=("mrl", "mipic"), seeds=(0,), tasks={"sts": ("stsb",)})
    rows = rows[~((rows.method == "mrl") & (rows.layer < 3))]
    view = View(rows)
    ((_, figure),) = LayerByDim().draw(view, Style(bind(view), "mrl"))
    axes = figure.axes[0]
    numbers = {part.get_gid(): [word.text for word in part.words] for part in axes.artists if isinstance(part, Words)}
    assert len(numbers["method:mipic"]) == 42 and len(numbers["method:mrl"]) == 28
    hatched = [patch for patch in axes.patches if patch.get_hatch()]
    assert len(hatched) == 14
    wanted = view.estimates[(view.estimates["method"] == "mipic") & (view.estimates["layer"] == 6)].sort_values("dim")
    assert numbers["method:mipic"][-7:] == [f"{100 * mean:.1f}" for mean in wanted["mean"]]


def test_labels_of_widths_do_not_touch():
    labels = roomy([8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320, 384], {8, 16, 32, 64, 128, 256, 384})
    assert labels == [8, 16, 32, 64, 128, 256, 384]


def test_the_title_tells_of_a_single_seed():
    view = View(synthetic.rows(methods=("mipic",), seeds=(0,)))
    ((_, figure),) = QualityByDim().draw(view, Style(bind(view)))
    assert any("no intervals" in text.get_text() for text in figure.texts)
    assert quality_by_dim.seeds_title(view, view.estimates) == "1 seed, no intervals"


def test_ablations_of_many_methods_have_figures_of_their_own():
    names = [
        "mrl",
        "full",
        "mipic",
        "mipic-no-sia",
        "mipic-no-pic",
        "2d-mrl",
        "2d-mrl-no-alignment",
        "starbucks-no-alignment",
    ]

    def drawn(names):
        view = View(synthetic.rows(methods=names, seeds=(0,), layers=(1,), dims=(8, 16), tasks={"sts": ("stsb",)}))
        found = QualityByDim().draw(view, Style(bind(view), "mrl"))
        return {name: legend(figure) for name, figure in found}

    def legend(figure):
        return {text.get_text() for text in figure.legends[0].get_texts()} - {"mrl, full width"}

    assert drawn(names) == {"minilm--toy": set(names)}
    more = [*names, *(f"other{place}" for place in range(5))]
    bases = set(more) - {"mipic-no-sia", "mipic-no-pic", "2d-mrl-no-alignment"}
    assert drawn(more) == {
        "minilm--toy": bases,
        "minilm--toy--mipic": {"mrl", "mipic", "mipic-no-sia", "mipic-no-pic"},
        "minilm--toy--2d-mrl": {"mrl", "2d-mrl", "2d-mrl-no-alignment"},
    }


def test_of_many_methods_transforms_of_frozen_vectors_have_a_figure_of_their_own():
    trained, fitted = ["mrl", *(f"other{place}" for place in range(9))], ["smec", "random-dims", "pca"]
    names = ["pretrained", *fitted, *trained]
    frame = synthetic.rows(methods=names, seeds=(0,), layers=(1,), dims=(8, 16), tasks={"sts": ("stsb",)})
    records = synthetic.provenance(frame)
    for record in records.values():
        record["recipe"]["terms"] = {"mrl": {}} if record["cell"]["method"] in trained else {}

    def drawn(frame):
        view = View(frame, records)
        return {of: set(some) for of, some in figures_of(view, Style(bind(view), "mrl"), view.estimates)}

    assert drawn(frame) == {"": {"pretrained", *trained}, "--posthoc": {"mrl", *fitted}}
    fewer = {*names} - {"other0", "other1"}
    assert drawn(frame[frame["method"].isin(fewer)]) == {"": fewer}


def test_base_methods_beyond_the_palette_are_told_apart():
    looks = bind(View(synthetic.rows(methods=[f"other{place:02}" for place in range(16)], seeds=(0,))))
    assert len({(look.color, look.dashes) for look in looks.values()}) == 16


def test_a_swept_value_stands_in_its_own_figure_alone():
    names = ("mrl", "mipic", "mipic-alpha=0.1", "mipic-alpha=0.9")
    view = View(synthetic.rows(methods=names, seeds=(0,)))
    assert view.methods == ("mipic", "mrl")
    drawn = {name: figure for name, _, figure in figures.draw_each(view, Style(bind(view), "mrl"))}
    assert "sweep" in drawn
    beside = View(synthetic.rows(methods=("mipic", "mipic-alpha=0.1"), seeds=(0,)))
    ((_, figure),) = Sweep().draw(beside, Style(bind(beside)))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["0.1"]
    alone = View(synthetic.rows(methods=("mrl", "mipic-alpha=0.1"), seeds=(0,)))
    assert list(Sweep().draw(alone, Style(bind(alone)))) == []
    assert alone.methods == ("mipic-alpha=0.1", "mrl")


def test_zero_stands_apart_from_values_that_differ_by_factors():
    names = ("mipic", *(f"mipic-chain.weight={value}" for value in ("0", "0.1", "1", "10")))
    view = View(synthetic.rows(methods=names, seeds=(0,)))
    ((_, figure),) = Sweep().draw(view, Style(bind(view)))
    axes = figure.axes[0]
    places = axes.transData.transform([(value, 0) for value in (0, 0.1, 1, 10)])[:, 0]
    steps = np.diff(places)
    assert (steps > 0.15 * (places[-1] - places[0])).all()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.1", "1", "10"]


def test_a_swept_ablation_stands_beside_itself():
    view = View(synthetic.rows(methods=("mipic", "mipic-no-pic", "mipic-no-pic-cka.weight=0.5"), seeds=(0,)))
    assert sweeps(view) == {("mipic-no-pic", "cka.weight"): {"mipic-no-pic-cka.weight=0.5": 0.5}}
    unknown = View(synthetic.rows(methods=("mipic", "mipic-no-pic-cka.weight=0.5"), seeds=(0,)))
    assert list(sweeps(unknown)) == [("mipic", "no-pic-cka.weight")]


def test_several_changes_at_once_are_swept_beside_nothing_that_differs_in_another():
    changed = tuple(f"mipic-epochs=5-alpha={value}" for value in (0.1, 0.9))
    one, both = (View(synthetic.rows(methods=("mipic", *names), seeds=(0,))) for names in (changed[:1], changed))
    assert list(Sweep().draw(one, Style(bind(one)))) == []
    ((_, figure),) = Sweep().draw(both, Style(bind(both)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["8 dims", "64 dims", "384 dims"]


def test_add_one_is_read_from_the_terms():
    frame = synthetic.rows()
    view = View(frame, synthetic.provenance(frame))
    assert set(ablation_forest.additions(view, "mipic")) == {
        ("mrl", "mipic-no-pic", "sia"),
        ("mrl", "mipic-no-sia", "pic"),
    }
    assert ablation_forest.additions(View(frame), "mipic") == []


def test_add_one_leaves_out_what_differs_in_more_than_a_term():
    frame = synthetic.rows(methods=("mrl", "mrl-rotated", "mrl-cold", "mipic", "mipic-no-sia", "mipic-no-pic"))
    records = synthetic.provenance(frame)
    for record in records.values():
        if record["cell"]["method"] == "mrl-rotated":
            record["recipe"]["posthoc"] = {"transform": "rotation"}
        if record["cell"]["method"] == "mrl-cold":
            record["recipe"]["terms"] = {"mrl": {**record["recipe"]["terms"]["mrl"], "temperature": 0.01}}
    assert {plain for plain, _, _ in ablation_forest.additions(View(frame, records), "mipic")} == {"mrl"}


def test_the_front_is_what_nothing_cheaper_reaches():
    costs, quality = pd.Series([4.0, 1.0, 2.0, 2.0, 8.0]), pd.Series([0.5, 0.3, 0.6, 0.4, 0.7])
    assert list(pareto.front(costs, quality)) == [1, 2, 4]


def test_a_budget_weighs_what_is_stored():
    frame = synthetic.rows(methods=("mrl",), dims=(12, 384), precisions=("float32", "int8", "binary", "binary+rescore"))
    view = View(frame)
    priced = pareto.priced(view, view.estimates)
    sizes = priced[priced["dim"] == 12].groupby("precision")["bytes"].unique().map(list).to_dict()
    assert sizes == {"float32": [48], "int8": [12], "binary": [2], "binary+rescore": [2]}


def test_numbers_can_be_read_on_every_color():
    for shade in np.linspace(0, 1, 21):
        color = np.array([shade, shade, shade, 1.0])
        light = shade / 12.92 if shade <= 0.04045 else ((shade + 0.055) / 1.055) ** 2.4
        contrast = (light + 0.05) / 0.05 if ink(color) == "#000000" else 1.05 / (light + 0.05)
        assert contrast >= 4.5


def test_shares_of_the_gradient_and_of_the_loss_are_not_averaged():
    frame = synthetic.rows(methods=("mipic-no-sia", "mipic"), seeds=(0, 1), tasks={"sts": ("stsb",)})
    records = synthetic.provenance(frame)
    for record in records.values():
        cell, history = record["cell"], record["training"]["history"]
        for place, entry in enumerate(history):
            if (
                cell["method"] == "mipic-no-sia" or cell["seed"] == "1" or place % 2
            ):  # logged by one seed, at some steps
                del entry["shares"]
            else:
                entry["shares"] = dict.fromkeys(entry["shares"], 0.25)
    ((_, figure),) = TrainingTerms().draw(View(frame, records), Style(bind(View(frame, records)), "mrl"))
    below = {axes.get_ylabel(): axes for axes in figure.axes if axes.get_ylabel().startswith("%")}
    assert set(below) == {"% of the gradient", "% of the loss"}
    for line in below["% of the gradient"].lines:
        assert set(line.get_ydata()) == {25.0} and len(line.get_xdata()) == 10
    of_loss = [line.get_ydata() for line in below["% of the loss"].lines]
    assert {len(line) for line in of_loss} == {20} and np.allclose(sum(of_loss), 100)


def test_a_single_term_is_left_out_beside_several():
    frame = synthetic.rows(methods=("mrl", "mipic"), seeds=(0,), tasks={"sts": ("stsb",)})
    for methods, titles in ((("mrl", "mipic"), {"mipic"}), (("mrl",), {"mrl"})):
        own = frame[frame["method"].isin(methods)]
        view = View(own, synthetic.provenance(own))
        ((_, figure),) = TrainingTerms().draw(view, Style(bind(view), "mrl"))
        assert {axes.get_title(loc) for axes in figure.axes for loc in ("left", "center")} - {""} == titles
