"""What is told of a step while it is at work: how far it is, how fast, and how long it takes."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xlt_ray.engine.annotate import AnnotateTask
from xlt_ray.engine.train.course import course_of
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.report.compare import duration
from xlt_ray.report.progress import Progress
from xlt_ray.store.artifacts import Store
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.files import listed

if TYPE_CHECKING:
    from xlt_ray.run.steps import Step
    from xlt_ray.run.time_left import TimeLeft

_BAR = 10


@dataclass(frozen=True)
class HowFar:
    """How far a step is.

    Attributes:
        share: What is done, in [0, 1].
        place: Where it is, in a few words.
        left: Seconds that it still takes, by its own measure; None where it has none.
    """

    share: float
    place: str
    left: float | None = None

    def text(self) -> str:
        """In a few words."""
        left = "" if self.left is None else f", {duration(self.left)} left"
        return f"{bar(self.share)} {self.place}{left}"


@contextmanager
def told(
    progress: Progress,
    step: "Step[Any]",
    attempt: Attempt,
    store: Store,
    time_left: "TimeLeft | None" = None,
    every: float = 2.0,
) -> Iterator[None]:
    """Tell how far a step and its run are until the block ends.

    Args:
        progress: Who is told.
        step: The step.
        attempt: What it is written into.
        store: The store.
        time_left: Knows how long the run takes.
        every: Seconds between two looks.
    """
    ends, began = threading.Event(), time.monotonic()

    def look() -> None:
        while not ends.wait(every):
            with suppress(OSError):
                seconds = time.monotonic() - began
                if found := how_far(step, attempt, store, seconds):
                    progress.update(step.title, step.kind, found.text())
                    if time_left is not None and found.left is not None:
                        name = (step.title, step.kind)
                        progress.run_left(time_left.after(name, seconds, found.left))

    watcher = threading.Thread(target=look, daemon=True, name=f"progress of {step.title}")
    watcher.start()
    try:
        yield
    finally:
        ends.set()
        watcher.join()


def how_far(step: "Step[Any]", attempt: Attempt, store: Store, seconds: float) -> HowFar | None:
    """How far a step is; None where that is not known.

    Args:
        step: The step.
        attempt: What it is written into.
        store: The store.
        seconds: How long it is at work.
    """
    match step.task:
        case TrainTask():
            return _of_training(store, attempt.fingerprint)
        case AnnotateTask(corpus=corpus):
            total = len(corpus.tokens.names)
            place = f"{store.base}/artifacts/{attempt.kind}/{attempt.folder}"
            there = listed(store.fs, place)
            done = sum(item.base_name.endswith(".parquet") for item in there)
            left = seconds * (total - done) / done if done else None
            return HowFar(done / total, f"shard {done} of {total}", left) if total else None
    return None


def _of_training(store: Store, fingerprint: str) -> HowFar | None:
    found = course_of(store.fs, store.base, fingerprint)
    if found is None:
        return None
    parts = [f"epoch {found['epoch']}/{found['epochs']}", f"step {found['step']}/{found['steps']}"]
    if "loss" in found:
        parts.append(f"loss {found['loss']:.3g}")
    if "source_dev" in found:
        parts.append(f"source dev {100 * found['source_dev']:.1f}")
    parts.append(f"{found['tokens_per_second']:,.0f} sub-words/s")
    share = found["step"] / max(found["steps"], 1)
    return HowFar(share, ", ".join(parts), found["seconds_left"])


def bar(share: float) -> str:
    """A share in [0, 1] as a bar of ten characters."""
    full = round(_BAR * min(max(share, 0.0), 1.0))
    return f"[{'#' * full}{'.' * (_BAR - full)}]"
