"""How the C library's allocator treats the memory of freed tensors."""

import ctypes
import sys
from functools import cache

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
