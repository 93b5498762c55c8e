"""Locks: one holder at a time, a dead one is taken over, a living or unknown one is not."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mipic_bench.errors import UserError
from mipic_bench.results import commit, locks
from mipic_bench.results.locks import Holder, Locks, holder, lock_path

CODE = """
import sys, time
from pathlib import Path
from mipic_bench.results.locks import Locks
held = Locks(Path(sys.argv[1])).__enter__()
assert held.take("run") is None
print("taken", flush=True)
time.sleep(60)
"""


def lay(results, **changes):
    """Lay down a lock as another process would."""
    mine = vars(locks._me())
    path = lock_path(results, "run")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(mine | changes))
    return path


def test_a_lock_is_held_until_it_is_released(tmp_path):
    with Locks(tmp_path) as one, Locks(tmp_path) as other:
        assert one.take("run") is None
        assert other.take("run").pid == os.getpid()
        assert other.take("another") is None
        assert holder(tmp_path, "run") == locks._me()
        one.release("run")
        assert holder(tmp_path, "run") is None
        assert other.take("run") is None
    assert not list((tmp_path / "locks").glob("*.lock"))


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "taken\n"
    with Locks(tmp_path) as own:
        assert own.take("run").pid == process.pid
        process.kill()
        deadline = time.monotonic() + 10
        while (found := own.take("run")) and time.monotonic() < deadline:
            time.sleep(0.01)  # not waited for: a dead process whose remains are there is dead
        assert found is None
    process.wait()
    process.stdout.close()


def test_a_process_id_that_was_given_out_again_holds_nothing(tmp_path):
    lay(tmp_path, start="1")
    with Locks(tmp_path) as own:
        assert own.take("run") is None


@pytest.mark.parametrize(("age", "alive"), [(0, True), (300, True), (700, False)])
def test_another_machine_is_judged_by_its_heartbeat(tmp_path, age, alive):
    path = lay(tmp_path, machine="elsewhere", host="elsewhere", pid=1)
    os.utime(path, (time.time() - age,) * 2)
    found = holder(tmp_path, "run")
    assert (found is not None) == alive
    if alive:
        assert str(found) == "process 1 on elsewhere"
    with Locks(tmp_path) as own:
        assert (own.take("run") is not None) == alive


def test_a_clock_of_ours_that_is_wrong_takes_no_lock_over(tmp_path, monkeypatch):
    """The time is that of the folder's file server, as the heartbeat is."""
    lay(tmp_path, machine="elsewhere", host="elsewhere", pid=1)
    monkeypatch.setattr(locks, "time", lambda: time.time() + 10 * locks.SILENCE)
    with Locks(tmp_path) as own:
        assert own.take("run") is not None


def test_held_locks_beat(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.02)
    with Locks(tmp_path) as own:
        own.take("run")
        os.utime(lock_path(tmp_path, "run"), (0, 0))
        deadline = time.monotonic() + 10
        while lock_path(tmp_path, "run").stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lock_path(tmp_path, "run").stat().st_mtime > 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_file_that_is_no_lock_holds_nothing(tmp_path, content):
    lay(tmp_path).write_text(content)
    with Locks(tmp_path) as own:
        assert own.take("run") is None


def test_a_lock_that_was_taken_over_is_not_released(tmp_path):
    with Locks(tmp_path) as own:
        own.take("run")
        lay(tmp_path, pid=1, machine="elsewhere")
        own.release("run")
        assert lock_path(tmp_path, "run").exists()


def test_of_many_that_see_a_dead_lock_one_gets_it(tmp_path):
    for _ in range(20):
        lay(tmp_path, start="1")
        with Locks(tmp_path) as own:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: own.take("run"), range(8)))
            assert answers.count(None) == 1


def test_a_disk_that_is_full_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with Locks(tmp_path) as own:
        monkeypatch.setattr(commit.os, "fsync", full)
        with pytest.raises(UserError, match="cannot be written: No space left on device"):
            own.take("run")
    assert [path.name for path in (tmp_path / "locks").iterdir()] == [".guard"]


def test_a_holder_in_words():
    mine = locks._me()
    assert str(mine) == f"process {os.getpid()}"
    assert mine.start
    assert str(Holder(3, "1", "elsewhere", "host")) == "process 3 on host"
