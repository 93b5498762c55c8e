"""How the C library's allocator treats the memory of freed tensors, and how much a training takes."""

import ctypes
import gc
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGE = 1 << 30


@cache
def keep_freed() -> bool:
    """Let freed memory be kept for the next tensors, for the rest of the process.

    By default glibc hands every block above 32 MB back to the system when it is freed. Each training step frees hundreds of
    megabytes of activations and asks for as many again, and the system clears every page anew: about a tenth of a step's
    time at batch 64. Numbers do not change; the process holds its peak until it ends.

    Returns:
        Whether the C library took the settings; elsewhere than on Linux with glibc nothing is done.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE) and mallopt(_M_TRIM_THRESHOLD, _LARGE))


def watched(device: str) -> Callable[[], float | None]:
    """Start to watch memory, and return a function that tells the most there was since, in MB.

    On a CUDA card it is what tensors took there, else what the process held (VmHWM of Linux, set back first: what an
    earlier cell took is handed back and not counted). None where the system does not tell.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: torch.cuda.max_memory_allocated(device) / 2**20
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (OSError, AttributeError):  # another system, or another C library
        return lambda: None
    return _most_resident


def _most_resident() -> float | None:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 2**10 if found else None
