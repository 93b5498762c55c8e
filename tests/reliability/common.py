"""What the reliability scripts share: a small sweep as a command, its data, and the comparison of what it left."""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from small_sweeps import files, write_data  # noqa: E402

COMMAND = (sys.executable, "-c", "from mipic_bench.cli import main; main()", "run")


def words(folder, results, methods, seeds, steps, *more):
    """Return the command of a sweep on the data of a folder."""
    data = folder / "data"
    if not data.exists():
        write_data(data, rows=200)
    where = ("--backbone", "tiny", "--corpus", "pairs", "--data", data, "--results", folder / results)
    short = ("--max-steps", steps, "--batch-size", 8, "--max-length", 16, "--dtype", "float32", "--device", "cpu")
    scored = ("--task", "likeness,kinds", "--dims", "8,64", "--layers", "2,4")
    return [*map(str, (*COMMAND, "-m", methods, "--seeds", seeds, *where, *short, *scored, *more))]


def start(command, log):
    """Start a command in a session of its own; what it says goes to a file."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(Path(log).parent / "cache")}
    with open(log, "ab") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)


def run(command, log):
    """Run a command to its end and return its exit code."""
    return start(command, log).wait()


def judged(results, expected):
    """Return what is wrong with the runs of a folder beside those that an uninterrupted sweep left, as counts."""
    found = files(results)
    marks = {path.stem for path in (results / "runs").glob("*.json")}
    left = [path for path in results.rglob("*") if path.is_file() and path.suffix in (".tmp", ".next", ".lock")]
    return {
        "cells": len(expected),
        "lost": len(set(expected) - set(found)),
        "more": len(set(found) - set(expected)),
        "half-written": len(set(found) ^ marks),
        "other rows": sum(found[run] != expected[run] for run in set(found) & set(expected)),
        "left behind": len(left),
    }
