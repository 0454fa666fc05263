"""Durable steps: a result is looked up by its fingerprint and computed only if it is not there."""

import os
import platform
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from xlt_ray.report.progress import Progress
from xlt_ray.run.peak_memory import watched
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.fault_points import reached
from xlt_ray.store.fingerprint import code_digest, field_parameters, fingerprint
from xlt_ray.store.lease import Lease
from xlt_ray.store.libraries import computing, versions
from xlt_ray.store.run_folder import RunFolder
from xlt_ray.store.step_task import StepTask

if TYPE_CHECKING:
    from xlt_ray.run.time_left import TimeLeft

PLANNED = "planned"


def hardware() -> dict[str, Any]:
    """The machine of the driver."""
    return {"machine": platform.machine(), "system": platform.system(), "cpus": os.cpu_count()}


T = TypeVar("T", bound=StepTask)


@dataclass(frozen=True)
class Step(Generic[T]):
    """One step, before it has run.

    Attributes:
        title: What the reader of a ledger sees.
        task: What is computed.
    """

    title: str
    task: T

    @property
    def kind(self) -> str:
        """Folder of the store."""
        return self.task.kind

    @cached_property
    def params(self) -> dict[str, Any]:
        """Everything that the result depends on besides the inputs' content and the code."""
        return field_parameters(self.task)

    def fingerprint(self) -> str:
        """Hash of the step; "planned" if an input is not there yet.

        It holds major and minor versions of the libraries that compute the step.
        """
        inputs, modules = self.task.inputs, self.task.modules
        if any(item.fingerprint == PLANNED for item in inputs):
            return PLANNED
        return fingerprint(
            self.kind,
            params=self.params,
            inputs=[item.identity for item in inputs],
            code=code_digest(*modules),
            libraries=computing(self.kind, modules),
        )


Compute = Callable[[T], Mapping[str, Any]]
"""Fills the attempt of a task and returns facts for the manifest: counts, scores."""


class Runner(Protocol):
    """What a driver hands its steps to."""

    store: Store

    def run(
        self, step: Step[T], compute: Compute[T], *, afterwards: Callable[[], None] | None = None
    ) -> Artifact:
        """The step's artifact."""
        ...


@dataclass
class StepRunner:
    """Runs the steps of one run, in order, and writes them into its ledger."""

    store: Store
    folder: RunFolder
    lease: Lease
    progress: Progress
    right_to: Callable[[str], AbstractContextManager[None]]
    track: Callable[[str, str, Mapping[str, Any]], None] = lambda title, kind, info: None
    time_left: "TimeLeft | None" = None
    ledger: list[dict[str, Any]] = field(default_factory=list)
    noting: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, step: Step[T], compute: Compute[T], *, afterwards: Callable[[], None] | None = None
    ) -> Artifact:
        """The step's artifact, from the store or newly computed.

        Args:
            step: The step.
            compute: Computes it.
            afterwards: Tidies up once the artifact is there.
        """
        self.lease.check()
        name = step.fingerprint()
        self.progress.started(step.title, step.kind, "")
        artifact = self.store.find(step.kind, name)
        cached = artifact is not None
        if artifact is None:
            with self.noting:
                self.folder.event("started", title=step.title, kind=step.kind, fingerprint=name)
            with self.right_to(f"{step.kind}/{name}"):
                artifact = self.store.find(step.kind, name)
                cached = artifact is not None  # somebody else has computed it meanwhile
                try:
                    artifact = artifact or self._compute(step, name, compute)
                except Exception:
                    # Another driver at the same step has committed it, and taken its notes away.
                    artifact = self.store.find(step.kind, name)
                    if artifact is None:
                        raise
                    cached = True
        if step.task.resumes and not cached:
            with suppress(FileNotFoundError):  # what was noted along the way
                self.store.fs.delete_dir(f"{self.store.base}/work/{name}")
        if afterwards is not None:
            afterwards()  # also by a driver that has lost the run: what it wrote is of no use
        self.lease.check()
        if not cached:
            reached("step.committed")
        self._record(step, artifact, cached=cached)
        return artifact

    def _compute(self, step: Step[T], name: str, compute: Compute[T]) -> Artifact:
        began = time.monotonic()
        attempt = self.store.attempt(step.kind, name)
        if step.task.resumes:
            self.store.adopt(attempt)
        from xlt_ray.run.at_work import told  # reaches what trains and annotates

        at_work = told(self.progress, step, attempt, self.store, self.time_left)
        with watched() as peak, at_work:
            info = compute(step.task.into(attempt))
        record = {
            "kind": step.kind,
            "title": step.title,
            "run": self.folder.name,
            "fingerprint": name,
            "params": step.params,
            "inputs": [item.fingerprint for item in step.task.inputs],
            "info": dict(info),
            "seconds": round(time.monotonic() - began, 3),
            "driver_mb": None if peak.mb is None else round(peak.mb),
            "hardware": hardware(),
            "versions": versions(),
        }
        return self.store.commit(attempt, record)

    def _record(self, step: Step[Any], artifact: Artifact, *, cached: bool) -> None:
        with self.noting:  # several steps may be at work
            self._note(step, artifact, cached)

    def _note(self, step: Step[Any], artifact: Artifact, cached: bool) -> None:
        entry = {
            "step": len(self.ledger) + 1,
            "title": step.title,
            "kind": step.kind,
            "fingerprint": artifact.fingerprint,
            "inputs": [item.fingerprint for item in step.task.inputs],
            "seconds": artifact.seconds,
            "driver_mb": artifact.manifest.get("driver_mb"),
            "cached": cached,
            "versions": dict(artifact.manifest.get("versions", {})),
            "info": _brief(artifact.info),
        }
        self.ledger.append(entry)
        self.folder.step(entry)
        reached("step.noted")
        self.folder.event("finished", **entry)
        self.track(step.title, step.kind, artifact.info)
        detail = _detail(artifact.info)
        self.progress.finished(step.title, step.kind, artifact.seconds, cached, detail)
        if self.time_left is not None:
            self.time_left.finished((step.title, step.kind), artifact.seconds)


def _brief(info: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if key != "history"}


def _detail(info: Mapping[str, Any]) -> str:
    parts = []
    if "rows" in info:
        parts.append(f"{info['rows']} rows")
    if info.get("quarantined"):
        parts.append(f"{info['quarantined']} quarantined")
    if "source_dev" in info:
        parts.append(f"source dev {100 * info['source_dev']:.2f}")
    if "equal_labels" in info:
        parts.append(f"equal labels {100 * info['equal_labels']:.2f}%")
    if "padding" in info:
        parts.append(f"no padding token, {info['padding']} is taken")
    return ", ".join(parts)
