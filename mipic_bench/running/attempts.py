"""One attempt at one cell: taken if it is free and still to be done, and whatever it raises is told, not raised."""

import gc
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter

import torch

from mipic_bench.planning import plan
from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.results import failures
from mipic_bench.results.locks import Locks
from mipic_bench.running.progress import Reporter
from mipic_bench.running.run import Finished, compute, run_cell
from mipic_bench.running.stopping import STOP, Stopped

_ONE = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt at a cell.

    Args:
        run: the cell's run.
        status: "done", "failed", "busy" (another process runs it), or "stopped" (by the user).
        reason: why it failed, or who is busy with it.
        traceback: of the failure.
        seconds: that it took.
        task: the one that could not be scored, if that is why it failed.
        finished: what was computed on a cluster, to be written by the process that has the results folder.
    """

    run: str
    status: str
    reason: str = ""
    traceback: str = ""
    seconds: float = 0.0
    task: str = ""
    finished: Finished | None = None


@dataclass(frozen=True)
class Sweep:
    """What the cells of one sweep share.

    Attributes:
        request: what was asked for.
        inputs: of the request.
        reporter: told of the cells' progress.
        locks: of the results folder.
        begun: when it began.
        known: run -> when it had failed before: another failure is another process's, and not tried again.
    """

    request: Request
    inputs: Inputs
    reporter: Reporter
    locks: Locks
    begun: str
    known: Mapping[str, str]


def attempt(cell: Cell, sweep: Sweep) -> Outcome:
    """Run one cell, planned perhaps long ago, and write it, if nobody else does and it is still to be done."""
    if taken := take(cell, sweep.locks):
        return taken
    try:
        return recorded(isolated(cell.run, lambda: _run_if_needed(cell, sweep)), sweep.request)
    finally:
        sweep.locks.release(cell.run)


def take(cell: Cell, locks: Locks) -> Outcome | None:
    """Take a cell's lock; an outcome, and no lock, when somebody else has it or the user wants to stop."""
    if STOP.requested():
        return Outcome(cell.run, "stopped")
    holder = locks.take(cell.run)
    return Outcome(cell.run, "busy", str(holder)) if holder else None


def standing(cell: Cell, sweep: Sweep) -> Cell | Outcome:
    """Return a cell as it stands now, or what another process made of it since it was planned."""
    fresh = plan.refreshed(cell, sweep.request, sweep.inputs)
    failed = failures.read(sweep.request.results).get(cell.run)
    if fresh.status == "done":
        return Outcome(cell.run, "done")
    if failed is not None and failed.of(cell.tasks) and failed.time != sweep.known.get(cell.run):
        return Outcome(cell.run, "failed", failed.reason)
    return fresh


def _run_if_needed(cell: Cell, sweep: Sweep) -> object:
    now = standing(cell, sweep)
    return now if isinstance(now, Outcome) else run_cell(now, sweep.request, sweep.inputs, sweep.reporter)


def compute_only(cell: Cell, request: Request, inputs: Inputs) -> Outcome:
    """Run one cell and return what it gave, written nowhere: on a cluster, where the results folder may not be."""
    return isolated(cell.run, lambda: compute(cell, request, inputs, Reporter(quiet=True)))


def isolated(run: str, work: Callable[[], object]) -> Outcome:
    """Do the work of a cell and return what became of it: the work's own word if it returns an `Outcome`.

    One at a time: cells of one process share torch's generator.
    """
    start = perf_counter()
    try:
        with _ONE:
            result = work()
    except Stopped:
        return Outcome(run, "stopped", seconds=perf_counter() - start)
    except Exception as error:
        reason, text, task = failures.reason(error), failures.traceback_of(error), getattr(error, "task", "")
        del error
        gc.collect()  # the error's frames held the backbone and the batch
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return Outcome(run, "failed", reason, text, perf_counter() - start, task)
    if isinstance(result, Outcome):
        return result
    finished = result if isinstance(result, Finished) else None
    return Outcome(run, "done", seconds=perf_counter() - start, finished=finished)


def recorded(outcome: Outcome, request: Request) -> Outcome:
    """Record a failure, or take the record of an earlier one away; return the outcome.

    Raises:
        UserError: the folder or the disk does not take it.
    """
    if outcome.status == "failed" and outcome.traceback:
        failures.write(request.results, outcome.run, outcome.reason, outcome.traceback, outcome.task)
    elif outcome.status == "done":
        failures.forget(request.results, outcome.run)
    return outcome


def travelling(request: Request) -> Request:
    """Return a request as workers need it: the recipes travel in the cells."""
    return replace(request, methods=())
