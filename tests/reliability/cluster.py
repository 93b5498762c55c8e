"""24 cells on a local dask cluster of two workers, one of them killed midway: `python tests/reliability/cluster.py`.

Needs the extra `dask`.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from common import judged, run, start, words
from distributed import LocalCluster
from small_sweeps import files

METHODS, SEEDS = "mrl,mipic,full", "0-7"


def main():
    """Run 24 cells here and on the cluster; exit 1 when one is missing or has other rows."""
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(trial(Path(scratch)))


def trial(folder):
    """Run both sweeps, kill a worker, and print the figures."""
    if run(words(folder, "expected", METHODS, SEEDS, 10), folder / "expected.txt"):
        print((folder / "expected.txt").read_text())
        return 1
    expected = files(folder / "expected")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        log = folder / "cluster.txt"
        process = start(words(folder, "cluster", METHODS, SEEDS, 10, "--cluster", address), log)
        while process.poll() is None and len(files(folder / "cluster")) < len(expected) // 2:
            time.sleep(0.05)
        victim = next(iter(cluster.workers.values())).pid
        print(f"worker {victim} is killed with {len(files(folder / 'cluster'))} of {len(expected)} cells written")
        os.kill(victim, signal.SIGKILL)
        code = process.wait()
    found = judged(folder / "cluster", expected)
    print(f"exit code {code}; judged: {found}")
    if code:
        print(log.read_text())
    return int(bool(code) or any(count for name, count in found.items() if name != "cells"))


if __name__ == "__main__":
    main()
