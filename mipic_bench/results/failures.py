"""Cells that failed: one JSON each with the reason, and the traceback beside it. The next run tries them again."""

import json
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from mipic_bench.errors import UserError
from mipic_bench.results import commit

FAILURES = "failures"


@dataclass(frozen=True)
class Failure:
    """Why a cell failed.

    Args:
        run: the run it would have become.
        reason: one sentence.
        time: when, UTC, to the microsecond.
        traceback: the file with the traceback, inside the results folder.
        task: the one that could not be scored; empty when the cell failed as a whole.
    """

    run: str
    reason: str
    time: str
    traceback: str
    task: str = ""

    def of(self, tasks: Sequence[str]) -> bool:
        """Say whether it stands in the way of scoring these tasks."""
        return not self.task or self.task in tasks


def write(results: Path, run: str, reason: str, text: str, task: str = "") -> Failure:
    """Record that a cell failed; an earlier record of the same cell is replaced.

    Args:
        results: the results folder.
        run: the run it would have become.
        reason: one sentence.
        text: the traceback, or whatever is known.
        task: the one that could not be scored, if that is all that failed.

    Raises:
        UserError: the folder or the disk does not take it.
    """
    path = results / FAILURES / f"{run}.txt"
    commit.write(path, text.encode(errors="replace"))
    failure = Failure(run, reason, now(), f"{FAILURES}/{path.name}", task)
    commit.write(path.with_suffix(".json"), (json.dumps(asdict(failure), ensure_ascii=False) + "\n").encode())
    return failure


def traceback_of(error: BaseException) -> str:
    """Return an error's traceback as text, with those of its causes."""
    return "".join(traceback.format_exception(error))


def read(results: Path) -> dict[str, Failure]:
    """Return the recorded failures by run; a file that is none is passed over."""
    found: dict[str, Failure] = {}
    for path in sorted((results / FAILURES).glob("*.json")):
        try:
            failure = Failure(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        found[failure.run] = failure
    return found


def forget(results: Path, run: str) -> None:
    """Take the record of a failure away: the cell is done now."""
    for end in ("json", "txt"):
        (results / FAILURES / f"{run}.{end}").unlink(missing_ok=True)


def reason(error: BaseException) -> str:
    """Say in one sentence why a cell failed."""
    if isinstance(error, UserError):
        return f"{error.where}: {error.what}"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return f"out of memory, take a smaller --batch-size or --max-length ({text[:160] or 'MemoryError'})"
    name = type(error).__name__
    return text if name in ("TrainingError", "ScoringError") else f"{name}: {text[:300]}".rstrip(": ")


def now() -> str:
    """Return the time, UTC, fine enough to tell which of two failures came first."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
