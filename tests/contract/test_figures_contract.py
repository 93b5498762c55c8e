"""Every figure found in `mipic_bench/figures` keeps the promises of a figure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))
import synthetic

from mipic_bench import figures
from mipic_bench.analysis.quality import View
from mipic_bench.figures import Drawing
from mipic_bench.figures._save import save
from mipic_bench.figures._style import Style, bind

PARTS = figures.drawings()
SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=-"


@pytest.fixture(scope="module")
def frame():
    return synthetic.rows(methods=(*synthetic.METHODS, "mipic-alpha=0.5", "mipic-alpha=0.9"))


@pytest.fixture(scope="module")
def view(frame):
    return View(frame, synthetic.provenance(frame), profile=synthetic.profile(frame), published=synthetic.published())


@pytest.mark.parametrize("name", PARTS)
def test_it_draws_what_it_needs(name, view):
    """The rows, provenance, profile and published numbers of this fixture are enough for every figure."""
    assert next(PARTS[name]().draw(view, Style(bind(view), "mrl")), None) is not None


@pytest.mark.parametrize("name", PARTS)
def test_it_says_what_it_shows(name):
    part = PARTS[name]
    assert part.title and part.caption.endswith(".") and part.needs.startswith("It needs") and part.needs.endswith(".")
    assert isinstance(part.order, int) and part.__doc__


@pytest.mark.parametrize("name", PARTS)
def test_it_draws_figures_with_safe_names_and_no_global_state(name, view):
    style = Style(bind(view), "mrl")
    drawn = list(PARTS[name]().draw(view, style))
    assert all(isinstance(figure, Figure) for _, figure in drawn)
    assert len({what for what, _ in drawn}) == len(drawn)
    for what, _ in drawn:
        assert set(what) <= set(SAFE)
        assert any(what == setting.slug or what.startswith(f"{setting.slug}--") for setting in view.settings)
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.mark.parametrize("name", PARTS)
def test_it_bears_a_study_with_almost_nothing_in_it(name):
    for rows in (
        synthetic.rows(methods=("pretrained",), layers=(6,), dims=(384,)),
        synthetic.rows(methods=("mipic",), seeds=(0,), tasks={"sts": ("stsb",)}),
        synthetic.rows(methods=("mrl", "mipic"), seeds=(0,)).query("method == 'mrl' or dim == 8"),
    ):
        view = View(rows, {})
        for _, figure in PARTS[name]().draw(view, Style(bind(view), figures.default_reference(view))):
            figure.savefig(os.devnull, format="svg")


def written(name, rows, folder):
    view = View(rows, synthetic.provenance(rows))
    style = Style(bind(view), figures.default_reference(view), highlight="mipic")
    folder.mkdir()
    drawn = figures.draw_each(view, style, {name: PARTS[name]})
    return [path for _, stem, figure in drawn for path in save(figure, folder / stem)]


@pytest.mark.parametrize("name", PARTS)
def test_equal_rows_give_equal_bytes(name, frame, tmp_path):
    small = frame[frame["method"].isin(("mrl", "mipic", "mipic-no-sia")) & (frame["layer"] > 4)]
    first = written(name, small, tmp_path / "first")
    again = written(name, small.sample(frac=1, random_state=1), tmp_path / "again")
    assert [path.name for path in first] == [path.name for path in again]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        assert b"dc:date" not in one.read_bytes()


def test_every_file_is_a_part():
    folder = Path(figures.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if not path.name.startswith("_")}
    assert files == set(PARTS)
    assert all(issubclass(part, Drawing) for part in PARTS.values())


def test_no_figure_imports_torch():
    code = (
        "import sys; from mipic_bench import figures, reporting; figures.drawings(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
