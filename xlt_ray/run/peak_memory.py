"""The most memory that this process held: ever, and while a step was at work."""

import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_FORGET = Path("/proc/self/clear_refs")
"""Where Linux is told to begin the peak of this process anew."""
_LOCK = threading.Lock()
_watching = 0
_before = 0.0
"""The most before the kernel was last told to forget it."""


@dataclass
class Peak:
    """Most memory that this process held during a block.

    Attributes:
        mb: MB, once the block has ended; None where the system cannot tell.
    """

    mb: float | None = None


@contextmanager
def watched() -> Iterator[Peak]:
    """Around what is watched; blocks of several threads at once have one peak in common."""
    global _before, _watching
    peak, is_known = Peak(), False
    with _LOCK:
        if _watching:
            is_known = _FORGET.exists()
        else:
            with suppress(OSError):
                most = _since_told()
                _FORGET.write_text("5")
                _before, is_known = max(_before, most), True
        _watching += 1
    try:
        yield peak
    finally:
        with _LOCK:
            _watching -= 1
        if is_known:
            peak.mb = _since_told()


def most_mb() -> float:
    """Most memory that this process has ever held, in MB, whatever was watched meanwhile."""
    return max(_before, _since_told())


def _since_told() -> float:
    """MB at most since the kernel was told to forget it, if it can be told."""
    if not _FORGET.exists():
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6
