import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from scipy import stats
from test_results import make_rows

from mipic_bench.analysis import baselines
from mipic_bench.analysis.compare import COLUMNS, compare, compare_table, write
from mipic_bench.errors import UserError
from mipic_bench.results import folder as results


def published(**columns):
    row = {
        **dict.fromkeys(baselines.COLUMNS, ""),
        "method": "pretrained",
        "backbone": "minilm",
        "family": "sts",
        "task": "toy_sts",
        "split": "test",
        "layer": "last",
        "dim": 384,
        "metric": "spearman",
        "value": 0.25,
        "source": "arXiv:0000.00000",
        "locator": "Table 1",
        **columns,
    }
    return pd.DataFrame([row])


def ours(**columns):
    rows = make_rows(tasks=["toy_sts"], value=0.5, **columns)
    return pd.concat([rows, rows.assign(layer=3)], ignore_index=True)


def test_the_columns_and_the_numbers():
    frame = compare(ours(), published())
    assert tuple(frame.columns) == COLUMNS and len(frame) == 1
    row = frame.iloc[0]
    assert (row["layer"], row["dim"], row["ours"], row["baseline"], row["delta"]) == (6, 384, 0.5, 0.25, 0.25)
    assert row["comparable"] and row["reason"] == "" and row["seeds"] == 1
    assert np.isnan(row["ours_low"]) and np.isnan(row["ours_high"])
    assert (row["source"], row["locator"]) == ("arXiv:0000.00000", "Table 1")


def test_an_official_task_meets_the_numbers_on_its_dataset():
    rows = make_rows(tasks=["mteb:STSBenchmark"], value=0.5).assign(protocol="mteb")
    frame = compare(rows, published(task="stsb"))
    assert list(frame["task"]) == ["mteb:STSBenchmark"] and frame["comparable"].all()
    assert compare(rows, published(task="mteb:STSBenchmark"))["comparable"].all()
    assert "no baseline is of a task of ours (stsb)" in compare(rows, published()).attrs["notes"][-1]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"backbone": "bert-base-uncased"}, "backbone: ours minilm, theirs bert-base-uncased"),
        ({"backbone": ""}, "backbone: ours minilm, the baseline does not state its own"),
        ({"metric": "pearson"}, "metric: ours spearman, theirs pearson"),
        ({"split": "dev"}, "split: ours test, theirs dev"),
        ({"split": ""}, "split: ours test, the baseline does not state its own"),
        ({"protocol": "paper"}, "protocol: ours clean, theirs paper"),
        ({"protocol": "clean"}, ""),
        ({"precision": "int8"}, "precision: ours float32, theirs int8"),
        ({"precision": "float32"}, ""),
        ({"split": "dev", "precision": "int8"}, "split: ours test, theirs dev; precision: ours float32, theirs int8"),
    ],
)
def test_what_differs_is_said_with_both_values(columns, reason):
    row = compare(ours(), published(**columns)).iloc[0]
    assert row["reason"] == reason and row["comparable"] == (reason == "")
    assert np.isnan(row["delta"]) == (columns.get("metric") == "pearson")


def test_a_protocol_that_is_not_stated_matters_only_where_something_is_tuned():
    rows = ours(family="classification", metric="accuracy")
    row = compare(rows, published(family="classification", metric="accuracy")).iloc[0]
    assert row["reason"] == "protocol: ours clean, the baseline does not state its own"


def test_rows_that_were_left_out_matter_whatever_the_metric():
    row = compare(ours(protocol="clean-without-toy"), published()).iloc[0]
    assert row["reason"] == "protocol: ours clean-without-toy, the baseline does not state its own"


def test_layers_meet_as_the_source_gives_them():
    assert compare(ours(), published(layer="3"))["layer"].tolist() == [3]
    assert compare(ours(), published(layer="5")).empty
    unstated = compare(ours(), published(layer=""))
    assert unstated["layer"].tolist() == [3, 6] and unstated["comparable"].tolist() == [False, True]
    assert unstated["reason"].iloc[0] == "layer: ours 3, the baseline does not state its own"


def test_the_last_layer_is_the_backbones_not_the_deepest_scored():
    rows = ours()
    provenance = {rows["run"].iloc[0]: {"cell": {"backbone": "minilm"}, "backbone": {"depth": 12}}}
    assert compare(rows, published(), provenance).empty
    assert len(compare(rows, published(), {"other": {"cell": {}, "backbone": {}}})) == 1


def test_a_results_folder_that_scored_other_data_or_by_another_scorer_is_told(tmp_path):
    def scored(digest, version=1, **columns):
        unit = {"task": "toy_sts", "split": "test", "protocol": "clean", **columns}
        return {"scored": [{**unit, "digest": digest * 64, "evaluator_version": version}]}

    name = results.run_name("pretrained", "minilm", "toy", 0, "k")
    rows = make_rows(name, tasks=["toy_sts"], value=0.5)
    mine = {name: scored("a")}
    reasons = {}
    for told, theirs in {
        "same": scored("a"), "data": scored("b"), "scorer": scored("a", 2), "unknown": {}, "split": scored("b", split="dev"),
    }.items():  # fmt: skip
        results.write_run(tmp_path / told, name, rows, theirs)
        [reasons[told]] = set(compare(rows, baselines.load([tmp_path / told]), mine)["reason"])
    assert reasons["same"] == reasons["unknown"] == reasons["split"] == ""
    assert reasons["data"] == "data: ours aaaaaaaaaaaa (scorer version 1), theirs bbbbbbbbbbbb (scorer version 1)"
    assert reasons["scorer"] == "data: ours aaaaaaaaaaaa (scorer version 1), theirs aaaaaaaaaaaa (scorer version 2)"
    assert not any(compare(rows, baselines.load([tmp_path / "data"]))["reason"])  # nothing is known of ours


def test_the_interval_is_t_over_seeds():
    values = [0.5, 0.52, 0.57]
    rows = pd.concat(
        [
            make_rows(f"mipic--minilm--toy--s{s}--k", tasks=["toy_sts"], dims=[384], value=v, seed=s)
            for s, v in enumerate(values)
        ]
    )
    row = compare(rows, published()).iloc[0]
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (row["ours"], row["ours_low"], row["ours_high"]) == pytest.approx((np.mean(values), low, high))
    assert row["seeds"] == 3


def test_two_runs_of_one_cell_are_never_averaged():
    old, new = (
        make_rows(f"mipic--minilm--toy--s0--{key}", tasks=["toy_sts"], value=v) for key, v in (("b", 0.1), ("a", 0.9))
    )
    created = {old["run"].iloc[0]: {"created": "2026-01-01"}, new["run"].iloc[0]: {"created": "2026-02-01"}}
    frame = compare(pd.concat([old, new]), published(), created)
    assert frame["ours"].tolist() == [0.9]
    assert any(old["run"].iloc[0] in note for note in frame.attrs["notes"])


def test_a_seed_without_a_value_leaves_no_mean():
    rows = pd.concat(
        [
            make_rows(f"m--b--c--s{s}--k", tasks=["toy_sts"], dims=[384], value=v, seed=s)
            for s, v in ((0, 0.5), (1, np.nan))
        ]
    )
    row = compare(rows, published()).iloc[0]
    assert np.isnan(row["ours"]) and np.isnan(row["delta"])


@pytest.mark.parametrize(
    ("mine", "theirs", "same"),
    [
        ("google-bert__bert-base-uncased", "bert-base-uncased", True),
        ("bert-base-uncased", "google-bert__bert-base-uncased", True),
        ("mine__bert-base-uncased", "theirs__bert-base-uncased", False),
        ("bert-base-uncased", "bert-base", False),
    ],
)
def test_an_owner_that_one_side_names_makes_no_difference(mine, theirs, same):
    assert compare(ours(backbone=mine), published(backbone=theirs))["comparable"].tolist() == [same]


def test_the_backbone_map_says_what_is_the_same():
    frame = compare(ours(), published(backbone="all-MiniLM-L6-v2"), backbone_map={"minilm": "all-MiniLM-L6-v2"})
    assert frame["comparable"].all() and frame["baseline_backbone"].tolist() == ["all-MiniLM-L6-v2"]
    with pytest.raises(UserError, match="did you mean minilm"):
        compare(ours(), published(), backbone_map={"minlm": "x"})


def test_what_is_asked_for_is_chosen():
    both = pd.concat([published(), published(dim=8, metric="pearson")])
    assert len(compare(ours(), both)) == 2
    assert compare(ours(), both, dims=[8])["dim"].tolist() == [8]
    assert compare(ours(), both, only_comparable=True)["dim"].tolist() == [384]
    assert compare(ours(), both, tasks=["toy_sts"])["task"].tolist() == ["toy_sts"] * 2
    with pytest.raises(UserError) as caught:
        compare(ours(), both, tasks=["toy_stz"], dims=[7])
    assert "did you mean toy_sts" in str(caught.value) and "unknown dim '7'" in str(caught.value)


def test_nothing_in_common_is_a_header_and_a_sentence(tmp_path):
    frame = compare(ours(), published(task="other"))
    assert tuple(frame.columns) == COLUMNS and frame.empty
    assert len(frame.attrs["notes"]) == 1 and "toy_sts" in frame.attrs["notes"][0]
    assert "dims 7" in compare(ours(), published(dim=7)).attrs["notes"][0]
    assert "in pearson" in compare(ours(), published(metric="pearson"), only_comparable=True).attrs["notes"][0]
    assert "only-comparable" in compare(ours(), published(split="dev"), only_comparable=True).attrs["notes"][0]
    assert compare(results.read_rows(tmp_path / "none"), published()).empty
    write(frame, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == ",".join(COLUMNS) + "\n"


def test_the_file_keeps_every_digit_and_says_true_or_false(tmp_path):
    frame = compare(ours(), pd.concat([published(value=0.1), published(split="dev")]))
    write(frame, tmp_path / "deep" / "out.csv")
    text = (tmp_path / "deep" / "out.csv").read_text()
    assert ",true," in text and ",false," in text
    again = pd.read_csv(
        tmp_path / "deep" / "out.csv", keep_default_na=False, na_values={"ours_low": [""], "ours_high": [""]}
    )
    assert again["delta"].tolist() == frame["delta"].tolist() and again["comparable"].tolist() == [True, False]
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="move what is in the way"):
        write(frame, tmp_path / "folder")


def test_the_sources_doubts_are_repeated():
    notes = compare(ours(), published(note="metric presumed")).attrs["notes"]
    assert notes == ["1 of the published numbers comes with a note (arXiv:0000.00000): metric presumed."]
    assert compare(ours(), published(note="metric presumed", split="dev")).attrs["notes"] == []


def test_the_table_says_both_sides_and_why_not():
    theirs = pd.concat([published(split="dev", method="[bold]x"), published()])
    stream = io.StringIO()
    Console(file=stream, width=200).print(compare_table(compare(ours(), theirs), most=1))
    text = stream.getvalue()
    assert "0.5000  mipic" in text and "+0.2500" in text
    assert "1 of 2 pairs may be compared" in text and "1 may not, because of the split" in text


def test_the_deciding_metric_is_shown_first_and_two_metrics_are_no_warning():
    rows = pd.concat([ours(metric="pearson"), ours(metric="spearman")], ignore_index=True)
    theirs = pd.concat([published(metric="pearson"), published()])
    stream = io.StringIO()
    Console(file=stream, width=200).print(compare_table(compare(rows, theirs)))
    text = stream.getvalue()
    assert text.index("spearman") < text.index("pearson")
    assert "2 pair two metrics" in text and "because of" not in text


def test_what_tells_pairs_apart_is_shown_and_no_reason_is_counted_without_one():
    rows = pd.concat([ours(), ours(corpus="wiki").assign(run="other")], ignore_index=True)
    frame = compare(rows, published(note="metric presumed"))
    assert len(frame) == 2 and frame["comparable"].all()
    assert frame.attrs["doubts"] == [
        "1 of the published numbers comes with a note (arXiv:0000.00000): metric presumed."
    ]
    stream = io.StringIO()
    Console(file=stream, width=200).print(compare_table(frame))
    text = stream.getvalue()
    assert "corpus" in text and "wiki" in text and "toy" in text and "2 of 2 pairs may be compared" in text
    assert "protocol" not in text


def test_a_folder_is_no_file_to_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is a folder"):
        write(compare(ours(), published()), Path("."))


def test_an_undefined_value_of_ours_is_no_pair():
    frame = compare(ours().assign(value=np.nan), published())
    assert not frame["comparable"].any() and set(frame["reason"]) == {"value: ours is undefined at a seed or more"}
    frame = compare(ours(), published(value=np.nan))
    assert not frame["comparable"].any() and set(frame["reason"]) == {"value: theirs is undefined at a seed or more"}


def test_rows_beside_themselves_do_not_differ(tmp_path):
    results.write_run(tmp_path, "mipic--minilm--toy--s0--abc123", make_rows(), {})
    frame = compare(results.read_rows(tmp_path), baselines.load([tmp_path]), only_comparable=True)
    assert len(frame) == 4 and (frame["delta"] == 0).all()


def test_a_join_that_would_explode_is_refused(monkeypatch):
    monkeypatch.setattr("mipic_bench.analysis.compare._MOST_PAIRS", 1)
    with pytest.raises(UserError, match="2 pairs"):
        compare(ours(), published(layer=""))


def test_pretrained_minilm_meets_the_published_figures():
    measured = {"sts13": 0.8060, "sts14": 0.7560, "sts15": 0.8539, "stsb": 0.8203}
    rows = pd.concat(
        [make_rows("p", [task], [384], value, "", method="pretrained", corpus="") for task, value in measured.items()]
    )
    frame = compare(rows, baselines.load(["all_minilm_l6_v2"]))
    assert frame["comparable"].all() and set(frame["task"]) == set(measured)
    assert (frame["delta"].abs() < 0.002).all()
