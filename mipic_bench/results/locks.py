"""One process per cell: a lock file per run, taken over when its process is dead.

`<results>/locks/<run>.lock` holds the process's id, its start and its machine. On one machine a dead process is known at
once. Of another machine only its heartbeat is seen: the file's time, renewed every half minute; a lock that was silent
for ten minutes is dead.
"""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from time import time
from types import TracebackType
from typing import Self

import psutil  # type: ignore[import-untyped,unused-ignore]

from mipic_bench.errors import UserError
from mipic_bench.results import commit

LOCKS = "locks"
BEAT, SILENCE = 30.0, 600.0  # seconds


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock."""

    pid: int
    start: str
    machine: str
    host: str

    def __str__(self) -> str:
        return f"process {self.pid}" + ("" if self.machine == _machine() else f" on {self.host}")


class Locks:
    """The locks this process holds in a results folder; a context manager that beats for them and drops them at the end."""

    def __init__(self, results: Path) -> None:
        self.folder = results / LOCKS
        self._held: dict[str, Path] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _guard(self.folder):
                pass
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            raise UserError(
                str(self.folder), what, "choose another --results folder, or make this one writable"
            ) from error
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for run in list(self._held):
            self.release(run)

    def take(self, run: str) -> Holder | None:
        """Take the lock of a run. Return None when it is ours now, else who holds it.

        Raises:
            UserError: the folder or the disk does not take it.
        """
        path = lock_path(self.folder.parent, run)
        with _guard(self.folder):
            there = _read(path)
            if there is not None and not _dead(path, there, _now(self.folder)):
                return there
            commit.write(path, json.dumps(asdict(_me())).encode())
        self._held[run] = path
        return None

    def release(self, run: str) -> None:
        """Give a lock back; one that somebody else took over in the meantime is left alone."""
        path = self._held.pop(run)
        with _guard(self.folder), suppress(FileNotFoundError):
            if _read(path) == _me():
                path.unlink()

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            for path in list(self._held.values()):
                with suppress(OSError):
                    os.utime(path)


def lock_path(results: Path, run: str) -> Path:
    """Return the lock file of a run."""
    return results / LOCKS / f"{run}.lock"


def holder(results: Path, run: str) -> Holder | None:
    """Return the living process that holds a run's lock, None when nobody does."""
    path = lock_path(results, run)
    there = _read(path)
    return there if there is not None and not _dead(path, there, time()) else None


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    """Let one process at a time judge and write locks; the system frees the guard when a process dies."""
    with (folder / ".guard").open("a") as file:
        try:
            import fcntl
        except ImportError:  # Windows
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]
            try:
                yield
            finally:
                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None  # not there, or not a lock: locks are written whole


def _dead(path: Path, there: Holder, now: float) -> bool:
    if there.machine == _machine():
        return not there.start or _start(there.pid) != there.start
    with suppress(OSError):
        return now - path.stat().st_mtime > SILENCE
    return False


def _now(folder: Path) -> float:
    """Return the time as the folder's file server has it, whatever this machine's clock says."""
    clock = folder / ".guard"
    os.utime(clock)
    return clock.stat().st_mtime


def _me() -> Holder:
    pid = os.getpid()
    return Holder(pid, _start(pid), _machine(), socket.gethostname())


@cache
def _machine() -> str:
    """Name the machine as far as process ids mean the same: host, boot, and container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _start(pid: int) -> str:
    """Return when a process started, as the system tells it; empty when there is none, or only its remains."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else fields[19]  # ticks since boot: no change of the clock moves it
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except psutil.Error:
        return ""
