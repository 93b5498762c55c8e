"""Where the numbers come from: every run, what its recipe changes, versions, and where runs differ that stand together."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.reproduce import commands
from mipic_bench.analysis.tables import Column, Table
from mipic_bench.recipes.schema import flat
from mipic_bench.reporting import Block, Bullets, Material, Prose, Section, Shown


class Provenance(Section):
    """Provenance."""

    title = "Provenance"
    order = 110

    def blocks(self, material: Material) -> Iterator[Block]:
        """What differs between runs, the recipes against their bases, and a line per run."""
        view = material.view
        if not view.provenance:
            yield Prose("The rows came without provenance: nothing is known of how they were made.")
            return
        differing = tuple(_differences(view))
        if differing:
            yield Prose("Runs that are compared here differ in:")
            yield Bullets(differing)
        recipes = _recipes(view)
        if len(recipes):
            columns = (
                Column("method", "method"),
                Column("against", "against"),
                Column("key", "key"),
                Column("before", "there", "words"),
                Column("after", "here", "words"),
            )
            yield Shown(
                Table("recipes", "What each ablation changes in the recipe of its base method", recipes, columns)
            )
        yield Shown(_runs(view), open=False)
        yield Shown(_commands(view), open=False)


def _runs(view: View) -> Table:
    lines = []
    for run, record in sorted(view.every_record.items()):
        cell, versions = record.get("cell", {}), record.get("versions", {})
        lines.append(
            {"run": run, **{name: str(cell.get(name, "")) for name in ("method", "backbone", "corpus", "seed")}}
            | {"dtype": record.get("dtype", ""), "device": _device(record), "git": str(record.get("git", ""))[:12]}
            | {"torch": versions.get("torch", ""), "created": str(record.get("created", ""))}
            | {"tasks": len({scored.get("task") for scored in record.get("scored") or ()})}
            | {"rows_sha256": str(record.get("rows_sha256", ""))[:12]}
        )
    columns = (
        Column("run", "run"),
        Column("seed", "seed"),
        Column("tasks", "tasks", "integer"),
        Column("dtype", "dtype"),
        Column("device", "device"),
        Column("torch", "torch"),
        Column("git", "commit"),
        Column("created", "finished"),
        Column("rows_sha256", "rows' sha256"),
    )
    return Table("runs", "Every run", pd.DataFrame(lines), columns)


def _commands(view: View) -> Table:
    """The command that makes each run again."""
    asked = ["run", "task", "split", "protocol", "layer", "dim", "precision"]  # what `commands` reads
    known = {run: rows for run, rows in view.given[asked].groupby("run", observed=True)}
    lines = [
        {"run": run, "command": command}
        for run, record in sorted(view.every_record.items())
        if run in known and record.get("recipe")
        for command in commands(record, known[run])
    ]
    columns = (Column("run", "run"), Column("command", "command", "words"))
    return Table("commands", "How to make each run again (DIR: the folder of datasets)", pd.DataFrame(lines), columns)


def _device(record: Mapping[str, Any]) -> str:
    device = record.get("device") or {}
    return str(device.get("card") or device.get("processor") or device.get("device") or device.get("name") or "")


def _differences(view: View) -> Iterator[str]:
    """One sentence per circumstance in which runs differ that ought to be alike."""
    watched: dict[str, Callable[[Mapping[str, Any]], Any]] = {
        "dtype": lambda record: record.get("dtype"),
        "device": _device,
        "commit": lambda record: record.get("git"),
        "torch": lambda record: (record.get("versions") or {}).get("torch"),
    }
    for name, read in watched.items():
        made = [one for record in view.provenance.values() for one in (record, *record.get("earlier", ()))]
        found = sorted({str(read(one)) for one in made if read(one)})
        if len(found) > 1:
            yield f"{name}: {', '.join(found)}"


def _recipes(view: View) -> pd.DataFrame:
    """Every key in which an ablation's resolved recipe differs from its base method's, on the same backbone."""
    recipes = {
        (record["cell"].get("method"), record["cell"].get("backbone")): flat(record.get("recipe", {}))
        for _, record in sorted(view.provenance.items(), reverse=True)
        if "cell" in record
    }
    lines = []
    for method in view.every_method:
        base = view.bases.get(method)
        backbone = next((bone for name, bone in recipes if name == method and (base, bone) in recipes), None)
        if base is None or backbone is None:
            continue
        ours, theirs = recipes[(method, backbone)], recipes[(base, backbone)]
        for key in sorted(set(ours) | set(theirs)):
            if ours.get(key) != theirs.get(key) and not key.startswith(("title", "about", "source", "deviations")):
                before, after = str(theirs.get(key, "not there")), str(ours.get(key, "not there"))
                lines.append({"method": method, "against": base, "key": key, "before": before, "after": after})
    return pd.DataFrame(lines)
