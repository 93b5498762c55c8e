"""Checking the columns of a table: what a cell must be, and which rows are wrong.

Rows are numbered from 1 after the header, as a reader counts them.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mipic_bench.errors import UserError, raise_all, unknown
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
else:
    np = lazy("numpy")
    pd = lazy("pandas")

_SHOWN = 3  # bad rows named in one message
_WHOLE = re.compile(r"\s*(\d+)\.0+\s*", re.ASCII)  # a whole number as a column of floats is written


def require(frame: pd.DataFrame, needed: Sequence[str], where: str) -> None:
    """Raise one error per column that is missing, with the close names that are there."""
    raise_all([missing(name, tuple(frame.columns), where, needed) for name in needed if name not in frame.columns])


def missing(name: str, there: Sequence[str], where: str, needed: Sequence[str] = ()) -> UserError:
    """Build the error for one missing column; both the name and what the file has are told, those `needed` not as guesses."""
    free = [column for column in there if column not in needed]
    hint = unknown("column", name, free, where).fix
    return UserError(where, f"no column '{name}'; the columns are {', '.join(map(repr, there)) or 'none'}", hint)


def require_rows(frame: pd.DataFrame, where: str) -> None:
    """Raise when a file has fewer than the two rows that any score or training step needs."""
    if len(frame) < 2:
        count = "1 row" if len(frame) == 1 else "no rows"
        raise UserError(where, f"{count}, at least 2 are needed", "add rows, or leave the file out")


def texts(frame: pd.DataFrame, column: str, where: str) -> list[str]:
    """Return a column as text.

    Raises:
        UserError: a cell that is empty, only white space, or not text.
    """
    values = texts_or_empty(frame[column], column, where)
    fix = "fill the text in, or take the row out"
    raise_all(_bad_rows(values, lambda value: not value.strip(), f"'{column}' is empty", where, fix))
    return values


def texts_or_empty(cells: Iterable[Any], column: str, where: str) -> list[str]:
    """Return cells as text: a missing one is "", a number its digits, bytes what they hold in UTF-8.

    Raises:
        UserError: a list, a mapping, true or false; bytes that are not UTF-8; half of a surrogate pair.
    """
    given = list(cells)
    raise_all(_not_text(given, column, where))
    values = [_as_text(value) for value in given]
    raise_all(
        _bad_rows(
            values, _is_torn, f"'{column}' holds half of a surrogate pair", where, "write the text as whole Unicode"
        )
    )
    return values


def numbers(frame: pd.DataFrame, column: str, where: str, low: float = -math.inf, high: float = math.inf) -> np.ndarray:
    """Return a column as float64 (row,).

    Raises:
        UserError: a cell that is not a finite number, or lies outside [low, high].
    """
    values = np.array([_as_number(value) for value in frame[column]], dtype=np.float64)
    given = [_as_text(value) for value in frame[column]]
    bad = ~np.isfinite(values)
    raise_all(
        _bad_where(bad, given, f"'{column}' is not a finite number", where, "write a number, or take the row out")
    )
    out = (values < low) | (values > high)
    fix = f"mend the rows, or state the scale as `range = [low, high]` in the folder's task.toml (now [{low:g}, {high:g}])"
    raise_all(_bad_where(out, given, f"'{column}' is outside {low:g} to {high:g}", where, fix))
    return values


def labels(frame: pd.DataFrame, column: str, where: str) -> list[str]:
    """Return a label column as text: 1, 1.0, "1" and "1.0" are the same label, True is "true".

    Raises:
        UserError: an empty label, a list or a mapping, bytes that are not UTF-8.
    """
    values = [text.strip() for text in texts_or_empty(map(_plain_label, frame[column]), column, where)]
    raise_all(
        _bad_rows(
            values, lambda value: not value, f"'{column}' is empty", where, "fill the label in, or take the row out"
        )
    )
    return values


def unique(ids: Sequence[str | tuple[str, ...]], what: str, where: str) -> None:
    """Raise when an id, of one part or several, stands on more than one row."""
    first: dict[str | tuple[str, ...], int] = {}
    for row, name in enumerate(ids, start=1):
        if first.setdefault(name, row) != row:
            told = name if isinstance(name, str) else " / ".join(name)
            problem = (
                f"{what} '{told}' stands on rows {first[name]} and {row} ({len(ids) - len(set(ids))} repeated in all)"
            )
            raise UserError(where, problem, "give every row an id of its own")


def _not_text(cells: Sequence[Any], column: str, where: str) -> list[UserError]:
    """Build at most one error for the cells whose text would be Python's way to print them."""
    bad = [row for row, value in enumerate(cells) if not isinstance(value, str) and _is_no_text(value)]
    if not bad:
        return []
    first = cells[bad[0]]
    kind = "bytes that are not UTF-8" if isinstance(first, bytes) else f"a {type(first).__name__}, not text,"
    what = f"'{column}' holds {kind} in {name_rows(bad)} (found {reprlib.repr(first)})"
    return [UserError(where, what, "write one text, in UTF-8, in each row, or take the row out")]


def _is_no_text(value: Any) -> bool:
    if not isinstance(value, bytes):
        return isinstance(value, bool | np.bool_ | list | tuple | dict | np.ndarray)
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return "" if value is None or value != value else str(value)  # NaN is the value that differs from itself


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _plain_label(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, str) and (whole := _WHOLE.fullmatch(value)):
        return whole[1]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_torn(value: str) -> bool:
    """Tell whether a text cannot be written as UTF-8 (JSON can smuggle in lone surrogates)."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _bad_rows(values: Sequence[str], bad: Callable[[str], bool], what: str, where: str, fix: str) -> list[UserError]:
    return _bad_where(
        np.fromiter((bad(value) for value in values), dtype=bool, count=len(values)), values, what, where, fix
    )


def _bad_where(bad: np.ndarray, given: Sequence[str], what: str, where: str, fix: str) -> list[UserError]:
    """Build at most one error that names the first bad rows, shows the first value and counts the rest."""
    rows = np.flatnonzero(bad)
    if not len(rows):
        return []
    return [UserError(where, f"{what} in {name_rows(rows)} (found {given[rows[0]]!r})", fix)]


def name_rows(rows: Iterable[int]) -> str:
    """Name rows given by 0-based index: "row 3", or "rows 3, 7, 9 and 4 more"."""
    numbered = [int(row) + 1 for row in rows]
    named = ", ".join(map(str, numbered[:_SHOWN]))
    more = f" and {len(numbered) - _SHOWN} more" if len(numbered) > _SHOWN else ""
    return f"row{'s' if len(numbered) > 1 else ''} {named}{more}"
