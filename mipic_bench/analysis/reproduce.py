"""The command that makes a run again, from its provenance and rows, and what its backbone and corpus are found by."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mipic_bench import backbones, corpora
from mipic_bench.recipes.methods import catalog

_TRAINING = ("epochs", "max_steps", "batch_size", "learning_rate", "max_length")


def commands(record: Mapping[str, Any], rows: pd.DataFrame) -> list[str]:
    """Return the `mipic-bench` lines, one per protocol, that train and score a run as it was.

    The folder of local datasets stands as DIR, a local folder of weights as FOLDER. A recipe that is not shipped stands as
    its file, which is to be in the current folder; with an ablation's name beside it both are run. What is not an option of
    the command line (a recipe file's content, the versions of libraries) is in the provenance.

    Args:
        record: the run's provenance.
        rows: its rows, for the layers and precisions that were scored.
    """
    cell, identity = record["cell"], record.get("identity", {})
    asked = ["mipic-bench", *_model(record)]
    if cell["corpus"]:
        asked += ["--corpus", corpus_of(record)]
    if cell["seed"] != "":
        asked += ["--seeds", str(cell["seed"])]
    settings = record["recipe"].get("training") or {"max_length": identity.get("max_length")}
    for name in _TRAINING:
        if settings.get(name) is not None:
            asked += [f"--{name.replace('_', '-')}", str(settings[name])]
    if record["dtype"]:
        asked += ["--dtype", str(record["dtype"])]
    return [shlex.join([*asked, *scored]) for scored in _scored(record, rows)]


def backbone_of(record: Mapping[str, Any]) -> str | None:
    """Return what `backbones.load` finds a run's backbone by; None if it was a local folder, whose path is not recorded."""
    told = record.get("backbone", {})
    kind, _, place = str(told.get("source", "")).partition(":")
    if kind == "local":
        return None
    name = str(record["cell"]["backbone"])
    return place if kind == "hub" and name not in backbones.known() else str(told.get("name", name))


def corpus_of(record: Mapping[str, Any]) -> str:
    """Return what `corpora.load` finds a run's corpus by: a dataset of the hub by its id, any other by its name."""
    name, source = str(record["cell"]["corpus"]), str(record.get("corpus_source", ""))
    return source if source.startswith("hub:") and name not in corpora.registered() else name


def _model(record: Mapping[str, Any]) -> list[str]:
    """Return the verb with its method and backbone: `evaluate` for a model that was scored under its own terms."""
    cell, model = record["cell"], backbone_of(record) or "FOLDER"
    prompts = record.get("identity", {}).get("prompts", {})
    said = ["--prompt", str(prompts["text"])] if prompts.get("text") else []
    said += ["--query-prompt", str(prompts["query"])] if prompts.get("query") is not None else []  # "" says: none
    if pooling := record["recipe"].get("pooling"):
        said += ["--pooling", str(pooling)]
    own_name = cell["backbone"] != record.get("backbone", {}).get("name", cell["backbone"])
    if cell["method"] == "pretrained" and (said or own_name):
        return ["evaluate", model, "--name", str(cell["backbone"]), *said]
    return ["run", "--method", _method(cell), "--backbone", model]


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
    sources = [entry.get("source", "") for entry in own] + [record.get("corpus_source", "")]
    if any(str(source).startswith("local:") for source in sources):
        words += ["--data", "DIR"]
    # a set without a test split is scored on dev all the same
    if all(entry["split"] == "dev" for entry in own):
        words += ["--split", "dev"]
    rules, _, without = protocol.partition("-without-")
    if rules != "clean":
        words += ["--protocol", rules]
    if without:
        words += ["--exclude-leaked"] + ([] if record["cell"]["corpus"] else ["--corpus", without])
    tasks: dict[str, list[str]] = {}
    for entry in own:
        tasks.setdefault(entry["split"], []).append(entry["task"])
    here = pd.concat([rows[(rows["split"] == split) & rows["task"].isin(names)] for split, names in tasks.items()])
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
