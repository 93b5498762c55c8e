import contextlib
import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipic_bench.errors import UserError
from mipic_bench.results import commit, merge, packed
from mipic_bench.results import folder as results
from mipic_bench.results.rows import IDENTITY, from_csv, problems, to_csv, typed, union
from mipic_bench.running import record, run

NAME = "mipic--minilm--toy--s0--abc123"


def make_rows(name=NAME, tasks=("toy_sts", "NA"), dims=(8, 384), value=0.1 + 0.2, seed=0, **columns):
    rows = [
        {
            "run": name,
            "method": name.split("--")[0],
            "base_method": "mipic",
            "ablation": "",
            "backbone": "minilm",
            "corpus": "toy",
            "seed": seed,
            "family": "sts",
            "task": task,
            "split": "test",
            "protocol": "clean",
            "layer": 6,
            "dim": dim,
            "precision": "float32",
            "metric": "spearman",
            "value": value,
            "stderr": 0.01,
            "n": 100,
        }
        for task in tasks
        for dim in dims
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_what_is_written_is_read_exactly(tmp_path):
    values = [0.1 + 0.2, -1.0, np.nextafter(1.0, 0), float("nan")]
    rows = make_rows(value=0.5).assign(value=values, stderr=[float("nan"), 1e-300, 0.0, 1 / 3])
    results.write_run(tmp_path, NAME, rows, {"key": "abc123", "loss": float("nan"), "at": np.float32(0.5)})
    read = results.read_rows(tmp_path)
    assert list(read.columns) == list(results.COLUMNS)
    pd.testing.assert_frame_equal(read, typed(rows), check_exact=True)
    assert set(read["task"]) == {"toy_sts", "NA"} and set(read["seed"]) == {"0"}
    provenance = results.read(tmp_path).provenance()[NAME]
    assert provenance["loss"] is None and provenance["at"] == 0.5 and len(provenance["rows_sha256"]) == 64


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8), st.text(min_size=1).filter(lambda text: "\x00" not in text))
@settings(max_examples=60, deadline=None)
def test_any_float_and_any_task_name_survive_the_csv(values, task):
    try:
        task.encode()
    except UnicodeEncodeError:
        return
    if "\r" in task:
        return  # a CSV reader takes a bare carriage return for a line break; task names are folder names
    rows = typed(make_rows(tasks=[task], dims=range(1, len(values) + 1)).assign(value=values))
    again = from_csv(to_csv(rows))
    assert again["value"].tolist() == values and set(again["task"]) == {task}


def test_a_method_without_training_has_no_corpus_and_no_seed(tmp_path):
    name = results.run_name("pretrained", "minilm", "", "", "ff")
    assert name == "pretrained--minilm--none--s0--ff"
    results.write_run(tmp_path, name, make_rows(name, corpus="", seed=""), {})
    read = results.read_rows(tmp_path)
    assert set(read["corpus"]) == {""} and set(read["seed"]) == {""}


@pytest.mark.parametrize("bad", ["../../x", "/etc/passwd", "a b", "ü", "x" * 400, ".hidden", "a\\b:c*?", "..", ""])
def test_no_name_leaves_the_folder(tmp_path, bad):
    name = results.run_name(bad, "minilm", bad, 0, "k")
    assert "/" not in name and "\\" not in name and not name.startswith(".") and len(name) < 240
    results.write_run(tmp_path, name, make_rows(name, method="m"), {})
    assert {path.parent for path in tmp_path.rglob("*.*")} == {tmp_path / "runs"}
    assert list(results.read(tmp_path).runs) == [name]


def test_a_path_is_no_run(tmp_path):
    results.write_run(tmp_path / "other", NAME, make_rows(), {})
    with pytest.raises(ValueError, match="leave the folder"):
        results.write_run(tmp_path, f"../other/runs/{NAME}", make_rows(), {})
    (tmp_path / "runs").mkdir()
    assert results.read_run(tmp_path, f"../other/runs/{NAME}") is None


def test_two_unsafe_names_do_not_meet():
    assert results.run_name("a/b", "m", "c", 0, "k") != results.run_name("a:b", "m", "c", 0, "k")
    assert results.run_name("x" * 300, "m", "c", 0, "k") != results.run_name("x" * 301, "m", "c", 0, "k")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"value": 82.03}, "fraction"),
        ({"value": float("inf")}, "fraction"),
        ({"stderr": -1.0}, "stderr"),
        ({"dim": 0}, "dim"),
        ({"layer": -1}, "layer"),
        ({"task": ""}, "task"),
        ({"seed": "x"}, "seed"),
        ({"run": "other"}, "other"),
        ({"dim": 8.5}, "whole number"),
        ({"dim": 8}, "twice"),
        ({"n": "many"}, "column n"),
    ],
)
def test_rows_that_are_none_are_refused(tmp_path, change, told):
    with pytest.raises(ValueError, match=told):
        results.write_run(tmp_path, NAME, make_rows(**change), {})
    assert not list(tmp_path.iterdir())


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(ValueError, match="no column stderr, n"):
        results.write_run(tmp_path, NAME, make_rows().drop(columns=["stderr", "n"]), {})


def broken(tmp_path):
    store = results.read(tmp_path)
    assert not store.runs and len(store.problems) == 1
    with pytest.warns(results.BrokenRun):
        assert results.read_rows(tmp_path).empty
    return str(store.problems[0])


def test_a_truncated_or_edited_csv_is_told_and_left_out(tmp_path):
    results.write_run(tmp_path, NAME, make_rows(), {})
    path = tmp_path / "runs" / f"{NAME}.csv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "cut off or edited" in broken(tmp_path)
    path.write_bytes(whole.replace(b"0.30000000000000004", b"0.40000000000000004", 1))
    assert "cut off or edited" in broken(tmp_path)
    path.write_bytes(whole)
    assert len(results.read_rows(tmp_path)) == 4


def test_without_its_commit_mark_a_run_is_not_there(tmp_path):
    results.write_run(tmp_path, NAME, make_rows(), {})
    mark = tmp_path / "runs" / f"{NAME}.json"
    text = mark.read_bytes()
    mark.write_bytes(text[: len(text) // 2])
    assert "no JSON object" in broken(tmp_path) or "cut off" in broken(tmp_path)
    mark.unlink()
    assert "never finished" in broken(tmp_path)
    mark.write_bytes(text)
    (tmp_path / "runs" / f"{NAME}.csv").unlink()
    assert "rows are gone" in broken(tmp_path)


def test_a_write_cut_off_at_any_step_leaves_the_old_run_or_the_new_one(tmp_path, monkeypatch):
    class Cut(BaseException):
        pass

    old, new = make_rows(value=0.1), make_rows(tasks=("toy_sts", "NA", "more"), value=0.1)
    steps = ("open", "fsync", "replace")
    for step in steps:
        for place in range(6):
            folder = tmp_path / f"{step}{place}"
            results.write_run(folder, NAME, old, {"at": "old"})
            real, left = getattr(commit.os, step) if step != "open" else open, [place]

            def cut(*given, real=real, left=left, **named):
                if left[0] == 0:
                    raise Cut
                left[0] -= 1
                return real(*given, **named)

            target = (commit, "open") if step == "open" else (commit.os, step)
            with monkeypatch.context() as patch:
                patch.setattr(*target, cut, raising=False)
                with contextlib.suppress(Cut):
                    results.write_run(folder, NAME, new, {"at": "new"})
            store = results.read(folder)
            assert not store.problems
            run = store.runs[NAME]
            assert (len(run.rows), run.provenance["at"]) in ((4, "old"), (6, "new"))
            results.write_run(folder, NAME, new, {"at": "newest"})
            assert results.read(folder).runs[NAME].provenance["at"] == "newest"
            assert sorted(p.name for p in (folder / "runs").iterdir()) == [f"{NAME}.csv", f"{NAME}.json"]


def test_a_second_cut_after_a_first_loses_nothing(tmp_path):
    results.write_run(tmp_path, NAME, make_rows(value=0.1), {"at": "first"})
    csv, mark = (tmp_path / "runs" / f"{NAME}.{end}" for end in ("csv", "json"))
    first = mark.read_bytes()
    results.write_run(tmp_path, NAME, make_rows(value=0.2), {"at": "second"})
    mark.with_name(mark.name + ".next").write_bytes(mark.read_bytes())
    mark.write_bytes(first)  # as if killed just before the last rename
    assert results.read(tmp_path).runs[NAME].provenance["at"] == "second"
    before = csv.read_bytes()

    def full(path, content):
        raise UserError("disk", "full", "free some")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, "write", full)
        with pytest.raises(UserError):
            results.write_run(tmp_path, NAME, make_rows(value=0.3), {"at": "third"})
    assert csv.read_bytes() == before
    assert results.read(tmp_path).runs[NAME].provenance["at"] == "second"


def test_a_file_in_the_way_and_a_full_disk_are_told(tmp_path, monkeypatch):
    (tmp_path / "here").write_text("a file")
    with pytest.raises(UserError, match="move what is in the way"):
        results.write_run(tmp_path / "here", NAME, make_rows(), {})
    (tmp_path / "runs" / f"{NAME}.csv").mkdir(parents=True)
    with pytest.raises(UserError, match="move what is in the way"):
        results.write_run(tmp_path, NAME, make_rows(), {})

    results.write_run(tmp_path / "full", NAME, make_rows(value=0.25), {})

    def no_space(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(commit.os, "fsync", no_space)
    with pytest.raises(UserError, match="No space left on device"):
        results.write_run(tmp_path / "full", NAME, make_rows(value=0.5), {})
    assert set(results.read_rows(tmp_path / "full")["value"]) == {0.25}
    assert not list((tmp_path / "full").rglob("*.tmp"))


def test_new_rows_join_and_replace(tmp_path):
    old, new = make_rows(tasks=["a"], value=0.1), make_rows(tasks=["a", "b"], dims=[384], value=0.2)
    results.write_run(tmp_path, NAME, union(old, new), {})
    read = results.read_rows(tmp_path)
    assert {(row.task, row.dim): row.value for row in read.itertuples()} == {
        ("a", 8): 0.1,
        ("a", 384): 0.2,
        ("b", 384): 0.2,
    }
    assert not read.duplicated(list(IDENTITY)).any()


def fill(folder, names, value=0.5, **columns):
    for name in names:
        rows = make_rows(name, value=value, **columns)
        results.write_run(folder, name, rows, {"made": folder.name, "scored": entries(rows)})


def entries(rows, digest="data1", version=1, **more):
    """Return what a provenance says of the tasks that some rows are of."""
    said = {
        "digest": digest,
        "evaluator_version": version,
        "layers": [6],
        "precisions": ["float32"],
        "notes": [],
        **more,
    }
    return [
        {"task": task, "split": "test", "protocol": "clean", "dims": sorted(part["dim"]), **said}
        for task, part in rows.groupby("task", sort=False)
    ]


def finished(tasks=("a",), dims=(8, 384), value=0.5, created="2026-01-02T00:00:00+00:00", **said):
    """Return what running a cell gave."""
    rows = make_rows(tasks=tasks, dims=dims, value=value)
    about = {"created": created, "training": {}, "scoring_seconds": 1.0, "scored": entries(rows, **said)}
    return run.Finished(NAME, rows, about)


def test_merge_joins_folders_and_packing_reads_the_same(tmp_path):
    fill(tmp_path / "one", ["m--b--c--s0--k", "m--b--c--s1--k"])
    fill(tmp_path / "two", ["m--b--c--s1--k", "m--b--c--s2--k"])
    done = merge.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "loose")
    assert (done.runs, done.rows, done.left_out) == (3, 12, ())
    merge.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "packed", pack=True)
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == ["packed.jsonl", "packed.parquet"]
    loose, packs = results.read(tmp_path / "loose"), results.read(tmp_path / "packed")
    pd.testing.assert_frame_equal(loose.rows(), packs.rows(), check_exact=True)
    assert loose.provenance() == packs.provenance()
    merge.merge([tmp_path / "packed"], tmp_path / "unpacked")
    name = "m--b--c--s2--k"
    assert (tmp_path / f"unpacked/runs/{name}.csv").read_bytes() == (tmp_path / f"two/runs/{name}.csv").read_bytes()
    assert (tmp_path / f"unpacked/runs/{name}.json").read_bytes() == (tmp_path / f"two/runs/{name}.json").read_bytes()


def test_merge_refuses_conflicts_naming_both_and_writes_nothing(tmp_path):
    fill(tmp_path / "one", [NAME], value=0.5)
    fill(tmp_path / "two", [NAME], value=0.6)
    with pytest.raises(UserError) as caught:
        merge.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    for part in (str(tmp_path / "one"), str(tmp_path / "two"), "0.5", "0.6", NAME):
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="is not there"):
        merge.merge([tmp_path / "none"], tmp_path / "out")


@pytest.mark.parametrize("change", [{"stderr": 0.02}, {"n": 101}])
def test_merge_refuses_copies_that_differ_in_an_error_or_a_count(tmp_path, change):
    fill(tmp_path / "one", [NAME])
    fill(tmp_path / "two", [NAME], **change)
    with pytest.raises(
        UserError, match=rf"4 of 4 shared numbers differ, first the {next(iter(change))} of [^(]+: [\d.]+ and [\d.]+"
    ):
        merge.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "out")


def test_merge_joins_the_rows_of_one_run_only_when_they_are_one(tmp_path):
    fill(tmp_path / "one", [NAME], tasks=["a", "b"])
    fill(tmp_path / "two", [NAME], tasks=["b", "c"])
    merge.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    assert set(results.read_rows(tmp_path / "out")["task"]) == {"a", "b", "c"}
    fill(tmp_path / "three", [NAME], tasks=["d"])
    with pytest.raises(UserError, match="share no number"):
        merge.merge([tmp_path / "one", tmp_path / "three"], tmp_path / "other")
    for folder, task in (("four", "a"), ("five", "d")):
        fill(tmp_path / folder, [NAME], tasks=[task], seed="", corpus="")
    done = merge.merge([tmp_path / "four", tmp_path / "five"], tmp_path / "untrained")
    assert done.rows == 4


def test_a_run_loose_and_packed_stands_once(tmp_path):
    fill(tmp_path, [NAME], tasks=["a"])
    merge.merge([tmp_path], tmp_path, pack=True)
    assert len(results.read_rows(tmp_path)) == 2
    results.write_run(tmp_path, NAME, make_rows(tasks=["a", "b"]), {})
    assert len(results.read_rows(tmp_path)) == 4
    results.write_run(tmp_path, NAME, make_rows(tasks=["b"]), {})
    with pytest.warns(results.BrokenRun, match="lacks numbers"):
        assert set(results.read_rows(tmp_path)["task"]) == {"a"}
    for path in (tmp_path / "runs").iterdir():
        path.unlink()
    results.write_run(tmp_path, NAME, make_rows(tasks=["a", "c"]), {})
    assert set(results.read_rows(tmp_path)["task"]) == {"a", "c"}


@pytest.mark.parametrize("change", [{"digest": "data2"}, {"version": 2}])
def test_a_packed_run_whose_task_was_scored_anew_is_the_loose_one(tmp_path, change):
    run.write(finished(["a", "b"], created="2026-01-01T00:00:00+00:00"), tmp_path)
    merge.merge([tmp_path], tmp_path, pack=True)
    run.write(finished(["a"], dims=[8], value=0.25, **change), tmp_path)
    store = results.read(tmp_path)
    assert not store.problems
    values = {(row.task, row.dim): row.value for row in store.rows().itertuples()}
    assert values == {("a", 8): 0.25, ("b", 8): 0.5, ("b", 384): 0.5}  # nothing is left of the old data
    pd.testing.assert_frame_equal(results.read_run(tmp_path, NAME).rows, store.rows())
    assert {entry["task"]: entry["dims"] for entry in store.runs[NAME].provenance["scored"]}["a"] == [8]


def test_a_loose_copy_that_scored_one_task_anew_must_still_have_the_others(tmp_path):
    run.write(finished(["a", "b"]), tmp_path)
    merge.merge([tmp_path], tmp_path, pack=True)
    rows = make_rows(tasks=["a"], dims=[8])
    results.write_run(tmp_path, NAME, rows, {"created": "2026-01-03", "scored": entries(rows, "data2")})
    with pytest.warns(results.BrokenRun, match="lacks numbers"):
        assert set(results.read_rows(tmp_path)["task"]) == {"a", "b"}


def test_an_older_loose_copy_gives_way_to_a_pack_of_newer_data(tmp_path):
    run.write(finished(digest="data2"), tmp_path / "newer")
    merge.merge([tmp_path / "newer"], tmp_path, pack=True)
    rows = make_rows(tasks=["a"], dims=[8])
    results.write_run(tmp_path, NAME, rows, {"created": "2026-01-01T00:00:00+00:00", "scored": entries(rows)})
    with pytest.warns(results.BrokenRun, match="lacks numbers"):
        assert set(results.read_rows(tmp_path)["dim"]) == {8, 384}


@pytest.mark.parametrize("damage", ["no provenance", "cut off", "differs"])
def test_a_pack_that_cannot_be_read_is_never_replaced(tmp_path, damage):
    fill(tmp_path / "one", ["m--b--c--s0--k"])
    fill(tmp_path / "two", ["m--b--c--s1--k"])
    out = tmp_path / "out"
    merge.merge([tmp_path / "one"], out, pack=True)
    path = out / "packed.parquet"
    if damage == "no provenance":
        path.with_suffix(".jsonl").unlink()
    elif damage == "cut off":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        fill(tmp_path / "three", ["m--b--c--s0--k"], value=0.75)
        packed.write(out / "earlier.parquet", results.read(tmp_path / "three").runs)
    before = {file: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(UserError, match="rows in it would be lost") as caught:
        merge.merge([tmp_path / "two"], out, pack=True)
    assert caught.value.where == str(path)
    assert {file: file.read_bytes() for file in out.iterdir()} == before


def copy(folder, digests, dims, **more):
    """Write a copy of one run whose tasks were scored on given versions of their data, at given widths."""
    rows = pd.concat([make_rows(tasks=[task], dims=dims[task]) for task in digests])
    scored = [entry for task in digests for entry in entries(rows[rows["task"] == task], digests[task], **more)]
    results.write_run(folder, NAME, rows, {"scored": scored})


@pytest.mark.parametrize("more", [(), ("third",)])
def test_merge_refuses_copies_that_were_scored_on_different_data(tmp_path, more):
    copy(tmp_path / "one", {"a": "same", "t": "v1"}, {"a": [8], "t": [8]})
    copy(tmp_path / "two", {"a": "same", "t": "v2"}, {"a": [8], "t": [16]})
    copy(tmp_path / "third", {"a": "same"}, {"a": [8]})
    with pytest.raises(UserError) as caught:
        merge.merge([tmp_path / name for name in (*more, "one", "two")], tmp_path / "out")
    for part in (f"{tmp_path / 'one'} and {tmp_path / 'two'}", NAME, "the task t", "data v1", "data v2"):
        assert part in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_merge_keeps_one_entry_of_a_task_that_two_copies_scored(tmp_path):
    copy(tmp_path / "one", {"a": "same"}, {"a": [8, 16]}, notes=["from one"], weights="w1")
    copy(tmp_path / "two", {"a": "same", "b": "v1"}, {"a": [8, 32], "b": [8]}, notes=["from two"], weights="w1")
    merge.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    [a, b] = results.read(tmp_path / "out").provenance()[NAME]["scored"]
    assert (a["task"], a["dims"], a["notes"]) == ("a", [8, 16, 32], ["from one", "from two"])
    assert (b["task"], b["dims"], b["notes"]) == ("b", [8], ["from two"])


def test_merge_keeps_the_weights_of_every_width(tmp_path):
    for folder, dim in (("one", 16), ("two", 4)):
        rows = make_rows(tasks=["a"], dims=[8, dim])
        by_dim = {"8": "w8", str(dim): f"w{dim}"}
        said = {"training": {"weights_by_dim": by_dim}, "scored": entries(rows, weights_by_dim=by_dim)}
        results.write_run(tmp_path / folder, NAME, rows, said)
    merge.merge([tmp_path / "one", tmp_path / "two"], tmp_path / "out")
    merged = results.read(tmp_path / "out").provenance()[NAME]
    assert merged["training"]["weights_by_dim"] == {"4": "w4", "8": "w8", "16": "w16"}
    assert [entry["weights_by_dim"] for entry in merged["scored"]] == [{"4": "w4", "8": "w8", "16": "w16"}]


def provenance(task, weights, dims=(8,), digest="data1"):
    """Return the provenance of one go at a run: one task, scored on weights, or on weights by width."""
    told = {"weights": weights}
    if not isinstance(weights, str):
        told = {"weights": "one model per width", "weights_by_dim": weights}
    scored = entries(make_rows(tasks=[task], dims=dims), digest, **told)
    return {"training": told, "scoring_seconds": 1.0, "scored": scored}


def retrained(joined):
    """Return the tasks of a run that are said to be of a second training."""
    return {entry["task"] for entry in joined["scored"] if record.RETRAINED in entry["notes"]}


def test_every_addition_to_rows_of_other_weights_says_so():
    old = record.joined(provenance("a", "w1"), provenance("b", "w2"))
    assert retrained(old) == {"b"} and retrained(record.joined(old, provenance("c", "w2"))) == {"b", "c"}
    same = record.joined(provenance("a", "w1"), provenance("b", "w1"))
    assert not retrained(record.joined(same, provenance("c", "w1")))


def test_what_made_the_rows_of_before_stays_known():
    first, second, third = (
        {**provenance(task, "w1"), "git": git} for task, git in (("a", "1"), ("b", "1"), ("c", "2"))
    )
    assert "earlier" not in record.joined(first, second)
    joined = record.joined(record.joined(first, second), third)
    assert joined["git"] == "2" and [one["git"] for one in joined["earlier"]] == ["1"]
    again = record.joined(joined, {**provenance("d", "w1"), "git": "3"})
    assert [one["git"] for one in again["earlier"]] == ["1", "2"]


def test_a_task_scored_on_two_trainings_keeps_the_weights_of_its_first_rows():
    old = record.joined(provenance("a", "w1"), provenance("a", "w2", dims=[16]))
    assert [(entry["weights"], entry["dims"]) for entry in old["scored"]] == [("w1", [8, 16])]
    assert retrained(old) == {"a"} and retrained(record.joined(old, provenance("b", "w2"))) == {"a", "b"}


def test_rows_of_data_that_is_gone_are_of_no_other_weights():
    old = record.joined(provenance("a", "w1"), provenance("a", "w2", digest="data2"))
    assert [entry["weights"] for entry in old["scored"]] == ["w2"] and not retrained(old)


def test_a_width_that_is_added_leaves_the_weights_of_the_others():
    old = record.joined(provenance("a", {"8": "w8", "64": "w64"}), provenance("a", {"16": "w16"}, dims=[16]))
    assert old["training"]["weights_by_dim"] == {"8": "w8", "16": "w16", "64": "w64"}
    assert [entry["weights_by_dim"] for entry in old["scored"]] == [old["training"]["weights_by_dim"]]
    assert not retrained(old)


@pytest.mark.parametrize("recorded", [True, False])
def test_a_width_that_was_trained_again_with_other_weights_is_noticed(recorded):
    first = provenance("a", {"8": "w8", "16": "w16"})
    if not recorded:  # as earlier versions wrote it
        del first["scored"][0]["weights_by_dim"]
    old = record.joined(first, provenance("b", {"8": "other"}))
    assert retrained(old) == {"b"} and retrained(record.joined(old, provenance("c", {"8": "other"}))) == {"b", "c"}
    assert not retrained(record.joined(first, provenance("b", {"16": "w16"})))


def test_a_damaged_pack_is_told(tmp_path):
    fill(tmp_path, [NAME])
    merge.merge([tmp_path], tmp_path / "out", pack=True)
    path = tmp_path / "out" / "packed.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "cut off or edited" in broken(tmp_path / "out")
    path.with_suffix(".jsonl").unlink()
    assert "cut off or edited" in broken(tmp_path / "out")


def test_two_packs_never_double_rows(tmp_path):
    fill(tmp_path / "one", [NAME], value=0.5)
    fill(tmp_path / "two", [NAME], value=0.6)
    for pack, source in (("a", "one"), ("b", "two")):
        packed.write(tmp_path / "both" / f"{pack}.parquet", results.read(tmp_path / source).runs)
    with pytest.warns(results.BrokenRun, match="differs"):
        rows = results.read_rows(tmp_path / "both")
    assert len(rows) == 4 and set(rows["value"]) == {0.5}


def test_of_two_packs_the_one_with_every_number_of_the_other_is_taken(tmp_path):
    fill(tmp_path / "whole", [NAME])
    [(name, run)] = results.read(tmp_path / "whole").runs.items()
    part = replace(run, rows=run.rows.head(1).reset_index(drop=True))
    for pack, one in (("a", part), ("b", run)):
        packed.write(tmp_path / "both" / f"{pack}.parquet", {name: one})
    with pytest.warns(results.BrokenRun, match="this one was taken, which has more numbers"):
        assert len(results.read_rows(tmp_path / "both")) == len(run.rows) > 1


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(results.read_rows(tmp_path / "none").columns) == list(results.COLUMNS)
    assert results.read(tmp_path / "none").provenance() == {} and results.read_run(tmp_path / "none", NAME) is None


def test_the_csv_is_plain(tmp_path):
    results.write_run(tmp_path, NAME, make_rows(tasks=["a"], dims=[8]), {"title": "ü"})
    text = (tmp_path / "runs" / f"{NAME}.csv").read_text(encoding="utf-8").splitlines()
    assert text[0].split(",") == list(results.COLUMNS)
    assert text[1].endswith("float32,spearman,0.30000000000000004,0.01,100")
    assert json.loads((tmp_path / "runs" / f"{NAME}.json").read_text(encoding="utf-8"))["title"] == "ü"
    assert not problems(results.read_rows(tmp_path))
