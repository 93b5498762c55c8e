"""Many runs in one Parquet file: the same columns, and beside it one line of JSON per run, its provenance.

`<name>.parquet` holds the rows; the first line of `<name>.jsonl` its sha256 (the commit mark), each further line the
provenance of one run.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from mipic_bench.errors import UserError
from mipic_bench.results import commit
from mipic_bench.results.rows import Run, covers, problems, typed

FORMAT = 1


def write(path: Path, runs: Mapping[str, Run]) -> None:
    """Pack runs into a Parquet file, with their provenance beside it; both are there whole or not at all.

    Args:
        path: the file, ending in `.parquet`; one that is there is replaced.
        runs: the runs by name.

    Raises:
        UserError: the folder or the disk does not take the files; nothing that was there is lost.
    """
    names = sorted(runs)
    rows = pd.concat([runs[name].rows for name in names], ignore_index=True)
    buffer = io.BytesIO()
    rows.to_parquet(buffer, engine="pyarrow", compression="zstd", index=False)
    content = buffer.getvalue()
    head = {"format": FORMAT, "parquet_sha256": commit.digest(content), "runs": len(names)}
    lines = [json.dumps(line, ensure_ascii=False) for line in (head, *(runs[name].provenance for name in names))]
    commit.write_marked(path, content, path.with_suffix(".jsonl"), ("\n".join(lines) + "\n").encode())


def read(path: Path) -> dict[str, Run]:
    """Return the runs of a packed file by name.

    Raises:
        UserError: the file is damaged, or has no provenance that fits it.
    """
    again = "pack the runs again, or delete it"
    mark = path.with_suffix(".jsonl")
    try:
        pair = commit.read_marked(path, mark)
        if pair is None:
            what = f"was cut off or edited, or its provenance {mark.name} is not there: no sha256 in it is that of the file"
            raise UserError(str(path), what, again)
        head, *provenances = [json.loads(line) for line in pair[1].decode().strip().split("\n")]
        if head["format"] != FORMAT:
            raise UserError(
                str(path), f"has the format {head['format']}, this version reads {FORMAT}", "update mipic-bench"
            )
        rows = typed(pd.read_parquet(io.BytesIO(pair[0]), engine="pyarrow"))
        known = {provenance["run"]: provenance for provenance in provenances}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(str(path), f"cannot be read: {error}", again) from error
    parts = {str(name): part.reset_index(drop=True) for name, part in rows.groupby("run", sort=True)}
    found = problems(rows) + [f"no provenance of the run {name}" for name in parts if name not in known]
    if found:
        raise UserError(str(path), "; ".join(found), again)
    return {name: Run(part, known[name]) for name, part in parts.items()}


def read_all(results: Path) -> tuple[dict[str, Run], list[UserError]]:
    """Return the runs of every packed file of a results folder by name, and what was found broken and left out.

    A run that is in two of them with different rows is taken from the one that has every number of the other, else from
    the first by file name, and told.
    """
    runs: dict[str, Run] = {}
    found: list[UserError] = []
    for path in sorted(results.glob("*.parquet")):
        try:
            more = read(path)
        except UserError as problem:
            found.append(problem)
            continue
        twice = [name for name in more if name in runs and not more[name].rows.equals(runs[name].rows)]
        fuller = [name for name in twice if not covers(runs[name].rows, more[name].rows)]
        fuller = [name for name in fuller if covers(more[name].rows, runs[name].rows)]
        for name in twice:
            what = f"the run {name} differs from the one in an earlier packed file"
            taken = "this one was taken, which has more numbers" if name in fuller else "the earlier one was taken"
            found.append(UserError(str(path), what, f"{taken}; delete one of the two files"))
        runs = more | runs | {name: more[name] for name in fuller}
    return runs, found
