"""Rows made ready to be compared: text as categories, one setting at a time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mipic_bench.results.folder import safe
from mipic_bench.results.rows import seed_text

_TEXT = ("run", "method", "base_method", "ablation", "backbone", "corpus", "seed")
_LABELS = ("family", "task", "split", "protocol", "precision", "metric")
SETTING = ["backbone", "corpus", "protocol"]
GROUP = [*SETTING, "precision", "family"]
BUDGET = ["layer", "dim"]


def small_dim(dims: Sequence[int]) -> int:
    """The width that stands for the small ones: the nearest to 32 in octaves, the smaller of two equally near."""
    return min(sorted(dims), key=lambda dim: abs(np.log2(dim / 32)))


def swept_value(method: str) -> float | None:
    """The number that a setting of a method was changed to last ("mipic-alpha=0.5"); None where it is no number."""
    _, sign, value = method.rpartition("=")
    try:
        return float(value) if sign else None
    except ValueError:
        return None


class Setting(NamedTuple):
    """What is held fixed when methods are compared."""

    backbone: str
    corpus: str
    protocol: str

    @property
    def title(self) -> str:
        """The setting in words, for headings."""
        corpus = f"trained on {self.corpus}" if self.corpus else "without training"
        return f"{self.backbone}, {corpus}" + ("" if self.protocol == "clean" else f", protocol {self.protocol}")

    @property
    def slug(self) -> str:
        """The setting as a part of a file name."""
        parts = [self.backbone, self.corpus or "none"] + ([] if self.protocol == "clean" else [self.protocol])
        return "--".join(map(safe, parts))


def pick(frame: pd.DataFrame, setting: Setting | None = None, **fixed: object) -> pd.DataFrame:
    """The rows of a frame in a setting and with the given values."""
    wanted = {**(setting._asdict() if setting else {}), **fixed}
    mask = np.ones(len(frame), dtype=bool)
    for name, value in wanted.items():
        mask &= (frame[name] == value).to_numpy()
    return frame[mask]


def last_layer(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a frame at the deepest layer that it has."""
    return frame[(frame["layer"] == frame["layer"].max()).to_numpy()]


def categorical(rows: pd.DataFrame) -> pd.DataFrame:
    """Text columns as categories ('' for missing): a million rows then fit in memory and group fast."""
    columns: dict[str, Any] = {}
    for name in (*_TEXT, *_LABELS):
        codes, found = pd.factorize(rows[name], use_na_sentinel=False)
        texts = [seed_text(value) for value in found]
        known = sorted(set(texts))
        places = np.array([known.index(text) for text in texts], dtype=np.int32)
        columns[name] = pd.Categorical.from_codes(places[codes] if len(codes) else [], categories=known)
    for name in BUDGET:
        columns[name] = rows[name].to_numpy(dtype=np.int32)
    for name in ("value", "stderr", "n"):
        columns[name] = rows[name].to_numpy(dtype=np.float64)
    return pd.DataFrame(columns)


def spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Let methods without a corpus stand beside the trained ones of every corpus of their backbone."""
    blank = (rows["corpus"] == "").to_numpy()
    corpora = rows.loc[~blank, SETTING].drop_duplicates()
    if not blank.any() or corpora.empty:
        return rows
    copies = rows[blank].drop(columns="corpus").merge(corpora, on=["backbone", "protocol"], how="left")
    copies["corpus"] = copies["corpus"].fillna("")
    return pd.concat([rows[~blank], copies[rows.columns]], ignore_index=True)


def largest_common(sets: Sequence[frozenset[str]]) -> frozenset[str]:
    """The set that keeps the most (owner, member) pairs, whose owners have all of it: one of them or what some share.

    Ties go to more owners, then to the first name.
    """
    shared = {*sets, *(one & other for one in sets for other in sets), frozenset.intersection(*sets)}
    candidates = sorted(shared - {frozenset()}, key=sorted)
    return max(candidates, key=lambda one: (len(one) * sum(one <= other for other in sets), -len(one)))
