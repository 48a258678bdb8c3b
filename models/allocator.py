"""Keeps glibc from handing memory back that is needed again at once.

glibc returns each large block to the system, which zeroes every page again. A step of the optimisation frees
and allocates the same hundreds of megabytes: measured, a third of its time. A received photograph of 6 MB
costs 4 ms of processor time each time that it is copied into new memory, and 0.6 ms otherwise.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -3, -4, -8
_TOP_PAD_BYTES = 256 * 2**20
_ALL = 2**31 - 1
# As large as glibc allows; most photographs are smaller.
_REUSED_BYTES = 32 * 2**20
_KEPT_BYTES = 128 * 2**20


def keep_freed_memory() -> bool:
    """Have freed blocks of any size used again; return whether glibc could be told (it is on Linux only)."""
    # The node scores in a thread; a thread's own arena hands its memory back whatever is set here.
    return _told((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _ALL), (_M_TOP_PAD, _TOP_PAD_BYTES), (_M_ARENA_MAX, 1))


def keep_some_freed_memory() -> bool:
    """Have freed blocks of up to 32 MB used again, and 128 MB kept for it at most; return as above.

    That is at the end of the heap; what lies free between blocks in use is kept in any case.
    """
    return _told((_M_MMAP_THRESHOLD, _REUSED_BYTES), (_M_TRIM_THRESHOLD, _KEPT_BYTES), (_M_ARENA_MAX, 1))


def _told(*settings: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = [mallopt(ctypes.c_int(key), ctypes.c_int(value)) == 1 for key, value in settings]
    return all(told)
