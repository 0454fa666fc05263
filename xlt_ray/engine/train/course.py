"""How far a training is, for who waits: a small file beside its checkpoints."""

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.store.files import read_json, write_bytes

if TYPE_CHECKING:
    from xlt_ray.engine.train.loop import Position

_EVERY = 2.0
"""Seconds between two writes."""
_NAME = "course.json"


class Course:
    """Tells how far a training is.

    Args:
        checkpoints: Those of the step; it is told beside them.
        steps: Optimiser steps of the whole training.
        epochs: Its epochs.
    """

    def __init__(self, checkpoints: Checkpoints, *, steps: int, epochs: int):
        self._fs, self._path = checkpoints.fs, f"{checkpoints.folder}/{_NAME}"
        self._steps, self._epochs = steps, epochs
        self._began: tuple[float, int, int] | None = None
        self._told = 0.0

    def at(self, position: "Position") -> None:
        """Tell where a training is, unless it was told just before.

        Args:
            position: Steps that are done, sub-words of this worker, and what each epoch gave.
        """
        now, step, tokens = time.monotonic(), position.total, position.tokens
        if self._began is None:
            self._began = (now, step, tokens)
            return
        began, first, before = self._began
        if now - self._told < _EVERY:
            return
        self._told, took = now, max(now - began, 1e-9)
        last = position.history[-1] if position.history else {}
        found = {
            "step": step,
            "steps": self._steps,
            "epoch": position.epoch + 1,
            "epochs": self._epochs,
            "tokens_per_second": (tokens - before) / took,
            "seconds_left": (self._steps - step) * took / max(step - first, 1),
            **{key: last[key] for key in ("loss", "source_dev") if key in last},
        }
        with suppress(OSError):  # nobody depends on it
            folder = self._path.rpartition("/")[0]
            self._fs.create_dir(folder, recursive=True)
            write_bytes(self._fs, self._path, json.dumps(found).encode())


def course_of(fs: pafs.FileSystem, base: str, fingerprint: str) -> dict[str, Any] | None:
    """What was told last of a training; None: nothing yet."""
    with suppress(OSError, ValueError):
        return read_json(fs, f"{base}/work/{fingerprint}/{_NAME}")
    return None
