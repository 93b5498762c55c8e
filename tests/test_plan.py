"""What a plan says of each cell: done, pending, stale, failed or skipped, why, and how long it will take."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from small_sweeps import SMALL, files, planned, request, swept, write, write_data

from mipic_bench import backbones, evaluators
from mipic_bench.analysis.quality import View
from mipic_bench.backbones import tiny
from mipic_bench.encoding.prompts import Prompts
from mipic_bench.errors import UserError
from mipic_bench.evaluators.sts import Sts
from mipic_bench.paths import shipped
from mipic_bench.planning import estimate
from mipic_bench.planning.changes import count, difference
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs
from mipic_bench.recipes.methods import find
from mipic_bench.results import failures
from mipic_bench.results import folder as results
from mipic_bench.training import checkpoint, trainer


@pytest.fixture
def asked(tmp_path):
    write_data(tmp_path / "data")
    return request(tmp_path)


@pytest.fixture
def finished(asked):
    assert swept(asked).exit_code == 0
    return asked


def only(asked):
    [cell] = planned(asked)
    return cell


def rewrite(asked, **changes):
    write_data(asked.data, **changes)


def test_a_finished_cell_is_done_and_a_new_one_pending(finished):
    assert (only(finished).status, only(finished).reason, only(finished).seconds) == ("done", "", None)
    cells = planned(replace(finished, seeds=(0, 1)))
    assert [cell.status for cell in cells] == ["done", "pending"]
    assert [cell.tasks for cell in cells] == [(), ("likeness",)]


def test_planning_writes_nothing(asked):
    planned(asked)
    assert not asked.results.exists()


def test_new_rows_in_the_corpus_make_a_cell_stale_with_both_counts(finished):
    rewrite(finished, rows=26)
    cell = only(replace(finished, tasks=("likeness",)))
    assert (cell.status, cell.reason) == ("stale", "corpus changed: 24 -> 26 rows")


def test_other_text_in_as_many_rows_is_told_as_that(finished):
    rewrite(finished, word="quite")
    assert only(finished).reason == "corpus changed: 24 rows as before, with other content"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"training": SMALL | {"max_steps": 4}}, "max_steps changed: 3 -> 4"),
        ({"training": SMALL | {"max_length": 16}}, "max_length changed: 12 -> 16"),
        ({"dtype": "bfloat16"}, "dtype changed: float32 -> bfloat16"),
        ({"training": SMALL | {"pooling": "cls"}}, "pooling changed: "),
    ],
)
def test_what_decides_the_training_makes_a_cell_stale(finished, changes, reason):
    cell = only(replace(finished, **changes))
    assert cell.status == "stale"
    assert reason in cell.reason


def test_prompts_make_another_run(asked):
    pretrained = replace(asked, methods=tuple(find(["pretrained"])))
    prompts = (Prompts(), Prompts("find: "), Prompts("search: "), Prompts("find: ", query="ask: "))
    assert len({only(replace(pretrained, prompts=one)).run for one in prompts}) == 4


def test_a_raised_version_of_a_used_part_makes_a_cell_stale(finished, monkeypatch):
    monkeypatch.setattr(trainer, "VERSION", trainer.VERSION + 1)
    assert only(finished).reason == f"the training loop's version changed: {trainer.VERSION - 1} -> {trainer.VERSION}"


def test_a_term_that_came_or_went_is_named():
    old = {"recipe": {"terms": {"a": {"weight": 1.0, "version": 1}, "b": {"weight": 1.0, "version": 1}}}}
    new = {"recipe": {"terms": {"a": {"weight": 0.5, "version": 2}, "c": {"weight": 1.0}}}}
    assert difference(old, new) == ("term b is gone; term c is new; the version of term a changed: 1 -> 2; and 1 more")
    assert difference(old, json.loads(json.dumps(old))) == ""
    assert difference({"recipe": {"dims": [1, 2]}}, {"recipe": {"dims": (1, 2)}}) == ""


def test_two_corpora_or_backbones_of_one_name_are_refused(asked):
    for folder, word in (("a", "one"), ("b", "two")):
        write(asked.data.parent / folder / "notes.csv", ("text",), [(f"{word} {number}",) for number in range(9)])
    both = tuple(str(asked.data.parent / folder / "notes.csv") for folder in ("a", "b"))
    with pytest.raises(UserError, match=f"{both[0]} and {both[1]} are both called notes"):
        planned(replace(asked, corpora=both))
    for number, folder in enumerate(("x/one/mine", "y/one/mine")):
        model = tiny.model()
        model.embeddings.word_embeddings.weight.data[5] += number
        model.save_pretrained(asked.data.parent / folder)
        tiny.tokenizer().save_pretrained(asked.data.parent / folder)
    both = tuple(str(asked.data.parent / folder) for folder in ("x/one/mine", "y/one/mine"))
    with pytest.raises(UserError, match=r"--backbone.* are both called one__mine"):
        planned(replace(asked, methods=tuple(find(["pretrained"])), backbones=both))


def test_counts_are_told_with_both_values():
    assert count(15458, 15460) == "15458 -> 15460 rows"
    assert count(None, 3, "scored rows") == "now 3 scored rows"


def test_titles_devices_and_threads_make_nothing_stale(finished):
    [recipe] = finished.methods
    renamed = replace(recipe, body={**recipe.body, "title": "Another title"})
    assert only(replace(finished, methods=(renamed,), device="cuda", jobs=4)).status == "done"


def test_scrambled_weights_of_a_local_backbone_are_never_served(asked, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "models" / "mine"
    checkpoint.keep(folder, backbones.load("tiny"), {})
    mine = replace(asked, backbones=(str(folder),))
    assert swept(mine).exit_code == 0
    before, rows = only(mine), files(mine.results)
    state = (folder / "model.safetensors").stat()
    scramble(folder / "model.safetensors")
    os.utime(folder / "model.safetensors", ns=(state.st_atime_ns, state.st_mtime_ns))  # as a careless copy leaves it
    after = only(mine)
    assert (before.status, after.status) == ("done", "stale")
    assert "the backbone's weights or configuration are not the same (sha256" in after.reason
    assert after.run != before.run
    assert swept(mine).exit_code == 0
    assert set(files(mine.results)) == {before.run, after.run}
    assert files(mine.results)[before.run] == rows[before.run]
    assert files(mine.results)[after.run].split(b"\n", 1)[1] != rows[before.run].split(b"\n", 1)[1]


def scramble(path):
    content = path.read_bytes()
    path.write_bytes(content[:-4000] + bytes(4000))


def test_the_newest_of_two_runs_of_a_cell_counts_in_reports(finished):
    old = only(finished).run
    newer = replace(finished, training=SMALL | {"max_steps": 4})
    assert swept(newer).exit_code == 0
    store = results.read(finished.results)
    for record in store.runs.values():
        record.provenance["created"] = "2026-01-0" + ("1" if record.provenance["run"] == old else "2")
    view = View(store.rows(), store.provenance())
    assert set(view.rows["run"]) == {only(newer).run}
    assert any(old in note for note in view.notes)


def test_the_newest_of_the_older_runs_is_compared_with(finished):
    newer = replace(finished, training=SMALL | {"max_steps": 5})
    assert swept(newer).exit_code == 0
    run = finished.results / "runs" / f"{only(finished).run}.json"
    run.write_text(run.read_text().replace('"created": "20', '"created": "10'))
    assert only(replace(finished, training=SMALL | {"max_steps": 9})).reason == "max_steps changed: 5 -> 9"


def test_new_tasks_and_budgets_are_added(finished):
    run = only(finished).run
    before = results.read_run(finished.results, run)
    wider = replace(finished, tasks=("likeness", "kinds"), dims=(8, 16, 64))
    cell = only(wider)
    assert (cell.run, cell.status) == (run, "pending")
    assert cell.reason == "likeness: 2 budgets not scored yet; kinds: not scored yet"
    assert swept(wider).exit_code == 0
    after = results.read_run(finished.results, run)
    assert only(wider).status == only(finished).status == "done"
    assert set(after.rows["task"]) == {"likeness", "kinds"}
    both = before.rows.merge(after.rows, on=list(before.rows.columns))
    assert len(both) == len(before.rows)
    [entry] = [entry for entry in after.provenance["scored"] if entry["task"] == "likeness"]
    assert entry["dims"] == [8, 16, 64]


def test_a_narrower_request_keeps_what_was_scored(finished):
    narrow = replace(finished, tasks=("likeness", "kinds"), dims=(8,))
    assert swept(narrow).exit_code == 0
    run = results.read_run(finished.results, only(finished).run)
    assert sorted(set(run.rows[run.rows["task"] == "likeness"]["dim"])) == [8, 64]
    assert sorted(set(run.rows[run.rows["task"] == "kinds"]["dim"])) == [8]


def test_rows_whose_data_changed_are_dropped_whole(finished):
    both = replace(finished, tasks=("likeness", "kinds"))
    assert swept(both).exit_code == 0
    write(
        finished.data / "likeness" / "test.csv",
        ("sentence1", "sentence2", "score"),
        [("a", "b", 1), ("a", "c", 2), ("d", "c", 3)],
    )
    narrow = replace(both, dims=(8,))
    assert only(narrow).reason == "likeness: its data changed: 24 -> 3 scored rows"
    assert swept(narrow).exit_code == 0
    run = results.read_run(finished.results, only(narrow).run)
    own = run.rows[run.rows["task"] == "likeness"]
    assert (set(own["dim"]), set(own["n"])) == ({8}, {3})  # the rows at dim 64 were of data that is gone
    assert set(run.rows[run.rows["task"] == "kinds"]["dim"]) == {8, 64}


def test_a_new_version_of_a_scorer_makes_its_rows_stale_alone(finished, monkeypatch):
    monkeypatch.setattr(Sts, "version", Sts.version + 1)
    cell = only(finished)
    assert (cell.status, cell.tasks) == ("pending", ("likeness",))
    assert cell.reason == f"likeness: its scorer changed: version {Sts.version - 1} -> {Sts.version}"


def test_a_precision_may_be_scored_at_the_last_layer_alone(asked):
    both = replace(asked, precisions=("float32", "binary@last"))
    assert not swept(both).failed
    [cell] = planned(both)
    assert cell.status == "done"
    rows = results.read(asked.results).runs[cell.run].rows
    assert set(zip(rows["layer"], rows["precision"], strict=True)) == {(2, "float32"), (4, "float32"), (4, "binary")}
    assert "2 budgets not scored yet" in planned(replace(asked, precisions=("float32", "binary")))[0].reason


def test_a_precision_that_is_named_twice_is_scored_once(asked):
    twice = replace(asked, precisions=("binary", "float32", "binary", "float32@last"))
    assert not swept(twice).failed
    [cell] = planned(twice)
    rows = results.read(asked.results).runs[cell.run].rows
    assert cell.status == "done" and set(rows["precision"]) == {"float32", "binary"}
    assert not rows.duplicated(["layer", "dim", "precision", "task", "metric"]).any()


def test_a_method_may_have_a_learning_rate_of_its_own(asked):
    request = replace(asked, methods=tuple(find(["mrl", "full"])), rates={"": 1e-4, "mrl": 3e-4})
    rates = {cell.recipe.method: cell.recipe.training.learning_rate for cell in planned(request)}
    assert rates == {"full": 1e-4, "mrl": 3e-4}


def test_a_rate_that_its_schedule_cannot_lower_is_told(asked):
    def told(**training):
        own = replace(asked, training={**asked.training, "learning_rate": 1e-6, **training})
        inputs = Inputs(own)
        return [note for note in inputs.notes(plan(own, inputs)) if "schedule is flat" in note]

    [note] = told()
    assert "learning_rate 1e-06 is not above training.min_learning_rate 2e-06" in note
    assert told(min_learning_rate=0.0) == told(schedule="constant") == []


def test_precisions_that_a_family_does_not_know_are_no_missing_budgets(asked):
    every = replace(asked, tasks=("likeness", "kinds"), precisions=evaluators.PRECISIONS)
    assert swept(every).exit_code == 0
    assert (only(every).status, only(every).reason) == ("done", "")
    run = results.read_run(every.results, only(every).run)
    assert set(run.rows["precision"]) == {"float32", "binary", "int8"}
    assert set(run.rows[run.rows["task"] == "likeness"]["precision"]) == {
        "float32",
        "binary",
    }  # no rows to take limits from


def test_text_for_a_backbone_without_dropout_is_skipped(asked, monkeypatch):
    write(asked.data / "plain" / "train.csv", ("text",), [(f"text {number}",) for number in range(9)])
    monkeypatch.setattr(backbones.Backbone, "has_dropout", False)
    cells = planned(replace(asked, corpora=("plain", "pairs")))
    assert [cell.status for cell in cells] == ["skipped", "pending"]
    assert "has no dropout" in cells[0].reason
    assert swept(replace(asked, corpora=("plain", "pairs"))).counts == {"skipped": 1, "done": 1}


def test_a_recorded_failure_is_shown_with_its_reason(asked):
    failures.write(asked.results, only(asked).run, "step 3: term 'task' is nan", "Traceback ...")
    assert (only(asked).status, only(asked).reason) == ("failed", "step 3: term 'task' is nan")


def test_methods_without_training_have_one_cell_per_backbone(asked):
    cells = planned(replace(asked, methods=tuple(find(["pretrained", "mrl"])), seeds=(0, 1, 2)))
    assert [(cell.recipe.method, cell.corpus, cell.seed) for cell in cells] == [
        ("pretrained", "", None),
        *(("mrl", "pairs", seed) for seed in (0, 1, 2)),
    ]


def test_widths_of_a_recipe_of_its_own_are_scored_beside_the_default_ones(asked, tmp_path):
    recipe = (shipped("methods") / "mrl.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text("dims = [3, 12]\n" + recipe, encoding="utf-8")
    [mrl, own] = planned(replace(asked, methods=tuple(find(["mrl", str(tmp_path / "own.toml")])), dims=None))
    assert own.dims == tuple(sorted({3, 12, *mrl.dims})) and not {3, 12} & set(mrl.dims)


def test_a_fitted_method_has_a_cell_per_corpus_and_per_seed_only_if_its_fit_draws(asked):
    cells = planned(replace(asked, methods=tuple(find(["pca", "pivot-untrained", "random-dims"])), seeds=(0, 3)))
    assert [(cell.recipe.method, cell.corpus, cell.seed) for cell in cells] == [
        ("pca", "pairs", None),
        *((name, "pairs", seed) for name in ("pivot-untrained", "random-dims") for seed in (0, 3)),
    ]


def test_one_cell_asked_for_twice_stands_once(asked):
    assert len(planned(replace(asked, backbones=("tiny", "tiny"), corpora=("pairs", str(asked.data / "pairs"))))) == 1


def test_a_corpus_given_as_a_file_has_its_own_name_and_trains(asked, tmp_path):
    shutil.copy(asked.data / "pairs" / "train.csv", tmp_path / "my-pairs.csv")
    own = replace(asked, corpora=(str(tmp_path / "my-pairs.csv"),))
    assert only(own).corpus == "my-pairs"
    assert swept(own).exit_code == 0
    assert only(own).status == "done"


def test_two_tasks_of_one_name_are_refused(asked, tmp_path):
    write(
        tmp_path / "other" / "likeness" / "test.csv",
        ("sentence1", "sentence2", "score"),
        [("a", "b", 1), ("c", "d", 2)],
    )
    with pytest.raises(UserError, match="two different tasks are called likeness"):
        planned(replace(asked, tasks=("likeness", str(tmp_path / "other" / "likeness"))))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"precisions": ("int4",)}, "--precision"),
        ({"precisions": ("int4@last",)}, "--precision"),
        ({"rates": {"mlr": 1e-4}}, "--learning-rate"),
        ({"dims": (65,)}, "--dims"),
        ({"dims": (0,)}, "--dims"),
        ({"layers": (5,)}, "--layers"),
        ({"cluster": "here:1", "keep_checkpoints": True}, "--cluster"),
        ({"cluster": "here:1", "keep_vectors": True}, "--cluster"),
        ({"training": {"batch_size": 1}}, "training"),
        ({"backbones": ("tinny",)}, "backbone"),
        ({"corpora": ("peirs",)}, "--corpus"),
        ({"tasks": ("../likeness",)}, "--task"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_written(asked, changes, where):
    with pytest.raises(UserError) as caught:
        planned(replace(asked, **changes))
    assert where in caught.value.where
    assert not asked.results.exists()


def test_a_results_folder_that_is_a_file_is_refused(asked):
    asked.results.write_text("in the way")
    with pytest.raises(UserError, match="is a file, not a folder"):
        planned(asked)


def test_one_of_several_processes_of_a_training_is_refused(asked, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="use --jobs"):
        planned(asked)


def test_the_estimate_scales_a_finished_run(finished):
    run = finished.results / "runs" / f"{only(finished).run}.json"
    record = json.loads(run.read_text())
    record["training"]["seconds"], record["scoring_seconds"] = 30.0, 4.0  # 10 seconds a step
    run.write_text(json.dumps(record))
    [_, same] = planned(replace(finished, seeds=(0, 1)))
    assert same.seconds == pytest.approx(34.0)
    longer = replace(finished, seeds=(1,), training=SMALL | {"max_steps": 6, "batch_size": 8})
    assert only(longer).seconds == pytest.approx(6 * 20.0 + 4.0)
    epochs = replace(finished, seeds=(1,), training={"epochs": 2, "batch_size": 4, "max_length": 12})
    assert only(epochs).seconds == pytest.approx(12 * 10.0 + 4.0)
    assert estimate.sentence([same, same], jobs=2) == "about 34 s left, judged by finished runs"
    assert only(replace(finished, seeds=(1,), methods=tuple(find(["pretrained"])))).seconds is None


def test_an_estimate_without_any_run_is_none(asked):
    assert only(asked).seconds is None
    assert estimate.sentence([only(asked)], 1) == "no finished run tells how long this will take"
    assert [estimate.duration(time) for time in (12, 600, 7200)] == ["12 s", "10 min", "2.0 h"]


def test_kept_weights_and_unfinished_training_are_told(finished):
    kept = replace(finished, keep_checkpoints=True)
    assert only(kept).reason == "its weights were not kept"
    assert swept(kept).exit_code == 0
    assert only(kept).status == "done"
    assert only(replace(finished, tasks=("kinds",))).reason == "kinds: not scored yet; its weights were kept"
    new = replace(finished, seeds=(7,))
    place = finished.results / checkpoint.UNFINISHED / only(new).run
    checkpoint.write(place, {"a": torch.zeros(1)}, {"history": {"steps": 2}})
    assert only(new).reason == "goes on after step 2"
