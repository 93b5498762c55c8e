"""Sweeps: each cell once; a failure stays with its cell; stopping, resuming, kept weights; the same rows again."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import psutil
import pytest
import torch
from small_sweeps import SMALL, files, planned, request, swept, write, write_data

from mipic_bench.errors import UserError
from mipic_bench.evaluators.classification import Classification
from mipic_bench.evaluators.sts import Sts
from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs
from mipic_bench.recipes.methods import find
from mipic_bench.results import failures, locks
from mipic_bench.results import folder as results
from mipic_bench.running import attempts, engines, run, stopping, sweep
from mipic_bench.running.progress import Reporter
from mipic_bench.running.stopping import STOP, Stopped
from mipic_bench.training import checkpoint, trainer


@pytest.fixture
def asked(tmp_path):
    write_data(tmp_path / "data")
    return request(tmp_path)


def breaking(monkeypatch, error, where="mrl"):
    """Let the training of one method fail; return a switch that mends it."""
    whole, broken = trainer.train, [True]

    def train(backbone, recipe, *rest, **more):
        if broken[0] and recipe.method == where:
            raise error
        return whole(backbone, recipe, *rest, **more)

    monkeypatch.setattr(trainer, "train", train)
    return broken


ERRORS = [
    (trainer.TrainingError("step 3: term 'task' is nan"), "step 3: term 'task' is nan"),
    (
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        "out of memory, take a smaller --batch-size",
    ),
    (MemoryError(), "out of memory"),
    (RuntimeError("first line\nsecond line"), "RuntimeError: first line"),
    (UserError("train.csv", "holds an empty text", "mend it"), "train.csv: holds an empty text"),
]


@pytest.mark.parametrize(("error", "reason"), ERRORS)
def test_a_failing_cell_is_recorded_and_the_others_finish(asked, monkeypatch, error, reason):
    both = replace(asked, methods=tuple(find(["mrl", "full"])))
    breaking(monkeypatch, error)
    summary = swept(both)
    assert (summary.exit_code, summary.counts) == (1, {"failed": 1, "done": 1})
    [failed] = [cell for cell in planned(both) if cell.status == "failed"]
    assert failed.recipe.method == "mrl"
    assert reason in failed.reason
    record = json.loads((asked.results / "failures" / f"{failed.run}.json").read_text())
    trace = (asked.results / record["traceback"]).read_text()
    assert "Traceback (most recent call last)" in trace
    assert type(error).__name__ in trace
    assert set(files(asked.results)) == {cell.run for cell in planned(both) if cell.status == "done"}


def test_the_next_run_tries_again_unless_told_not_to(asked, monkeypatch):
    broken = breaking(monkeypatch, RuntimeError("boom"))
    assert swept(asked).exit_code == 1
    broken[0] = False
    kept = swept(replace(asked, retry=False))
    assert (kept.exit_code, kept.counts, kept.failed[0].reason) == (1, {"failed": 1}, "RuntimeError: boom")
    assert swept(asked).exit_code == 0
    assert planned(asked)[0].status == "done"
    assert not list((asked.results / "failures").iterdir())


def test_a_task_that_cannot_be_scored_leaves_the_others_written(asked, monkeypatch):
    both = replace(asked, tasks=("kinds", "likeness"))

    def unable(*_):
        raise ValueError("no class has two rows")
        yield

    with monkeypatch.context() as broken:
        broken.setattr(Classification, "_score", unable)
        summary = swept(both)
    assert summary.failed[0].reason == "task kinds: ValueError: no class has two rows"
    [cell] = planned(both)
    assert (cell.status, cell.tasks) == ("failed", ("kinds",))
    assert set(results.read_run(asked.results, cell.run).rows["task"]) == {"likeness"}
    assert swept(both).exit_code == 0
    assert set(results.read_run(asked.results, cell.run).rows["task"]) == {"likeness", "kinds"}


def test_every_task_that_cannot_be_scored_is_told(asked, monkeypatch):
    every = replace(asked, tasks=("likeness", "kinds", "more"))
    scores = [("a b", "c d", 1), ("e", "f", 0), ("g", "h", 2)]
    write(asked.data / "more" / "test.csv", ("sentence1", "sentence2", "score"), scores)
    with monkeypatch.context() as broken:
        broken.setattr(Sts, "score", Mock(side_effect=ValueError("no")))
        [failed] = swept(every).failed
    assert failed.reason == "task likeness: ValueError: no; task more: ValueError: no"
    assert "2 sub-exceptions" in failed.traceback
    assert [cell.tasks for cell in planned(every)] == [("likeness", "more")]
    assert swept(every).exit_code == 0


def test_what_changed_after_the_plan_was_made_is_not_run(asked):
    cells = planned(asked)
    write_data(asked.data, word="quite")
    inputs = Inputs(asked)
    summary = sweep.sweep(cells, asked, inputs, Reporter(quiet=True))
    assert "the corpus changed after the plan was made" in summary.failed[0].reason
    assert not files(asked.results)


def test_the_same_sweep_gives_the_same_rows_bit_for_bit(asked, tmp_path):
    every = replace(asked, methods=tuple(find(["mipic", "mrl"])), seeds=(0, 1), tasks=("likeness", "kinds"))
    assert swept(every).counts == {"done": 4}
    assert swept(replace(every, results=tmp_path / "again")).counts == {"done": 4}
    assert files(every.results) == files(tmp_path / "again")
    values = {content.split(b"\n", 1)[1] for content in files(every.results).values()}
    assert len(values) == 4


def test_a_finished_sweep_touches_nothing(asked):
    swept(asked)
    before = {path: path.stat().st_mtime_ns for path in asked.results.rglob("*") if path.is_file()}
    assert swept(asked).counts == {"done": 1}
    assert {path: path.stat().st_mtime_ns for path in asked.results.rglob("*") if path.is_file()} == before


def test_kept_weights_are_scored_without_training_again(asked, monkeypatch):
    kept = replace(asked, keep_checkpoints=True)
    assert swept(kept).exit_code == 0
    whole = swept(replace(asked, tasks=("likeness", "kinds"), results=asked.results.parent / "whole"))
    assert whole.exit_code == 0
    breaking(monkeypatch, AssertionError("trained again"))
    assert swept(replace(asked, tasks=("kinds",))).exit_code == 0
    [run_name] = files(asked.results)
    added = results.read_run(asked.results, run_name)
    [_, entry] = added.provenance["scored"]
    assert entry["weights"] == added.provenance["training"]["weights"]
    assert not any("second training" in note for note in entry["notes"])


def test_rows_of_a_second_training_with_other_weights_say_so(asked, monkeypatch):
    assert swept(asked).exit_code == 0
    monkeypatch.setattr(checkpoint, "state_digest", lambda model: "other")
    assert swept(replace(asked, tasks=("kinds",))).exit_code == 0
    [run_name] = files(asked.results)
    notes = {entry["task"]: entry["notes"] for entry in results.read_run(asked.results, run_name).provenance["scored"]}
    assert any("second training" in note for note in notes["kinds"])
    assert not any("second training" in note for note in notes["likeness"])


def test_what_every_call_of_a_scorer_noted_is_kept(asked):
    """A precision at the last layer alone is a second call: the fits of the first are told too."""
    asked = replace(asked, tasks=("kinds",), precisions=("float32", "binary@last"))
    assert swept(asked).exit_code == 0
    [run_name] = files(asked.results)
    [entry] = results.read_run(asked.results, run_name).provenance["scored"]
    fits = [note.partition(": ")[2].partition(" probe")[0] for note in entry["notes"] if "probe fits" in note]
    assert sorted(fits) == ["2 of 2", "4 of 4"]


class Cut(BaseException):
    """As if the process had been killed."""


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_interrupted_cell_goes_on_and_gives_the_same_rows(asked, tmp_path, monkeypatch, step):
    other = replace(asked, results=tmp_path / "uninterrupted")
    swept(other)
    offer = checkpoint.Saver.offer

    def cut(self, *args, **more):
        offer(self, *args, **more)
        if args[3]["history"]["steps"] == step:
            raise Cut

    with monkeypatch.context() as broken:
        broken.setattr(checkpoint.Saver, "offer", cut)
        with pytest.raises(Cut):
            swept(replace(asked, checkpoint_every=0.0))
    [cell] = planned(asked)
    assert (cell.status, cell.reason) == ("pending", f"goes on after step {step}")
    assert swept(asked).exit_code == 0
    assert files(asked.results) == files(other.results)
    assert not list((asked.results / "unfinished").iterdir())
    measured = [
        results.read(place.results).runs[cell.run].provenance["training"]["memory_mb"] for place in (other, asked)
    ]
    assert measured[0] is None or measured[0] > 0
    assert measured[1] is None  # the peak of the process that was cut off is not known


def test_a_stop_during_training_leaves_a_checkpoint_and_no_failure(asked, monkeypatch):
    set_rate = trainer.set_rate

    def at_second_step(optimizer, settings, step, steps):
        set_rate(optimizer, settings, step, steps)
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as stopped:
        stopped.setattr(trainer, "set_rate", at_second_step)
        summary = swept(replace(asked, seeds=(0, 1)))
    assert (summary.exit_code, summary.signal, summary.counts) == (130, signal.SIGINT, {"not finished": 2})
    assert not STOP.requested()
    assert [cell.reason for cell in planned(replace(asked, seeds=(0, 1)))] == ["goes on after step 2", ""]
    assert not (asked.results / "failures").exists()
    assert not list((asked.results / "locks").glob("*.lock"))
    assert swept(replace(asked, seeds=(0, 1))).exit_code == 0


@pytest.mark.parametrize("method", ["pretrained", "mrl"])
def test_a_stop_during_scoring_keeps_the_tasks_that_are_scored(asked, tmp_path, monkeypatch, method):
    both = replace(asked, methods=tuple(find([method])), tasks=("likeness", "kinds"))
    other = replace(both, results=tmp_path / "uninterrupted")
    swept(other)
    score, scored = run._score, []

    def then_stop(cell, *rest):
        for item in score(cell, *rest):
            scored.append(item.fold.data.name)
            signal.raise_signal(signal.SIGINT)
            yield item

    monkeypatch.setattr(run, "_score", then_stop)
    assert (swept(both).counts, scored) == ({"not finished": 1}, ["likeness"])
    [cell] = planned(both)
    assert (cell.status, cell.tasks) == ("pending", ("kinds",))
    assert swept(both).counts == {"done": 1}  # stopped after the last task: nothing is missing
    assert (planned(both)[0].status, scored) == ("done", ["likeness", "kinds"])
    assert files(both.results) == files(other.results)


def test_the_second_signal_ends_the_process_at_once(monkeypatch):
    ended = []
    monkeypatch.setattr(stopping.os, "kill", lambda pid, number: ended.append((pid, number)))
    first, before = [], signal.getsignal(signal.SIGINT)  # ignored where the suite runs in the background of a script
    with stopping.listening(first.append, lambda: ended.append("children")):
        signal.raise_signal(signal.SIGTERM)
        assert (first, ended) == ([signal.SIGTERM], [])
        signal.raise_signal(signal.SIGTERM)
    assert ended == ["children", (os.getpid(), signal.SIGTERM)]
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_no_signal_is_taken():
    found, before = [], signal.getsignal(signal.SIGINT)

    def work():
        with stopping.listening(lambda number: None, lambda: None):
            stopping.heed(failures.now())
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_signal_of_an_earlier_sweep_does_not_stop_a_worker(monkeypatch):
    monkeypatch.setattr(stopping, "STOP", stop := stopping.Stop())
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        first = failures.now()
        stopping.heed(first)
        signal.raise_signal(signal.SIGINT)
        stopping.heed(first)  # the next cell of the same sweep, or the first of one that was already stopped
        assert stop.requested()
        stopping.heed(failures.now())
        assert not stop.requested()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_worker_loads_inputs_once_in_a_sweep_and_anew_in_the_next(asked, monkeypatch):
    monkeypatch.setattr(engines, "_inputs", [])
    first = engines._inputs_of(asked, "first")
    assert engines._inputs_of(replace(asked), "first") is first
    assert engines._inputs_of(asked, "second") is not first


def test_a_cell_that_another_process_runs_is_waited_for(asked, monkeypatch):
    monkeypatch.setattr(sweep, "_POLL", 0.05)
    [cell] = planned(asked)
    with locks.Locks(asked.results) as others:
        assert others.take(cell.run) is None
        said = []
        reporter = Reporter(quiet=True)
        monkeypatch.setattr(reporter, "say", said.append)
        threading.Timer(0.5, lambda: others.release(cell.run)).start()
        summary = sweep.sweep([cell], asked, Inputs(asked), reporter)
    assert summary.counts == {"done": 1}
    assert sum("waiting for 1 cell " in text for text in said) == 1


def test_a_cell_that_another_process_finished_is_not_run_again(asked, monkeypatch):
    cells = planned(asked)
    assert swept(asked).exit_code == 0
    breaking(monkeypatch, AssertionError("run again"))
    assert sweep.sweep(cells, asked, Inputs(asked), Reporter(quiet=True)).counts == {"done": 1}


def test_a_cell_that_failed_elsewhere_meanwhile_is_not_tried_again(asked):
    cells = planned(asked)
    with locks.Locks(asked.results) as own:
        shared = partial(attempts.Sweep, asked, Inputs(asked), Reporter(quiet=True), own, "")
        failed = failures.write(asked.results, cells[0].run, "boom", "Traceback")
        late = attempts.attempt(cells[0], shared(known={}))
        assert (late.status, late.reason) == ("failed", "boom")
        before = attempts.attempt(cells[0], shared(known={cells[0].run: failed.time}))  # whatever the clock says
        assert before.status == "done"


def test_the_failure_of_a_task_is_none_of_others(asked, monkeypatch):
    score = Classification.score
    breaking_task = replace(asked, tasks=("likeness", "kinds"))
    with monkeypatch.context() as broken:
        broken.setattr(Classification, "score", lambda *_: 1 / 0)
        assert swept(breaking_task).exit_code == 1
    assert Classification.score is score
    [cell] = planned(breaking_task)
    assert (cell.status, failures.read(asked.results)[cell.run].task) == ("failed", "kinds")
    write(
        asked.data / "more" / "test.csv",
        ("sentence1", "sentence2", "score"),
        [("a b", "c d", 1), ("e", "f", 0), ("g", "h", 2)],
    )
    other = replace(asked, tasks=("more",), retry=False)
    assert [one.status for one in planned(other)] == ["pending"] and swept(other).exit_code == 0
    assert [one.status for one in planned(other)] == ["done"]


def test_a_training_for_more_tasks_survives_those_that_are_done(asked):
    assert swept(asked).exit_code == 0
    [cell] = planned(asked)
    place = asked.results / checkpoint.UNFINISHED / cell.run
    checkpoint.write(place, {"a": torch.zeros(1)}, {"history": {"steps": 2}})
    assert swept(asked).exit_code == 0
    assert planned(replace(asked, tasks=("likeness", "kinds")))[0].reason.endswith("goes on after step 2")


def test_cells_of_two_threads_do_not_share_the_generator(asked):
    apart = [replace(asked, seeds=(seed,), results=asked.results.with_name(f"apart{seed}")) for seed in (0, 1)]
    together = [replace(one, results=asked.results.with_name(f"together{one.seeds[0]}")) for one in apart]
    for one in apart:
        assert swept(one).exit_code == 0
    threads = [threading.Thread(target=swept, args=(one,)) for one in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [files(one.results) for one in together] == [files(one.results) for one in apart]


def test_a_worker_that_is_alive_stays_offline_when_asked(asked, monkeypatch):
    monkeypatch.setattr(engines, "stay_offline", lambda: said.append("offline"))
    monkeypatch.setattr(engines.stopping, "heed", lambda begun: None)
    said: list[str] = []
    for offline in (False, True):
        [cell] = planned(asked)
        engines._local(cell, replace(asked, offline=offline), "", "", 1)
        engines._remote(cell, replace(attempts.travelling(asked), offline=offline), "now")
    assert said == ["offline", "offline"]


def test_a_results_folder_that_cannot_be_written_to_is_told_before_any_training(asked, monkeypatch):
    cells = planned(asked)
    asked.results.mkdir()
    (asked.results / "locks").write_text("in the way")
    breaking(monkeypatch, AssertionError("trained"))
    with pytest.raises(UserError, match="cannot be written"):
        sweep.sweep(cells, asked, Inputs(asked), Reporter(quiet=True))


def test_a_full_disk_at_the_end_is_told_and_costs_no_finished_run(asked, monkeypatch):
    assert swept(asked).exit_code == 0
    before = files(asked.results)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(results.commit, "_write", full)
    with pytest.raises(UserError, match="No space left on device"):
        swept(replace(asked, seeds=(0, 1)))
    assert files(asked.results) == before


@pytest.mark.slow
def test_jobs_give_the_rows_of_one_process_and_isolate_failures(asked, tmp_path):
    every = replace(asked, methods=tuple(find(["mrl", "full", "pretrained"])), seeds=(0, 1))
    bad = replace(every, corpora=("pairs", "broken"))
    write(asked.data / "broken" / "train.csv", ("anchor", "positive"), [("a", "b"), ("c", "d")])
    cells = plan(bad, Inputs(bad))
    write(asked.data / "broken" / "train.csv", ("anchor", "positive"), [("a", ""), ("c", "d")])
    many = replace(bad, jobs=2)
    summary = sweep.sweep(cells, many, Inputs(many), Reporter(quiet=True))
    assert summary.counts == {"done": 5, "failed": 4}
    assert all("broken" in outcome.run for outcome in summary.failed)
    one = replace(every, results=tmp_path / "one")
    assert swept(one).exit_code == 0
    assert files(one.results) == files(every.results)


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_one_cell(asked):
    every = replace(
        asked, methods=tuple(find(["mrl", "full"])), seeds=(0, 1), training=SMALL | {"max_steps": 40}, jobs=2
    )
    culprit = planned(every)[1].run
    over = threading.Event()

    def hunt():
        while not over.wait(0.02):
            if holder := locks.holder(asked.results, culprit):
                os.kill(holder.pid, signal.SIGKILL)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        summary = swept(every)
    finally:
        over.set()
        hunter.join()
    assert summary.counts == {"done": 3, "failed": 1}
    assert summary.failed[0].run == culprit
    assert "killed from outside" in summary.failed[0].reason
    assert swept(every).exit_code == 0


class Dask:
    """Stands in for the module of dask's client."""

    def __init__(self, threads=None):
        self.threads, self.closed = threads, False

    def Client(self, address, **_):  # noqa: N802 - the module's own name
        if self.threads is None:
            raise OSError(f"Timed out trying to connect to {address}")
        return self

    def nthreads(self):
        return self.threads

    def close(self):
        self.closed = True


@pytest.mark.parametrize(
    ("dask", "what"),
    [
        (Dask(), "cannot be reached: Timed out trying to connect to tcp://localhost:8786"),
        (Dask({}), "has no workers"),
        (Dask({"a": 1, "b": 4}), "workers of up to 4 threads"),
    ],
)
def test_a_cluster_that_cannot_run_cells_is_told(monkeypatch, dask, what):
    monkeypatch.setattr(engines, "import_module", lambda name: dask)
    with pytest.raises(UserError, match=what):
        engines._client("localhost:8786")
    assert dask.closed == (dask.threads is not None)


def test_dask_that_is_not_installed_is_told(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(engines, "import_module", missing)
    with pytest.raises(UserError, match="dask is not installed"):
        engines._client("localhost:8786")


class Future:
    """Stands in for a future of dask's client."""

    def __init__(self, status, answer=None):
        self.status, self.answer = status, answer

    def result(self):
        return self.answer

    exception = result


class KilledWorker(Exception):  # noqa: N818 - dask's own name
    """Stands in for dask's."""


@pytest.mark.parametrize(
    ("future", "reason"),
    [
        (Future("error", KilledWorker("died 4 times")), "killed from outside"),
        (Future("cancelled"), "killed from outside"),
        (Future("error", ModuleNotFoundError("No module named 'mipic_bench'")), "No module named 'mipic_bench'"),
    ],
)
def test_a_cell_that_no_worker_could_run_is_a_failure_and_no_hang(future, reason):
    outcome = engines._result("run", future)
    assert outcome.status == "failed"
    assert reason in outcome.reason
    assert outcome.traceback


def test_what_a_cluster_computed_is_written_here(asked):
    [cell] = planned(asked)
    outcome = engines._remote(cell, attempts.travelling(asked), "now")
    assert not files(asked.results)
    written = engines._written(engines._result(cell.run, Future("finished", outcome)), asked)
    assert (written.status, written.finished) == ("done", None)
    assert planned(asked)[0].status == "done"


def test_a_checkpoint_that_a_killed_process_left_of_a_done_cell_goes(asked):
    assert swept(asked).exit_code == 0
    [cell] = planned(asked)
    left = asked.results / checkpoint.UNFINISHED / cell.run
    checkpoint.write(left, {"a": torch.zeros(2)}, {})
    os.utime(left / "training.json", (0, 0))  # before the rows
    assert swept(asked).exit_code == 0 and not left.exists()


def test_a_cell_found_done_on_a_cluster_is_let_go(asked, monkeypatch):
    monkeypatch.setattr(engines, "_client", lambda address: Mock())
    monkeypatch.setattr(engines, "import_module", lambda name: Mock(as_completed=lambda futures, loop: []))
    assert swept(asked).exit_code == 0
    cells = [replace(cell, status="pending") for cell in planned(asked)]
    with locks.Locks(asked.results) as own:
        shared = attempts.Sweep(asked, Inputs(asked), Reporter(quiet=True), own, "", {})
        assert [outcome.status for outcome in engines.on_cluster(cells, shared)] == ["done"]
        assert not locks.lock_path(asked.results, cells[0].run).exists()


def test_inputs_that_a_worker_cannot_read_are_the_cells_failure(asked):
    [cell] = planned(asked)
    outcome = engines._remote(cell, replace(attempts.travelling(asked), data=asked.data / "elsewhere"), "now")
    assert (outcome.status, "no such folder" in outcome.reason) == ("failed", True)


LONG = SMALL | {"max_steps": 2000}


def begin(folder, *more):
    """Start a long sweep as a command of its own, and wait until a training has left its first checkpoint."""
    words = ("-m", "mrl", "--seeds", "0-1", "--backbone", "tiny", "--corpus", "pairs", "--task", "likeness")
    steps = [word for name in LONG for word in (f"--{name.replace('_', '-')}", str(LONG[name]))]
    where = (
        "--data",
        str(folder / "data"),
        "--results",
        str(folder / "results"),
        "--dtype",
        "float32",
        "--epochs",
        "999",
        "--checkpoint-every",
        "0.2",
    )
    command = [sys.executable, "-c", "from mipic_bench.cli import main; main()", "run", *words, *steps, *where, *more]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((folder / "results").glob("unfinished/*/training.json")):
        time.sleep(0.05)
    return process


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_command_and_the_same_command_goes_on(asked, tmp_path, jobs, number, code):
    process = begin(tmp_path, "--jobs", jobs)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == code, said
    assert "what is done is kept" in said
    cells = planned(replace(asked, seeds=(0, 1), training=LONG | {"epochs": 999}))
    assert any("goes on after step" in cell.reason for cell in cells)
    assert not list((asked.results / "locks").glob("*.lock"))
    assert not (asked.results / "failures").exists()


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_second_signal_ends_the_command_and_its_workers_at_once(asked, tmp_path, jobs):
    process = begin(tmp_path, "--jobs", jobs)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - start < 10
    assert process.returncode in (-signal.SIGINT, 130)
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_threads_and_cards_are_dealt_out(asked, monkeypatch):
    seen = []
    monkeypatch.setattr(engines, "attempt", lambda cell, sweep: seen.append(sweep.request.device))
    monkeypatch.setattr(engines.torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(stopping, "heed", lambda sweep: None)
    monkeypatch.setattr(engines.torch, "set_num_threads", lambda number: seen.append(number))
    for name in ("LokyProcess-1", "LokyProcess-2", "LokyProcess-3", "MainProcess"):
        monkeypatch.setattr(engines.current_process(), "name", name)
        engines._local(planned(asked)[0], replace(asked, device="cuda"), "", "", 3)
    assert seen == [3, "cuda:1", 3, "cuda:0", 3, "cuda:1", 3, "cuda:0"]


def test_a_stop_before_a_cell_runs_nothing(asked, monkeypatch):
    monkeypatch.setattr(STOP, "signal", signal.SIGINT)
    with locks.Locks(asked.results) as own:
        shared = attempts.Sweep(asked, Inputs(asked), Reporter(quiet=True), own, "", {})
        outcome = attempts.attempt(planned(asked)[0], shared)
    assert outcome.status == "stopped"
    with pytest.raises(Stopped):
        run.compute(planned(asked)[0], asked, Inputs(asked), Reporter(quiet=True))


def test_waiting_does_not_outlive_a_stop(asked, monkeypatch):
    monkeypatch.setattr(sweep, "_POLL", 0.05)
    [cell] = planned(asked)
    with locks.Locks(asked.results) as others:
        others.take(cell.run)
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        start = time.monotonic()
        assert swept(asked).exit_code == 130
        assert time.monotonic() - start < 20
