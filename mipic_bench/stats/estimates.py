"""One estimate with its intervals, and the verdict that an interval allows."""

from dataclasses import dataclass
from math import nan
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mipic_bench.stats.intervals import BOOTSTRAP_FROM, Array, Counts, interval, reach, widen
from mipic_bench.stats.parts import complete, interquartile_parts, mean_parts, task_count

Statistic = Literal["mean", "iqm"]
BETTER, WORSE, SAME, UNKNOWN = "better", "worse", "not distinguishable", "cannot be told"


@dataclass(frozen=True)
class Estimate:
    """A mean with its intervals.

    Attributes:
        mean: over tasks, then over seeds.
        low: lower end of the 95 % interval over seeds, tasks fixed; NaN with one run.
        high: upper end.
        n_seeds: seeds (or single runs) that counted.
        n_tasks: tasks that counted.
        kind: how the interval was made, in words.
        low_wide: lower end when the tasks are a sample too; NaN with one task.
        high_wide: upper end.
        note: what the reader must know: one seed, missing cells, a side without training.
    """

    mean: float
    low: float
    high: float
    n_seeds: int
    n_tasks: int
    kind: str
    low_wide: float = nan
    high_wide: float = nan
    note: str = ""


class Bounds(Protocol):
    """Anything with the two ends of an interval; NaN if unknown."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


def verdict(difference: Bounds) -> str:
    """Say what a difference amounts to: "better", "worse", "not distinguishable", or "cannot be told" (no interval)."""
    return str(verdicts(np.array(difference.low), np.array(difference.high)))


def verdicts(low: Array, high: Array) -> NDArray[np.str_]:
    """Return `verdict` for arrays of interval ends, both of one shape."""
    unknown = np.isnan(low) | np.isnan(high)
    return np.select([unknown, low > 0, high < 0], [UNKNOWN, BETTER, WORSE], SAME)


def kinds(count: Counts) -> NDArray[np.str_]:
    """Say in words how the interval over each number of seeds was made."""
    names = ["no complete seed", "one run: interval unknown", "t over seeds"]
    return np.select([count < 1, count == 1, count < BOOTSTRAP_FROM], names, "bootstrap of seeds")


def note(*, seeds: int, tasks: int, missing: int = 0, more: str = "") -> str:
    """Return the one line of warnings that an estimate carries; empty when there is nothing to say."""
    parts = [
        more,
        "no complete seed" if seeds < 1 else "one run: interval unknown" if seeds == 1 else "",
        "one task: says nothing beyond it" if tasks == 1 else "",
        f"{missing} {'cell' if missing == 1 else 'cells'} excluded" if missing else "",
    ]
    return "; ".join(part for part in parts if part)


def estimate(scores: ArrayLike, *, statistic: Statistic = "mean", seed: int = 0) -> Estimate:
    """Mean (or interquartile mean) of one method's scores, with its intervals.

    Args:
        scores: (seed, task) of one metric, NaN where missing. A seed that lacks a task is left out, and that is said:
            its mean would be over other tasks.
        statistic: "mean": over tasks, then over seeds. "iqm": interquartile mean of all seeds and tasks together.
        seed: of the bootstrap that serves from 10 seeds on.
    """
    kept, missing = complete(np.asarray(scores, dtype=np.float64)[None])
    per_seed, per_task = (interquartile_parts if statistic == "iqm" else mean_parts)(kept)
    over = interval(per_seed, seed=seed)
    wide = widen(over, *reach(per_task, seed=seed))
    seeds, tasks = int(over.units[0]), int(task_count(kept)[0])
    return Estimate(
        mean=float(over.mean[0]),
        low=float(over.low[0]),
        high=float(over.high[0]),
        n_seeds=seeds,
        n_tasks=tasks,
        kind=str(kinds(over.units)[0]),
        low_wide=float(wide[0][0]),
        high_wide=float(wide[1][0]),
        note=note(seeds=seeds, tasks=tasks, missing=int(missing[0])),
    )
