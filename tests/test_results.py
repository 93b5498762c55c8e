import contextlib
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipic_bench import commit, merge, packed, results
from mipic_bench.errors import UserError
from mipic_bench.rows import IDENTITY, from_csv, problems, to_csv, typed, union

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
    provenance = results.read_provenance(tmp_path)[NAME]
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
        results.write_run(
            folder, name, make_rows(name, value=value, **columns), {"made": folder.name, "scored": [name]}
        )


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


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(results.read_rows(tmp_path / "none").columns) == list(results.COLUMNS)
    assert results.read_provenance(tmp_path / "none") == {} and results.read_run(tmp_path / "none", NAME) is None


def test_the_csv_is_plain(tmp_path):
    results.write_run(tmp_path, NAME, make_rows(tasks=["a"], dims=[8]), {"title": "ü"})
    text = (tmp_path / "runs" / f"{NAME}.csv").read_text(encoding="utf-8").splitlines()
    assert text[0].split(",") == list(results.COLUMNS)
    assert text[1].endswith("float32,spearman,0.30000000000000004,0.01,100")
    assert json.loads((tmp_path / "runs" / f"{NAME}.json").read_text(encoding="utf-8"))["title"] == "ü"
    assert not problems(results.read_rows(tmp_path))
