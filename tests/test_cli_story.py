"""The whole way through the command line: plan, run, plan again, report, compare, merge; on the tiny backbone."""

import csv
import os
import signal

import pytest
from command_line import caller
from small_sweeps import files, write_data

from mipic_bench.training import trainer

FAST = ("--backbone", "tiny", "--max-steps", 3, "--batch-size", 4, "--max-length", 16, "--dtype", "float32")
BUDGETS = ("--dims", "8,64", "--layers", "2,4")


@pytest.fixture
def call(capsys, monkeypatch):
    return caller(capsys, monkeypatch)


@pytest.fixture
def words(tmp_path):
    """The words of a sweep over two methods and two seeds, on data of its own."""
    write_data(tmp_path / "data")
    where = ("--data", tmp_path / "data", "--corpus", "pairs", "--results", tmp_path / "results")
    return ("-m", "mrl,full", "--seeds", "0-1", *where, *FAST, *BUDGETS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that reports load
def test_from_plan_to_report_and_comparison(call, tmp_path, monkeypatch):
    results = tmp_path / "results"
    asked = ("-m", "pretrained,mrl,mipic", "--seeds", "0-2", *FAST, *BUDGETS, "--results", results)
    planned = call("plan", *asked)
    assert planned.code == 0
    assert "7 cells: 7 pending" in planned.out
    assert not results.exists()
    assert "the cosine schedule is flat" in call("plan", *asked, "--learning-rate", "1e-6").err

    ran = call("run", *asked)
    assert ran.code == 0, ran.err
    assert "7 cells: 7 done" in ran.err
    for family in ("sts", "classification", "pair", "retrieval", "clustering"):
        assert family in ran.out
    assert len(files(results)) == 7
    assert list((results / "figures").glob("*.png"))

    assert "7 cells: 7 done" in call("plan", *asked).out
    again = call("run", *asked)
    assert again.code == 0
    assert "7 cells done before: nothing to run" in again.err

    more = call("plan", *asked, "--dims", "8,16")
    assert "20 budgets not scored yet" not in more.out
    assert "toy-sts: 2 budgets not scored yet" in more.out
    assert "left, judged by finished runs" in more.out

    report = call("report", "--results", results, "--out", tmp_path / "report")
    assert report.code == 0, report.err
    assert {"index.html", "report.md", "tables", "figures"} <= {path.name for path in (tmp_path / "report").iterdir()}

    compared = call("compare", "--results", results, "--out", tmp_path / "comparison.csv")
    assert compared.code == 0, compared.err
    with (tmp_path / "comparison.csv").open(encoding="utf-8") as file:
        header = next(csv.reader(file))
    assert header[:3] == ["backbone", "corpus", "family"]

    merged = call("merge", results, "--out", tmp_path / "merged", "--pack")
    assert merged.code == 0
    assert "7 runs" in merged.out
    assert "7 cells: 7 done" in call("plan", *asked[:-1], tmp_path / "merged").out


def test_a_failed_cell_makes_exit_code_1_and_the_next_run_mends_it(call, words, tmp_path, monkeypatch):
    whole = trainer.train

    def train(backbone, recipe, corpus, seed, *rest, **more):
        if seed == 1 and recipe.method == "mrl":
            raise trainer.TrainingError("step 2: term 'task' is nan; lower the learning rate or its weight")
        return whole(backbone, recipe, corpus, seed, *rest, **more)

    with monkeypatch.context() as broken:
        broken.setattr(trainer, "train", train)
        ran = call("run", *words)
    assert ran.code == 1
    assert "4 cells: 3 done, 1 failed" in ran.err
    assert "step 2: term 'task' is nan" in ran.err
    assert "Traceback" not in ran.err
    planned = call("plan", *words)
    assert "4 cells: 3 done, 1 failed" in planned.out
    assert "step 2: term 'task' is nan" in planned.out
    left = call("run", *words, "--no-retry")
    assert (left.code, len(files(tmp_path / "results"))) == (1, 3)
    assert call("run", *words).code == 0
    assert "4 cells: 4 done" in call("plan", *words).out


def test_ctrl_c_keeps_what_is_done_and_says_so(call, words, tmp_path, monkeypatch):
    whole = trainer.train

    def train(backbone, recipe, corpus, seed, *rest, **more):
        if seed == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(backbone, recipe, corpus, seed, *rest, **more)

    with monkeypatch.context() as stopped:
        stopped.setattr(trainer, "train", train)
        ran = call("run", *words)
    assert ran.code == 130
    assert "stopping at the next step, what is done is kept" in ran.err
    assert "4 cells: 1 done, 3 not finished; the same command goes on where this one stopped" in ran.err
    assert "goes on after step 1" in call("plan", *words).out
    assert call("run", *words).code == 0


def test_kept_weights_are_told_with_their_size_and_used_again(call, words, monkeypatch, tmp_path):
    ran = call("run", *words, "--seeds", 0, "--keep-checkpoints")
    assert ran.code == 0, ran.err
    assert ran.err.count("kept its weights, ") == ran.err.count(" MB") == 2
    more = call("run", *words, "--seeds", 0, "--dims", "8,16,64")
    assert more.code == 0
    assert more.err.count("not trained again, its weights were kept") == 2


MISTAKES = [
    (("--method", "mipc"), "--method", "did you mean mipic"),
    (("--dims", "65"), "--dims", "ask for dims of 1..64"),
    (("--layers", "two"), "--layers", "whole number"),
    (("--seeds", "0-99999999999"), "--seeds", "0..2147483647"),
    (("--seeds", "5-3"), "--seeds", "rising"),
    (("--precision", "int4"), "--precision", "did you mean int8"),
    (("--set", "terms.task.weight ="), "--set", "write --set"),
    (("--set", "training.epochs = 0"), "training", "methods/README.md"),
    (("--learning-rate", "fast"), "--learning-rate", "write 2e-5"),
    (("--learning-rate", "mlr=1e-5"), "--learning-rate", "did you mean mrl"),
    (("--device", "gpu"), "--device", "write auto"),
    (("--device", "cuda:7"), "--device", "write auto"),
    (("--dtype", "float16"), "--dtype", "bfloat16"),
    (("--cluster", "localhost"), "--cluster", "dask://localhost:8786"),
    (("--corpus", "../pairs"), "--corpus", "mend the path"),
    (("--task", "likenes"), "--task", "did you mean likeness"),
    (("--suite", "toys"), "--suite", "did you mean toy"),
    (("--data", "nowhere"), "--data nowhere", "datasets"),
]


@pytest.mark.parametrize(("mistake", "where", "fix"), MISTAKES)
@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_mistake_is_told_in_three_parts_and_nothing_is_written(call, words, tmp_path, verb, mistake, where, fix):
    answer = call(verb, *words, *mistake)
    assert answer.code == 2
    assert where in answer.err
    assert fix in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "results").exists()
