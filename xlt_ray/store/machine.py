"""Which machine this is, and whose processes can be seen from here."""

import hashlib
import os
import socket
from contextlib import suppress
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PROCESSES = "/proc/self/ns/pid"


def machine() -> str:
    """Name of this machine's set of process ids: 16 hexadecimal digits.

    Two containers may have one host name, and each its own processes with the numbers of the
    other's: so the kernel's boot and the PID namespace count as well. Where the system tells of
    neither, the host name has to do.
    """
    known = [socket.gethostname()]
    with suppress(OSError):
        known.append(_BOOT.read_text().strip())
    with suppress(OSError):
        known.append(os.readlink(_PROCESSES))
    return hashlib.blake2b("\n".join(known).encode(), digest_size=8).hexdigest()


def is_gone(pid: int) -> bool:
    """Whether there is no such process among those that can be seen from here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
