"""The printed command makes the same run again."""

import shlex
from dataclasses import replace

import pytest
import synthetic
from small_sweeps import request, swept, write_data
from typer.testing import CliRunner

from mipic_bench import results
from mipic_bench.cli import app
from mipic_bench.reproduce import commands


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
