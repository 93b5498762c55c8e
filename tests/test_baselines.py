import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_results import make_rows

from mipic_bench.analysis import baselines
from mipic_bench.errors import UserError
from mipic_bench.results import folder as results

GOOD = {
    "method": "MIPIC",
    "backbone": "bert-base-uncased",
    "task": "stsb",
    "split": "test",
    "layer": "last",
    "dim": "16",
    "metric": "spearman",
    "value": "0.5",
    "source": "arXiv:2604.24374v2",
}


def write(path, *rows, **columns):
    pd.DataFrame([{**GOOD, **row} for row in rows or ({},)]).assign(**columns).to_csv(path, index=False)
    return path


def told(path):
    with pytest.raises(UserError) as caught:
        baselines.load([path])
    return str(caught.value)


def test_a_file_of_ones_own_is_read(tmp_path):
    frame = baselines.load([write(tmp_path / "mipic.csv", {}, {"dim": "32.0", "layer": "12", "value": "-0.25"})])
    assert list(frame.columns) == [*baselines.COLUMNS, "data", "file", "published"]
    assert frame["dim"].tolist() == [16, 32] and frame["layer"].tolist() == ["last", "12"]
    assert frame["value"].tolist() == [0.5, -0.25] and set(frame["family"]) == {"sts"}
    assert set(frame["corpus"]) == {""} and set(frame["file"]) == {"mipic.csv"} and frame["published"].all()


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"value": "82.03"}, ["fractions are due", "percent", "0.8203", "row 1"]),
        ({"value": "about 0.8"}, ["not a number", "about 0.8"]),
        ({"value": ""}, ["value is empty"]),
        ({"value": "inf"}, ["not a number"]),
        ({"metric": "spearmann"}, ["unknown metric 'spearmann'", "spearman"]),
        ({"metric": ""}, ["metric is empty"]),
        ({"task": ""}, ["task is empty"]),
        ({"dim": ""}, ["dim is empty"]),
        ({"dim": "full"}, ["dim is not a width", "full"]),
        ({"dim": "0"}, ["dim is not a width"]),
        ({"dim": "16.5"}, ["dim is not a width"]),
        ({"layer": "top"}, ["layer is not one", "last"]),
        ({"split": "tset"}, ["unknown split 'tset'", "test"]),
        ({"protocol": "papr"}, ["unknown protocol 'papr'", "paper"]),
        ({"family": "pair"}, ["not one of the family", "pair spearman"]),
        ({"family": "stss"}, ["unknown family 'stss'", "sts"]),
    ],
)
def test_each_mistake_is_told_with_the_value_and_what_to_do(tmp_path, row, parts):
    message = told(write(tmp_path / "bad.csv", row))
    assert "bad.csv" in message and "\n  " in message
    for part in parts:
        assert part in message


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path):
    one = write(tmp_path / "one.csv", {"value": "82", "dim": "x"})
    two = write(tmp_path / "two.csv", metod="x")
    with pytest.raises(UserError) as caught:
        baselines.load([one, two])
    for part in ("value is outside", "dim is not", "unknown column 'metod'", "did you mean method"):
        assert part in str(caught.value)
    assert len(baselines.check(one)) == 2 and len(baselines.check(two)) == 1


def test_wrong_columns_are_told(tmp_path):
    path = write(tmp_path / "bad.csv")
    path.write_text(path.read_text().replace("value", "score"))
    assert "has no column 'value'" in told(path) and "unknown column 'score'" in told(path)
    path.write_text(write(path).read_text().replace(",", ";"))
    assert "separate the columns by commas" in told(path)
    path.write_text("method,backbone,task,dim,metric,value\n")
    assert "no row" in told(path)
    path.write_text("")
    assert "empty" in told(path)


def test_the_same_number_twice_is_told(tmp_path):
    assert "stands there twice in row 2" in told(write(tmp_path / "bad.csv", {}, {"value": "0.6"}))
    assert len(baselines.load([write(tmp_path / "good.csv", {"locator": "a"}, {"locator": "b"})])) == 2


def test_sources_are_files_patterns_folders_and_shipped_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(baselines.find(["baselines/*.csv"])) >= 9  # the shipped ones: there is no such folder here
    assert baselines.find(["baselines"]) == baselines.find(["baselines/*.csv"])
    (tmp_path / "baselines").mkdir()
    write(tmp_path / "baselines" / "mine.csv")
    assert [path.name for path in baselines.find(["baselines/*.csv", "baselines", "starbucks"])] == [
        "mine.csv",
        "starbucks.csv",
    ]
    with pytest.raises(UserError, match="did you mean starbucks"):
        baselines.find(["starbuks"])
    assert baselines.known()["starbucks"].startswith("720 numbers, ielab/Starbucks@")


def test_a_folder_of_baselines_may_hold_every_format(tmp_path):
    rows = pd.read_csv(write(tmp_path / "mine.csv"), dtype=str)
    rows.assign(method="lines").to_json(tmp_path / "lines.jsonl", orient="records", lines=True)
    rows.assign(method="table").to_parquet(tmp_path / "table.parquet")
    assert [path.name for path in baselines.find([tmp_path])] == ["lines.jsonl", "mine.csv", "table.parquet"]
    assert set(baselines.load([tmp_path])["method"]) == {"lines", "table", GOOD["method"]}


def test_a_results_folder_is_a_baseline_with_means_over_seeds(tmp_path):
    for seed, value in enumerate((0.5, 0.7)):
        name = results.run_name("mipic", "minilm", "toy", seed, "k")
        results.write_run(tmp_path / "theirs", name, make_rows(name, dims=[8], value=value, seed=seed), {})
    frame = baselines.load([tmp_path / "theirs"])
    assert frame["value"].tolist() == pytest.approx([0.6, 0.6]) and set(frame["note"]) == {"mean of 2 runs"}
    assert set(frame["source"]) == {"results folder theirs"} and set(frame["layer"]) == {"6"}
    files = baselines.load([f"{tmp_path}/theirs/runs/*.csv"])  # a seed has a file of its own
    columns = ["value", "note", "source", "task", "layer"]
    pd.testing.assert_frame_equal(files[columns], frame[columns])
    run = baselines.load([tmp_path / "theirs" / "runs" / f"{name}.csv"])
    assert run["value"].tolist() == [0.7, 0.7] and run["task"].tolist() == ["toy_sts", "NA"]
    rows = make_rows("mine", dims=[8]).assign(protocol="clean-without-toy")  # ours too: rows left out, no value
    rows.loc[rows["task"] == "NA", "value"] = np.nan
    rows.to_csv(tmp_path / "mine.csv", index=False)
    own = baselines.load([tmp_path / "mine.csv"])
    assert own["value"].isna().tolist() == [False, True] and set(own["protocol"]) == {"clean-without-toy"}
    (tmp_path / "empty" / "runs").mkdir(parents=True)
    assert "no finished run" in told(tmp_path / "empty")


def test_of_a_results_folder_only_the_newest_data_of_a_task_counts(tmp_path):
    for seed, (value, digest) in enumerate(((0.5, "old"), (0.7, "new"))):
        name = results.run_name("mipic", "minilm", "toy", seed, "k")
        entry = {"task": "toy_sts", "split": "test", "protocol": "clean", "digest": digest, "evaluator_version": 1}
        record = {"created": f"2026-01-0{seed + 1}", "scored": [entry]}
        results.write_run(tmp_path, name, make_rows(name, tasks=["toy_sts"], dims=[8], value=value, seed=seed), record)
    frame = baselines.load([tmp_path])
    assert frame["value"].tolist() == [0.7] and frame["data"].tolist() == ["new (scorer version 1)"]


def test_no_mean_is_over_two_folders_or_over_one_seed_twice(tmp_path):
    for folder, value in (("old", 0.6), ("older", 0.8)):
        for seed in (0, 1):
            name = results.run_name("mipic", "minilm", "toy", seed, "k")
            rows = make_rows(name, dims=[8], value=value, seed=seed)
            results.write_run(tmp_path / folder / "results", name, rows, {})
    places = [tmp_path / folder / "results" for folder in ("old", "older")]
    for sources in (places, [f"{place}/runs/*.csv" for place in places]):
        frame = baselines.load(sources)
        assert sorted(set(frame["value"])) == pytest.approx([0.6, 0.8]) and frame["source"].nunique() == 2
    [file, *_] = (places[0] / "runs").glob("*.csv")
    again = file.parent / ".." / "runs" / file.name
    assert len(baselines.load([file, again])) == len(baselines.load([file]))
    pd.read_csv(file, keep_default_na=False).assign(run="another").to_csv(file.with_name("another.csv"), index=False)
    assert "stands there in two runs" in told(f"{places[0]}/runs/*.csv")


def test_a_seed_without_a_value_leaves_no_mean(tmp_path):
    for seed, value in enumerate((0.5, 0.7, np.nan)):
        name = results.run_name("mipic", "minilm", "toy", seed, "k")
        rows = make_rows(name, dims=[8], value=0.5, seed=seed)
        rows.loc[rows["task"] == "toy_sts", "value"] = value  # the other task has a value from every seed
        results.write_run(tmp_path / "theirs", name, rows, {})
    frame = baselines.load([tmp_path / "theirs"]).set_index("task")
    assert np.isnan(frame.loc["toy_sts", "value"]) and frame.loc["NA", "value"] == pytest.approx(0.5)


CELLS = st.one_of(
    st.sampled_from(["", "0.5", "82.03", "nan", "-1", "1e400", "last", "16", "test", "spearman", "NA", "0x10", "１６"]),
    st.text(max_size=8),
)


@given(
    st.lists(st.sampled_from([*baselines.COLUMNS, "seed", "Value", "", "x"]), min_size=1, max_size=16),
    st.lists(st.lists(CELLS, min_size=0, max_size=16), max_size=4),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_generated_table_is_read_or_told_but_never_a_crash(tmp_path, header, rows):
    path = tmp_path / "generated.csv"
    lines = [",".join(line).encode("utf-8", "surrogatepass") for line in (header, *rows)]
    path.write_bytes(b"\n".join(lines))
    loaded_or_told(path)


@given(st.sampled_from(sorted({*GOOD, "seed", "precision", "family"})), CELLS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_wrong_cell_is_read_or_told_but_never_a_crash(tmp_path, column, cell):
    path = tmp_path / "generated.csv"
    path.write_bytes(pd.DataFrame([{**GOOD, column: cell}]).to_csv(index=False).encode("utf-8", "surrogatepass"))
    loaded_or_told(path)


@given(st.binary(max_size=200))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_told_but_never_a_crash(tmp_path, content):
    path = tmp_path / "generated.csv"
    path.write_bytes(content)
    loaded_or_told(path)


def loaded_or_told(path):
    try:
        frame = baselines.load([path])
    except UserError as error:
        assert error.where and error.what and error.fix
        assert baselines.check(path)
    else:
        assert frame["value"].between(-1, 1).all() and (frame["dim"] >= 1).all()
