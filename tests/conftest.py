"""Tests run in parallel, one process per core, on machines that are busy at times."""

import os

from hypothesis import settings

# each process computes with one thread, else the threads wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

# how long an example takes says nothing on a busy machine; pytest's own timeout stands
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
