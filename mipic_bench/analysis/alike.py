"""Whether methods that stand side by side were trained alike, as their provenance has it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from mipic_bench.analysis.quality import View
from mipic_bench.analysis.selection import Setting
from mipic_bench.recipes.schema import flat


def unlike(view: View, setting: Setting) -> pd.DataFrame:
    """The training settings in which the trained methods of a setting differ.

    Returns:
        a row per method, the column `method` and one per training setting that is not the same for all; a method whose
        seeds differ has all their values. Empty where methods were trained alike, or nothing is known of it.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for record in _records(view, setting):
        own = found.setdefault(str(record["cell"]["method"]), {})
        for key, value in flat(record.get("recipe", {}).get("training") or {}).items():
            text = _printed(value)
            if text not in own.setdefault(key, []):
                own[key].append(text)
    told = {method: {key: " and ".join(own[key]) for key in own} for method, own in found.items() if own}
    keys = dict.fromkeys(key for own in told.values() for key in own)
    differing = [key for key in keys if len({own.get(key, "") for own in told.values()}) > 1]
    lines = [
        {"method": method} | {key: told[method].get(key, "not stated") for key in differing}
        for method in view.methods
        if method in told and differing
    ]
    return pd.DataFrame(lines)


def warnings(view: View) -> list[str]:
    """Sentences on what was not trained alike, one per setting and difference."""
    found: dict[str, None] = {}
    for setting in view.settings:
        where = Setting(setting.backbone, setting.corpus, "clean").title  # a protocol changes nothing in training
        table = unlike(view, setting)
        for key in table.columns[1:]:
            values = table.groupby(key, sort=False)["method"].agg(", ".join)
            told = "; ".join(f"{value} ({methods})" for value, methods in values.items())
            found[f"{where}: methods differ in {key}: {told}."] = None
        found |= dict.fromkeys(f"{where}: {sentence}" for sentence in mixed(view, setting))
    return list(found)


def mixed(view: View, setting: Setting) -> Iterator[str]:
    """Yield a sentence per method of a setting whose seeds were not all trained in one way."""
    seeds: dict[str, dict[str, list[str]]] = {}
    for record in _records(view, setting):
        method, key = str(record["cell"]["method"]), str(record.get("key", ""))
        seeds.setdefault(method, {}).setdefault(key, []).append(str(record["cell"].get("seed", "")))
    for method, by_key in seeds.items():
        if len(by_key) > 1:
            told = "; ".join(f"{', '.join(sorted(own))} under key {key}" for key, own in sorted(by_key.items()))
            yield f"seeds of {method} were not trained alike ({told}); their mean is over unlike models."


def _records(view: View, setting: Setting) -> list[Mapping[str, Any]]:
    """The provenance of the runs in a setting that count and had training."""
    trained = set(view.methods) - set(view.untrained)
    found = view.records(backbone=setting.backbone, corpus=setting.corpus)
    return [record for _, record in found if record["cell"]["method"] in trained]


def _printed(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
