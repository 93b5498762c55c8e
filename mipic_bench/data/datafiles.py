"""Reading the user's CSV, JSONL and Parquet files, and saying exactly where they are broken.

A CSV cell is text and stays text: "NA", "null" and "nan" are words like any other. Rows are numbered from 1 after the header.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipic_bench.errors import UserError
from mipic_bench.registry import lazy

if TYPE_CHECKING:
    import pandas as pd
else:
    pd = lazy("pandas")

FORMATS = (".csv", ".jsonl", ".parquet")


def read(path: Path) -> pd.DataFrame:
    """Read a whole file. CSV cells come as text; JSONL and Parquet values as they are stored.

    Args:
        path: a `.csv` (comma, header row), `.jsonl` (one object per line) or `.parquet` file.

    Raises:
        UserError: an unknown ending, an empty or broken file, text that is not UTF-8, rows of uneven length.
    """
    names, values = _parsed(path)
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in zip(names, values, strict=True)})


def header(path: Path) -> tuple[str, ...]:
    """Return the column names of a file from its head alone; empty when even that cannot be read."""
    try:
        if path.suffix.lower() == ".parquet":
            return tuple(_parquet().read_schema(path).names)
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            if path.suffix.lower() == ".csv":
                return tuple(next(csv.reader(stream), ()))
            first = json.loads(stream.readline())
            return tuple(first) if isinstance(first, dict) else ()
    except (OSError, ValueError, csv.Error):  # a broken file is told about when it is read
        return ()


def read_objects(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file as one dictionary per line; blank lines are passed over.

    Raises:
        UserError: a line that is not a JSON object, named by its number.
    """
    rows = []
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(
                str(path), f"line {number} is not JSON: {error}", "write one JSON object per line"
            ) from None
        if not isinstance(row, dict):
            raise UserError(
                str(path), f"line {number} is a {type(row).__name__}, not an object", "write one JSON object per line"
            )
        rows.append(row)
    return rows


def read_tsv(path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """Read a tab-separated file (BEIR's qrels) as (header, rows)."""
    rows = [line.rstrip("\r").split("\t") for line in _decoded(path).split("\n") if line.strip()]
    if not rows:
        raise _empty(path)
    _check_lengths(path, rows[0], rows[1:])
    return tuple(rows[0]), rows[1:]


def digest(content: Mapping[str, Any]) -> str:
    """Return the sha256 of plain values (text, numbers, lists, mappings), whatever file they were read from."""
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def _parsed(path: Path) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Read a file as (column names, columns)."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise UserError(str(path), f"'{path.suffix}' files are not read", f"use one of {', '.join(FORMATS)}")
    if ending == ".parquet":
        return _read_parquet(path)
    if ending == ".csv":
        return _read_csv(path)
    rows = read_objects(path)
    if not rows:
        raise _empty(path)
    header = tuple(dict.fromkeys(name for row in rows for name in row))
    return header, [[row.get(name) for row in rows] for name in header]


def _read_csv(path: Path) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    text = _decoded(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        with _cells_up_to(len(text)):
            rows = [row for row in reader if row]
    except csv.Error as error:
        raise UserError(
            str(path), f"line {reader.line_num} breaks the CSV rules: {error}", "look for an unclosed quote"
        ) from None
    if not rows:
        raise _empty(path)
    header, body = rows[0], rows[1:]
    if len(header) == 1 and (sign := next((sign for sign in ";\t" if sign in header[0]), "")):
        what = f"its one column is called {header[0]!r}: {'tabs' if sign != ';' else 'semicolons'} separate its cells"
        raise UserError(str(path), what, "separate the columns by commas")
    _check_header(path, header)
    _check_lengths(path, header, body)
    return header, list(zip(*body, strict=True)) if body else [()] * len(header)


@contextmanager
def _cells_up_to(size: int) -> Iterator[None]:
    """Let the csv module read cells of so many characters; its limit holds for the whole process, so it is put back."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(size, before))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_parquet(path: Path) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    import pyarrow

    if path.stat().st_size == 0:
        raise _empty(path)
    try:
        table = _parquet().read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(str(path), f"not a Parquet file that can be read: {error}", "write it again") from None
    _check_header(path, table.column_names)
    return table.column_names, [column.to_pylist() for column in table.columns]


def _parquet() -> Any:
    import pyarrow.parquet

    return pyarrow.parquet


def _decoded(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(str(path), f"cannot be read: {error.strerror}", "check the path") from None
    if not data.strip():
        raise _empty(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problem = f"byte 0x{data[error.start]:02x} on line {line} (byte {error.start} of the file) is not UTF-8"
        raise UserError(str(path), problem, "save the file as UTF-8") from None


def _empty(path: Path) -> UserError:
    return UserError(str(path), "the file is empty", "fill it, or take it away")


def _check_header(path: Path, header: Sequence[str]) -> None:
    twice = sorted({name for name in header if list(header).count(name) > 1})
    if twice:
        raise UserError(
            str(path), f"column {', '.join(map(repr, twice))} stands twice in the header", "give each column one name"
        )


def _check_lengths(path: Path, header: Sequence[str], body: Sequence[Sequence[str]]) -> None:
    for number, row in enumerate(body, start=1):
        if len(row) != len(header):
            problem = f"row {number} has {len(row)} cells, the header has {len(header)}"
            raise UserError(str(path), problem, "quote cells that hold a comma, a quote or a line break")
