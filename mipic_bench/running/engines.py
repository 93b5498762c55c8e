"""Where cells run: here one after another, in several processes (joblib's loky), or on a dask cluster."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from multiprocessing import current_process
from typing import Any

import joblib
import psutil  # type: ignore[import-untyped,unused-ignore]
import torch
from joblib.externals.loky import BrokenProcessPool

from mipic_bench.errors import UserError
from mipic_bench.planning.offline import stay_offline
from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.results import failures
from mipic_bench.results.locks import Locks, lock_path
from mipic_bench.running import stopping
from mipic_bench.running.attempts import (
    Outcome,
    Sweep,
    attempt,
    compute_only,
    isolated,
    recorded,
    standing,
    take,
    travelling,
)
from mipic_bench.running.progress import Reporter
from mipic_bench.running.run import write
from mipic_bench.running.stopping import STOP

_KILLED = "its process was killed from outside, most likely for want of memory: take fewer --jobs or a smaller batch"
_inputs: list[
    tuple[Request, str, Inputs]
] = []  # of the sweep that this worker is in: corpora and tasks are loaded once


def here(cells: Sequence[Cell], sweep: Sweep) -> Iterator[Outcome]:
    """Run cells one after another in this process."""
    for cell in cells:
        if STOP.requested():
            return
        sweep.reporter.say(f"{cell.run}{': ' + cell.reason if cell.reason else ''}")
        yield attempt(cell, sweep)


def in_processes(cells: Sequence[Cell], request: Request, begun: str, known: Mapping[str, str]) -> Iterator[Outcome]:
    """Run cells in `request.jobs` processes, torch's threads divided among them, CUDA cards dealt out in turn.

    A process that is killed from outside takes its whole pool along. What it had begun is then run again, each cell in a
    process of its own, so that only the culprit is recorded as failed.
    """
    waiting = {cell.run: cell for cell in cells}
    while waiting and not STOP.requested():
        try:
            for outcome in _pool(list(waiting.values()), request, begun, known, request.jobs):
                del waiting[outcome.run]
                yield outcome
            return
        except BrokenProcessPool:
            left = [cell for cell in waiting.values() if lock_path(request.results, cell.run).exists()]
        for cell in left or list(waiting.values())[:1]:
            del waiting[cell.run]
            yield _alone(cell, request, begun, known)


def on_cluster(cells: Sequence[Cell], sweep: Sweep) -> Iterator[Outcome]:
    """Run cells on the workers of a dask cluster; rows come back and are written here.

    The futures of dask's own client are used: joblib's dask backend waits forever for a task whose workers all died.

    Raises:
        UserError: dask is not installed, the scheduler cannot be reached, or it has no workers of one thread.
    """
    request, locks = sweep.request, sweep.locks
    client = _client(request.cluster)
    try:
        futures = {}
        for cell in cells:
            if taken := take(cell, locks):
                yield taken
                continue
            found = standing(cell, sweep)
            if isinstance(found, Outcome):
                locks.release(cell.run)
                yield found
            else:
                futures[client.submit(_remote, found, travelling(request), sweep.begun, pure=False)] = cell.run
        for future in import_module("distributed").as_completed(futures, loop=client.loop):
            run = futures.pop(future)
            outcome = _result(run, future)
            future.release()  # what is kept here would be computed anew if its worker died
            yield _written(outcome, request)
            locks.release(run)
    finally:
        client.close()


def signal_children(number: int) -> None:
    """Pass a signal on to the processes started here, which only note it."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.send_signal(number)


def kill_children() -> None:
    """End the processes started here at once."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()


def _pool(
    cells: Sequence[Cell], request: Request, begun: str, known: Mapping[str, str], jobs: int
) -> Iterator[Outcome]:
    threads = max(1, torch.get_num_threads() // request.jobs)
    tasks = (
        joblib.delayed(_local)(cell, travelling(request), begun, known.get(cell.run, ""), threads)
        for cell in cells
        if not STOP.requested()
    )
    with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
        # max_nbytes: joblib would write large arguments to files of its own format
        parallel = joblib.Parallel(
            return_as="generator_unordered", batch_size=1, pre_dispatch="n_jobs", max_nbytes=None
        )
        yield from parallel(tasks)


def _alone(cell: Cell, request: Request, begun: str, known: Mapping[str, str]) -> Outcome:
    try:
        return next(iter(_pool([cell], request, begun, known, 2)), Outcome(cell.run, "stopped"))
    except BrokenProcessPool as error:
        return recorded(Outcome(cell.run, "failed", _KILLED, f"{_KILLED}\n{error}\n"), request)


def _local(cell: Cell, request: Request, begun: str, known: str, threads: int) -> Outcome:
    """Run one cell in a worker process of this machine; `known` is when it failed before the sweep, if it did."""
    stopping.heed(begun)
    if request.offline:  # the worker may be older than the request
        stay_offline()
    torch.set_num_threads(threads)
    if request.device == "cuda" and (cards := torch.cuda.device_count()) > 1:
        ordinal = current_process().name.rpartition("-")[2]  # LokyProcess-3
        request = replace(request, device=f"cuda:{int(ordinal) % cards if ordinal.isdigit() else 0}")
    with Locks(request.results) as locks:
        return attempt(
            cell, Sweep(request, _inputs_of(request, begun), Reporter(quiet=True), locks, begun, {cell.run: known})
        )


def _remote(cell: Cell, request: Request, begun: str) -> Outcome:
    """Run one cell on a cluster's worker; also inputs that it cannot read there are the cell's failure."""
    if request.offline:
        stay_offline()
    outcome = isolated(cell.run, lambda: _inputs_of(request, begun).folds)
    return outcome if outcome.status == "failed" else compute_only(cell, request, _inputs_of(request, begun))


def _inputs_of(request: Request, begun: str) -> Inputs:
    """Return what was loaded for this sweep; an earlier one's is not taken, for files may have changed since."""
    if not _inputs or _inputs[0][:2] != (request, begun):
        _inputs[:] = [(request, begun, Inputs(request))]
    return _inputs[0][2]


def _client(address: str) -> Any:
    """Connect to a dask scheduler."""
    where = f"--cluster {address}"
    try:
        client = import_module("distributed").Client(f"tcp://{address}", timeout=10, set_as_default=False)
    except ImportError as error:
        raise UserError(where, f"dask is not installed: {error}", "pip install 'mipic-bench[dask]'") from error
    except (OSError, ValueError) as error:
        raise UserError(where, f"cannot be reached: {error}", "start one there: dask scheduler") from error
    threads = client.nthreads()
    if not threads or max(threads.values()) > 1:
        client.close()
        found = f"has workers of up to {max(threads.values())} threads" if threads else "has no workers"
        raise UserError(
            where, f"{found}; cells of one process would share a generator", "dask worker ADDRESS --nthreads 1"
        )
    return client


def _result(run: str, future: Any) -> Outcome:
    """Return what a cluster's worker returned, or why it did not."""
    if future.status == "finished":
        outcome: Outcome = future.result()
        return outcome
    error = future.exception() if future.status == "error" else None
    reason = _KILLED if error is None or type(error).__name__ == "KilledWorker" else failures.reason(error)
    return Outcome(run, "failed", reason, f"{reason}\n{error}\n")


def _written(outcome: Outcome, request: Request) -> Outcome:
    """Write what a cluster's worker computed."""
    finished = outcome.finished
    if finished is not None:
        write(finished, request.results)
        if finished.error:
            text = failures.traceback_of(finished.error)
            outcome = replace(outcome, status="failed", reason=failures.reason(finished.error), traceback=text)
            outcome = replace(outcome, task=finished.error.task)
    return recorded(replace(outcome, finished=None), request)
