"""What is told of a step while it is at work: how far it is, how fast, and how long it takes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs

from xlt_ray.engine.annotate import AnnotateTask
from xlt_ray.engine.train.course import course_of
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.report.compare import duration
from xlt_ray.report.progress import Progress
from xlt_ray.store.artifacts import Attempt, Store

if TYPE_CHECKING:
    from xlt_ray.run.steps import Step

_BAR = 10


@contextmanager
def told(
    progress: Progress, step: "Step[Any]", attempt: Attempt, store: Store, every: float = 2.0
) -> Iterator[None]:
    """Tell how far a step is until the block ends.

    Args:
        progress: Who is told.
        step: The step.
        attempt: What it is written into.
        store: The store.
        every: Seconds between two looks.
    """
    ends = threading.Event()

    def look() -> None:
        while not ends.wait(every):
            with suppress(OSError):
                if text := how_far(step, attempt, store):
                    progress.update(step.title, step.kind, text)

    watcher = threading.Thread(target=look, daemon=True, name=f"progress of {step.title}")
    watcher.start()
    try:
        yield
    finally:
        ends.set()
        watcher.join()


def how_far(step: "Step[Any]", attempt: Attempt, store: Store) -> str:
    """How far a step is, in a few words; empty where that is not known."""
    match step.task:
        case TrainTask():
            return _of_training(store, attempt.fingerprint)
        case AnnotateTask(corpus=corpus):
            total = len(corpus.tokens.names)
            place = f"{store.base}/artifacts/{attempt.kind}/{attempt.folder}"
            there = store.fs.get_file_info(pafs.FileSelector(place, allow_not_found=True))
            done = sum(item.base_name.endswith(".parquet") for item in there)
            return f"{bar(done / total)} shard {done} of {total}" if total else ""
    return ""


def _of_training(store: Store, fingerprint: str) -> str:
    found = course_of(store.fs, store.base, fingerprint)
    if found is None:
        return ""
    parts = [
        f"{bar(found['step'] / max(found['steps'], 1))} epoch {found['epoch']}/{found['epochs']}",
        f"step {found['step']}/{found['steps']}",
    ]
    if "loss" in found:
        parts.append(f"loss {found['loss']:.3g}")
    if "source_dev" in found:
        parts.append(f"source dev {100 * found['source_dev']:.1f}")
    parts.append(f"{found['tokens_per_second']:,.0f} sub-words/s")
    parts.append(f"{duration(found['seconds_left'])} left")
    return ", ".join(parts)


def bar(share: float) -> str:
    """A share in [0, 1] as a bar of ten characters."""
    full = round(_BAR * min(max(share, 0.0), 1.0))
    return f"[{'#' * full}{'.' * (_BAR - full)}]"
