"""A plan's cells, run to the end whatever happens to one of them: each once, by one process, failures recorded."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import sleep

from mipic_bench.planning.request import Cell, Inputs, Request
from mipic_bench.results import failures
from mipic_bench.results import folder as results
from mipic_bench.results.locks import Locks
from mipic_bench.running import engines
from mipic_bench.running.attempts import Outcome, Sweep
from mipic_bench.running.progress import Reporter, counted
from mipic_bench.running.stopping import STOP, Stopped, listening
from mipic_bench.training import checkpoint

_POLL = 2.0  # seconds between two looks at a cell that another process runs


@dataclass
class Summary:
    """How a sweep ended: status -> number of cells, the failed ones, and the signal that stopped it (0: none)."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """0 all well, 1 some cells failed or were not reached, 128 + signal when stopped."""
        return 128 + self.signal if self.signal else int(bool(self.failed or self.counts["not finished"]))

    def add(self, outcome: Outcome) -> None:
        """Count what became of a cell."""
        self.counts[outcome.status] += 1
        if outcome.status == "failed":
            self.failed.append(outcome)

    def sentence(self) -> str:
        """Say it in one line."""
        parts = [f"{number} {status}" for status, number in self.counts.items() if number]
        told = f"{counted(sum(self.counts.values()), 'cell')}: {', '.join(parts) or 'none'}"
        return f"{told}; the same command goes on where this one stopped" if self.signal else told


def sweep(cells: Sequence[Cell], request: Request, inputs: Inputs, reporter: Reporter) -> Summary:
    """Run every cell of a plan that is not done, and return how it ended; what is finished is on disk at every moment.

    Cells that other processes run on the same results folder are waited for, and taken over if those die. Ctrl-C (or
    SIGTERM) stops at the next step, where a training leaves its checkpoint; the second one ends the process at once.

    Args:
        cells: as planned.
        request: what was asked for; `jobs` and `cluster` say where cells run.
        inputs: of the request.
        reporter: told of every cell.

    Raises:
        UserError: the results folder cannot be written to, or the cluster cannot be reached.
    """
    tidy(cells, request)
    summary = Summary(Counter(cell.status for cell in cells if cell.over))
    todo = [cell for cell in cells if not cell.over]
    for cell in cells:
        if cell.status == "skipped":
            reporter.say(f"{cell.run}: skipped, {cell.reason}")
        elif cell.status == "failed" and not request.retry:
            todo.remove(cell)
            summary.add(Outcome(cell.run, "failed", cell.reason))
    if todo:
        begun, known = failures.now(), {run: one.time for run, one in failures.read(request.results).items()}
        with Locks(request.results) as locks, listening(_on_first(request, reporter), engines.kill_children):
            _run_all(todo, len(cells), Sweep(request, inputs, reporter, locks, begun, known), summary)
            summary.signal = STOP.signal
        if rest := len(cells) - sum(summary.counts.values()):
            summary.counts["not finished"] = rest
    return summary


def tidy(cells: Sequence[Cell], request: Request) -> None:
    """Take away checkpoints of trainings that are done: a process may have been killed just before it did.

    One that was written after the run's rows is of a second training, for tasks that are not asked for here: it stays.
    """
    for cell in cells:
        written = results.written(request.results, cell.run) if cell.status == "done" else None
        for part in cell.parts if written is not None else ():
            checkpoint.remove(request.results / checkpoint.UNFINISHED / part.folder, older_than=written)


def _run_all(todo: list[Cell], total: int, shared: Sweep, summary: Summary) -> None:
    """Attempt cells until none is left that another process is busy with."""
    said = ""
    while todo and not STOP.requested():
        busy: dict[str, Outcome] = {}
        try:
            for outcome in _attempts(todo, shared):
                if outcome.status == "busy":
                    busy[outcome.run] = outcome
                elif outcome.status != "stopped":
                    summary.add(outcome)
                    _tell(outcome, summary, total, shared.reporter)
        except (Stopped, KeyboardInterrupt):  # raised where work could not be asked to stop: on a cluster, in a library
            if not STOP.requested():
                raise
        if busy and not STOP.requested():
            who = ", ".join(sorted({outcome.reason for outcome in busy.values()}))
            text = f"waiting for {counted(len(busy), 'cell')} that others run ({who})"
            if text != said:
                shared.reporter.say(text)
            said = text
            sleep(_POLL)
        todo = [cell for cell in todo if cell.run in busy]


def _attempts(cells: Sequence[Cell], shared: Sweep) -> Iterator[Outcome]:
    if shared.request.cluster:
        return engines.on_cluster(cells, shared)
    if shared.request.jobs > 1 and len(cells) > 1:
        return engines.in_processes(cells, shared.request, shared.begun, shared.known)
    return engines.here(cells, shared)


def _tell(outcome: Outcome, summary: Summary, total: int, reporter: Reporter) -> None:
    over = sum(summary.counts.values())
    reason = f": {outcome.reason}" if outcome.reason else ""
    took = f" in {outcome.seconds:.0f} s" if outcome.seconds else ""
    reporter.say(f"[{over}/{total}] {outcome.run} {outcome.status}{took}{reason}")


def _on_first(request: Request, reporter: Reporter) -> Callable[[int], None]:
    def on_first(number: int) -> None:
        reporter.say("stopping at the next step, what is done is kept; once more stops at once")
        if request.cluster:
            raise Stopped
        engines.signal_children(number)

    return on_first
