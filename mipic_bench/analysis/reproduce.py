"""The command that makes a run again, from its provenance and rows."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mipic_bench.recipes.methods import catalog

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
    """Yield what was asked to be scored, once per protocol, and once more for tasks scored on dev beside test."""
    for protocol in dict.fromkeys(str(entry["protocol"]) for entry in record["scored"]):
        entries = [entry for entry in record["scored"] if entry["protocol"] == protocol]
        tested = {entry["task"] for entry in entries if entry["split"] != "dev"}
        again = [entry for entry in entries if entry["split"] == "dev" and entry["task"] in tested]
        for own in ([entry for entry in entries if entry not in again], again):
            if own:
                yield _asked(record, rows[rows["protocol"] == protocol], protocol, own)


def _asked(record: Mapping[str, Any], rows: pd.DataFrame, protocol: str, own: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the options that have some tasks scored under a protocol as they were."""
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
    units = {(entry["task"], entry["split"]) for entry in own}
    here = rows[[unit in units for unit in zip(rows["task"], rows["split"], strict=True)]]
    for name in ("layer", "dim"):
        words += [f"--{name}s", ",".join(map(str, sorted(here[name].unique())))]
    last = here["layer"].max()
    layers = here.groupby("precision", observed=True)["layer"].agg(["min", "nunique"])
    several = here["layer"].nunique() > 1
    marks = {
        name: "@last" if several and low == last and count == 1 else ""
        for name, low, count in layers.itertuples(name=None)
    }
    return [*words, "--precision", ",".join(f"{name}{mark}" for name, mark in marks.items())]
