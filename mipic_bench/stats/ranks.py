"""Ranks of methods over tasks: Friedman's test, Nemenyi's critical difference, and who cannot be told apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from mipic_bench.families import MAIN_METRIC
from mipic_bench.stats.grid import grids
from mipic_bench.stats.intervals import Array, nan_mean
from mipic_bench.stats.parts import complete
from mipic_bench.stats.significance import ALPHA


@dataclass(frozen=True)
class Ranking:
    """Mean ranks over tasks, for a critical-difference diagram (Demsar 2006).

    Attributes:
        methods: best first.
        mean_ranks: of each; 1 is best.
        statistic: Friedman's chi-square; NaN below three methods or two tasks.
        p: its p-value.
        critical_difference: two mean ranks further apart than this differ at 5 % (Nemenyi); NaN below two tasks.
        groups: the largest groups of methods that cannot be told apart, each best first; none without a critical
            difference.
        tasks: the tasks that every method has.
        excluded: tasks that some method lacks.
        note: what the reader must know.
    """

    methods: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    statistic: float
    p: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    tasks: tuple[str, ...]
    excluded: tuple[str, ...]
    note: str


def rank(scores: ArrayLike, methods: Sequence[str], tasks: Sequence[str]) -> Ranking:
    """Rank methods on each task and test whether the mean ranks differ.

    Args:
        scores: (task, method), higher is better, each a mean over seeds; NaN where missing. Metrics may differ between
            tasks: ranks are taken within one.
        methods: names of the second axis.
        tasks: names of the first axis.
    """
    table = np.asarray(scores, dtype=np.float64).reshape(len(tasks), len(methods))
    whole = np.asarray(~np.isnan(table).any(axis=1))
    table = table[whole]
    kept = tuple(task for task, there in zip(tasks, whole, strict=True) if there)
    excluded = tuple(task for task, there in zip(tasks, whole, strict=True) if not there)
    ranks = stats.rankdata(-table, axis=1) if len(table) else table
    mean_ranks = nan_mean(ranks, axis=0)
    order = sorted(range(len(methods)), key=lambda place: (mean_ranks[place], methods[place]))
    names = tuple(methods[place] for place in order)
    ordered = mean_ranks[order]
    critical = critical_difference(len(methods), len(kept))
    statistic, p = _friedman(ranks)
    note = f"{len(excluded)} tasks excluded that some method lacks: {', '.join(excluded)}" if excluded else ""
    groups = _groups(names, ordered, critical)
    return Ranking(names, tuple(map(float, ordered)), statistic, p, critical, groups, kept, excluded, note)


def ranking(rows: pd.DataFrame, *, metrics: Mapping[str, str] = MAIN_METRIC) -> Ranking:
    """Rank the methods of one setting at one budget over all its tasks, each score a mean over the method's complete seeds.

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`, of one backbone, corpus, protocol and budget; methods
            without a corpus may stand among them.
        metrics: family -> the one metric that speaks for it.

    Raises:
        UserError: two runs of one cell.
    """
    columns: dict[str, dict[str, float]] = {}
    for grid in grids(rows, metrics=metrics):
        kept, _ = complete(grid.once())
        for method, means in zip(grid.index["method"], nan_mean(kept, axis=1), strict=True):
            columns.setdefault(method, {}).update(zip(grid.tasks, means, strict=True))
    table = pd.DataFrame(columns, dtype=np.float64)
    return rank(table.to_numpy(), list(table.columns), list(table.index))


def critical_difference(methods: int, tasks: int) -> float:
    """Nemenyi's critical difference of mean ranks at 5 %; NaN below two methods or tasks."""
    if methods < 2 or tasks < 2:
        return nan
    quantile = float(stats.studentized_range.ppf(1 - ALPHA, methods, np.inf)) / sqrt(2)
    return quantile * sqrt(methods * (methods + 1) / (6 * tasks))


def _friedman(ranks: Array) -> tuple[float, float]:
    if ranks.shape[0] < 2 or ranks.shape[1] < 3 or (ranks == ranks[:, :1]).all():
        return nan, nan  # scipy wants three methods; ranks that are all ties hold nothing to test
    statistic, p = stats.friedmanchisquare(*ranks.T)
    return float(statistic), float(p)


def _groups(names: Sequence[str], mean_ranks: Array, critical: float) -> tuple[tuple[str, ...], ...]:
    """Return every maximal run of neighbors, two or more, whose mean ranks span no more than the critical difference."""
    if np.isnan(critical):
        return ()
    found: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(names)):
        end = start + int(np.searchsorted(mean_ranks[start:], mean_ranks[start] + critical, side="right"))
        if end - start > 1 and end > reached:
            found.append(tuple(names[start:end]))
        reached = max(reached, end)
    return tuple(found)
