"""What a smaller width keeps: retention, area under the quality curve, and the smallest width that is good enough."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mipic_bench.families import MAIN_METRIC
from mipic_bench.stats.grid import KEYS, Grid, grids
from mipic_bench.stats.intervals import Array, nan_mean, reach
from mipic_bench.stats.levels import Part, finish, finish_all
from mipic_bench.stats.parts import complete, mean_parts, task_count, task_parts

WITHIN = (0.01, 0.05)  # shares of the full-width score that may be lost
CURVE = tuple(key for key in KEYS if key != "dim")
_LAST = ("dims", "seeds", "tasks", "missing", "kind", "note")


@dataclass(frozen=True)
class Curves:
    """Scores of one family over the widths.

    Attributes:
        index: one line per curve, columns `CURVE`, family, metric, more (for its note).
        values: (curve, dim, seed, task), NaN where missing.
        dims: names of the second axis, ascending.
        full: (curve,) position of the backbone's full width among them; -1 where the family was not scored at it.
    """

    index: pd.DataFrame
    values: Array
    dims: tuple[int, ...]
    full: NDArray[np.int64]


def retention(scores: ArrayLike, full: ArrayLike) -> Array:
    """Score divided by the full-width score of the same run; NaN where that is not above 0.

    Args:
        scores: any shape.
        full: the full-width scores, of a shape that broadcasts with it.
    """
    x, y = np.broadcast_arrays(np.asarray(scores, dtype=np.float64), np.asarray(full, dtype=np.float64))
    return np.asarray(np.divide(x, y, out=np.full(x.shape, np.nan), where=y > 0), dtype=np.float64)


def area(scores: ArrayLike, dims: Sequence[int]) -> Array:
    """Area under quality over log2(dim) by the trapezoid rule, divided by the range: a mean quality in the same unit.

    Args:
        scores: (..., dim); a curve with a gap has no area (NaN).
        dims: two widths or more, ascending.
    """
    position = np.log2(np.asarray(dims, dtype=np.float64))
    under = np.trapezoid(np.asarray(scores, dtype=np.float64), position, axis=-1)
    return np.asarray(under / (position[-1] - position[0]), dtype=np.float64)


def smallest_dim(kept: ArrayLike, dims: Sequence[int], within: float) -> Array:
    """Return the smallest width that keeps at least 1 - `within` of the full-width score; NaN if none does.

    Args:
        kept: (..., dim) retentions, NaN where a width was not scored.
        dims: the widths, ascending.
        within: the share that may be lost (0.01 for 1 %).
    """
    enough = np.asarray(kept, dtype=np.float64) >= 1 - within - 1e-12  # 0.99 of 1 is within 1 %, rounding or not
    widths = np.asarray(dims, dtype=np.float64)
    return np.asarray(np.where(enough.any(axis=-1), widths[enough.argmax(axis=-1)], np.nan))


def retentions(
    rows: pd.DataFrame,
    *,
    metrics: Mapping[str, str] = MAIN_METRIC,
    split: str = "test",
    full: Mapping[str, int] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate the retention of every method at every budget and family, with intervals.

    Per seed it is the family mean at the width divided by the family mean of the same run at full width. Where
    that was not scored there is no line.

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`.
        metrics: family -> the one metric that speaks for it.
        split: the split that counts where a task has it.
        full: backbone -> its full width; of a backbone that is not named, the largest width in the rows is taken.
        seed: of the bootstrap.

    Returns:
        columns as `scores`, where mean is the retention (1 keeps everything).

    Raises:
        UserError: two runs of one cell.
    """
    found = [_retention_part(one, seed) for one in _all_curves(rows, metrics, split, full or {})]
    frame = finish_all(found, seed)
    return frame[frame["mean"].notna()].reset_index(drop=True)


def budgets(
    rows: pd.DataFrame,
    *,
    metrics: Mapping[str, str] = MAIN_METRIC,
    split: str = "test",
    full: Mapping[str, int] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Sum up each quality curve: its area, and the smallest widths within 1 % and 5 % of full width, with intervals.

    The interval of a smallest width is read off the retention's band, width by width: `low` is the first whose upper end
    is within the share, `high` the first whose lower end is. A band that falls again further up is not looked at.

    Args:
        rows: the columns of `mipic_bench.results.rows.COLUMNS`.
        metrics: family -> the one metric that speaks for it.
        split: the split that counts where a task has it.
        full: backbone -> its full width; of a backbone that is not named, the largest width in the rows is taken.
        seed: of the bootstrap.

    Returns:
        one line per method, backbone, corpus, protocol, precision, layer and family: metric, area with area_low,
        area_high, area_low_wide, area_high_wide, dim_1 (within 1 %) and dim_5 (within 5 %) with the same endings, dims
        (the widths of the area, "8-384 (7)"), seeds, tasks, missing, kind, note. The area is over the widths that at
        least half of the curves of its setting and family have, and NaN for a curve that lacks one of them.

    Raises:
        UserError: two runs of one cell.
    """
    frames = [_sum_up(one, seed) for one in _all_curves(rows, metrics, split, full or {})]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _all_curves(rows: pd.DataFrame, metrics: Mapping[str, str], split: str, full: Mapping[str, int]) -> list[Curves]:
    found = grids(rows, metrics=metrics, split=split)
    widths = pd.concat([grid.index[["backbone", "dim"]] for grid in found]) if found else pd.DataFrame()
    largest = widths.groupby("backbone")["dim"].max().to_dict() if found else {}
    known = pd.Series({**largest, **full}, dtype=np.int64)
    return [_curves(grid, known) for grid in found]


def _curves(grid: Grid, widths: pd.Series) -> Curves:
    """Lay out a grid's groups as curves over the widths."""
    dims, place = np.unique(grid.index["dim"].to_numpy(), return_inverse=True)
    labelled = grid.labelled()
    keys = labelled[list(CURVE)]
    curve = keys.groupby(list(CURVE), sort=True, observed=True).ngroup().to_numpy()
    first = np.unique(curve, return_index=True)[1]
    values = np.full((len(first), len(dims), *grid.values.shape[1:]), np.nan)
    values[curve, place] = grid.once()
    index = labelled.iloc[first].drop(columns="dim").reset_index(drop=True)
    wanted = widths.reindex(index["backbone"]).to_numpy()
    full = np.searchsorted(dims, wanted).clip(max=len(dims) - 1)
    full[dims[full] != wanted] = -1
    return Curves(index, values, tuple(int(dim) for dim in dims), full)


def _retention_part(curves: Curves, seed: int) -> Part:
    """Per-seed retentions of every (curve, dim), in this order."""
    shape = curves.values.shape
    at_full = curves.values[np.arange(shape[0]), curves.full].copy()
    at_full[curves.full < 0] = np.nan
    full = np.repeat(at_full, shape[1], axis=0)
    values = curves.values.reshape(-1, *shape[2:])
    kept, missing = complete(np.where(np.isnan(full), np.nan, values))

    def per_seed(v: Array) -> Array:
        return retention(nan_mean(v, axis=2), nan_mean(np.where(np.isnan(v), np.nan, full), axis=2))

    index = curves.index.loc[curves.index.index.repeat(shape[1])].assign(dim=np.tile(curves.dims, shape[0]))
    return Part(index, per_seed(kept), *reach(task_parts(kept, per_seed), seed=seed), task_count(kept), missing)


def _area_part(curves: Curves, dims: NDArray[np.int64], lines: NDArray[np.int64], seed: int) -> Part:
    """Per-seed areas of some curves over some of the widths (positions)."""
    cells = area(np.moveaxis(curves.values[lines][:, dims], 1, -1), [curves.dims[place] for place in dims])
    kept, missing = complete(cells)
    per_seed, per_task = mean_parts(kept)
    return Part(curves.index.iloc[lines], per_seed, *reach(per_task, seed=seed), task_count(kept), missing)


def _areas(curves: Curves, seed: int) -> pd.DataFrame:
    """Areas of all curves, over the widths that most curves of the same setting and layer have."""
    there = pd.DataFrame(np.asarray((~np.isnan(curves.values)).any(axis=(2, 3))))
    setting = [curves.index[name] for name in ("backbone", "protocol", "precision", "layer")]
    common = there.groupby(setting, observed=True).transform("mean").to_numpy() >= 0.5
    sets, number = np.unique(common, axis=0, return_inverse=True)
    frames = [_areas_over(curves, np.flatnonzero(one), np.flatnonzero(number == i), seed) for i, one in enumerate(sets)]
    return pd.concat(frames).sort_index()


def _areas_over(curves: Curves, dims: NDArray[np.int64], lines: NDArray[np.int64], seed: int) -> pd.DataFrame:
    if len(dims) < 2:
        return _no_area(curves.index.iloc[lines])
    names = [curves.dims[place] for place in dims]
    frame = finish(_area_part(curves, dims, lines, seed), seed).set_index(lines)
    return frame.assign(dims=f"{names[0]}-{names[-1]} ({len(names)})")


def _no_area(group: pd.DataFrame) -> pd.DataFrame:
    numbers = dict.fromkeys(("mean", "low", "high", "low_wide", "high_wide", "sd"), np.nan)
    counts = dict.fromkeys(("seeds", "tasks", "missing"), 0)
    return group.drop(columns="more").assign(
        **numbers, **counts, kind="", note="fewer than two common widths: no area", dims=""
    )


def _sum_up(curves: Curves, seed: int) -> pd.DataFrame:
    frame = _areas(curves, seed)
    ends = {"mean": "area", **{end: f"area_{end}" for end in ("low", "high", "low_wide", "high_wide")}}
    frame = frame.rename(columns=ends).drop(columns="sd")
    kept = finish(_retention_part(curves, seed), seed)
    bands = {name: kept[name].to_numpy().reshape(len(frame), -1) for name in ends}
    opposite = {"mean": "mean", "low": "high", "high": "low", "low_wide": "high_wide", "high_wide": "low_wide"}
    for within in WITHIN:
        for end, band in opposite.items():
            name = f"dim_{within * 100:g}" + ("" if end == "mean" else f"_{end}")
            frame[name] = smallest_dim(bands[band], curves.dims, within)
    columns = [column for column in frame.columns if column not in _LAST]
    return frame[[*columns, *_LAST]]
