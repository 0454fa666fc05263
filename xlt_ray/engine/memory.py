"""What a process has freed goes back to the machine."""

import ctypes
import time
from functools import cache

SECONDS = 10.0
"""Least time between two of them: what is used again has to be faulted in."""
_last = -SECONDS


@cache
def _libc() -> ctypes.CDLL | None:
    try:
        libc = ctypes.CDLL(None)
        return libc if hasattr(libc, "malloc_trim") else None
    except (OSError, TypeError):  # no such thing as the process's own symbols
        return None


def hand_back() -> bool:
    """Hand free memory of the C library back to the machine.

    Tensors come in as many sizes as sentences have lengths, and what outlives them lies in between:
    glibc keeps the gaps, by and by several times of what is in use. Elsewhere nothing is done.

    Returns:
        Whether there was any.
    """
    libc = _libc()
    return libc is not None and bool(libc.malloc_trim(0))


def hand_back_at_times() -> bool:
    """The same, unless it was done a moment ago; returns whether it was done now."""
    global _last
    if time.monotonic() - _last < SECONDS:
        return False
    hand_back()
    _last = time.monotonic()
    return True
