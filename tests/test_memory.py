"""Freed memory is used again, not handed back to the system."""

import subprocess
import sys

import pytest

from mipic_bench.training.memory import keep_freed

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
