"""Tests run in parallel, one process per core: each computes with one thread, else the threads wait for each other."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
