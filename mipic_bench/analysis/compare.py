"""Our numbers beside published ones: what is joined, how far apart they are, and whether they may be compared at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mipic_bench.analysis import alike
from mipic_bench.analysis.baselines import LAST
from mipic_bench.analysis.quality import View
from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.families import FITTED, MAIN_METRIC
from mipic_bench.results import commit
from mipic_bench.results.folder import UNIT
from mipic_bench.stats import interval
from mipic_bench.tasks import official_names

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = (
    "backbone", "corpus", "family", "task", "split", "protocol", "metric", "layer", "dim", "precision",
    "ours_method", "ours", "ours_low", "ours_high", "seeds",
    "baseline_backbone", "baseline_method", "baseline", "delta", "comparable", "reason", "source", "locator",
)  # fmt: skip
_BUDGET = ["backbone", "corpus", "family", "task", "split", "protocol", "metric", "layer", "dim", "precision"]
_OURS = [*_BUDGET, "method"]
_ORDER = ["family", "task", "metric", "corpus", "backbone", "precision", "dim", "layer", "ours_method"]
_BOTH = ("corpus", "family", "split", "protocol", "layer", "precision", "metric", "data")  # of ours and of theirs
TELLING = ("backbone", "corpus", "split", "protocol", "precision")  # of ours; shown where pairs differ in them
_MOST_PAIRS = 2_000_000
_PLAIN = "float32"  # what a source means that says nothing of how its vectors are stored


def compare(
    rows: pd.DataFrame,
    baselines: pd.DataFrame,
    provenance: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    tasks: Sequence[str] = (),
    dims: Sequence[int] = (),
    backbone_map: Mapping[str, str] | None = None,
    only_comparable: bool = False,
) -> pd.DataFrame:
    """Set our rows beside published numbers of the same task and dim, and of the same layer where the source gives one.

    A pair may be compared when backbone, metric, split, protocol and precision are the same. Unstated is not the same,
    with three exceptions: a precision that is not stated is float32; a protocol that is not stated does not matter where
    nothing is fitted or tuned (correlations, rankings, average precision); a layer that is not stated is the last.
    Beside another results folder a task must hold the same data as well, scored by the same version of its scorer.
    `bert-base-uncased` and `google-bert__bert-base-uncased` are one backbone: only one of the two names an owner.

    An official task of mteb is of the dataset that the registry names it for: `mteb:SciFact` meets numbers on `scifact`.

    Args:
        rows: our rows (`mipic_bench.results.rows.COLUMNS`); of two runs of one cell the newer counts.
        baselines: published numbers, as `baselines.load` returns them.
        provenance: of our runs by name: which run is newer, and how deep a backbone is (`backbone.depth`; else the
            deepest layer in the rows is taken for the last).
        tasks: only these tasks.
        dims: only these widths.
        backbone_map: our name of a backbone -> the source's name, where they are the same by another name.
        only_comparable: leave out pairs that may not be compared.

    Returns:
        the columns `COLUMNS`, one row per pair. `ours` is the mean over seeds, `ours_low` and `ours_high` its 95 %
        interval (NaN with one seed); `delta` is ours minus theirs, NaN between different metrics. `attrs["notes"]` is a
        list of sentences to print: older runs left out, our methods that were not trained alike, the sources' own notes on
        numbers that may be compared (alone in `attrs["doubts"]`), why there is no pair if there is none.

    Raises:
        UserError: a task, dim or backbone that is asked for is not in our rows.
    """
    view = View(rows, provenance)
    _check_asked(view.rows, tasks, dims, backbone_map or {})
    ours = _chosen(view.rows, tasks, dims)
    means = _means(ours)
    units = means[list(UNIT)].itertuples(index=False, name=None)
    means["data"] = [view.data.get(unit, "") for unit in units]
    pairs = _pairs(means, baselines, view.depths, ["metric"] if only_comparable else [])
    reasons = _reasons(pairs, backbone_map or {})
    pairs["reason"] = ["; ".join(filter(None, found)) for found in zip(*reasons.values(), strict=True)]
    pairs["comparable"] = pairs["reason"] == ""
    same_metric = pairs["metric"] == pairs["metric_theirs"]
    pairs["delta"] = (pairs["ours"] - pairs["baseline"]).where(same_metric)
    frame = pairs[pairs["comparable"]] if only_comparable else pairs
    frame = frame.sort_values([*_ORDER, "source", "baseline_method", "locator"], kind="stable")
    doubts = _doubts(frame)
    notes = [*view.notes, *alike.warnings(view), *doubts, *_why_none(frame, pairs, ours, baselines)]
    frame = frame[list(COLUMNS)].reset_index(drop=True)
    frame.attrs["notes"], frame.attrs["doubts"] = notes, doubts
    return frame


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write a comparison as CSV: floats exactly, `comparable` as true or false, unknown empty.

    Raises:
        UserError: the file cannot be written.
    """
    told = frame.assign(comparable=frame["comparable"].map({True: "true", False: "false"}))
    commit.write(path, told.to_csv(index=False, lineterminator="\n").encode())


def compare_table(frame: pd.DataFrame, most: int = 30) -> "RenderableType":
    """Return a comparison for the terminal: the pairs that may be compared, then why the others may not, counted.

    The metric that a family is judged by comes first.

    Args:
        frame: as `compare` returns it.
        most: pairs to show; the line below says how many more there are.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    fair = frame[frame["comparable"]]
    decides = fair["metric"] == fair["family"].map(MAIN_METRIC)
    fair = pd.concat([fair[decides], fair[~decides]])
    table = Table(box=None, pad_edge=False, header_style="bold")
    telling = [name for name in TELLING if fair[name].nunique() > 1]
    for title in ("task", "metric", *telling, "layer", "dim", "ours", "method", "theirs", "method", "delta"):
        table.add_column(title, justify="left" if title in ("task", "metric", "method", *telling) else "right")
    for row in fair.head(most).to_dict("records"):
        task, metric, *others = _cells(row)
        table.add_row(*map(Text, (task, metric, *(str(row[name]) for name in telling), *others)))
    counts = f"{len(fair)} of {len(frame)} pairs may be compared"
    if len(fair) > most:
        counts += f", {most} are shown"
    reasons = (
        frame.loc[~frame["comparable"], "reason"].str.split("; ").map(lambda told: [one.split(":")[0] for one in told])
    )
    mixed = reasons.map(lambda told: "metric" in told)
    unlike = reasons[~mixed].explode().value_counts()
    why = [Text(f"  {count} may not, because of the {what}") for what, count in unlike.items()]
    why += [Text(f"  {mixed.sum()} pair two metrics")] if mixed.any() else []
    return Group(*([table] if len(fair) else []), Text(counts, style="dim"), *why)


def _cells(row: Mapping[str, Any]) -> list[str]:
    reach = "" if np.isnan(row["ours_low"]) else f" ±{(row['ours_high'] - row['ours_low']) / 2:.4f}"
    return [
        str(row["task"]),
        str(row["metric"]),
        str(row["layer"]),
        str(row["dim"]),
        f"{row['ours']:.4f}{reach}",
        str(row["ours_method"]),
        f"{row['baseline']:.4f}",
        str(row["baseline_method"]),
        "" if np.isnan(row["delta"]) else f"{row['delta']:+.4f}",
    ]


def _check_asked(
    rows: pd.DataFrame, tasks: Sequence[str], dims: Sequence[int], backbone_map: Mapping[str, str]
) -> None:
    asked = (("task", tasks, "task"), ("dim", dims, "dims"), ("backbone", backbone_map, "backbone-map"))
    wrong: list[UserError] = []
    for column, names, option in asked:
        there = set(map(str, rows[column].unique()))
        wrong += [unknown(column, str(name), there, f"--{option}") for name in names if str(name) not in there]
    raise_all(wrong)


def _chosen(rows: pd.DataFrame, tasks: Sequence[str], dims: Sequence[int]) -> pd.DataFrame:
    wanted = np.ones(len(rows), dtype=bool)
    if tasks:
        wanted &= rows["task"].isin(list(tasks)).to_numpy()
    if dims:
        wanted &= rows["dim"].isin(list(dims)).to_numpy()
    return rows[wanted]


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with its interval, one row per budget and method."""
    groups = rows.groupby(_OURS, observed=True, sort=False)
    code, place = groups.ngroup().to_numpy(), groups.cumcount().to_numpy()
    first = rows[_OURS].iloc[np.unique(code, return_index=True)[1]].reset_index(drop=True)
    means = first.astype({name: np.int64 if name in ("layer", "dim") else str for name in _OURS})
    means = means.rename(columns={"method": "ours_method"})
    values = np.full((len(means), int(place.max()) + 1 if len(place) else 1), np.nan)
    values[code, place] = rows["value"].to_numpy()
    over = interval(values)
    undefined = np.zeros(len(means), dtype=bool)
    undefined[code[rows["value"].isna().to_numpy()]] = True  # one seed without a value leaves no mean, only a gap
    parts = {"ours": over.mean, "ours_low": over.low, "ours_high": over.high}
    return means.assign(
        **{name: np.where(undefined, np.nan, part) for name, part in parts.items()},
        seeds=np.bincount(code, minlength=len(means)),
    )


def _pairs(
    ours: pd.DataFrame, baselines: pd.DataFrame, depths: Mapping[str, int], same: Sequence[str] = ()
) -> pd.DataFrame:
    """Join on task and dim, on the layer where the source gives one, and on what else must be the same."""
    ours = ours.assign(
        last=ours["layer"] == ours["backbone"].map(depths), dataset=ours["task"].map(_datasets(ours)).astype(object)
    )
    theirs = baselines.assign(data=baselines.get("data", "")).rename(
        columns={"task": "dataset", "backbone": "baseline_backbone", "method": "baseline_method", "value": "baseline"}
    )
    theirs = theirs.rename(columns={name: f"{name}_theirs" for name in _BOTH}).assign(task_theirs=baselines["task"])
    theirs["dataset"] = theirs["dataset"].map(_datasets(baselines)).astype(object)
    stated = theirs["layer_theirs"]
    numbered = theirs[~stated.isin(["", LAST])]
    joins = (
        (ours, numbered.assign(layer=numbered["layer_theirs"].astype(np.int64)), ["dataset", "dim", "layer"]),
        (ours[ours["last"]], theirs[stated == LAST], ["dataset", "dim"]),
        (ours, theirs[stated == ""], ["dataset", "dim"]),
    )
    renamed = [
        (left, right.assign(**{name: right[f"{name}_theirs"] for name in same}), keys) for left, right, keys in joins
    ]
    if (count := sum(_count(left, right, [*keys, *same]) for left, right, keys in renamed)) > _MOST_PAIRS:
        fix = "name fewer with --task and --dims, or ask for --only-comparable"
        raise UserError("compare", f"{count} pairs share task and dim, at most {_MOST_PAIRS} are joined", fix)
    return pd.concat([left.merge(right, on=[*keys, *same]) for left, right, keys in renamed], ignore_index=True)


def _datasets(rows: pd.DataFrame) -> dict[str, str]:
    """Return task -> the name its dataset is known by: `mteb:STSBenchmark` scores that of `stsb`."""
    official = official_names()
    return {str(task): official.get(str(task), str(task)) for task in rows["task"].unique()}


def _count(left: pd.DataFrame, right: pd.DataFrame, keys: list[str]) -> int:
    """Count the pairs of a join without making them."""
    sizes = (
        left.groupby(keys)
        .size()
        .rename("left")
        .to_frame()
        .join(right.groupby(keys).size().rename("right"), how="inner")
    )
    return int((sizes["left"] * sizes["right"]).sum())


def _reasons(pairs: pd.DataFrame, backbone_map: Mapping[str, str]) -> dict[str, list[str]]:
    """Return, for each thing that must be the same or there, one sentence per pair: empty where it is."""
    found = {"backbone": _backbone_reasons(pairs, backbone_map)}
    for name in ("metric", "split", "protocol"):
        free = pd.Series(False, index=pairs.index)
        if name == "protocol":  # it matters to what is tuned, and where it leaves rows out
            free = ~pairs["metric"].isin(FITTED) & ~pairs["protocol"].str.contains("-without-")
        found[name] = _differing(name, pairs[name], pairs[f"{name}_theirs"], free)
    plain = pairs["precision_theirs"].where(pairs["precision_theirs"] != "", _PLAIN)
    found["precision"] = _differing("precision", pairs["precision"], plain)
    whole = pd.Series(np.where(pairs["last"], "", pairs["layer"].astype(str)), index=pairs.index)
    unsaid = (pairs["layer_theirs"] == "") & ~pairs["last"]
    found["layer"] = _differing("layer", whole, pairs["layer_theirs"].where(unsaid, whole))
    one_unit = np.logical_and.reduce([pairs[name] == pairs[f"{name}_theirs"] for name in UNIT])
    known = one_unit & (pairs["data"] != "") & (pairs["data_theirs"] != "")
    found["data"] = _differing("data", pairs["data"], pairs["data_theirs"].where(known, pairs["data"]))
    found["value"] = _undefined(pairs)
    return found


def _undefined(pairs: pd.DataFrame) -> list[str]:
    sides = zip(pairs["ours"].isna(), pairs["baseline"].isna(), strict=True)
    return [
        f"value: {'ours' if ours else 'theirs'} is undefined at a seed or more" if ours or theirs else ""
        for ours, theirs in sides
    ]


def _differing(name: str, ours: pd.Series, theirs: pd.Series, free: pd.Series | None = None) -> list[str]:
    """Say where two columns differ; where `free`, an empty value of theirs fits any of ours."""
    told = []
    fits_any = np.zeros(len(ours), dtype=bool) if free is None else free.to_numpy()
    for mine, other, fits in zip(ours, theirs, fits_any, strict=True):
        if mine == other or (other == "" and fits):
            told.append("")
        elif other == "":
            told.append(f"{name}: ours {mine}, the baseline does not state its own")
        else:
            told.append(f"{name}: ours {mine}, theirs {other}")
    return told


def _backbone_reasons(pairs: pd.DataFrame, backbone_map: Mapping[str, str]) -> list[str]:
    told = _differing("backbone", pairs["backbone"], pairs["baseline_backbone"])
    both = zip(pairs["backbone"], pairs["baseline_backbone"], strict=True)
    return [
        "" if _same_backbone(backbone_map.get(mine, mine), other) else reason
        for (mine, other), reason in zip(both, told, strict=True)
    ]


def _same_backbone(ours: str, theirs: str) -> bool:
    """Say whether two names are of one backbone: `owner__model` and `model` are, two owners of a `model` are not."""
    owned = [name for name in (ours, theirs) if "__" in name]
    if len(owned) == 1:
        return ours.rpartition("__")[2] == theirs.rpartition("__")[2]
    return ours == theirs and ours != ""


def _doubts(frame: pd.DataFrame, most: int = 5) -> list[str]:
    """Repeat what the sources' files note on numbers that may be compared: presumed metrics, readings off figures."""
    noted = frame[frame["comparable"] & (frame["note"] != "")]
    theirs = [
        "source",
        "note",
        "task",
        "metric",
        "locator",
        "baseline_backbone",
        "baseline_method",
        "layer",
        "dim",
        "baseline",
    ]
    told = noted[theirs].drop_duplicates().groupby(["source", "note"], sort=False).size()
    sentences = [
        f"{count} of the published numbers {'comes' if count == 1 else 'come'} with a note ({source}): {note}."
        for (source, note), count in told.items()
    ]
    left = [f"{len(sentences) - most} more notes stand in the baselines' files."] if len(sentences) > most else []
    return sentences[:most] + left


def _why_none(frame: pd.DataFrame, pairs: pd.DataFrame, ours: pd.DataFrame, baselines: pd.DataFrame) -> list[str]:
    """Say in one sentence why a comparison is empty."""
    if len(frame):
        return []
    if len(pairs):
        return [
            f"None of the {len(pairs)} pairs of the same task and dim may be compared; leave out --only-comparable to see why."
        ]
    mine, theirs = set(_datasets(ours).values()), set(_datasets(baselines).values())
    if not mine & theirs:
        return [f"Nothing to compare: no baseline is of a task of ours ({', '.join(sorted(mine)) or 'none'})."]
    there = baselines[baselines["task"].map(_datasets(baselines)).isin(mine)]
    told = f"Nothing to compare: of our tasks there are baselines only at dims {', '.join(map(str, sorted(there['dim'].unique())))}"
    return [f"{told}, in {', '.join(sorted(there['metric'].unique()))}, or at layers that we did not score."]
