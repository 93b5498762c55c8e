"""50 kill -9 at random moments of a small sweep, each followed by the same command: `python tests/reliability/kills.py`.

At the end of every sweep its rows must equal, byte for byte, those of a sweep that nobody interrupted. A sweep that
survives to its end is judged, and the next one begins in an empty folder, until all kills are done.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from common import judged, run, start, words
from small_sweeps import files


def main():
    """Kill, resume, judge; exit 1 when a cell was lost, doubled, half-written or has other rows."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--steps", type=int, default=60)
    options.add_argument("--seed", type=int, default=0)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(trial(Path(scratch), asked))


def trial(folder, asked):
    """Run sweeps until all kills are done, and print the figures."""
    draws = np.random.default_rng(asked.seed)
    log = folder / "log.txt"
    more = ("--checkpoint-every", 0.2, "--keep-checkpoints")
    begun = time.monotonic()
    if run(words(folder, "expected", "mrl,mipic", "0-2", asked.steps, *more), log):
        print(log.read_text())
        return 1
    whole = time.monotonic() - begun
    expected = files(folder / "expected")
    kills, sweeps, total, seen = 0, 0, Counter(), Counter()
    while kills < asked.kills:
        results = f"sweep-{sweeps}"
        command = words(folder, results, "mrl,mipic", "0-2", asked.steps, *more)
        while kills < asked.kills:
            process = start(command, log)
            wait_for_work(process, folder / results)
            time.sleep(draws.uniform(0, whole / 4))
            if process.poll() is not None:
                break
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            seen[moment(folder / results, len(expected))] += 1
        code = run(command, log)
        total.update(judged(folder / results, expected) | {"exit codes": code})
        sweeps += 1
    print(f"{kills} kills in {sweeps} sweeps of {len(expected)} cells, {time.monotonic() - begun:.0f} s")
    print("what stood at the moment of the kill:", dict(seen))
    print("judged:", dict(total))
    return int(any(count for name, count in total.items() if name != "cells"))


def wait_for_work(process, results):
    """Wait until a process has taken its first lock: before that it only loads libraries."""
    locks = results / "locks"
    while process.poll() is None and not any(held(path, process.pid) for path in locks.glob("*.lock")):
        time.sleep(0.01)


def held(path, pid):
    """Say whether a lock is this process's."""
    try:
        return f'"pid": {pid},' in path.read_text()
    except OSError:
        return False


def moment(results, cells):
    """Say roughly where a sweep was killed."""
    done = len(list((results / "runs").glob("*.json")))
    if (results / "runs").exists() and any((results / "runs").glob("*.tmp")):
        return "writing rows"
    if list((results / "unfinished").glob("*/training.json")):
        return "training, with a checkpoint"
    return f"{done} of {cells} cells done" if done else "first cell"


if __name__ == "__main__":
    main()
