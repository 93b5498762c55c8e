"""Rows laid out as arrays (group, seed, task), one grid per task family, so that no loop runs over rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mipic_bench.errors import UserError
from mipic_bench.families import MAIN_METRIC
from mipic_bench.results.rows import seed_text
from mipic_bench.stats.intervals import Array

FAMILY_MEAN = "mean of families"  # the labelled extra: a mean over unlike metrics
KEYS = ("method", "backbone", "corpus", "protocol", "precision", "layer", "dim")


@dataclass(frozen=True)
class Grid:
    """The main-metric scores of one family.

    Attributes:
        family: of every task.
        metric: of every value.
        index: one line per group, columns `KEYS`.
        values: (group, seed, task), NaN where missing. The one run of a method without training stands at every seed.
        trained: (group,) False where the method has no training.
        seeds: names of the second axis.
        tasks: names of the third axis.
    """

    family: str
    metric: str
    index: pd.DataFrame
    values: Array
    trained: NDArray[np.bool_]
    seeds: tuple[str, ...]
    tasks: tuple[str, ...]

    def labelled(self) -> pd.DataFrame:
        """Return the index with family, metric, and `more`: what the note of an estimate must say of a group."""
        more = np.where(self.trained, "", "no training").astype(object)
        return self.index.assign(family=self.family, metric=self.metric, more=more)

    def once(self) -> Array:
        """Return the values with the one run of each method without training at the first place only."""
        values = self.values.copy()
        values[~self.trained, 1:] = np.nan
        return values


def grids(rows: pd.DataFrame, *, metrics: Mapping[str, str] = MAIN_METRIC, split: str = "test") -> list[Grid]:
    """Lay out rows as one grid per family that has scores, in the order of `metrics`.

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`.
        metrics: family -> the one metric that speaks for it.
        split: taken where a task was scored on it anywhere under the same protocol, backbone and corpus (a method
            without a corpus stands beside every one); another split of the same task is then left out, and a task
            without it counts with the split it has.

    Raises:
        UserError: a cell has two values (two runs of one cell): a mean over them would mean nothing.
    """
    rows = _wanted(rows, metrics, split)
    codes = {column: _codes(rows[column]) for column in (*KEYS, "seed", "task", "family")}
    seeds = tuple(sorted((str(seed) for seed in codes["seed"][1] if seed), key=_seed_order)) or ("",)
    _refuse_doubles(rows, codes)
    result = []
    for family, metric in metrics.items():
        if family in codes["family"][1]:
            mask = codes["family"][0] == codes["family"][1].index(family)
            values = rows["value"].to_numpy(dtype=np.float64)[mask]
            part = {column: (code[mask], names) for column, (code, names) in codes.items()}
            result.append(_grid(family, metric, part, values, seeds))
    return result


def mean_over_dims(rows: pd.DataFrame, dims: Sequence[int]) -> pd.DataFrame:
    """Average each score over several widths, for a question about a range of them ("at dims 8 to 64").

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`.
        dims: the widths; a score that lacks one of them is left out.

    Returns:
        rows with `value` averaged and `dim` 0 (no width of its own); stderr is unknown.
    """
    wanted = rows[rows["dim"].isin(dims)]
    by = [column for column in rows.columns if column not in ("dim", "value", "stderr", "n")]
    means = wanted.groupby(by, observed=True, dropna=False, sort=False)
    result = means.agg(value=("value", "mean"), count=("value", "count"), n=("n", "first")).reset_index()
    result = result[result["count"] == len(set(dims))].assign(dim=0, stderr=np.nan)
    return result[list(rows.columns)].reset_index(drop=True)


def _wanted(rows: pd.DataFrame, metrics: Mapping[str, str], split: str) -> pd.DataFrame:
    """Keep each family's metric, on the split that counts."""
    rows = rows[_pairs(rows["family"], rows["metric"], set(metrics.items())) & rows["value"].notna().to_numpy()]
    on_split = (rows["split"] == split).to_numpy(dtype=bool)
    (corpus, corpora), *rest = (_codes(rows[name]) for name in ("corpus", "backbone", "protocol", "task"))
    blank = corpus == (corpora.index("") if "" in corpora else -1)
    place = np.zeros(len(rows), dtype=np.int64)
    for code, names in rest:
        place = place * len(names) + code

    def has_split(where: NDArray[np.int64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(np.bincount(where[on_split & among], minlength=int(where.max(initial=0)) + 1) > 0)[where]

    everywhere = np.ones(len(rows), dtype=bool)
    beside = has_split(place * len(corpora) + corpus, everywhere) | has_split(place, blank)
    return rows[on_split | ~np.where(blank, has_split(place, everywhere), beside)]


def _pairs(first: pd.Series, second: pd.Series, allowed: set[tuple[str, str]]) -> NDArray[np.bool_]:
    """Say for each row whether its two labels are an allowed pair."""
    (left, left_names), (right, right_names) = _codes(first), _codes(second)
    table = np.array([[(a, b) in allowed for b in right_names] for a in left_names], dtype=bool)
    return table[left, right] if len(left) else np.zeros(0, dtype=bool)


def _codes(column: pd.Series) -> tuple[NDArray[np.int64], tuple[object, ...]]:
    """Number the labels of a column, in sorted order: (codes, labels). Text labels are strings, widths integers."""
    codes, found = pd.factorize(column, use_na_sentinel=False)
    if column.name in ("layer", "dim"):
        labels: list[object] = [int(value) for value in found]
    else:
        labels = [seed_text(value) for value in found]
    names = sorted(set(labels))  # type: ignore[type-var]
    place = {label: position for position, label in enumerate(names)}
    return np.array([place[label] for label in labels], dtype=np.int64)[codes], tuple(names)


def _grid(
    family: str,
    metric: str,
    codes: Mapping[str, tuple[NDArray[np.int64], tuple[object, ...]]],
    values: Array,
    seeds: tuple[str, ...],
) -> Grid:
    group, index = _groups({key: codes[key] for key in KEYS})
    used, task = np.unique(codes["task"][0], return_inverse=True)
    seed_names = codes["seed"][1]
    place = np.array([seeds.index(str(name)) if name else 0 for name in seed_names], dtype=np.int64)
    seed = place[codes["seed"][0]]
    blank = np.array([not name for name in seed_names], dtype=bool)[codes["seed"][0]]
    filled = np.full((len(index), len(seeds), len(used)), np.nan)
    filled[group[~blank], seed[~blank], task[~blank]] = values[~blank]
    filled[group[blank], :, task[blank]] = values[blank, None]
    trained = np.ones(len(index), dtype=bool)
    trained[group[blank]] = False
    tasks = tuple(str(codes["task"][1][code]) for code in used)
    return Grid(family, metric, index, filled, trained, seeds, tasks)


def _groups(
    codes: Mapping[str, tuple[NDArray[np.int64], tuple[object, ...]]],
) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Number the combinations of several columns: each row's group, and the labels of every group."""
    shape = [max(len(names), 1) for _, names in codes.values()]
    flat = np.ravel_multi_index([code for code, _ in codes.values()], shape)
    found, group = np.unique(flat, return_inverse=True)
    places = np.unravel_index(found, shape)
    columns = {
        key: np.array(names, dtype=np.int64 if key in ("layer", "dim") else object)[place]
        for (key, (_, names)), place in zip(codes.items(), places, strict=True)
    }
    return group, pd.DataFrame(columns)


def _refuse_doubles(rows: pd.DataFrame, codes: Mapping[str, tuple[NDArray[np.int64], tuple[object, ...]]]) -> None:
    shape = [max(len(names), 1) for _, names in codes.values()]
    flat = np.ravel_multi_index([code for code, _ in codes.values()], shape)
    order = np.argsort(flat, kind="stable")
    twice = np.flatnonzero(flat[order][1:] == flat[order][:-1])
    if len(twice) == 0:
        return
    first, second = rows.iloc[order[twice[0]]], rows.iloc[order[twice[0] + 1]]
    cell = " ".join(f"{key}={first[key]}" for key in ("method", "backbone", "corpus", "seed", "task", "layer", "dim"))
    raise UserError(
        "results",
        f"{len(twice)} scores stand there twice, first {cell}: {first['value']:.6g} in the run {first['run']}, "
        f"{second['value']:.6g} in the run {second['run']}",
        "keep one run per cell, or give the runs different method names",
    )


def _seed_order(seed: str) -> tuple[int, str]:
    return len(seed), seed  # 2 before 10
