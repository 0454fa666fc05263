"""A run's folder: configuration, ledger, events, report, model.

The ledger has one line per step, in order. It is rewritten when the run resumes, so it always tells
the whole story. The events are the history over all sessions and only grow.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from xlt_ray.store.artifacts import Store
from xlt_ray.store.fault_points import reached
from xlt_ray.store.shapes import parsed, parsed_lines


class RunFolder:
    """Files of one run; safe to read at any moment."""

    def __init__(self, store: Store, name: str, *, create: bool = True):
        self.store = store
        self.name = name
        self.path = store.run_folder(name, create=create)
        self._ledger: list[str] = []
        self._events: str | None = None
        self._is_mended = False

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file whole."""
        self.write(name, (json.dumps(value, sort_keys=True, indent=1) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """The value of a JSON file, or None if there is none.

        Raises:
            UnreadableError: it is not what such a file holds.
        """
        path = f"{self.path}/{name}"
        return parsed(path, self.store.read(path))

    def read_lines(self, name: str, *, torn: bool = True) -> list[dict[str, Any]]:
        """The objects in a JSONL file; a file that is not there has none.

        Args:
            name: Of the file.
            torn: Whether a torn last line is none, or makes the file unreadable.

        Raises:
            UnreadableError: a line is not what such a file holds.
        """
        path = f"{self.path}/{name}"
        return parsed_lines(path, self.store.read(path), torn=torn)

    def write(self, name: str, data: bytes) -> None:
        """Write one file whole."""
        self.store.write(f"{self.path}/{name}", data)

    def publish(self, name: str, files: Mapping[str, Path]) -> None:
        """Put a folder of files in place whole; an older one of that name goes, or a link to one.

        On object storage, which cannot move a folder, file by file.
        """
        folder = f"{self.path}/{name}"
        if not self.store.is_local:
            for file, source in files.items():
                self.write(f"{name}/{file}", source.read_bytes())
            return
        for left in Path(self.path).glob(f"{name}.tmp-*"):  # by a driver that was killed here
            shutil.rmtree(left, ignore_errors=True)
        fresh = Path(f"{folder}.tmp-{uuid.uuid4().hex}")
        fresh.mkdir()
        for file, source in files.items():
            shutil.copyfile(source, fresh / file)
        reached("model.copied")
        if os.path.islink(folder):
            os.unlink(folder)
        shutil.rmtree(folder, ignore_errors=True)
        reached("model.removed")
        fresh.rename(folder)

    def step(self, entry: Mapping[str, Any]) -> None:
        """Add a step to the ledger."""
        self._ledger.append(json.dumps(entry, sort_keys=True) + "\n")
        self.write("ledger.jsonl", "".join(self._ledger).encode())

    def event(self, name: str, **fields: Any) -> None:
        """Add an event to the history."""
        line = json.dumps({"event": name, "time": round(time.time(), 3), **fields}, sort_keys=True)
        if self.store.is_local:
            with open(f"{self.path}/events.jsonl", "ab") as stream:
                if not self._is_mended:
                    _drop_torn_line(stream)
                    self._is_mended = True
                stream.write(f"{line}\n".encode())
            return
        if self._events is None:  # not before the run is this driver's own
            self._events = (self.store.read(f"{self.path}/events.jsonl") or b"").decode()
        self._events += line + "\n"
        self.write("events.jsonl", self._events.encode())


def _drop_torn_line(stream: BinaryIO) -> None:
    """Cut off the line that a driver had no room, or no time, to write to its end."""
    with open(stream.name, "rb") as content:
        stream.truncate(content.read().rfind(b"\n") + 1)
