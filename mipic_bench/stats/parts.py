"""What each seed and each task contributes to a statistic of (seed, task) scores."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from mipic_bench.stats.intervals import Array, Counts, nan_mean


def complete(values: Array) -> tuple[Array, Counts]:
    """Blank every seed that lacks a task which its group has for another seed: its mean would be over other tasks.

    Args:
        values: (group, seed, task), NaN where missing.

    Returns:
        the values kept, and per group the number of cells missing from the seeds that ran at all.
    """
    there = ~np.isnan(values)
    expected = there.any(axis=1, keepdims=True)
    lacking = (expected & ~there).sum(axis=2) * there.any(axis=2)
    return np.where((lacking == 0)[:, :, None], values, np.nan), lacking.sum(axis=1)


def task_count(values: Array) -> Counts:
    """Return the number of tasks that a (group, seed, task) array has any value for, per group."""
    return np.asarray((~np.isnan(values)).any(axis=1).sum(axis=1))


def mean_parts(values: Array) -> tuple[Array, Array]:
    """Means over tasks of each seed (group, seed), and the contribution of each task (group, task), of (group, seed, task)."""
    return nan_mean(values, axis=2), task_parts(values, lambda v: nan_mean(v, axis=2))


def interquartile_parts(values: Array) -> tuple[Array, Array]:
    """Contributions of each seed (group, seed) and each task (group, task) to the interquartile mean of all cells.

    They are jackknife pseudo-values, shifted so that their mean is the statistic itself.
    """

    def statistic(v: Array) -> Array:
        return interquartile_mean(v.reshape(len(v), -1))

    whole = statistic(values)
    seeds = _pseudo_values(values.swapaxes(1, 2), lambda v: statistic(v.swapaxes(1, 2)))
    seeds += (whole - nan_mean(seeds, axis=1))[:, None]
    there = (~np.isnan(values)).any(axis=2)
    alone = there & (there.sum(axis=1) == 1)[:, None]
    return np.where(alone, whole[:, None], seeds), _pseudo_values(values, statistic)


def task_parts(values: Array, per_seed: Callable[[Array], Array]) -> Array:
    """Return (group, task): what each task contributes to the mean over seeds of a per-seed statistic, by jackknife.

    For a mean over tasks these are the tasks' own means. A group of one task has no spread over tasks: NaN.

    Args:
        values: (group, seed, task), NaN where missing.
        per_seed: (group, seed, task) -> (group, seed); it leaves NaN out.
    """
    return _pseudo_values(values, lambda v: nan_mean(per_seed(v), axis=1))


def interquartile_mean(values: ArrayLike) -> Array:
    """Mean of the middle half of the last axis: the lowest and the highest quarter are cut, rounded down.

    The same number as `scipy.stats.trim_mean(values, 0.25)` and rliable's IQM (Agarwal et al. 2021). It means something
    for values of one metric only.

    Args:
        values: (..., value); NaN is left out.

    Returns:
        (...), NaN where there is no value.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)  # NaN sorts last
    count = (~np.isnan(ordered)).sum(axis=-1)[..., None]
    place, cut = np.arange(ordered.shape[-1]), count // 4
    return nan_mean(np.where((place >= cut) & (place < count - cut), ordered, np.nan), axis=-1)


def _pseudo_values(values: Array, statistic: Callable[[Array], Array]) -> Array:
    """Jackknife pseudo-values over the last axis of (group, other, unit); NaN where a group lacks the unit or has one."""
    there = np.asarray((~np.isnan(values)).any(axis=1))
    count = there.sum(axis=1)
    whole = statistic(values)
    parts = np.full(there.shape, np.nan)
    for unit in range(values.shape[2]):
        without = values.copy()
        without[:, :, unit] = np.nan
        pseudo = count * whole - (count - 1) * statistic(without)
        parts[:, unit] = np.where(there[:, unit] & (count > 1), pseudo, np.nan)
    return parts
