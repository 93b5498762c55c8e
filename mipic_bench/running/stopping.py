"""Ctrl-C: the first asks the work to stop at its next step, the second ends the process at once."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)  # SIGTERM: batch systems send it before they kill


class Stopped(BaseException):
    """The work was asked to stop, and did so between two steps. No `Exception`: it is no failure of a cell."""


class Stop:
    """Whether somebody asked this process to stop. There is one, `STOP`: signals come to processes."""

    def __init__(self) -> None:
        self.signal = 0
        self.since = datetime.max.replace(tzinfo=UTC)  # when a worker process noted the signal

    def requested(self) -> bool:
        """Say whether the work is to stop."""
        return bool(self.signal)

    def check(self) -> None:
        """Raise `Stopped` when the work is to stop."""
        if self.signal:
            raise Stopped


STOP = Stop()


@contextmanager
def listening(on_first: Callable[[int], None], on_second: Callable[[], None]) -> Iterator[None]:
    """Take signals for as long as the context lasts: the first calls `on_first`, the next one `on_second` and then ends all.

    Outside the main thread signals cannot be taken, and nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if STOP.signal:
            on_second()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        else:
            STOP.signal = number
            on_first(number)

    before: dict[int, Any] = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        STOP.signal = 0


def heed(begun: str) -> None:
    """Let a worker process only note a signal: the process that started it decides how all of them end.

    Args:
        begun: when the sweep began. A worker outlives its sweep, and a signal from before does not stop the next one.
    """
    if STOP.since < datetime.fromisoformat(begun):
        STOP.signal = 0

    def note(number: int, _frame: FrameType | None) -> None:
        STOP.signal, STOP.since = number, datetime.now(UTC)

    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, note)
