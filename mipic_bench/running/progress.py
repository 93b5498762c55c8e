"""What the user sees while work goes on: a live bar with loss and time left on a terminal, plain lines otherwise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY = 15.0  # seconds between two plain lines

Update = Callable[[int, int, str], None]


def counted(number: int, noun: str) -> str:
    """Say how many: "1 cell", "3 cells"."""
    return f"{number} {noun}{'s' * (number != 1)}"


class Reporter:
    """Says what is going on, on stderr, so that stdout holds results alone.

    Args:
        quiet: say nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)

    def say(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)

    @contextmanager
    def bar(self, title: str) -> Iterator[Update]:
        """Yield a function update(done, total, text) that moves the bar; the bar goes away at the end."""
        if not self.console.is_terminal:
            yield self._lines(title)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=None, text="")
            yield lambda done, total, text: progress.update(task, completed=done, total=total, text=text)

    def _lines(self, title: str) -> Update:
        last = monotonic()
        begun: tuple[float, int] | None = None  # what an earlier process had done counts for nothing

        def update(done: int, total: int, text: str) -> None:
            nonlocal last, begun
            now = monotonic()
            begun = begun or (now, done)
            if now - last >= LINE_EVERY and done > begun[1]:
                last = now
                left = (now - begun[0]) * (total - done) / (done - begun[1])
                self.say(f"{title} {done}/{total}  {left:.0f} s left  {text}".rstrip())

        return update
