"""Four processes on one results folder, 24 cells, every cell exactly once: `python tests/reliability/processes.py`."""

import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from common import judged, run, start, words
from small_sweeps import files

METHODS, SEEDS = "mrl,mipic,full", "0-7"


def main():
    """Run 24 cells in one process and in four; exit 1 when they differ or a cell was run twice."""
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(trial(Path(scratch)))


def trial(folder):
    """Run both sweeps and print the figures."""
    if run(words(folder, "expected", METHODS, SEEDS, 10), folder / "expected.txt"):
        print((folder / "expected.txt").read_text())
        return 1
    expected = files(folder / "expected")
    begun = time.monotonic()
    logs = [folder / f"process-{number}.txt" for number in range(4)]
    processes = [start(words(folder, "shared", METHODS, SEEDS, 10), log) for log in logs]
    codes = [process.wait() for process in processes]
    took = time.monotonic() - begun
    # only who ran a cell tells seconds for it: "done" without them is another process's
    runs = [re.findall(r"\] (\S+) done in", log.read_text()) for log in logs]
    times = Counter(name for own in runs for name in own)
    twice = sum(count - 1 for count in times.values())
    found = judged(folder / "shared", expected)
    print(f"4 processes, {len(expected)} cells in {took:.0f} s, exit codes {codes}")
    print("cells run by each:", [len(own) for own in runs], "run twice:", twice)
    print("judged:", found)
    bad = [count for name, count in found.items() if name != "cells"]
    return int(any(codes) or any(bad) or bool(twice) or len(times) != len(expected))


if __name__ == "__main__":
    main()
