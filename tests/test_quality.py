"""Which rows count: nothing is averaged that does not belong together, and what is left out is said."""

import pandas as pd
import pytest
import synthetic

from mipic_bench import stats
from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting, pick
from mipic_bench.figures.training_cost import training_costs


def test_a_method_that_lacks_a_task_has_no_family_mean_and_it_is_said():
    rows = synthetic.rows(methods=("mrl", "2d-mrl", "mipic"))
    rows = rows[~((rows.method == "2d-mrl") & (rows.task == "sick_r"))]
    view = View(rows)
    sts = view.estimates[view.estimates["family"] == "sts"]
    assert set(sts["method"]) == {"mrl", "mipic"}
    assert any("2d-mrl was not scored on sick_r" in note for note in view.notes)
    assert "2d-mrl" in set(view.estimates[view.estimates["family"] == "pair"]["method"])


def test_a_task_of_one_method_alone_does_not_change_the_family_mean():
    rows = synthetic.rows(methods=("mrl", "mipic"), tasks={"sts": ("a", "b", "c")})
    kept = rows[~((rows.method == "mrl") & (rows.task == "c"))]
    view = View(kept)
    assert set(view.tasks.values()) == {("a", "b")}
    assert any("c not scored for every method" in note for note in view.notes)
    full = View(rows[rows.task != "c"]).estimates
    assert view.estimates["mean"].tolist() == pytest.approx(full["mean"].tolist())


def test_methods_are_compared_on_the_tasks_that_they_share_where_none_has_just_those():
    rows = synthetic.rows(methods=("mrl", "mipic"), tasks={"sts": ("a", "b", "c", "d")})
    kept = rows[~((rows.method == "mrl") & (rows.task == "c")) & ~((rows.method == "mipic") & (rows.task == "d"))]
    view = View(kept)
    assert set(view.tasks.values()) == {("a", "b")}
    assert set(view.estimates["method"]) == {"mrl", "mipic"}
    assert any("c, d not scored for every method" in note for note in view.notes)


def test_what_was_scored_before_the_data_changed_is_left_out_and_said():
    rows = synthetic.rows(methods=("mrl", "mipic"), tasks={"sts": ("a", "b")}, layers=(6,))
    provenance = synthetic.provenance(rows)
    for record in provenance.values():
        if record["cell"]["method"] == "mipic":
            record["created"] = "2026-02-01T00:00:00Z"
            next(entry for entry in record["scored"] if entry["task"] == "b")["digest"] = "e" * 8
    view = View(rows, provenance)
    assert set(view.rows[view.rows["task"] == "b"]["method"]) == {"mipic"}
    assert set(view.estimates["method"]) == {"mrl", "mipic"} and set(view.tasks.values()) == {("a",)}
    assert any("b (test, protocol clean): its data or its scorer changed between runs" in note for note in view.notes)
    assert not [note for note in View(rows, synthetic.provenance(rows)).notes if "changed" in note]


def test_a_dataset_scored_by_mteb_and_by_its_rules_counts_once():
    rows = synthetic.rows(methods=("mrl",), tasks={"sts": ("stsb", "sts12", "mteb:STSBenchmark")})
    view = View(rows.assign(protocol="mteb"))
    assert set(view.tasks.values()) == {("mteb:STSBenchmark", "sts12")}
    assert any("stsb is mteb's own task here as well" in note for note in view.notes)


def test_a_seed_that_lacks_a_task_is_left_out_and_said():
    rows = synthetic.rows(methods=("mrl", "mipic"))
    rows = rows[~((rows.method == "mipic") & (rows.seed == "1") & (rows.task == "stsb"))]
    view = View(rows)
    mipic = view.estimates[(view.estimates["method"] == "mipic") & (view.estimates["family"] == "sts")]
    assert set(mipic["seeds"]) == {2}
    assert any("seeds of mipic that lack a task are left out (2 remain)" in note for note in view.notes)


def test_the_test_split_counts_where_there_is_one():
    rows = synthetic.rows(methods=("mrl",), tasks={"sts": ("stsb",), "pair": ("rte",)})
    dev = rows[rows.task == "stsb"].assign(split="dev", value=0.1)
    rte = rows["task"] == "rte"
    rows.loc[rte, "split"] = "dev"
    view = View(pd.concat([rows, dev], ignore_index=True))
    used = view.scores[["task", "split"]].drop_duplicates().astype(str)
    assert sorted(map(tuple, used.to_numpy())) == [("rte", "dev"), ("stsb", "test")]


def test_an_untrained_method_stands_beside_every_corpus():
    view = View(synthetic.rows(methods=("pretrained", "mrl"), corpora=("toy", "wiki")))
    assert view.settings == (Setting("minilm", "toy", "clean"), Setting("minilm", "wiki", "clean"))
    for setting in view.settings:
        assert set(pick(view.estimates, setting)["method"]) == {"pretrained", "mrl"}
    assert view.untrained == {"pretrained"}


def test_an_older_run_of_the_same_cell_is_left_out_and_said():
    rows = synthetic.rows(methods=("mrl",), seeds=(0,))
    older = rows.assign(run=rows["run"] + "old", value=0.0)
    records = synthetic.provenance(rows)
    (name,) = records
    records[name + "old"] = {**records[name], "created": "2025-01-01T00:00:00Z"}
    view = View(pd.concat([older, rows], ignore_index=True), records)
    assert (view.estimates["mean"] > 0.1).all()
    assert any("old is left out" in note for note in view.notes)
    assert list(view.provenance) == [name] and set(view.every_record) == {name, name + "old"}


def test_nothing_of_an_older_run_is_drawn_or_counted():
    rows = synthetic.rows(methods=("mrl",), seeds=(0,))
    records = synthetic.provenance(rows)
    (name,) = records
    training = {**records[name]["training"], "steps": 1}
    records[name + "old"] = {**records[name], "created": "2025-01-01", "training": training, "trained_dims": [7]}
    view = View(pd.concat([rows.assign(run=rows["run"] + "old", value=0.0), rows], ignore_index=True), records)
    assert list(training_costs(view, view.settings[0])["run"]) == [name]
    assert 7 not in view.trained_dims("mrl", "minilm")


def test_runs_whose_rows_were_left_out_do_not_count():
    rows = synthetic.rows(methods=("mrl",))
    stale = rows.assign(run=rows["run"] + "-stale")
    records = synthetic.provenance(rows, (32, 64)) | synthetic.provenance(stale, (8, 16, 32, 64))
    view = View(rows, records)
    assert view.trained_dims("mrl", "minilm") == {32, 64}
    assert set(view.provenance) == set(rows["run"])
    assert dict(view.records(method="mrl")) == view.provenance
    assert not dict(view.records(method="mrl", backbone="another"))


def test_rows_without_provenance_may_say_when_they_were_made():
    rows = synthetic.rows(methods=("mrl",), seeds=(0,))
    older = rows.assign(run=rows["run"] + "old", value=0.0)
    both = pd.concat([older, rows], ignore_index=True)
    [note] = View(both).notes
    assert "another run" in note  # nothing says which is newer
    [run] = rows["run"].unique()
    both.attrs["created"] = {run: "2026-01-02", run + "old": "2026-01-01"}
    view = View(both)
    assert "old is left out: a newer run" in view.notes[0] and (view.estimates["mean"] > 0.1).all()


def test_a_task_at_fewer_budgets_than_the_others_is_told():
    rows = synthetic.rows(methods=("mrl",), tasks={"sts": ("a", "b")}, layers=(6,), dims=(8, 64))
    view = View(rows[~((rows["task"] == "b") & (rows["dim"] == 64))])
    assert set(view.estimates["dim"]) == {8}
    assert [note for note in view.notes if "b was scored at fewer (layer, dim) budgets than other tasks" in note]
    assert not [note for note in View(rows).notes if "fewer" in note]


def test_no_width_is_called_enough_by_fewer_tasks_than_the_family_has():
    rows = synthetic.rows(methods=("mrl", "mipic"), tasks={"sts": ("a", "b")}, layers=(6,), dims=(8, 32, 384))
    kept = rows[~((rows["task"] == "b") & (rows["dim"] == 8))].copy()
    kept.loc[(kept["task"] == "a") & (kept["dim"] == 8), "value"] = 0.99
    view = View(kept)
    assert set(view.retentions["dim"]) == {32, 384}
    assert (view.budgets["dim_1"] > 8).all() and set(view.budgets["dims"]) == {"32-384 (2)"}
    assert set(View(rows).budgets["dims"]) == {"8-384 (3)"}


def test_a_word_in_place_of_a_setting_is_an_ablation_and_a_number_is_swept():
    names = ("mrl", "mrl-pooling=cls", "mrl-alpha=0.5")
    assert View(synthetic.rows(methods=names)).methods == ("mrl", "mrl-pooling=cls")


def test_methods_stand_in_one_order():
    view = View(synthetic.rows())
    assert view.methods == ("pretrained", "2d-mrl", "full", "mipic", "mipic-no-pic", "mipic-no-sia", "mrl")
    assert view.bases == {"mipic-no-pic": "mipic", "mipic-no-sia": "mipic"}


def test_precisions_are_compared_on_the_tasks_that_have_them_all():
    rows = synthetic.rows(
        methods=("mrl", "mipic"), tasks={"sts": ("a", "b", "c"), "pair": ("d",)}, precisions=("float32", "int8")
    )
    lacking = (rows.precision == "int8") & (rows.task == "c")
    view, fair = View(rows[~lacking]), View(rows[rows.task != "c"])
    setting = view.settings[0]
    assert view.stored_tasks == {(*setting, "pair"): ("d",), (*setting, "sts"): ("a", "b")}
    assert view.stored["mean"].tolist() == pytest.approx(fair.estimates["mean"].tolist())
    floats = pick(view.estimates, setting, family="sts", precision="float32")
    assert set(floats["tasks"]) == {3}, "everything else keeps all tasks"


def test_where_every_task_has_every_precision_they_are_compared_on_all():
    view = View(synthetic.rows(methods=("mrl", "mipic"), precisions=("float32", "int8")))
    assert view.stored is view.estimates


def test_a_backbone_that_has_a_task_on_dev_alone_is_reported_on_dev():
    on_test = synthetic.rows(methods=("pretrained", "mrl"), tasks={"sts": ("stsb",)})
    on_dev = synthetic.rows(methods=("mrl",), backbones=("other",), tasks={"sts": ("stsb",)}).assign(split="dev")
    view = View(pd.concat([on_test, on_dev], ignore_index=True))
    assert set(view.estimates["backbone"]) == {"minilm", "other"}


def test_a_corpus_whose_methods_have_another_split_than_the_untrained_one_is_not_compared_with_it():
    rows = synthetic.rows(methods=("pretrained", "mrl"), tasks={"sts": ("stsb",)}, corpora=("a", "b"))
    rows.loc[(rows.corpus == "b").to_numpy(), "split"] = "dev"
    found, view = stats.scores(rows), View(rows)
    assert set(view.estimates[view.estimates["corpus"] == "b"]["method"]) == {"pretrained"}
    assert any("b" in note and "mrl has stsb on dev alone" in note for note in view.notes)
    assert set(zip(found["method"], found["corpus"], strict=True)) == {("pretrained", ""), ("mrl", "a")}
