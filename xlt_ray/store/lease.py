"""The lease that keeps two drivers off one run."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from xlt_ray.config.errors import RunInterrupted
from xlt_ray.store.artifacts import Store
from xlt_ray.store.machine import is_gone, machine
from xlt_ray.store.shapes import UnreadableError, parsed

LEASE_SECONDS = 30.0


TAKEN = "another driver took this run at the same moment; start again"


SETTLE_SECONDS = 0.3
"""Longer than a driver takes from reading a lease to having written its own."""


class LeaseHeldError(RunInterrupted):
    """Another driver is at work on this run."""


class Lease:
    """The right to drive one run, renewed in the background, until it is released or lost.

    A lease whose process could be seen from here and is gone is taken over at once. Any other, such
    as that of another container with the same host name, is watched: its holder renews it six times
    in its ``seconds``, and one that stays as it is for all of them is over. Clocks of machines are
    never compared. On a local file system one taker alone can win. Object storage has no exclusive
    create through pyarrow: there a taker writes, waits longer than a write takes, and reads back
    who was the last; should a slower one still come after it, `check`
    finds that out at the next renewal.
    """

    def __init__(self, store: Store, folder: str, *, seconds: float = LEASE_SECONDS):
        self._store = store
        self._path = f"{folder}/lease.json"
        self._seconds = seconds
        self._owner = uuid.uuid4().hex
        self._stop = threading.Event()
        self._lost = self._released = False
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Take it; raises as `acquire` does."""
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        """Give it up."""
        self.release()

    def acquire(self, *, note: Callable[[str], None] | None = None) -> None:
        """Take the lease; one whose holder cannot be looked at is watched, up to its ``seconds``.

        Args:
            note: Told in a line what is waited for.

        Raises:
            LeaseHeldError: another driver holds it and renews it.
        """
        held = self._read()
        if held is not None and not _is_gone(held):
            holder = f"process {held.get('pid')} on {held.get('host')}"
            if note is not None:
                note(f"the run's lease is that of {holder}; waiting whether it is renewed")
            if not self._is_silent(held):
                raise LeaseHeldError(
                    f"another driver is at work on this run: {holder}. Wait for it to end, or "
                    "choose another run.name."
                )
            watched, held = held, self._read()
            if held not in (None, watched):
                raise LeaseHeldError(TAKEN)
        if not (self._create(held) if self._store.is_local else self._settle()):
            raise LeaseHeldError(TAKEN)
        self._thread.start()

    def check(self) -> None:
        """Raise if the lease is lost: not renewed in time, or taken over in the meantime."""
        if self._released:
            raise LeaseHeldError("this driver has given up its lease of the run")
        if self._lost:
            raise LeaseHeldError("this driver's lease expired and another driver took over the run")
        if time.monotonic() > self._renewed + self._seconds:
            self._lost = True
            raise LeaseHeldError(
                f"this driver could not renew its lease for {self._seconds:.0f} seconds; another "
                "one may be at work on the run"
            )

    def release(self) -> None:
        """Give the lease up; a step that is still at work somewhere finds it lost."""
        self._stop.set()
        self._released = True
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):  # a lease that cannot be removed is over when nobody renews it
            held = self._read()
            if held is not None and held.get("owner") == self._owner:
                self._store.delete(self._path)

    def _read(self) -> dict[str, Any] | None:
        """What the lease says, nothing if it is torn, and None where there is none."""
        data = self._store.read(self._path)
        return None if data is None else _parse(data)

    def _is_silent(self, held: Mapping[str, Any]) -> bool:
        """Watch a lease: whether it stays as it is for as long as its holder may take to renew it.

        It is over, too, if it is given up in the meantime.
        """
        seconds = float(held.get("seconds", self._seconds))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(seconds / 60)
            now = self._read()
            if now is None:
                return True
            if now != held:
                return False
        return True

    def _create(self, ended: Mapping[str, Any] | None) -> bool:
        """Put a local lease where there is none, or one that ended; False if another was faster."""
        own = f"{self._path}.{self._owner}"
        try:
            if ended is not None:
                os.rename(self._path, own)  # of several takers one finds it
                moved = _parse(Path(own).read_bytes())
                if moved != ended:  # the new one of a faster taker: put it back
                    os.link(own, self._path)
                    return False
            self._write(own)
            os.link(own, self._path)  # never over a lease that is there
        except (FileNotFoundError, FileExistsError):
            return False
        finally:
            Path(own).unlink(missing_ok=True)
        return True

    def _settle(self) -> bool:
        """Write the lease, and tell whether it stays."""
        self._write(self._path)
        time.sleep(SETTLE_SECONDS)
        current = self._read()
        return current is not None and current.get("owner") == self._owner

    def _write(self, path: str) -> None:
        began = time.monotonic()
        held = {
            "owner": self._owner,
            "host": socket.gethostname(),
            "machine": machine(),
            "pid": os.getpid(),
            "seconds": self._seconds,
            "renewed": time.time(),
        }
        self._store.write(path, json.dumps(held).encode())
        self._renewed = began

    def _renew(self) -> None:
        while not self._lost and not self._stop.wait(self._seconds / 6):
            with suppress(OSError):  # the store may be back before the lease expires
                held = self._read()
                if held is None or held.get("owner") != self._owner:
                    self._lost = True
                else:
                    self._write(self._path)


def _parse(data: bytes) -> dict[str, Any]:
    try:
        return parsed("lease.json", data) or {}
    except UnreadableError:
        return {}


def _is_gone(held: Mapping[str, Any]) -> bool:
    """Whether the holder was a process that could be seen from here, and is gone."""
    pid = held.get("pid")
    return held.get("machine") == machine() and isinstance(pid, int) and is_gone(pid)
