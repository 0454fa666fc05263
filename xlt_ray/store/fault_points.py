"""The moments at which work becomes durable, by name: where a test may stop a process.

A step writes files, then a manifest, and only then counts; checkpoints, the ledger and the run's
model are kept in a like way. Each moment in between is a point, and the code that comes by says so
with `reached`. In a run nobody listens, and a point costs the walk over an empty list. A test adds
a listener to `LISTENERS`, and kills its process or looks at what is there.
"""

from collections.abc import Callable
from typing import Literal

Point = Literal[
    "lease.taken",
    "attempt.opened",
    "file.begun",
    "file.written",
    "file.kept",
    "commit.begun",
    "commit.described",
    "commit.done",
    "step.committed",
    "step.noted",
    "checkpoint.begun",
    "checkpoint.written",
    "checkpoint.complete",
    "checkpoint.dropping",
    "model.copied",
    "model.removed",
    "model.published",
    "report.written",
]

POINTS: dict[Point, str] = {
    "lease.taken": "the run is this driver's, and nothing is done",
    "attempt.opened": "an attempt has a folder and no files",
    "file.begun": "a file is about to be written",
    "file.written": "its content is written, but the file is not closed or has not its name yet",
    "file.kept": "the file is there, whole",
    "commit.begun": "all files of an attempt are written, its manifest is not",
    "commit.described": "the manifest is in the attempt, which has not been moved into place",
    "commit.done": "the artifact is there, attempts that were overtaken are too",
    "step.committed": "the artifact is there, the ledger does not know it",
    "step.noted": "the ledger knows it, the events do not",
    "checkpoint.begun": "a checkpoint has none of its parts",
    "checkpoint.written": "all parts are written, the checkpoint does not count yet",
    "checkpoint.complete": "it counts, older ones are still there",
    "checkpoint.dropping": "an older one does not count any more, its files are still there",
    "model.copied": "the run's model is copied, beside its place",
    "model.removed": "the older model of the run is gone, the new one not in its place",
    "model.published": "the run's model is in place, the report is not written",
    "report.written": "the report is written, the run is still this driver's",
}
"""Every point, in the order in which a run first comes by, and how things stand there."""

LOCAL_POINTS: frozenset[Point] = frozenset({"commit.described", "model.copied", "model.removed"})
"""Points that only a local file system has, where a commit is a move."""

LISTENERS: list[Callable[[Point], None]] = []
"""Called with the name of every point that this process comes by."""


def reached(point: Point) -> None:
    """Say that this process has come to a point."""
    for listener in LISTENERS:
        listener(point)
