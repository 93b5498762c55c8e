"""A report: what it says stands in its tables, what is missing is told, and nothing a user wrote becomes markup."""

import io
import os
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import synthetic

from mipic_bench import figures, reporting
from mipic_bench.analysis import baselines
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import small_dim
from mipic_bench.errors import UserError
from mipic_bench.reporting._choice import recommended, standings
from mipic_bench.reporting.verdict import _power, sentences
from mipic_bench.results import commit


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One report of a small synthetic study with published numbers and a profile."""
    names = ("pretrained", "mrl", "mipic", "mipic-no-sia", "mipic-no-pic", "mipic-alpha=0.1", "mipic-alpha=0.9")
    frame = synthetic.rows(methods=names, layers=(3, 6))
    out = tmp_path_factory.mktemp("report")
    page = reporting.build(
        frame,
        synthetic.provenance(frame),
        out,
        reference="mrl",
        baselines=synthetic.published(),
        profile=synthetic.profile(frame),
        highlight="mipic",
    )
    return frame, page


def test_every_table_and_figure_is_a_file(built):
    _, page = built
    tables = {path.name for path in (page.parent / "tables").iterdir()}
    stems = {name.rsplit(".", 1)[0] for name in tables}
    assert tables == {f"{stem}.{ending}" for stem in stems for ending in ("csv", "md", "tex")}
    assert {"verdict--minilm--toy", "quality--minilm--toy", "ablations--minilm--toy--mipic", "leakage", "runs"} <= stems
    figures = {path.name for path in (page.parent / "figures").iterdir()}
    kinds = {name.split("--")[0] for name in figures}
    assert len(kinds) == 11 and all((page.parent / "figures" / n.replace(".png", ".svg")).exists() for n in figures)
    assert (page.parent / "report.md").read_text().startswith("# Report")


def test_every_section_is_there_and_every_link_leads_somewhere(built):
    _, page = built
    text = page.read_text()
    assert re.findall(r'<section id="(\w+)"', text) == list(reporting.sections())
    for link in re.findall(r'href="([^"]+)"', text):
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text, link
        elif not link.startswith("data:"):
            assert (page.parent / link).is_file(), link
    for link in re.findall(r"\]\(([^)]+)\)", (page.parent / "report.md").read_text()):
        assert (page.parent / link).is_file(), link


def test_the_page_fetches_nothing(built):
    text = built[1].read_text()
    assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", text)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "default-src 'none'" in text


def test_the_page_is_well_formed_and_its_ids_are_unique(built):
    text = built[1].read_text()
    parser = _Balance()
    parser.feed(text)
    assert parser.open == [] and parser.wrong == []
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


def test_equal_input_gives_equal_bytes(built, tmp_path):
    frame, page = built
    again = reporting.build(
        frame.sample(frac=1, random_state=0),
        dict(reversed(synthetic.provenance(frame).items())),
        tmp_path,
        reference="mrl",
        baselines=synthetic.published(),
        profile=synthetic.profile(frame),
        highlight="mipic",
    )
    names = sorted(path.relative_to(page.parent) for path in page.parent.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(tmp_path) for path in again.parent.rglob("*") if path.is_file())
    for name in names:
        assert (page.parent / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_first_screen_says_what_to_use_at_32_dims(built):
    _, page = built
    text = page.read_text()
    card = text[text.index('data-width="32"') :]
    assert re.search(r'class="say">At 32 dims, use [\w-]+\.<', card)
    assert "How sure:" in card[:1500]
    assert 'value="32" checked' in text


def test_what_the_verdict_says_stands_in_the_tables(built):
    frame, page = built
    view = View(frame)
    (setting,) = view.settings
    quality = pd.read_csv(page.parent / "tables" / "quality--minilm--toy.csv")
    for dim in synthetic.DIMS:
        _, _, lines = sentences(view, setting, dim)
        assert len(lines) == 3
        for line in lines:
            family, leader, mean = re.match(r"(\w+): ([\w-]+) leads with ([\d.]+)", line).groups()
            own = quality[(quality.family == family) & (quality.dim == dim) & quality.method.isin(view.methods)]
            best = own.loc[own["mean"].idxmax()]
            assert leader == best["method"] and mean == f"{100 * best['mean']:.1f}"


def test_a_difference_printed_is_the_mean_paired_difference_of_the_rows(built):
    frame, page = built
    answers = pd.read_csv(page.parent / "tables" / "ablations--minilm--toy--mipic.csv")
    assert len(answers) == 18
    for answer in answers.to_dict("records"):
        metric = "macro_f1" if answer["family"] == "classification" else None
        rows = frame[(frame.family == answer["family"]) & (frame.layer == 6) & (frame.dim == answer["dim"])]
        rows = rows[rows.metric == (metric or {"sts": "spearman", "pair": "ap"}[answer["family"]])]
        means = rows.groupby(["method", "seed"])["value"].mean()
        difference = (means["mipic"] - means[f"mipic-no-{answer['component']}"]).mean()
        assert answer["difference"] == pytest.approx(difference, abs=1e-12)
        helps = answer["p_holm"] <= 0.05 and answer["low"] > 0
        assert (answer["verdict"] == "better") == helps


def _study(gains, seeds=(0, 1, 2, 3, 4), noise=0.002):
    """Rows in which each method is better than the first by so many points, everywhere."""
    frames = []
    for place, (method, gain) in enumerate(gains.items()):
        frame = synthetic.rows(methods=("mrl",), seeds=seeds, layers=(6,), dims=(32, 384))
        rng = np.random.default_rng(place)
        luck = {seed: rng.normal(0, noise) for seed in sorted(set(frame["seed"]))}
        value = frame["value"] + gain / 100 + frame["seed"].map(luck)
        run = frame["run"].str.replace("mrl", method)
        base, _, ablation = method.partition("-")
        frames.append(frame.assign(method=method, base_method=base, ablation=ablation, run=run, value=value))
    return View(pd.concat(frames, ignore_index=True))


def _said(view, dim=32):
    say, sure, _ = sentences(view, view.settings[0], dim)
    return f"{say} {sure}"


def test_a_clear_winner_is_called_sure():
    assert _said(_study({"a": 0, "b": 3, "c": 1})) == (
        "At 32 dims, use b. How sure: sure. Every other method is behind it in all 3 families scored."
    )


def test_who_is_better_on_the_seeds_that_both_have_leads():
    rows = _study({"a": 0, "b": 1.5}, noise=0).given
    few = rows[~((rows["method"] == "b") & rows["seed"].isin(["3", "4"]))].copy()
    few.loc[(few["method"] == "a") & few["seed"].isin(["3", "4"]), "value"] += 0.1
    view = View(few)
    for standing in standings(view, view.settings[0], 32):
        assert standing.leader == "b" and standing.scores["a"] > standing.scores["b"]
    say, _, lines = sentences(view, view.settings[0], 32)
    assert say == "At 32 dims, use b."
    assert all("a has a higher mean over its own seeds" in line and "better than a by +1.5" in line for line in lines)


def test_a_choice_is_sure_over_those_behind_itself_not_behind_another_leader():
    view = _study({"a": 2, "b": 0, "c": 1.99})
    rows = view.given.copy()
    rows.loc[(rows["family"] == "pair") & (rows["method"] == "b"), "value"] += 0.0305
    noise = np.random.default_rng(0).normal(0, 0.02, 5)
    for seed, luck in enumerate(noise):
        rows.loc[(rows["family"] == "pair") & (rows["method"] == "a") & (rows["seed"] == str(seed)), "value"] += luck
    view = View(rows)
    found = standings(view, view.settings[0], 32)
    assert {one.family: one.leader for one in found}["pair"] == "b"
    assert any("c" in one.behind for one in found)
    assert recommended(view, found) == "a" and "c cannot be told from it" in _said(view)


def test_of_a_backbone_whose_full_width_was_not_scored_nothing_is_kept():
    rows = synthetic.rows(methods=("mrl",), layers=(6,), dims=(8, 16))
    records = {
        run: {**record, "backbone": {"width": 384, "depth": 6}} for run, record in synthetic.provenance(rows).items()
    }
    view = View(rows, records)
    assert view.retentions.empty and view.budgets["dim_1"].isna().all() and view.budgets["area"].notna().all()
    assert len(view.estimates) and "minilm: the full width, 384, was not scored (16 at most);" in view.notes[0]
    assert (View(rows).retentions["mean"] > 0).all()  # nothing says what the full width is


def test_the_markdown_says_a_width_of_each_setting(tmp_path):
    narrow = synthetic.rows(methods=("a", "b"), layers=(6,), dims=(16, 32))
    wide = synthetic.rows(methods=("a", "b"), backbones=("wide",), layers=(6,), dims=(64, 512))
    reporting.build(pd.concat([narrow, wide], ignore_index=True), {}, tmp_path)
    words = (tmp_path / "report.md").read_text().partition("## Verdict")[2]
    assert "At 32 dims" in words and "At 64 dims" in words and "Nothing was scored" not in words


def test_tables_of_layers_stand_with_their_own_setting(tmp_path):
    rows = synthetic.rows(methods=("a", "b"), layers=(6,), dims=(16, 32), seeds=(0, 1))
    both = pd.concat([rows, rows.assign(protocol="paper")], ignore_index=True)
    reporting.build(both, {}, tmp_path)
    named = re.findall(r"(budgets--[\w-]+)\.md", (tmp_path / "report.md").read_text())
    assert len(named) == len(set(named)) == 2 * 2 * rows["family"].nunique()


def test_a_setting_of_one_method_has_nothing_to_compare_whatever_other_settings_have():
    several = synthetic.rows(methods=("mrl", "mipic"), tasks={"sts": ("stsb",)}, layers=(6,))
    alone = synthetic.rows(methods=("mrl",), backbones=("other",), tasks={"sts": ("stsb",)}, layers=(6,))
    view = View(pd.concat([several, alone], ignore_index=True))
    said = {setting.backbone: sentences(view, setting, 32)[0] for setting in view.settings}
    assert said["other"] == "At 32 dims there is one method, mrl: nothing to compare it with."
    assert "nothing to compare" not in said["minilm"]


def test_equal_methods_are_not_distinguished():
    text = _said(_study({"a": 0, "b": 0.01}))
    assert "cannot be told from it in any of the 3 families" in text


def test_one_seed_decides_nothing():
    text = _said(_study({"a": 0, "b": 5}, seeds=(0,)))
    assert text.startswith("At 32 dims, b scores highest. How sure: it cannot be told.")
    assert "fewer than two seeds that both sides have" in text


def test_a_verdict_that_differs_between_families_says_so():
    view = _study({"a": 0, "b": 3})
    rows = view.given.copy()
    swap = (rows.family == "pair") & (rows.method == "b")
    rows.loc[swap, "value"] -= 0.08
    text = _said(View(rows))
    assert "it depends on the task" in text and "a is better on pair" in text


def _without(view, method, family):
    rows = view.given
    return View(rows[~((rows.method == method) & (rows.family == family))])


def test_a_family_that_a_method_lacks_is_no_win_over_it():
    wins = _said(_without(_study({"a": 3, "b": 0}), "b", "pair"))
    assert "sure. Every other method is behind it in all 2 families compared. b has no mean on pair." in wins
    ties = _said(_without(_study({"a": 0.01, "b": 0}), "b", "pair"))
    assert "cannot be told from it in any of the 2 families" in ties and "b has no mean on pair." in ties


def test_the_method_to_use_may_lack_a_family():
    text = _said(_without(_study({"a": 0, "b": 3}), "b", "pair"))
    assert text.startswith("At 32 dims, use b.") and "a has" not in text and "better on pair" not in text
    view = _study({"a": 0, "b": 3})
    for method, family in (("a", "sts"), ("a", "classification"), ("b", "pair")):
        view = _without(view, method, family)
    assert "No other method has a mean on a family that" in _said(view)


def test_what_not_every_method_has_is_told(tmp_path):
    view = _without(_study({"a": 0, "b": 3, "c": 1}), "b", "pair")
    rows = view.given[~((view.given.method == "c") & (view.given.seed == "4"))]
    rows = rows[~((rows.method == "b") & (rows.dim == 384))]
    reporting.build(rows, {}, tmp_path)
    words = (tmp_path / "report.md").read_text().partition("## Left out")[2]
    assert "minilm, trained on toy: unequal numbers of seeds, 5 of a and b; 4 of c." in words
    assert "minilm, trained on toy: b has no scores on pair." in words
    assert "b has no scores at 1 of the 2 (layer, dim) budgets that are scored in float32." in words
    assert "Nothing: every method" not in words
    reporting.build(_study({"a": 0, "b": 3}).given, {}, tmp_path)
    assert "Nothing: every method has every task" in (tmp_path / "report.md").read_text()


def test_scores_on_dev_are_told(tmp_path):
    rows = _study({"a": 0, "b": 3}).given
    reporting.build(rows.assign(split=rows["split"].mask(rows["task"] == "stsb", "dev")), {}, tmp_path)
    assert "stsb is scored on dev, not on test." in (tmp_path / "report.md").read_text()
    reporting.build(rows.assign(split="dev"), {}, tmp_path)
    assert "Every task is scored on dev, not on test." in (tmp_path / "report.md").read_text()


def test_a_setting_without_float32_vectors_is_reported_too(tmp_path):
    small = {"methods": ("mrl", "mipic"), "seeds": (0, 1), "layers": (6,)}
    coarse = synthetic.rows(backbones=("other",), precisions=("int8",), **small)
    rows = pd.concat([synthetic.rows(**small), coarse], ignore_index=True)
    published = pd.DataFrame(
        [{"method": "theirs", "backbone": "minilm", "task": "stsb", "dim": 32, "metric": "spearman"}]
    )
    published.assign(value=0.5).to_csv(tmp_path / "theirs.csv", index=False)
    page = reporting.build(rows, {}, tmp_path / "out", baselines=baselines.load([tmp_path / "theirs.csv"]))
    assert "other, trained on toy" in page.read_text()


def test_a_report_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="move what is in the way"):
        reporting.build(_study({"a": 0}).given, {}, tmp_path / "file")


@pytest.mark.parametrize("ending", [".svg", ".csv", ".html", ".md"])
def test_a_disk_that_is_full_is_told_and_leaves_no_half_file(tmp_path, monkeypatch, ending):
    replace = os.replace

    def full(source, place):
        if place.suffix == ending:
            raise OSError(28, "No space left on device")
        replace(source, place)

    monkeypatch.setattr(commit.os, "replace", full)
    with pytest.raises(UserError, match=f"{ending}: cannot be written: No space left on device"):
        reporting.build(_study({"a": 0}).given, {}, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (ending, ".tmp") and path.is_file()]


def test_names_in_any_script_have_files_of_their_own(tmp_path):
    rows = synthetic.rows(methods=("mrl", "mipic"), corpora=("新闻", "百科"), seeds=(0, 1), layers=(6,), dims=(8,))
    reporting.build(rows, {}, tmp_path)
    assert len(list((tmp_path / "tables").glob("quality--*.csv"))) == 2


def test_one_method_alone_is_compared_with_nothing():
    assert "nothing to compare it with" in _said(_study({"a": 0}))


def test_the_untrained_model_is_never_given_an_interval():
    view = View(synthetic.rows(methods=("pretrained", "mrl", "mipic")))
    found = standings(view, view.settings[0], 32)
    for standing in found:
        assert "pretrained" in standing.behind  # its one run stands against every seed of the leader
    assert recommended(view, found) == "mipic"


@pytest.mark.parametrize("seeds", [5, 6, 8, 9])
def test_more_seeds_do_not_make_a_great_difference_unsure(seeds):
    view = _study({"a": 0, "b": -5, "c": -5}, seeds=tuple(range(seeds)))
    assert all(standing.behind == ("b", "c") for standing in standings(view, view.settings[0], 32))


def test_what_may_go_unseen_is_that_of_the_least_sure_comparison():
    view = _study({"a": 0, "b": 3, "c": 1})
    found = standings(view, view.settings[0], 32)
    known = [100 * value for standing in found for value in standing.against["detectable"]]
    assert f"{min(known):.1f}" != f"{max(known):.1f}"
    assert f"below about {max(known):.1f} points may go unseen" in _power(found)


def test_with_one_seed_the_best_ranked_is_named_ablation_or_not():
    view = _study({"a": 0, "a-better": 3}, seeds=(0,))
    assert recommended(view, standings(view, view.settings[0], 32)) == "a-better"


def test_32_dims_or_the_nearest_width():
    assert small_dim((8, 16, 32, 64)) == 32
    assert small_dim((24, 48, 768)) == 24
    assert small_dim((64, 128)) == 64


def test_gaps_are_told_in_the_page(tmp_path):
    frame = synthetic.rows(methods=("mrl", "2d-mrl", "mipic"), seeds=(0, 1, 2, 3))
    frame = frame[~((frame.method == "2d-mrl") & (frame.task == "stsb"))]
    frame = frame[~((frame.method == "mipic") & (frame.seed == "2"))]
    page = reporting.build(frame, {}, tmp_path)
    text = page.read_text()
    assert "2d-mrl was not scored on stsb; it has no mean over this family." in text
    quality = pd.read_csv(tmp_path / "tables" / "quality--minilm--toy.csv")
    seeds = quality.groupby("method")["seeds"].max()
    assert seeds["mipic"] == 3 and seeds["mrl"] == 4
    differences = pd.read_csv(tmp_path / "tables" / "differences--minilm--toy.csv")
    assert set(differences.loc[differences.method == "mipic", "seeds"]) == {3}


def test_text_of_users_never_becomes_markup(tmp_path):
    evil = '"><img src=x onerror=alert(1)>'
    frame = synthetic.rows(methods=("mrl", "mipic"), seeds=(0, 1, 2), layers=(5, 6), dims=(8, 384))
    frame = frame.replace({"mipic": evil, "toy": evil, "stsb": evil, "minilm": evil})
    records = {
        evil: {"cell": {"method": evil, "corpus": evil, "backbone": evil, "seed": "0"}, "git": evil, "dtype": evil}
    }
    page = reporting.build(frame, records, tmp_path / "out", highlight=evil)
    text = page.read_text()
    assert "<img" not in text
    assert "<img" not in (page.parent / "report.md").read_text()
    assert 'data-method="&#34;&gt;&lt;img' in text
    for path in page.parent.rglob("*.svg"):
        assert "<img" not in path.read_text()
    parser = _Balance()
    parser.feed(text)
    assert parser.open == [] and parser.wrong == []


def test_a_report_needs_known_methods(tmp_path):
    frame = synthetic.rows(methods=("mrl", "mipic"), seeds=(0,))
    with pytest.raises(UserError, match="did you mean mipic"):
        reporting.build(frame, {}, tmp_path / "out", reference="mipik")
    assert not (tmp_path / "out").exists()


def test_several_settings_stand_apart(tmp_path):
    frame = synthetic.rows(
        methods=("pretrained", "mrl"), seeds=(0, 1, 2), corpora=("toy", "wiki"), dims=(8, 384), layers=(6,)
    )
    page = reporting.build(frame, synthetic.provenance(frame), tmp_path)
    text = page.read_text()
    assert 'id="setting"' in text
    for slug in ("minilm--toy", "minilm--wiki"):
        assert f'data-setting="{slug}"' in text and (tmp_path / "tables" / f"quality--{slug}.csv").exists()
    words = (tmp_path / "report.md").read_text()
    for corpus in ("toy", "wiki"):
        assert f"- minilm, trained on {corpus}. At " in words
    assert f"- {figures.drawings()['published'].title}. {figures.drawings()['published'].needs}" in words
    assert f"{figures.drawings()['quality_by_dim'].needs}" not in words


def test_a_method_beside_nothing_but_its_swept_values_can_be_reported(tmp_path):
    frame = synthetic.rows(
        methods=("mipic", "mipic-alpha=0.1", "mipic-alpha=0.9"), seeds=(0, 1), dims=(8, 64), layers=(2, 4)
    )
    page = reporting.build(frame, synthetic.provenance(frame), tmp_path)
    assert (tmp_path / "figures").exists() and "mipic-alpha=0.9" in page.read_text()


@pytest.mark.parametrize("name", reporting.sections())
def test_every_section_bears_a_study_with_almost_nothing_in_it(name):
    from mipic_bench.figures._style import Style, bind

    for frame in (
        synthetic.rows(methods=("pretrained",), layers=(6,), dims=(384,)),
        synthetic.rows(methods=("mipic", "mipic-no-pic"), seeds=(0,), tasks={"sts": ("stsb",)}),
    ):
        view = View(frame)
        list(reporting.sections()[name]().blocks(reporting.Material(view, Style(bind(view), view.methods[0]))))


def test_fewer_tasks_behind_a_comparison_of_precisions_are_told(tmp_path):
    """int8 lacks a task: the fronts leave that task out for every precision, and figure and page say so."""
    from mipic_bench.figures._style import Style, bind
    from mipic_bench.figures.pareto import fewer_tasks

    tasks = {"sts": ("a", "b", "c"), "pair": ("d",)}
    rows = synthetic.rows(methods=("mrl", "mipic"), layers=(6,), tasks=tasks, precisions=("float32", "int8"))
    rows = rows[~((rows.precision == "int8") & (rows.task == "c"))]
    view = View(rows)
    assert fewer_tasks(view, view.settings[0], "sts") == ", 2 of 3 tasks"
    assert fewer_tasks(view, view.settings[0], "pair") == ""
    blocks = list(reporting.sections()["cost"]().blocks(reporting.Material(view, Style(bind(view), "mrl"))))
    told = [block.text for block in blocks if isinstance(block, reporting.Prose)]
    assert len(told) == 1 and "sts over a, b." in told[0] and "pair" not in told[0]


@pytest.mark.slow
def test_two_processes_draw_what_one_does(tmp_path, monkeypatch):
    from mipic_bench.reporting import _write

    corpora = ("a", "b", "c")
    frame = synthetic.rows(
        methods=("mrl", "mipic"), seeds=(0,), corpora=corpora, tasks={"sts": ("stsb",)}, dims=(8, 384)
    )
    monkeypatch.setattr(_write, "cpu_count", lambda: 1)
    one = reporting.build(frame, {}, tmp_path / "one")
    monkeypatch.setattr(_write, "cpu_count", lambda: 2)
    two = reporting.build(frame, {}, tmp_path / "two")
    names = sorted(path.relative_to(one.parent) for path in one.parent.rglob("*") if path.is_file())
    assert len(names) > 20
    for name in names:
        assert (one.parent / name).read_bytes() == (two.parent / name).read_bytes(), name


class _Balance(HTMLParser):
    """Counts that every element that is opened is closed, in order."""

    void = frozenset(("meta", "link", "input", "br", "img", "path", "circle", "use", "rect"))

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag in self.void:
            return
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.wrong.append((tag, self.open[-3:]))


def test_csvs_can_be_read_back(built):
    _, page = built
    for path in (page.parent / "tables").glob("*.csv"):
        assert len(pd.read_csv(io.StringIO(path.read_text()))) > 0, path.name
