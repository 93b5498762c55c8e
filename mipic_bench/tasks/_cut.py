"""Fixed, seeded, stratified cuts of rows, for data that came without a split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
else:
    np = lazy("numpy")
    pd = lazy("pandas")


SEED = 20260427  # any fixed number would do; changing it changes every cut, and so every number scored on one
TENTHS = {"train": 8, "dev": 1, "test": 1}


def cut(frame: pd.DataFrame, tenths: dict[str, int]) -> dict[str, pd.DataFrame]:
    """Cut rows into parts of so many tenths each, the same at every call.

    Rows with the same text (or the same two texts) fall into the same part; class shares are kept when there is a label.

    Args:
        frame: rows with text columns and perhaps `label`.
        tenths: part name -> tenths of the rows; together 10.
    """
    keys = _keys(frame)
    first: dict[object, int] = {}
    group = np.array([first.setdefault(key, len(first)) for key in keys], dtype=np.int64)
    strata = _strata(frame, group, len(first))
    part_of_group = np.empty(len(first), dtype=np.int64)
    generator = np.random.default_rng(SEED)
    shares = _pattern(list(tenths.values()))
    position = 0  # runs on from class to class, so that many small classes still give the stated shares in all
    for stratum in np.unique(strata):
        members = generator.permutation(np.flatnonzero(strata == stratum))
        parts = shares[(position + np.arange(len(members))) % 10]
        parts[0] = (
            parts[0] if (parts == 0).any() else 0
        )  # no class is missing from the first part, where probes are fitted
        part_of_group[members] = parts
        position += len(members)
    part = part_of_group[group]
    return {name: frame[part == number].reset_index(drop=True) for number, name in enumerate(tenths)}


def _keys(frame: pd.DataFrame) -> Sequence[object]:
    names = [name for name in ("text", "sentence1", "sentence2") if name in frame.columns]
    return list(zip(*(frame[name] for name in names), strict=True))


def _strata(frame: pd.DataFrame, group: np.ndarray, groups: int) -> np.ndarray:
    """Return the label of each group's first row (0 for all without labels), int64 (group,)."""
    if "label" not in frame.columns:
        return np.zeros(groups, dtype=np.int64)
    strata = np.empty(groups, dtype=np.int64)
    strata[group[::-1]] = frame["label"].to_numpy()[::-1]  # the first row of a group is written last
    return strata


def _pattern(tenths: Sequence[int]) -> np.ndarray:
    """Return ten part numbers with the smaller parts spread among the largest."""
    slots = [(place / (count + 1), part) for part, count in enumerate(tenths) for place in range(1, count + 1)]
    return np.array([part for _, part in sorted(slots)], dtype=np.int64)
