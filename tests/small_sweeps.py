"""Small sweeps for the tests: the tiny backbone, a few sentences, a few steps, so that a cell takes a fraction of a second."""

import csv
from dataclasses import replace
from pathlib import Path

from mipic_bench.planning.plan import plan
from mipic_bench.planning.request import Inputs, Request
from mipic_bench.recipes.methods import find
from mipic_bench.running.progress import Reporter
from mipic_bench.running.sweep import sweep

NOUNS = ("cat", "dog", "house", "tree", "river", "stone")
SMALL = {"max_steps": 3, "batch_size": 4, "max_length": 12}


def write_data(folder, rows=24, word="so"):
    """Write a folder of data: a corpus `pairs`, the tasks `likeness` (sts) and `kinds` (classification)."""
    texts = [f"{word} {NOUNS[number % 6]} {number}" for number in range(rows)]
    write(folder / "pairs" / "train.csv", ("anchor", "positive"), [(text, f"{text} again") for text in texts])
    scores = [(text, texts[(3 * number) % rows], number % 5) for number, text in enumerate(texts)]
    write(folder / "likeness" / "test.csv", ("sentence1", "sentence2", "score"), scores)
    for split in ("train", "test"):
        labelled = [(f"{split} {text}", NOUNS[number % 2]) for number, text in enumerate(texts)]
        write(folder / "kinds" / f"{split}.csv", ("text", "label"), labelled)
    return folder


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def request(folder, methods=("mrl",), **changes):
    """Return a request over the data of a folder, with results beside it."""
    whole = Request(
        methods=tuple(find(methods)),
        backbones=("tiny",),
        corpora=("pairs",),
        tasks=("likeness",),
        data=folder / "data",
        dims=(8, 64),
        layers=(2, 4),
        training=SMALL,
        results=folder / "results",
    )
    return replace(whole, **changes)


def planned(asked):
    """Return the cells of a request, with fresh inputs."""
    return plan(asked, Inputs(asked))


def swept(asked):
    """Run a request, with fresh inputs."""
    inputs = Inputs(asked)
    return sweep(plan(asked, inputs), asked, inputs, Reporter(quiet=True))


def files(results):
    """Return the rows of a results folder as bytes, by run."""
    return {path.stem: path.read_bytes() for path in sorted((Path(results) / "runs").glob("*.csv"))}
