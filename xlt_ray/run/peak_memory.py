"""The most memory that this process held while a step was at work."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_FORGET = Path("/proc/self/clear_refs")
"""Where Linux is told to begin the peak of this process anew."""
_LOCK = threading.Lock()
_watching = 0


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
    global _watching
    peak, is_known = Peak(), False
    with _LOCK:
        if _watching:
            is_known = _FORGET.exists()
        else:
            with suppress(OSError):
                _FORGET.write_text("5")
                is_known = True
        _watching += 1
    try:
        yield peak
    finally:
        with _LOCK:
            _watching -= 1
        if is_known:
            lines = Path("/proc/self/status").read_text().splitlines()
            kilobytes = next(line for line in lines if line.startswith("VmHWM")).split()[1]
            peak.mb = int(kilobytes) * 1024 / 1e6
