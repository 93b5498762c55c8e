"""The figures show the numbers of the rows, one look per method, and only what is there."""

import numpy as np
import pytest
import synthetic

from mipic_bench import figures
from mipic_bench.errors import UserError
from mipic_bench.figures import quality_by_dim
from mipic_bench.figures._axes import roomy
from mipic_bench.figures._style import Style, bind
from mipic_bench.figures.layer_by_dim import LayerByDim
from mipic_bench.figures.quality_by_dim import QualityByDim
from mipic_bench.quality import View


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


def test_an_unknown_figure_is_told(tmp_path):
    with pytest.raises(UserError, match="did you mean quality_by_dim"):
        figures.draw_all(synthetic.rows(seeds=(0,)), {}, tmp_path, ["quality_by_dims"])


def test_a_curve_is_the_last_layers_estimates(view):
    (figure,) = QualityByDim().draw(view, Style(bind(view), "mrl")).values()
    line = next(line for line in figure.axes[0].lines if line.get_gid() == "method:mipic")
    estimates = view.estimates
    wanted = estimates[(estimates["family"] == "sts") & (estimates["method"] == "mipic") & (estimates["layer"] == 6)]
    np.testing.assert_allclose(line.get_ydata(), 100 * wanted.sort_values("dim")["mean"])


def test_only_trained_widths_have_points(view):
    (figure,) = QualityByDim().draw(view, Style(bind(view), "mrl")).values()
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "method:mipic"]
    curve, points = lines
    assert 12 in curve.get_xdata() and 12 not in points.get_xdata()
    assert list(points.get_xdata()) == [8, 16, 32, 64, 384]


def test_every_method_has_one_look_in_every_figure(view):
    looks = bind(view)
    assert len({(look.color, look.marker, look.line) for look in looks.values()}) == len(looks)
    assert bind(view) == looks
    (figure,) = QualityByDim().draw(view, Style(looks, "mrl")).values()
    for axes in figure.axes:
        for line in axes.lines:
            if (line.get_gid() or "").startswith("method:"):
                assert line.get_color() == looks[line.get_gid().removeprefix("method:")].color


def test_twenty_methods_still_differ():
    names = [f"method{i}" for i in range(20)]
    looks = bind(View(synthetic.rows(methods=names, seeds=(0,), layers=(1,), dims=(8, 16), tasks={"sts": ("stsb",)})))
    assert len({(look.color, look.marker) for look in looks.values()}) == 20


def test_a_budget_that_was_not_scored_is_hatched_not_zero():
    rows = synthetic.rows(methods=("mrl", "mipic"), seeds=(0,), tasks={"sts": ("stsb",)})
    rows = rows[~((rows.method == "mrl") & (rows.layer < 3))]
    view = View(rows)
    (figure,) = LayerByDim().draw(view, Style(bind(view), "mrl")).values()
    mipic, mrl = (axes for axes in figure.axes if (axes.get_title("left") or axes.get_title()) in ("mrl", "mipic"))
    assert len(mipic.texts) == 42 and len(mrl.texts) == 28
    assert mrl.patch.get_hatch() and not mipic.patch.get_hatch()


def test_labels_of_widths_do_not_touch():
    labels = roomy([8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320, 384], {8, 16, 32, 64, 128, 256, 384})
    assert labels == [8, 16, 32, 64, 128, 256, 384]


def test_the_title_tells_of_a_single_seed():
    view = View(synthetic.rows(methods=("mipic",), seeds=(0,)))
    (figure,) = QualityByDim().draw(view, Style(bind(view))).values()
    assert "no intervals" in figure.get_suptitle()
    assert quality_by_dim.seeds_title(view, view.estimates) == "1 seed, no intervals"
