"""From rows to tidy estimates: which rows count, how methods meet, budgets, and the stated questions."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

from mipic_bench import stats
from mipic_bench.errors import UserError
from mipic_bench.results.folder import COLUMNS

METRIC = {"sts": "spearman", "pair": "ap"}
TASKS = {"sts": ("stsb", "sick_r", "sts12"), "pair": ("mrpc", "rte")}
DIMS = (8, 16, 32, 64)
GAIN = {"mrl": 0.0, "mipic": 0.02, "mipic-no-pic": 0.02, "mipic-no-sia": 0.0, "pretrained": -0.05}


def cell(method, seed, *, backbone="minilm", corpus="toy", layers=(1, 2), families=("sts", "pair"), noise=0.002):
    """The rows of one run: better with width, depth and method."""
    rng = np.random.default_rng([len(method), sum(map(ord, method)), int(seed or 0)])
    luck = rng.normal(0, noise)
    blank = method == "pretrained"
    rows = []
    for family in families:
        for task, layer, dim in itertools.product(TASKS[family], layers, DIMS):
            value = 0.6 + 0.05 * np.log2(dim) - 0.3 / dim + 0.01 * layer + GAIN[method] + luck + rng.normal(0, noise)
            rows.append((family, task, "test", "clean", layer, dim, "float32", METRIC[family], value, 0.01, 100))
    frame = pd.DataFrame(rows, columns=COLUMNS[7:])
    base, _, ablation = method.partition("-")
    names = ("" if blank else corpus, "" if blank else str(seed))
    head = (f"{method}--{backbone}--{names[0]}--s{names[1]}", method, base, ablation, backbone, *names)
    for place, (column, value) in enumerate(zip(COLUMNS[:7], head, strict=True)):
        frame.insert(place, column, value)
    return frame


def study(seeds=5, noise=0.002):
    return pd.concat(
        [cell(m, s, noise=noise) for m in GAIN for s in ([""] if m == "pretrained" else range(seeds))],
        ignore_index=True,
    )


def pick(frame, **fixed):
    for column, value in fixed.items():
        frame = frame[frame[column] == value]
    return frame


ROWS = study()


def test_scores_are_means_over_tasks_then_seeds():
    line = pick(stats.scores(ROWS), method="mrl", family="sts", layer=2, dim=16).iloc[0]
    table = pick(ROWS, method="mrl", family="sts", layer=2, dim=16).pivot(index="seed", columns="task", values="value")
    one = stats.estimate(table.to_numpy())
    assert tuple(line[["mean", "low", "high", "low_wide", "high_wide", "seeds", "tasks"]]) == pytest.approx(
        (one.mean, one.low, one.high, one.low_wide, one.high_wide, 5, 3)
    )
    iqm = pick(stats.scores(ROWS, statistic="iqm"), method="mrl", family="sts", layer=2, dim=16).iloc[0]
    assert iqm["mean"] == pytest.approx(stats.estimate(table.to_numpy(), statistic="iqm").mean)


def test_the_mean_of_families_is_labelled_and_weighs_families_alike():
    found = pick(stats.scores(ROWS), method="mipic", layer=2, dim=16).set_index("family")
    extra = found.loc[stats.FAMILY_MEAN]
    assert extra["mean"] == pytest.approx((found.loc["sts", "mean"] + found.loc["pair", "mean"]) / 2)
    assert (extra["metric"], extra["note"]) == ("mixed", "mean over 2 families with unlike metrics")
    partial = pd.concat([ROWS[ROWS["method"] != "mrl"], *(cell("mrl", s, families=("sts",)) for s in range(5))])
    found = stats.scores(partial)
    assert pick(found, method="mrl", family=stats.FAMILY_MEAN).empty
    assert not pick(found, method="mipic", family=stats.FAMILY_MEAN).empty


def test_another_metric_of_a_family_is_never_averaged_in():
    other = ROWS.assign(metric="pearson", value=0.1)
    pd.testing.assert_frame_equal(stats.scores(pd.concat([ROWS, other])), stats.scores(ROWS))
    assert (stats.scores(pd.concat([ROWS, other]), metrics={"sts": "pearson"})["mean"].round(9) == 0.1).all()


def test_a_split_counts_where_the_task_has_it():
    dev = ROWS.assign(split="dev", value=0.1)
    pd.testing.assert_frame_equal(stats.scores(pd.concat([ROWS, dev])), stats.scores(ROWS))
    assert stats.scores(pd.concat([ROWS, dev]), split="dev")["mean"].max() == pytest.approx(0.1)
    rte = ROWS.assign(split=ROWS["split"].where(ROWS["task"] != "rte", "dev"))
    pd.testing.assert_frame_equal(stats.scores(rte), stats.scores(ROWS))


def test_a_seed_that_a_method_never_ran_is_not_missing():
    found = pick(stats.scores(ROWS[~((ROWS["method"] == "mrl") & (ROWS["seed"] == "4"))]), method="mrl")
    assert set(found["seeds"]) == {4} and set(found["missing"]) == {0}


def test_a_split_of_one_protocol_decides_nothing_under_another():
    paper = ROWS.assign(protocol="paper", split="dev")
    both = stats.scores(pd.concat([ROWS, paper]))
    pd.testing.assert_frame_equal(pick(both, protocol="paper").reset_index(drop=True), stats.scores(paper))


def test_two_runs_of_one_cell_are_told():
    with pytest.raises(UserError, match=r"(?s)method=mrl .*in the run again.*one run per cell"):
        stats.scores(pd.concat([ROWS, cell("mrl", 0).assign(run="again")]))


def test_seeds_and_labels_of_any_type_are_the_same():
    typed = ROWS.assign(seed=pd.to_numeric(ROWS["seed"]), corpus=ROWS["corpus"].replace("", None))
    pd.testing.assert_frame_equal(stats.scores(typed), stats.scores(ROWS))
    pd.testing.assert_frame_equal(
        stats.scores(ROWS.astype({"method": "category", "seed": "category"})), stats.scores(ROWS)
    )


def test_the_order_of_rows_does_not_matter():
    mixed = ROWS.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(stats.differences(mixed, "mrl"), stats.differences(ROWS, "mrl"))
    pd.testing.assert_frame_equal(stats.questions(mixed, "mipic"), stats.questions(ROWS, "mipic"))
    pd.testing.assert_frame_equal(stats.budgets(mixed), stats.budgets(ROWS))


def test_no_rows_no_estimates():
    empty = ROWS.iloc[:0]
    tables = [stats.scores(empty), stats.differences(empty, "mrl"), stats.budgets(empty), stats.retentions(empty)]
    assert all(len(table) == 0 for table in (*tables, stats.questions(empty, "mipic")))
    assert {"difference", "low", "verdict"} <= set(stats.differences(ROWS, "nobody").columns)


def test_differences_agree_with_the_arrays():
    line = pick(stats.differences(ROWS, "mrl"), method="mipic", family="pair", layer=1, dim=8).iloc[0]
    sides = [
        pick(ROWS, method=m, family="pair", layer=1, dim=8)
        .pivot(index="seed", columns="task", values="value")
        .to_numpy()
        for m in ("mipic", "mrl")
    ]
    one = stats.difference(*sides)
    names = ["difference", "low", "high", "p", "improvement", "detectable", "low_wide"]
    expected = (one.mean, one.low, one.high, one.p, one.improvement, one.detectable, one.low_wide)
    assert tuple(line[names]) == pytest.approx(expected)
    assert (line["verdict"], line["corpus"]) == ("better", "toy")


def test_two_seeds_are_enough_for_an_interval_and_a_detectable_difference():
    lines = stats.differences(ROWS[ROWS["seed"].isin(["0", "1"])], "mrl")
    trained = lines[lines["seeds"] == 2]
    assert len(trained) and trained[["low", "high", "detectable"]].notna().all(axis=None)


def test_the_untrained_method_meets_every_corpus_and_every_seed():
    rows = pd.concat([ROWS, *(cell("mrl", seed, corpus="other") for seed in range(3))])
    found = pick(stats.differences(rows, "mrl"), method="pretrained", family="sts", layer=2, dim=8)
    assert list(zip(found["corpus"], found["seeds"], strict=True)) == [("other", 3), ("toy", 5)]
    assert (found["excluded"] == 0).all()
    assert found["note"].str.contains("pretrained has no training: its one run stands against every seed").all()
    turned = pick(stats.differences(rows, "pretrained"), method="mrl", family="sts", layer=2, dim=8)
    assert list(turned["difference"]) == pytest.approx(list(-found["difference"]))


def test_two_methods_without_training_meet_once():
    """Their one run stands at every seed of the others, which makes it no repetition."""
    other = cell("pretrained", "").assign(method="other", base_method="other", run="other")
    rows = pd.concat([ROWS, other.assign(value=other["value"] + 0.01)])
    found = pick(stats.differences(rows, "pretrained"), method="other")
    assert set(found["seeds"]) == {1} and set(found["verdict"]) == {"cannot be told"} and found["p"].isna().all()


def test_unequal_seeds_are_excluded_pairwise():
    rows = ROWS[~((ROWS["method"] == "mrl") & ROWS["seed"].isin(["3", "4"]))]
    line = pick(stats.differences(rows, "mrl"), method="mipic", family="sts", layer=2, dim=8).iloc[0]
    assert (line["seeds"], line["excluded"], line["note"]) == (3, 6, "6 cells excluded")


def test_a_range_of_widths_as_one_question():
    narrow = stats.mean_over_dims(ROWS, (8, 16, 32))
    found = pick(stats.differences(narrow, "mrl"), method="mipic", family="sts", layer=2)
    single = pick(stats.differences(ROWS, "mrl"), method="mipic", family="sts", layer=2)
    assert list(found["dim"]) == [0]
    assert found["difference"].iloc[0] == pytest.approx(single[single["dim"] < 64]["difference"].mean())


def test_retention_is_against_the_same_run():
    line = pick(stats.retentions(ROWS), method="mrl", family="sts", layer=2, dim=8).iloc[0]
    means = pick(ROWS, method="mrl", family="sts", layer=2).groupby(["dim", "seed"])["value"].mean().unstack()
    one = stats.interval((means.loc[8] / means.loc[64]).to_numpy())
    assert tuple(line[["mean", "low", "high"]]) == pytest.approx((float(one.mean), float(one.low), float(one.high)))
    full = pick(stats.retentions(ROWS), dim=64)
    assert (full["mean"] == 1).all()
    assert np.isnan(stats.retention(0.1, -0.2))


def test_without_the_full_width_there_is_no_retention():
    rows = ROWS[~((ROWS["family"] == "pair") & (ROWS["dim"] == 64))]
    assert set(stats.retentions(rows)["family"]) == {"sts"}


def test_area_is_normalised_and_agrees_with_scipy():
    line = pick(stats.budgets(ROWS), method="mrl", family="sts", layer=2).iloc[0]
    curve = pick(ROWS, method="mrl", family="sts", layer=2).groupby("dim")["value"].mean()
    assert line["area"] == pytest.approx(integrate.trapezoid(curve, np.log2(curve.index)) / 3)
    assert (line["area_low"] < line["area"] < line["area_high"], line["dims"]) == (True, "8-64 (4)")
    assert stats.area(np.full(4, 0.7), DIMS) == pytest.approx(0.7)


def test_a_curve_that_lacks_a_common_width_has_no_area():
    rows = ROWS[~((ROWS["method"] == "mrl") & (ROWS["dim"] == 16))]
    found = pick(stats.budgets(rows), family="sts", layer=2).set_index("method")
    assert np.isnan(found.loc["mrl", "area"])
    assert found.loc["mipic", "area"] > 0
    assert not np.isnan(found.loc["mrl", "dim_5"])


def test_smallest_dim_and_its_interval():
    assert stats.smallest_dim([0.9, 0.96, 0.99, 1.0], DIMS, 0.05) == 16
    assert stats.smallest_dim([0.9, 0.96, 0.99, 1.0], DIMS, 0.01) == 32
    assert np.isnan(stats.smallest_dim([0.9, 0.9, 0.9, np.nan], DIMS, 0.05))
    found = stats.budgets(ROWS)
    trained = found[found["seeds"] > 1]
    assert (trained["dim_5_low"] <= trained["dim_5"]).all()
    assert (trained["dim_5"] <= trained["dim_5_high"]).all()
    assert found.loc[found["seeds"] == 1, ["dim_5_low", "dim_5_high"]].isna().all(axis=None)


def test_ranking_of_rows():
    found = stats.ranking(pick(ROWS, layer=2, dim=8))
    assert found.methods[-1] == "pretrained"
    assert set(found.tasks) == {"stsb", "sick_r", "sts12", "mrpc", "rte"}


def test_questions_are_the_stated_family():
    found = stats.questions(ROWS, "mipic")
    assert len(found) == 2 * 3 * 2  # components x widths x families
    assert set(found["component"]) == {"pic", "sia"}
    assert found[["width_role", "dim"]].drop_duplicates().values.tolist() == [
        ["smallest", 8],
        ["middle", 16],
        ["full", 64],
    ]
    assert set(found["layer"]) == {2}
    assert found["p_holm"].to_numpy() == pytest.approx(stats.holm(found["p"].to_numpy()))
    sia, pic = found[found["component"] == "sia"], found[found["component"] == "pic"]
    assert set(sia["verdict"]) == {"better"}
    assert set(sia["comparison"]) == {"mipic - mipic-no-sia"}
    assert set(pic["verdict"]) == {"not distinguishable"}
    assert (sia["difference"] > 0.015).all()
    assert (found["questions"] == 12).all()


def test_questions_are_about_float32_alone():
    rows = pd.concat([ROWS, ROWS.assign(precision="int8", value=0.1)])
    pd.testing.assert_frame_equal(stats.questions(rows, "mipic"), stats.questions(ROWS, "mipic"))


def test_questions_are_answered_by_a_test_that_can_reach_five_percent_for_all_of_them():
    found = stats.questions(study(6), "mipic")  # six sign flips reach 0.031, and 12 x 0.031 is no verdict
    assert found["note"].str.contains("p by t test").all()
    assert set(found[found["component"] == "sia"]["verdict"]) == {"better"}


def test_an_interval_that_holm_does_not_bear_out_is_not_a_verdict():
    found = stats.questions(study(3, noise=0.004), "mipic")
    clear = (found["low"] > 0) | (found["high"] < 0)
    lost = found[clear & (found["p_holm"] > 0.05)]
    assert len(lost)
    assert set(lost["verdict"]) == {"not distinguishable"}
    assert lost["note"].str.contains("not after Holm").all()


def test_questions_without_an_answer_are_told():
    rows = ROWS[~((ROWS["method"] == "mipic-no-pic") & (ROWS["family"] == "pair"))]
    found = stats.questions(rows, "mipic")
    silent = found[(found["component"] == "pic") & (found["family"] == "pair")]
    assert (len(silent), set(silent["verdict"])) == (3, {"cannot be told"})
    assert silent["note"].str.contains("not scored on both sides").all()
    assert (found["questions"] == 9).all()


def test_one_seed_cannot_answer():
    found = stats.questions(study(1), "mipic")
    assert set(found["verdict"]) == {"cannot be told"}
    assert found["p_holm"].isna().all()
    assert found["note"].str.contains("one run: interval unknown").all()


def test_swept_values_and_published_settings_are_no_components():
    swept = [
        cell("mipic-no-pic", s).assign(method=f"mipic-{name}", ablation=name, run=f"{name}{s}")
        for s in range(5)
        for name in ("alpha=0.5", "as-published")
    ]
    pd.testing.assert_frame_equal(stats.questions(pd.concat([ROWS, *swept]), "mipic"), stats.questions(ROWS, "mipic"))
    one = stats.questions(ROWS, "mipic", ablations=["no-sia"])
    assert set(one["component"]) == {"sia"}


def test_a_change_is_worth_the_changed_method_minus_the_base():
    changed = ROWS.copy()
    own = changed["method"] == "mipic-no-sia"
    changed.loc[own, ["method", "ablation"]] = ["mipic-mean-soft", "mean-soft"]
    changed.loc[own, "run"] = changed.loc[own, "run"] + "x"
    found = stats.questions(changed, "mipic", ablations=["mean-soft"])
    taken = stats.questions(ROWS, "mipic", ablations=["no-sia"])
    assert set(found["component"]) == {"mean-soft"}
    assert set(found["comparison"]) == {"mipic-mean-soft - mipic"}
    assert set(found["verdict"]) == {"worse"}  # SIA helps in these rows; what stands here in its place has none
    for name, other, sign in (
        ("difference", "difference", -1),
        ("low", "high", -1),
        ("high", "low", -1),
        ("p", "p", 1),
    ):
        assert found[name].to_numpy() == pytest.approx(sign * taken[other].to_numpy())


def test_settings_are_kept_apart_and_corrected_apart():
    other = pd.concat([cell(m, s, backbone="other") for m in GAIN if m != "pretrained" for s in range(5)])
    found = stats.questions(pd.concat([ROWS, other]), "mipic")
    assert set(found["backbone"]) == {"minilm", "other"}
    pd.testing.assert_frame_equal(
        found[found["backbone"] == "minilm"].reset_index(drop=True), stats.questions(ROWS, "mipic")
    )


@pytest.mark.slow
def test_a_million_rows_take_seconds():
    names = [f"m{i}" for i in range(14)]
    parts = [
        pick(ROWS, method="mipic").assign(method=m, base_method=m, backbone=b, corpus=c, precision=p)
        for m, b, c, p in itertools.product(names, range(12), range(10), range(3))
    ]
    rows = pd.concat(parts, ignore_index=True).astype({"backbone": str, "corpus": str, "precision": str})
    assert len(rows) > 1_000_000
    start = time.perf_counter()
    stats.scores(rows), stats.differences(rows, "m0"), stats.budgets(rows), stats.retentions(rows)
    assert time.perf_counter() - start < 15
