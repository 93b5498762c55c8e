"""Differences between two methods, paired by seed and task; the trained model is the unit of repetition."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mipic_bench.families import MAIN_METRIC
from mipic_bench.stats.estimates import Estimate, verdicts
from mipic_bench.stats.grid import Grid, grids
from mipic_bench.stats.intervals import Array, Counts, nan_mean, reach
from mipic_bench.stats.levels import Part, family_mean, finish
from mipic_bench.stats.parts import complete, mean_parts, task_count
from mipic_bench.stats.power import detectable
from mipic_bench.stats.significance import paired_p

PLACE = ("backbone", "protocol", "precision", "layer", "dim")  # and the corpus, which a method without training lacks
PAIR = ("left", "right", "corpus", *PLACE)
DIFFERENCE = (
    "difference", "low", "high", "low_wide", "high_wide", "sd", "seeds", "tasks", "excluded", "p", "p_kind",
    "improvement", "detectable", "verdict", "kind", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Difference(Estimate):
    """The mean paired difference of two methods (left minus right), with its intervals.

    Attributes:
        sd: standard deviation of the per-seed differences.
        p: two-sided p that the difference is 0, not corrected for other questions; NaN with one seed.
        p_kind: the test that gave it.
        improvement: probability that a run of the left method beats one of the right on a task, ties half.
        detectable: smallest difference that this many seeds show with 80 % power.
        excluded: (task, seed) cells that are not compared, of all seeds and tasks that either has: those that not both
            sides have, and the rest of a seed that lacks one, whose mean would be over other tasks.
    """

    sd: float = nan
    p: float = nan
    p_kind: str = ""
    improvement: float = nan
    detectable: float = nan
    excluded: int = 0


@dataclass(frozen=True)
class Pairs:
    """Groups of two methods under one setting and family.

    Attributes:
        index: one line per pair, columns `PAIR`, family, metric.
        left: (pair, seed, task).
        right: (pair, seed, task); a single run without training stands at every seed.
        left_trained: (pair,)
        right_trained: (pair,)
    """

    index: pd.DataFrame
    left: Array
    right: Array
    left_trained: NDArray[np.bool_]
    right_trained: NDArray[np.bool_]


def difference(left: ArrayLike, right: ArrayLike, *, questions: int = 1, seed: int = 0) -> Difference:
    """Compare two methods: per seed the mean over tasks of the paired differences, then the mean over seeds.

    Args:
        left: (seed, task), NaN where missing; or (task,) for a method without training, whose one run then stands
            against every seed of the other side.
        right: the same, over the same tasks (and the same seeds, in the same order).
        questions: how many questions Holm's correction will cover; it decides which test can reach 0.05.
        seed: of the bootstrap.

    Raises:
        ValueError: two trained sides of different shapes.
    """
    one, two = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if one.ndim == two.ndim == 2 and one.shape != two.shape:
        raise ValueError(f"left has the shape {one.shape} and right {two.shape}; runs are paired by seed and task")
    trained = np.array([one.ndim == 2]), np.array([two.ndim == 2])
    one, two = np.broadcast_arrays(np.atleast_2d(one), np.atleast_2d(two))
    index = pd.DataFrame({"left": ["left"], "right": ["right"], "family": [""], "metric": [""]})
    pairs = Pairs(index, one[None], two[None], *trained)
    line = compare([pairs], questions=questions, seed=seed).iloc[0]
    numbers = ("low", "high", "low_wide", "high_wide", "sd", "p", "improvement", "detectable")
    return Difference(
        mean=float(line["difference"]),
        n_seeds=int(line["seeds"]),
        n_tasks=int(line["tasks"]),
        excluded=int(line["excluded"]),
        kind=str(line["kind"]),
        p_kind=str(line["p_kind"]),
        note=str(line["note"]),
        **{name: float(line[name]) for name in numbers},
    )


def differences(
    rows: pd.DataFrame,
    reference: str,
    *,
    metrics: Mapping[str, str] = MAIN_METRIC,
    split: str = "test",
    questions: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare every method with a reference at every budget and family. All of it is exploratory: p is not corrected.

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`.
        reference: the method on the right side: positive differences are gains over it.
        metrics: family -> the one metric that speaks for it.
        split: the split that counts where a task has it.
        questions: how many of these p the caller will correct for together; it decides which test can reach 0.05.
        seed: of the bootstrap.

    Returns:
        one line per other method, backbone, corpus, protocol, precision, layer, dim and family: method, reference, the
        setting, family, metric and the columns `DIFFERENCE`. The family `FAMILY_MEAN` is the labelled mean over unlike
        metrics. A method without training meets each corpus.

    Raises:
        UserError: two runs of one cell.
    """
    found = []
    for grid in grids(rows, metrics=metrics, split=split):
        others = (grid.index["method"] != reference).to_numpy()
        found.append(match(grid, np.flatnonzero(others), np.flatnonzero(~others)))
    result = compare(found, with_mean=len(found) > 1, questions=questions, seed=seed)
    result = result.rename(columns={"left": "method", "right": "reference"})
    return result[["method", "reference", "corpus", *PLACE, "family", "metric", *DIFFERENCE]]


def match(grid: Grid, left: NDArray[np.int64], right: NDArray[np.int64]) -> Pairs:
    """Pair groups of a grid that share their setting; a corpus meets itself, and a method without one meets every corpus.

    Args:
        grid: of one family.
        left: positions of groups.
        right: positions of groups.
    """
    columns = ["method", "corpus", *PLACE]
    one = grid.index.iloc[left][columns].assign(place_left=left)
    two = grid.index.iloc[right][columns].assign(place_right=right)
    both = one.merge(two, on=list(PLACE), suffixes=("_left", "_right"))
    alike = (both["corpus_left"] == both["corpus_right"]) | (both["corpus_left"] == "") | (both["corpus_right"] == "")
    both = both[alike].reset_index(drop=True)
    both["corpus"] = both["corpus_left"].where(both["corpus_left"] != "", both["corpus_right"])
    both = both.rename(columns={"method_left": "left", "method_right": "right"})
    index = both[list(PAIR)].assign(family=grid.family, metric=grid.metric)
    ours, theirs = both["place_left"].to_numpy(dtype=np.int64), both["place_right"].to_numpy(dtype=np.int64)
    return Pairs(index, grid.values[ours], grid.values[theirs], grid.trained[ours], grid.trained[theirs])


def compare(pairs: list[Pairs], *, with_mean: bool = False, questions: int = 1, seed: int = 0) -> pd.DataFrame:
    """Estimate every pair's difference; `with_mean` adds the mean over families of the same pairs.

    Returns:
        the pairs' index and the columns `DIFFERENCE`, in the order given.
    """
    if not pairs:
        return pd.DataFrame(columns=[*PAIR, "family", "metric", *DIFFERENCE])
    parts, improvements = [], []
    for pair in pairs:
        left, right, excluded = _both(pair)
        per_seed, per_task = mean_parts(left - right)
        tasks = task_count(left - right)
        index = pair.index.assign(more=_single_runs(pair))
        parts.append(Part(index, per_seed, *reach(per_task, seed=seed), tasks, excluded))
        improvements.append(probability_of_improvement(left, right))
    if with_mean:
        parts.append(family_mean(parts, PAIR))
        improvements.append(np.full(len(parts[-1].index), np.nan))
    frames = [_finish(*part, questions, seed) for part in zip(parts, improvements, strict=True)]
    return pd.concat(frames, ignore_index=True)


def probability_of_improvement(left: ArrayLike, right: ArrayLike) -> Array:
    """Probability that a run of the left method beats a run of the right one, mean over tasks; ties count half.

    Every run meets every run (Mann-Whitney), as in Agarwal et al. 2021 (rliable).

    Args:
        left: (..., seed, task), NaN where missing.
        right: the same shape but for the number of seeds.

    Returns:
        (...), NaN where no task has both sides.
    """
    x, y = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    wins = np.zeros(np.broadcast_shapes(x.shape[:-2], y.shape[:-2]) + x.shape[-1:])
    for run in range(x.shape[-2]):  # one run against all others at a time: (..., seed, task) fits in memory
        one = x[..., run : run + 1, :]
        wins += ((one > y) + 0.5 * (one == y)).sum(axis=-2)
    meetings = (~np.isnan(x)).sum(axis=-2) * (~np.isnan(y)).sum(axis=-2)
    share = np.divide(wins, meetings, out=np.full(wins.shape, np.nan), where=meetings > 0)
    return nan_mean(share, axis=-1)


def _both(pairs: Pairs) -> tuple[Array, Array, Counts]:
    """Keep the seeds that both sides have on every task that they share, and count the cells left out.

    Two methods without training meet once: their copies at the other seeds are no repetitions.
    """
    has_left, has_right = ~np.isnan(pairs.left), ~np.isnan(pairs.right)
    once = np.ones(pairs.left.shape[1], dtype=bool)
    once[1:] = False
    ran_left = np.where(pairs.left_trained[:, None], has_left.any(axis=2), once)
    ran_right = np.where(pairs.right_trained[:, None], has_right.any(axis=2), once)
    # A single run is there for the seeds that the other side ran, and is not missed at any other.
    has_left &= np.where(pairs.left_trained[:, None], ran_left, ran_right)[:, :, None]
    has_right &= np.where(pairs.right_trained[:, None], ran_right, ran_left)[:, :, None]
    there = has_left | has_right
    expected = there.any(axis=2, keepdims=True) & there.any(axis=1, keepdims=True)
    whole, _ = complete(np.where(has_left & has_right, pairs.left - pairs.right, np.nan))
    used = ~np.isnan(whole)
    excluded = (expected & ~used).sum(axis=(1, 2))
    return np.where(used, pairs.left, np.nan), np.where(used, pairs.right, np.nan), excluded


def _single_runs(pairs: Pairs) -> NDArray[np.object_]:
    """Say for each pair which side is a single run without training."""
    left, right = (pairs.index[side].to_numpy(dtype=object) for side in ("left", "right"))
    stands = " has no training: its one run stands against every seed"
    words = ["neither side has training: seeds say nothing here", left + stands, right + stands]
    one, two = ~pairs.left_trained, ~pairs.right_trained
    return np.select([one & two, one, two], [np.full(len(left), words[0], dtype=object), *words[1:]], "")


def _finish(part: Part, improvement: Array, questions: int, seed: int) -> pd.DataFrame:
    frame = finish(part, seed).rename(columns={"mean": "difference", "missing": "excluded"})
    p, p_kind = paired_p(part.per_seed, questions=questions, seed=seed)
    shown = detectable(frame["sd"].to_numpy(), frame["seeds"].to_numpy())
    frame = frame.assign(p=p, p_kind=p_kind.astype(object), improvement=improvement, detectable=shown)
    frame["verdict"] = verdicts(frame["low"].to_numpy(), frame["high"].to_numpy()).astype(object)
    columns = [column for column in part.index.columns if column != "more"]
    return frame[[*columns, *DIFFERENCE]]
