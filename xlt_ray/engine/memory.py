"""What a process has freed goes back to the machine."""

import ctypes
from functools import cache

EVERY = 100
"""Optimiser steps after which memory is handed back."""


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
