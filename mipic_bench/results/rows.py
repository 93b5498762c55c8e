"""What a row is: its columns, what they may hold, and its text in a CSV file (no file is touched here)."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = (
    "run", "method", "base_method", "ablation",
    "backbone", "corpus", "seed",
    "family", "task", "split", "protocol",
    "layer", "dim", "precision",
    "metric", "value", "stderr", "n",
)  # fmt: skip
IDENTITY = ("family", "task", "split", "protocol", "layer", "dim", "precision", "metric")  # one number of a run
INTEGERS = ("layer", "dim", "n")
FLOATS = ("value", "stderr")
STRINGS = tuple(column for column in COLUMNS if column not in INTEGERS + FLOATS)
MAY_BE_EMPTY = ("ablation", "corpus", "seed")  # no ablation; nothing trained or fitted; nothing drawn


@dataclass(frozen=True)
class Run:
    """One finished run: its rows (columns `COLUMNS`) and its provenance."""

    rows: pd.DataFrame
    provenance: dict[str, Any]


def empty() -> pd.DataFrame:
    """Return a frame of no rows with the columns and their types."""
    return typed(pd.DataFrame({column: [] for column in COLUMNS}))


def typed(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows with exactly the columns of a row, in order, each of its type.

    Strings stay strings ("NA" is a task's name, not a gap); `seed` is text too: "" or a whole number. An unknown
    `stderr` is NaN, and so is a `value` that is not defined (a correlation of vectors that are all alike).

    Args:
        rows: a frame with at least the columns of `COLUMNS`; others are dropped.

    Raises:
        ValueError: a column is missing, or a number column holds something else.
    """
    if missing := [column for column in COLUMNS if column not in rows.columns]:
        raise ValueError(f"no column {', '.join(missing)}")
    columns: dict[str, pd.Series] = {}
    for column in COLUMNS:
        values = rows[column]
        try:
            columns[column] = _typed_column(column, values)
        except (ValueError, TypeError) as error:
            raise ValueError(f"column {column}: {error}") from error
    return pd.DataFrame(columns).reset_index(drop=True)


def problems(rows: pd.DataFrame, run: str | None = None) -> list[str]:
    """Return what is wrong with typed rows, one sentence each; an empty list when they may be written or used.

    Args:
        rows: as `typed` returns them.
        run: the run that all of them must belong to, if it is one.
    """
    found = [f"column {c} is empty in {n} rows" for c in STRINGS if c not in MAY_BE_EMPTY and (n := _empty(rows[c]))]
    if run is not None and (others := [name for name in rows["run"].unique() if name != run]):
        found.append(f"holds rows of the run {others[0]}, not only of {run}")
    if bad := [seed for seed in rows["seed"].unique() if seed and not str(seed).isdecimal()]:
        found.append(f"column seed holds '{bad[0]}', allowed is empty or a whole number")
    for column, least in (("layer", 0), ("dim", 1), ("n", 0)):
        if len(rows) and (lowest := int(rows[column].min())) < least:
            found.append(f"column {column} holds {lowest}, the least allowed is {least}")
    value = rows["value"].to_numpy()
    if len(outside := value[np.abs(value) > 1 + 1e-9]):
        found.append(f"column value holds {outside[0]:g}, allowed is a fraction in [-1, 1]")
    if (rows["stderr"].to_numpy() < 0).any() or np.isinf(rows["stderr"].to_numpy()).any():
        found.append("column stderr holds a negative or infinite number")
    twice = rows.duplicated(["run", *IDENTITY])
    if twice.any():
        first = rows.loc[twice.idxmax(), list(IDENTITY)].astype(str)
        found.append(f"{int(twice.sum())} rows stand there twice, first {' '.join(first)}")
    return found


def to_csv(rows: pd.DataFrame) -> bytes:
    """Return typed rows as UTF-8 CSV text; floats keep every digit, so that equal rows give equal bytes."""
    return bytes(rows.to_csv(index=False, lineterminator="\n", encoding="utf-8").encode("utf-8"))


def from_csv(text: bytes) -> pd.DataFrame:
    """Read CSV text as `to_csv` writes it: floats exactly, and no word taken for a gap.

    Raises:
        ValueError: not UTF-8, not CSV, a column is missing, or a number column holds something else.
    """
    text_columns = dict.fromkeys((*STRINGS, *FLOATS), str)  # floats by Python's own reader: exact in every pandas
    frame = pd.read_csv(
        io.BytesIO(text),
        dtype=text_columns | dict.fromkeys(INTEGERS, np.int64),
        keep_default_na=False,
        encoding="utf-8",
    )
    numbers = {
        column: [float(cell) if cell else np.nan for cell in frame[column]] for column in FLOATS if column in frame
    }
    return typed(frame.assign(**numbers))


def union(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return old rows and new ones of one run; where both have a number of the same identity, the new one stands."""
    both = pd.concat([old, new], ignore_index=True) if len(old) else new
    return both.drop_duplicates(["run", *IDENTITY], keep="last").reset_index(drop=True)


def covers(wide: pd.DataFrame, narrow: pd.DataFrame) -> bool:
    """Say whether the first rows have a number for every identity of the second."""
    return set(_identities(narrow)) <= set(_identities(wide))


def _identities(rows: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(rows[["run", *IDENTITY]].itertuples(index=False, name=None))


def _empty(column: pd.Series) -> int:
    return int((column == "").sum())


def _typed_column(column: str, values: pd.Series) -> pd.Series:
    if column in FLOATS:
        return values.astype(np.float64)
    if column in INTEGERS:
        if pd.api.types.is_integer_dtype(values.dtype) and not values.hasnans:
            return values.astype(np.int64)
        whole = values.astype(np.float64)
        if len(broken := whole[(whole % 1 != 0) | whole.isna()]):
            raise ValueError(f"{broken.iloc[0]} is not a whole number")
        return whole.astype(np.int64)
    if pd.api.types.is_string_dtype(values.dtype) and not values.hasnans:
        return values.astype(str)
    if column == "seed":
        return values.map(seed_text).astype(str)
    return values.astype(object).where(values.notna(), "").astype(str)


def seed_text(value: object) -> str:
    """Return a seed as text: 0, 0.0 and "0" are one seed; None, NaN and "" are a method without training."""
    if value is None or value is pd.NA or value == "" or value != value:
        return ""
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)
