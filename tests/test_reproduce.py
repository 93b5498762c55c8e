"""The printed command makes the same run again."""

import shlex
from dataclasses import replace

import pandas as pd
import pytest
import synthetic
from small_sweeps import request, swept, write_data
from typer.testing import CliRunner

from mipic_bench.analysis.reproduce import commands
from mipic_bench.cli import app
from mipic_bench.results import folder as results


def test_the_command_of_a_run_gives_the_same_run(tmp_path):
    write_data(tmp_path / "data")
    asked = request(tmp_path, methods=("mrl-log-weights",))
    asked = replace(
        asked, seeds=(3,), rates={"": 3e-4}, precisions=("float32", "binary@last"), tasks=("likeness", "kinds")
    )
    assert not swept(asked).failed
    [run] = results.read(asked.results).runs.values()
    [line] = commands(run.provenance, run.rows)
    words = shlex.split(line.replace("DIR", str(asked.data)))
    again = tmp_path / "again"
    ran = CliRunner().invoke(app, [*words[1:], "--results", str(again)])
    assert ran.exit_code == 0, ran.output
    [other] = results.read(again).runs.values()
    assert other.rows.equals(run.rows)
    assert other.provenance["key"] == run.provenance["key"]
    assert "binary@last" in line and "--seeds 3" in line


def test_the_command_of_a_run_on_a_file_finds_it_by_its_name(tmp_path):
    write_data(tmp_path / "data")
    file = tmp_path / "data" / "my pairs.csv"
    (tmp_path / "data" / "pairs" / "train.csv").rename(file)
    asked = request(tmp_path, corpora=(str(file),))
    assert not swept(asked).failed
    [run] = results.read(asked.results).runs.values()
    [line] = commands(run.provenance, run.rows)
    words = shlex.split(line.replace("DIR", str(asked.data)))
    ran = CliRunner().invoke(app, [*words[1:], "--results", str(asked.results)])
    assert ran.exit_code == 0 and "1 cell done before" in ran.output, ran.output


@pytest.mark.parametrize(
    "words",
    [
        "run --method pretrained --backbone tiny --max-length 16",
        "evaluate tiny --name mine --prompt 'find: ' --pooling cls",
        "evaluate tiny --prompt 'find: ' --query-prompt ''",
        "evaluate tiny --pooling cls",
    ],
)
def test_the_command_of_an_untrained_run_gives_the_same_run(words, tmp_path):
    asked = ["--task", "toy-sts", "--layers", "2", "--dims", "8"]
    found = []
    for folder in ("once", "again"):
        ran = CliRunner().invoke(app, [*shlex.split(words), *asked, "--results", str(tmp_path / folder)])
        assert ran.exit_code == 0, ran.output
        [run] = results.read(tmp_path / folder).runs.values()
        [line] = commands(run.provenance, run.rows)
        words, asked = line.removeprefix("mipic-bench "), []
        found.append(run)
    assert found[0].rows.equals(found[1].rows)
    assert found[0].provenance["key"] == found[1].provenance["key"]


@pytest.mark.parametrize(
    ("source", "said"),
    [("hub:me/mine@abc", "me/mine@abc"), ("local:mine", "FOLDER"), ("pypi:some", "mine")],
)
def test_a_backbone_is_named_so_that_it_is_found(source, said):
    frame = synthetic.rows(methods=("mrl",), seeds=(0,))
    [record] = synthetic.provenance(frame).values()
    record["cell"]["backbone"] = "mine"
    record["backbone"] = {"name": "mine", "source": source}
    assert f"--backbone {said} " in commands(record, frame)[0]


@pytest.mark.parametrize(
    ("source", "said"),
    [("hub:me/mine@abc#small", "'hub:me/mine@abc#small'"), ("local:me__mine", "me__mine"), ("", "me__mine")],
)
def test_a_corpus_is_named_so_that_it_is_found(source, said):
    frame = synthetic.rows(methods=("mrl",), seeds=(0,))
    [record] = synthetic.provenance(frame).values()
    record["cell"]["corpus"] = "me__mine"
    if source:
        record["corpus_source"] = source
    [line] = commands(record, frame)
    assert f"--corpus {said} " in line
    assert ("--data DIR" in line) == source.startswith("local:")


@pytest.mark.parametrize(
    ("method", "base", "named"),
    [
        ("mipic-dims=[16,32]", "mipic", "'mipic-dims=[16,32]'"),
        ("mine", "mine", "mine.toml"),
        ("mine-short", "mine", "mine.toml,mine-short"),
    ],
)
def test_a_changed_method_and_one_of_a_file_are_named_so_that_they_are_found(method, base, named):
    frame = synthetic.rows(methods=("mrl",), seeds=(0,))
    [record] = synthetic.provenance(frame).values()
    record["cell"] |= {"method": method, "base_method": base}
    assert f"--method {named} " in commands(record, frame)[0]


def test_the_split_and_the_protocol_are_named_where_they_are_not_the_usual_ones():
    frame = synthetic.rows(methods=("mrl",), seeds=(0,))
    [record] = synthetic.provenance(frame).values()
    [plain] = commands(record, frame)
    assert "--split" not in plain and "--protocol" not in plain and "--exclude-leaked" not in plain
    for entry in record["scored"]:
        entry |= {"split": "dev", "protocol": "paper-without-toy"}
    [line] = commands(record, frame.assign(protocol="paper-without-toy"))
    assert " --split dev --protocol paper --exclude-leaked " in line


def test_a_run_scored_on_dev_and_on_test_is_asked_for_in_two_commands():
    record = {
        "cell": {"method": "mrl", "base_method": "mrl", "backbone": "tiny", "corpus": "toy", "seed": "0"},
        "recipe": {},
        "dtype": "float32",
        "scored": [
            {"task": task, "split": split, "protocol": "clean", "source": ""}
            for task, split in (("stsb", "test"), ("stsb", "dev"), ("rte", "dev"))
        ],
    }
    rows = pd.DataFrame(
        [
            {"task": task, "split": split, "protocol": "clean", "layer": 2, "dim": dim, "precision": "float32"}
            for task, split, dim in (("stsb", "test", 8), ("stsb", "dev", 16), ("rte", "dev", 8))
        ]
    )
    first, second = commands(record, rows)
    assert "--task stsb,rte " in first and "--dims 8 " in first and "--split" not in first
    assert "--task stsb " in second and "--dims 16 " in second and "--split dev" in second
