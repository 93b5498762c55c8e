"""The model card of an exported folder: what it is, how to load it, and how well it did, from rows and provenance."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.tables import Column, Table, budget_tables, escaped
from mipic_bench.backbones import Backbone
from mipic_bench.backbones.sources import ENTRIES
from mipic_bench.encoding.prompts import Prompts, table
from mipic_bench.families import MAIN_METRIC, METRIC_TITLE
from mipic_bench.results.folder import Store

_TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"
_STATES = {"raw": "the layer's own states", "final_norm": "the layer's states under the final norm"}
_Z = NormalDist().inv_cdf(0.975)  # of a 95 % interval


def render(store: Store, run: str, layer: int, dim: int, backbone: Backbone, parameters: int, folder: str) -> str:
    """Return the model card of one budget of a run as Markdown with a YAML head.

    Args:
        store: the results the run is in; other seeds of the same training stand in its tables.
        run: the run's full name.
        layer: of the exported model.
        dim: of the exported model.
        backbone: the weights that were exported.
        parameters: of the exported model.
        folder: what the exported folder is called.
    """
    from jinja2 import Environment, StrictUndefined

    record = store.runs[run].provenance
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701 - Markdown
    trained = bool(record["training"])
    at_budget = scores_at(store.runs[run].rows, layer, dim)
    siblings = _siblings(store, run)
    values = {
        **{name: record["cell"][name] for name in ("method", "backbone")},
        **{"run": run, "layer": layer, "dim": dim, "folder": folder, **vars(backbone.shape)},
        "licence": record["backbone"]["licence"],
        "hub": _hub_id(record),
        "opening": _opening(record, layer, dim),
        "max_length": min(int(record["identity"]["max_length"]), backbone.max_length),
        "facts": list(_facts(record, layer, dim, parameters)),
        "deviations": record["recipe"].get("deviations", ()),
        "recipe": json.dumps({"dims": record["trained_dims"], **_settings(record)}, indent=1) if trained else "",
        "scores": at_budget.markdown() if at_budget else "",
        "scores_note": _scores_note(record, at_budget),
        "notes": list(_notes(record)),
        "budgets": [table.markdown() for table in budget_tables(View(siblings, store.provenance()))],
        "seeds": _seeds(siblings),
        "version": record["versions"].get("mipic-bench", ""),
        "git": record["git"].partition("+")[0],
        "created": record["created"][:10],
    }
    text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(values)
    return re.sub(r"\n{3,}", "\n\n", text)


def scores_at(rows: pd.DataFrame, layer: int, dim: int) -> Table | None:
    """Return a run's float32 scores at one budget with 95 % intervals over examples; None if it was not scored there."""
    own = rows[(rows["layer"] == layer) & (rows["dim"] == dim) & (rows["precision"] == "float32")]
    main = own[own["metric"] == own["family"].map(MAIN_METRIC)]
    if main.empty:
        return None
    half = _Z * main["stderr"]
    frame = main.assign(
        low=main["value"] - half,
        high=main["value"] + half,
        metric=main["metric"].map(METRIC_TITLE),
        scored=main["split"].astype(str) + np.where(main["protocol"] == "clean", "", ", protocol " + main["protocol"]),
    )
    columns = (
        Column("task", "task"),
        Column("metric", "metric"),
        Column("value", "score ×100", "score", "low", "high"),
        Column("n", "examples", "integer"),
        Column("scored", "split"),
    )
    title = f"Layer {layer}, width {dim}, float32"
    return Table(
        "scores", title, frame.reset_index(drop=True), columns, "± is the 95 % interval over the task's examples."
    )


def _siblings(store: Store, run: str) -> pd.DataFrame:
    """Return the rows of every seed of a run's training: those with its key."""
    key, cell = store.runs[run].provenance["key"], store.runs[run].provenance["cell"]
    same = [
        other.rows
        for other in store.runs.values()
        if other.provenance.get("key") == key
        and all(other.provenance["cell"][name] == cell[name] for name in ("method", "backbone", "corpus"))
    ]
    return pd.concat(same, ignore_index=True)


def _seeds(rows: pd.DataFrame) -> str:
    seeds = sorted(int(seed) for seed in rows["seed"].astype(str).unique() if seed)
    if not seeds:
        return "the model as it was found"
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds ({', '.join(map(str, seeds))})"


def _hub_id(record: Mapping[str, Any]) -> str:
    """Return the hub id of the base model, empty when it has none."""
    entry = ENTRIES.get(record["cell"]["backbone"])
    if entry is not None:
        return entry.hub
    kind, _, place = record["backbone"]["source"].partition(":")
    return place.partition("@")[0] if kind == "hub" else ""


def _opening(record: Mapping[str, Any], layer: int, dim: int) -> str:
    shape, cell = record["backbone"], record["cell"]
    what = "Sentence embeddings"
    if record["training"]:
        what += f" trained by {escaped(record['recipe']['title'])} on {escaped(cell['corpus'])} (seed {cell['seed']})"
    blocks = (
        f"the first {layer} of {shape['depth']} transformer blocks"
        if layer < shape["depth"]
        else "the whole transformer"
    )
    width = f"the first {dim} of {shape['width']} coordinates" if dim < shape["width"] else "the full width"
    if "posthoc" in record["recipe"]:
        width += f" of what {escaped(record['recipe']['title'])} makes of them"
    return f"{what}: {blocks}, {width}, normalized to length 1. The blocks behind are not in this folder."


def _facts(record: Mapping[str, Any], layer: int, dim: int, parameters: int) -> Iterator[Any]:
    """Yield the lines of the table of facts."""
    recipe, shape, identity = record["recipe"], record["backbone"], record["identity"]
    yield (
        "method",
        f"{escaped(recipe['title'])} ({escaped(recipe['source'])})" if recipe["source"] else escaped(recipe["title"]),
    )
    yield (
        "base model",
        escaped(f"{record['cell']['backbone']} ({shape['source']}), licence {shape['licence'] or 'not known'}"),
    )
    yield "layer", f"{layer} of {shape['depth']}"
    yield "width", f"{dim} of {shape['width']}: {4 * dim} bytes per vector in float32"
    yield "parameters", f"{parameters:,}"
    yield "readout", escaped(f"{shape['pooling']} pooling of {_STATES[shape['layer_readout']]}")
    if transform := recipe.get("posthoc"):
        fitted = record["identity"]["corpus"]
        yield (
            "transform",
            escaped(f"{transform['transform']}, fitted on {record['cell']['corpus']}, {fitted['rows']:,} examples"),
        )
    if not record["training"]:
        return
    corpus, training = identity["corpus"], record["training"]
    yield (
        "training data",
        escaped(f"{record['cell']['corpus']}, {corpus['rows']:,} examples, sha256 {corpus['digest'][:12]}..."),
    )
    yield "training", f"{training['steps']:,} steps in {identity['dtype']}, seed {record['cell']['seed']}"
    yield "trained widths", ", ".join(map(str, record["trained_dims"]))


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    recipe = record["recipe"]
    return {name: recipe[name] for name in ("temperature", "terms", "training")}


def _scores_note(record: Mapping[str, Any], scores: Table | None) -> str:
    if scores is None:
        return "This budget was not scored; `mipic-bench run` with its `--layers` and `--dims` does it."
    arithmetic = record["dtype"]
    if arithmetic == "float32":
        return "Scored by mipic-bench."
    return f"Scored by mipic-bench in {arithmetic} arithmetic; these weights are float32, so last digits may differ."


def _notes(record: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what a reader of the scores should know: overlaps with the training data, and the tasks' own notes."""
    if asked := record["identity"].get("prompts"):
        for name, text in table(Prompts(**asked)).items():
            yield escaped(
                f"scored with {json.dumps(text)} before every {name}; the model's table of prompts has it as '{name}'"
            )
    for entry in record["scored"]:
        leaked = (entry.get("leakage") or {}).get("leaked_rows", 0)
        if leaked:
            yield escaped(
                f"{entry['task']}: {leaked} of {entry['leakage']['rows']} scored rows hold a text of the training data."
            )
        for note in entry["notes"]:
            yield escaped(f"{entry['task']}: {note.removeprefix(entry['task'] + ': ')}")
