"""How good each method is at each budget: means over a family's tasks and then over seeds, with both intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mipic_bench.families import MAIN_METRIC
from mipic_bench.stats.estimates import Statistic, kinds, note
from mipic_bench.stats.grid import FAMILY_MEAN, KEYS, grids
from mipic_bench.stats.intervals import Array, Counts, interval, reach, widen
from mipic_bench.stats.parts import complete, interquartile_parts, mean_parts, task_count

ESTIMATE = ("mean", "low", "high", "low_wide", "high_wide", "sd", "seeds", "tasks", "missing", "kind", "note")


@dataclass(frozen=True)
class Part:
    """Per-seed values of many groups, ready for their intervals.

    Attributes:
        index: one line per group, with at least family, metric and more (what its note must say of it).
        per_seed: (group, seed), NaN where a seed does not count.
        below: (group,) how far the interval over tasks reaches below its mean; NaN with one task.
        above: and above.
        tasks: (group,) tasks that counted.
        missing: (group,) cells left out.
    """

    index: pd.DataFrame
    per_seed: Array
    below: Array
    above: Array
    tasks: Counts
    missing: Counts


def scores(
    rows: pd.DataFrame,
    *,
    statistic: Statistic = "mean",
    metrics: Mapping[str, str] = MAIN_METRIC,
    split: str = "test",
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate the quality of every method at every budget, per family; the mean over families is a labelled extra.

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`; a mix of backbones, corpora, protocols and precisions is kept
            apart.
        statistic: "mean" over tasks then over seeds, or "iqm" over all seeds and tasks (then no mean over families).
        metrics: family -> the one metric that speaks for it.
        split: the split that counts where a task has it.
        seed: of the bootstrap.

    Returns:
        one line per method, backbone, corpus, protocol, precision, layer, dim and family, with metric, mean, low, high,
        low_wide, high_wide, sd (over seeds), seeds, tasks, missing, kind and note. A seed that lacks a task is left
        out. The family `FAMILY_MEAN` (metric "mixed") has the groups that were scored on every family.

    Raises:
        UserError: two runs of one cell.
    """
    take = interquartile_parts if statistic == "iqm" else mean_parts
    parts = []
    for grid in grids(rows, metrics=metrics, split=split):
        kept, missing = complete(grid.once())
        per_seed, per_task = take(kept)
        parts.append(Part(grid.labelled(), per_seed, *reach(per_task, seed=seed), task_count(kept), missing))
    if statistic == "mean" and len(parts) > 1:
        parts.append(family_mean(parts, KEYS))
    return finish_all(parts, seed)


def finish_all(parts: Sequence[Part], seed: int) -> pd.DataFrame:
    """Put the estimates of several parts under each other."""
    frames = [finish(part, seed) for part in parts]
    if not frames:
        return pd.DataFrame(columns=[*KEYS, "family", "metric", *ESTIMATE])
    return pd.concat(frames, ignore_index=True)


def finish(part: Part, seed: int) -> pd.DataFrame:
    """Return a part's index with its estimates (`ESTIMATE`) beside it."""
    over = interval(part.per_seed, seed=seed)
    low_wide, high_wide = widen(over, part.below, part.above)
    frame = part.index.reset_index(drop=True)
    numbers = {"mean": over.mean, "low": over.low, "high": over.high, "low_wide": low_wide, "high_wide": high_wide}
    frame = frame.assign(**numbers, sd=over.sd, seeds=over.units, tasks=part.tasks, missing=part.missing)
    frame["kind"] = kinds(over.units).astype(object)
    frame["note"] = sentences(frame[["seeds", "tasks", "missing", "more"]], note)
    return frame.drop(columns="more")


def sentences(columns: pd.DataFrame, say: Callable[..., str]) -> pd.Series:
    """Say something about each line; equal lines are put into words once."""
    if columns.empty:
        return pd.Series([], dtype=object, index=columns.index)
    numbers = columns.groupby(list(columns.columns), sort=False, observed=True).ngroup()
    different = columns.drop_duplicates()
    words = np.array([say(**line) for line in different.to_dict("records")], dtype=object)
    return pd.Series(words[numbers.to_numpy()], index=columns.index)


def family_mean(parts: Sequence[Part], keys: Sequence[str]) -> Part:
    """Average the families, each with equal weight, seed by seed; only groups with every family of their setting.

    Unlike metrics meet in it: it is labelled so (family `FAMILY_MEAN`, metric "mixed"). The families are taken as fixed,
    the tasks within each as a sample.

    Args:
        parts: one per family.
        keys: the columns that name a group, without the family.
    """
    index = pd.concat([part.index for part in parts], ignore_index=True)
    family = np.repeat(np.arange(len(parts)), [len(part.index) for part in parts])
    group = index.groupby(list(keys), sort=True, observed=True).ngroup().to_numpy()
    first = index.iloc[np.unique(group, return_index=True)[1]].reset_index(drop=True)
    has = np.zeros((len(first), len(parts)), dtype=bool)
    has[group, family] = True
    whole = _has_all(first, has)

    def spread(name: str) -> Array:
        """(group, family, ...) of one field; families that the setting does not have stand at 0."""
        stacked = np.concatenate([getattr(part, name) for part in parts])
        cube = np.zeros((len(first), len(parts), *stacked.shape[1:]))
        cube[group, family] = stacked
        return cube[whole]

    count = has[whole].sum(axis=1)
    per_seed = spread("per_seed").sum(axis=1) / count[:, None]
    below, above = (np.sqrt((spread(name) ** 2).sum(axis=1)) / count for name in ("below", "above"))
    tasks, missing = (spread(name).sum(axis=1).astype(np.int64) for name in ("tasks", "missing"))
    labelled = first[whole].assign(family=FAMILY_MEAN, metric="mixed").reset_index(drop=True)
    said = [f"mean over {families} families with unlike metrics" for families in count]
    labelled["more"] = [f"{own}; {one}" if own else one for own, one in zip(labelled["more"], said, strict=True)]
    return Part(labelled, per_seed, below, above, tasks, missing)


def _has_all(groups: pd.DataFrame, has: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which groups have every family that any group of their backbone, protocol and precision has (and several)."""
    setting = groups.groupby(["backbone", "protocol", "precision"], observed=True).ngroup().to_numpy()
    expected = np.zeros((setting.max(initial=-1) + 1, has.shape[1]), dtype=bool)
    np.logical_or.at(expected, setting, has)
    return np.asarray((has | ~expected[setting]).all(axis=1) & (has.sum(axis=1) > 1))
