"""The command that makes a run again, from its provenance and rows."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from mipic_bench.methods import catalog

_TRAINING = ("epochs", "max_steps", "batch_size", "learning_rate", "max_length")


def commands(record: Mapping[str, Any], rows: pd.DataFrame) -> list[str]:
    """Return the `mipic-bench run` lines, one per protocol, that train and score a run as it was.

    The folder of local datasets stands as DIR. A recipe that is not shipped stands as its file, which is to be in the
    current folder; with an ablation's name beside it both are run. What is not an option of the command line (a recipe
    file's content, the versions of libraries) is in the provenance.

    Args:
        record: the run's provenance.
        rows: its rows, for the layers and precisions that were scored.
    """
    cell = record["cell"]
    asked = ["mipic-bench", "run", "--method", _method(cell), "--backbone", str(cell["backbone"])]
    if cell["corpus"]:
        asked += ["--corpus", str(cell["corpus"])]
    if cell["seed"] != "":
        asked += ["--seeds", str(cell["seed"])]
    settings = record["recipe"].get("training") or {}
    for name in _TRAINING:
        if settings.get(name) is not None:
            asked += [f"--{name.replace('_', '-')}", str(settings[name])]
    if record["dtype"]:
        asked += ["--dtype", str(record["dtype"])]
    return [shlex.join([*asked, *scored]) for scored in _scored(record, rows)]


def _method(cell: Mapping[str, Any]) -> str:
    method, base = str(cell["method"]), str(cell.get("base_method") or cell["method"])
    if base in catalog():
        return method
    return f"{base}.toml" if method == base else f"{base}.toml,{method}"


def _scored(record: Mapping[str, Any], rows: pd.DataFrame) -> Iterator[list[str]]:
    """Yield what was asked to be scored, once per protocol."""
    entries = record["scored"]
    for protocol in dict.fromkeys(str(entry["protocol"]) for entry in entries):
        own = [entry for entry in entries if entry["protocol"] == protocol]
        words = ["--task", ",".join(str(entry["task"]) for entry in own)]
        if any(str(entry.get("source", "")).startswith("local:") for entry in own):
            words += ["--data", "DIR"]
        # a set without a test split is scored on dev all the same
        if all(entry["split"] == "dev" for entry in own):
            words += ["--split", "dev"]
        rules, _, without = protocol.partition("-without-")
        if rules != "clean":
            words += ["--protocol", rules]
        if without:
            words += ["--exclude-leaked"] + ([] if record["cell"]["corpus"] else ["--corpus", without])
        here = rows[rows["protocol"] == protocol]
        for name in ("layer", "dim"):
            words += [f"--{name}s", ",".join(map(str, sorted(here[name].unique())))]
        last = here["layer"].max()
        layers = here.groupby("precision", observed=True)["layer"].agg(["min", "nunique"])
        several = here["layer"].nunique() > 1
        marks = {
            name: "@last" if several and low == last and count == 1 else ""
            for name, low, count in layers.itertuples(name=None)
        }
        yield [*words, "--precision", ",".join(f"{name}{mark}" for name, mark in marks.items())]
