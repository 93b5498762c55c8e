"""What a report says where methods do not have the same seeds, families, widths or settings: no more than the rows hold."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from mipic_bench import figures, stats
from mipic_bench.analysis.quality import View
from mipic_bench.figures._style import Style, bind
from mipic_bench.reporting import Bullets, Material, Prose, Shown, sections
from mipic_bench.reporting.verdict import sentences

SMALL = {"layers": (1, 2), "dims": (8, 32), "tasks": {"sts": ("stsb",)}}


def _rows(methods, **changes):
    return synthetic.rows(methods=methods, **{**SMALL, **changes})


def _material(rows, **backbone):
    records = {run: {**record, "backbone": backbone} for run, record in synthetic.provenance(rows).items()}
    view = View(rows, records)
    return Material(view, Style(bind(view), figures.default_reference(view), None))


def _told(rows, name="leftout", **backbone):
    blocks = list(sections()[name]().blocks(_material(rows, **backbone)))
    said = [block.text for block in blocks if isinstance(block, Prose)]
    return " ".join([*said, *(line for block in blocks if isinstance(block, Bullets) for line in block.lines)])


def _verdict(rows, dim=32):
    view = View(rows)
    say, sure, lines = sentences(view, view.settings[0], dim)
    return " ".join([say, sure, *lines])


@pytest.mark.parametrize("elsewhere", [{"corpora": ("other",)}, {"layers": (1, 2, 3)}])
def test_a_swept_value_where_its_method_is_not_makes_no_empty_figure(elsewhere):
    material = _material(pd.concat([_rows(("mrl",)), _rows(("mrl-alpha=0.5",), **elsewhere)], ignore_index=True))
    drawn = [stem for _, stem, _ in figures.draw_each(material.view, material.style)]
    settings = {setting.slug for setting in material.view.settings}
    assert {f"quality-by-dim--{slug}" for slug in settings} <= set(drawn)
    assert ("mrl-alpha=0.5" in material.view.methods) == ("corpora" in elsewhere)


def test_no_choice_is_sure_over_methods_that_it_shares_no_family_with():
    apart = pd.concat([_rows(("mrl",)), _rows(("full", "2d-mrl"), tasks={"retrieval": ("cisi",)})])
    apart.loc[apart["method"] == "full", "value"] -= 0.2
    said = _verdict(apart)
    assert "in the one family compared. With mrl it shares no family." in said and "scored." not in said
    table = next(b.table for b in sections()["verdict"]().blocks(_material(apart)) if isinstance(b, Shown))
    assert table.frame["sure"].tolist() == ["sure; mrl not compared"] * 2


def test_a_mean_over_other_seeds_is_told_of_those_alone_who_are_behind_on_the_shared_ones():
    values = {"full": [0.7, 0.7, 0.7, 0.9, 0.9, 0.9], "mrl": [0.65, 0.75, 0.85], "mipic": [0.7200, 0.7201, 0.7199]}
    rows = _rows(tuple(values), seeds=range(6))
    rows = rows[[int(seed) < len(values[method]) for method, seed in zip(rows["method"], rows["seed"], strict=True)]]
    chosen = [values[method][int(seed)] for method, seed in zip(rows["method"], rows["seed"], strict=True)]
    said = _verdict(rows.assign(value=chosen))
    assert "mipic leads" in said and "; full has a higher mean over its own seeds" in said
    assert "not distinguishable from mrl" in said


def test_no_shared_seed_is_another_reason_than_one_seed():
    rows = pd.concat(
        [_rows(("mrl",), seeds=(0, 1)), _rows(("mipic",), seeds=(2, 3)), _rows(("mipic-no-pic",), seeds=(4,))]
    )
    assert "(no seed that both have)" in _verdict(rows) and "with one seed" not in _verdict(rows)
    assert "no seed and budget is scored on both sides" in _told(rows, "verdict")
    told = _told(rows)
    assert "no method has all the seeds that others have, 0, 1 of mrl; 2, 3 of mipic; 4 of mipic-no-pic." in told


def test_the_best_ranked_that_leads_nowhere_scores_highest_nowhere():
    families = {"sts": ("stsb",), "pair": ("mrpc",)}
    rows = _rows(("mrl", "full", "2d-mrl", "mipic"), seeds=(0,), tasks=families)
    best = {("mrl", "sts"): 0.9, ("full", "pair"): 0.9, ("mipic", "sts"): 0.8, ("mipic", "pair"): 0.8}
    value = [
        best.get(key, 0.6 if key[0] == "2d-mrl" else 0.5) for key in zip(rows["method"], rows["family"], strict=True)
    ]
    assert _verdict(rows.assign(value=value)).startswith("At 32 dims, mipic ranks best on average. How sure: it cannot")


def test_seeds_are_counted_family_by_family():
    rows = _rows(("mrl", "mipic"), tasks={"sts": ("stsb",), "retrieval": ("cisi",)})
    few = rows[~((rows["method"] == "mipic") & (rows["family"] == "retrieval") & (rows["seed"] != "0"))]
    assert "trained on toy, retrieval: unequal numbers of seeds, 3 of mrl; 1 of mipic." in _told(few)


def test_a_score_without_a_value_is_told():
    rows = _rows(("mrl", "mipic"))
    gap = (rows["method"] == "mipic") & (rows["seed"] == "1") & (rows["dim"] == 8) & (rows["layer"] == 2)
    told = _told(rows.assign(value=rows["value"].mask(gap)))
    assert "mipic on stsb: 1 score has no value; left out." in told and "2 to 3 of mipic" in told


def test_a_method_without_a_complete_seed_is_told():
    rows = _rows(("mrl", "mipic"), seeds=(0, 1), tasks={"sts": ("stsb", "sick_r")})
    missing = (rows["method"] == "mipic") & ((rows["seed"] == "0") == (rows["task"] == "stsb"))
    assert "seeds of mipic that lack a task are left out (0 remain)." in _told(rows[~missing])


def test_ranks_leave_out_the_seeds_that_means_leave_out():
    rows = _rows(("mrl", "full", "mipic"), layers=(2,), dims=(8,), tasks={"sts": ("stsb", "sick_r")})
    rows = rows.assign(value=rows["method"].map({"mrl": 0.61, "full": 0.60, "mipic": 0.5}))
    odd = (rows["method"] == "mipic") & (rows["seed"] == "2")
    rows.loc[odd, "value"] = 0.99
    found = stats.ranking(rows[~(odd & (rows["task"] == "sick_r"))])
    assert found.methods == ("mrl", "full", "mipic") and found.mean_ranks == (1.0, 2.0, 3.0)


def test_an_ablation_at_fewer_widths_leaves_its_own_question_open_alone():
    rows = _rows(("mipic", "mipic-no-pic", "mipic-no-sia"), dims=(8, 16, 32, 64))
    found = stats.questions(rows[(rows["method"] != "mipic-no-sia") | (rows["dim"] == 32)], "mipic")
    known = found.assign(known=found["difference"].notna()).set_index(["component", "dim"])["known"]
    assert known["pic"].to_dict() == {8: True, 16: True, 64: True} and not known["sia"].any()


def test_the_largest_width_scored_is_called_full_only_where_it_is():
    rows = _rows(("mrl", "mipic", "mipic-no-pic"))
    for width, title in ((384, "largest width scored: 32 dims"), (32, "full width: 32 dims")):
        material = _material(rows, width=width, depth=2)
        only = {"ablation_forest": figures.drawings()["ablation_forest"]}
        [(_, _, forest)] = figures.draw_each(material.view, material.style, only)
        assert title in [axes.get_title("left") for axes in forest.axes]
        table = next(b.table for b in sections()["smaller"]().blocks(material) if isinstance(b, Shown))
        assert (set(table.frame["dim_1_text"]) == {"unknown"}) == (width == 384)
        assert ("the full width, 384, was not scored" in _told(rows, width=width, depth=2)) == (width == 384)


def test_a_fitted_method_is_told_apart_by_its_corpus():
    fitted = synthetic.rows(methods=("pca",), seeds=(0,), corpora=("one", "two"), **SMALL).assign(seed="")
    plain = synthetic.rows(methods=("pretrained",), seeds=(0,), **SMALL).assign(seed="", corpus="")
    trained = synthetic.rows(methods=("mrl",), corpora=("one", "two"), **SMALL)
    blocks = sections()["budgets"]().blocks(_material(pd.concat([fitted, plain, trained], ignore_index=True)))
    titles = [block.table.title for block in blocks if isinstance(block, Shown)]
    assert len([title for title in titles if "pca" in title]) == len({title for title in titles if "pca" in title}) == 2
    assert "sts · pretrained · minilm, without training" in titles


def test_ranks_that_are_all_ties_have_no_p():
    rows = _rows(("mrl", "full", "mipic"), tasks={"sts": ("stsb", "sick_r")}).assign(value=0.5)
    material = _material(rows)
    only = {"critical_difference": figures.drawings()["critical_difference"]}
    texts = [
        text.get_text()
        for _, _, figure in figures.draw_each(material.view, material.style, only)
        for text in figure.texts
    ]
    assert texts and all("nan" not in text for text in texts)
    assert np.isnan(stats.ranking(rows[(rows["layer"] == 2) & (rows["dim"] == 8)]).p)


def test_methods_of_the_very_same_mean_lead_together_and_share_a_rank():
    families = {"sts": ("stsb",), "classification": ("mr",)}
    rows = _rows(("mipic", "mrl", "full"), seeds=(0, 1), tasks=families)
    own = {"mrl": 0.7, "mipic": 0.69, "full": 0.68}
    likeness = rows["method"].map(own) + 0.01 * rows["seed"].astype(int)
    rows = rows.assign(value=np.where(rows["family"] == "sts", likeness, 1.0))
    view = View(rows)
    _, _, lines = sentences(view, view.settings[0], 32)
    assert lines[1].startswith("classification: full, mipic and mrl lead with 100.0")
    assert "not distinguishable" not in lines[1]
    table = next(b.table for b in sections()["verdict"]().blocks(_material(rows)) if isinstance(b, Shown))
    assert table.frame["method"].tolist() == ["mrl", "mrl"]
    assert table.frame["classification"].str.startswith("full, mipic, mrl 100.0").all()


def test_where_nothing_can_be_told_from_the_best_ranked_no_use_is_told():
    rows = _rows(("mrl", "mipic", "full"), seeds=range(4))
    noise = np.random.default_rng(0).normal(0, 0.05, len(rows))
    said = _verdict(rows.assign(value=0.7 + noise))
    assert "no other method can be told from it." in said and ", use " not in said


def test_a_paragraph_after_a_list_of_tables_is_no_part_of_the_list(tmp_path):
    from mipic_bench.reporting import build

    build(_rows(("mrl", "mipic"), seeds=(0, 1)), {}, tmp_path)
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    after = [below for line, below in zip(lines, lines[1:], strict=False) if line.startswith("- ")]
    assert any(line.startswith("- [") for line in lines)
    assert all(not below or below.startswith("- ") for below in after)
