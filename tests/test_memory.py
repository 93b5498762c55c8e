"""Freed memory is used again, not handed back to the system."""

import subprocess
import sys

import numpy as np
import pytest

from mipic_bench.training.memory import keep_freed, watched

FAULTS = """
import ctypes, resource, sys
from mipic_bench.training.memory import keep_freed
if sys.argv[1] == "keep" and not keep_freed():
    sys.exit(3)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
def touch():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(ctypes.c_size_t(64 * 2**20))
    ctypes.memset(block, 1, 64 * 2**20)
    libc.free(ctypes.c_void_p(block))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
touch()
print(min(touch() for _ in range(5)) * resource.getpagesize())
"""


def faulted(how: str) -> int:
    found = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True)
    if found.returncode == 3:
        pytest.skip("not glibc")
    assert not found.stderr
    return int(found.stdout)


def test_freed_memory_is_kept():
    assert faulted("keep") < 8 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_the_setting_is_what_keeps_it():
    keep, plain = faulted("keep"), faulted("plain")
    assert keep < plain


def test_asking_twice_is_asking_once():
    assert keep_freed() is keep_freed()


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux")
def test_what_was_held_before_is_not_counted():
    before = np.ones(300 * 2**20 // 8)
    size = before.nbytes / 2**20
    del before
    most = watched("cpu")
    empty = most()
    if empty is None:
        pytest.skip("this system does not set the mark back")
    held = np.ones(100 * 2**20 // 8)
    grown = most() - empty
    assert held.nbytes / 2**20 - 5 < grown < size - 100
