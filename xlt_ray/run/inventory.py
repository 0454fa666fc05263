"""What a store holds: its runs and how far they are, and artifacts that no run refers to.

An artifact is referred to by the ledgers of runs and by the models that they left; what these were
made from is in the same ledgers. A run that was taken up again writes its ledger anew: until it is
done, it refers to all that its history names. Everything else can be computed again, if it is asked
for.
"""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.fs as pafs

from xlt_ray.config.schema import first_line
from xlt_ray.run.saved_models import MODELS_FILE
from xlt_ray.store.artifacts import BASE, INPUTS, PREDICTIONS, Store
from xlt_ray.store.files import listed
from xlt_ray.store.lease import LEASE_SECONDS
from xlt_ray.store.run_folder import RunFolder
from xlt_ray.store.shapes import UnreadableError

AT_WORK = ("model", "annotation", "translation", "projection", "brought-back")
"""Kinds of steps that keep something in the folder ``work`` until they are done."""


@dataclass(frozen=True)
class RunState:
    """A run of a store.

    Attributes:
        name: Its name.
        kind: "run", "comparison", "sweep", "prediction" or "service".
        method: Its method; of others empty.
        benchmark: Its benchmark.
        state: "done", "at work", "stopped", "planned" by a dry run, or "unreadable".
        steps: Steps in its ledger.
        average: Average score, where it is done and has one.
        changed: When its history last grew, in seconds since 1970; 0: never.
        fault: Which of its files cannot be read, and why.
    """

    name: str
    kind: str
    method: str
    benchmark: str
    state: str
    steps: int
    average: float | None
    changed: float
    fault: str = ""


@dataclass(frozen=True)
class Unused:
    """An artifact, an attempt that never became one, or checkpoints, that nothing refers to.

    Attributes:
        path: Its folder, inside the file system.
        kind: Kind of the step that made it, or "checkpoints".
        size: Bytes of its files.
        changed: When a file of it was last written, in seconds since 1970.
    """

    path: str
    kind: str
    size: int
    changed: float


_KINDS = {"compare": "comparison", "sweep": "sweep", "predict": "prediction",
          "serve": "service"}  # fmt: skip
"""What is not a run, by the section that its configuration has."""


def runs(store: Store) -> list[RunState]:
    """All runs of a store, the one that changed last first."""
    found = [_state(store, info) for info in _folders(store, "runs")]
    return sorted(found, key=lambda run: -run.changed)


def _folders(store: Store, inside: str) -> list[pafs.FileInfo]:
    found = listed(store.fs, f"{store.base}/{inside}")
    infos = [x for x in found if x.type == pafs.FileType.Directory]
    return sorted(infos, key=lambda info: info.base_name)


def _state(store: Store, info: pafs.FileInfo) -> RunState:
    try:
        return _read_state(store, info)
    except (UnreadableError, OSError) as error:
        name, fault = info.base_name, first_line(error)
        return RunState(name, "run", "", "", "unreadable", 0, None, 0.0, fault)


def _read_state(store: Store, info: pafs.FileInfo) -> RunState:
    folder = RunFolder(store, info.base_name, create=False)

    def content(name: str) -> Mapping[str, Any]:
        return folder.read_json(name) or {}

    config, report = content("config.json"), content("report.json")
    kind = next((kind for key, kind in _KINDS.items() if key in config), "run")
    lines, events = folder.read_lines("ledger.jsonl"), folder.read_lines("events.jsonl")
    last = events[-1] if events else {}
    finished = ("report.json", "compare.json", "sweep.json", MODELS_FILE)
    done = last["event"] == "done" if events else any(content(name) for name in finished)
    held = content("lease.json")
    at_work = bool(held) and time.time() - held.get("renewed", 0) < LEASE_SECONDS
    return RunState(
        info.base_name,
        kind,
        config.get("method", {}).get("name", "") if kind == "run" else "",
        config.get("benchmark", {}).get("name", ""),
        "at work" if at_work else "done" if done else "stopped" if events else "planned",
        len(lines),
        report.get("average"),
        last.get("time", 0.0),
    )


def referred(store: Store) -> set[tuple[str, str]]:
    """Kind and fingerprint of every artifact that a run refers to.

    Raises:
        UnreadableError, OSError: a file cannot be read that may refer to any.
    """
    found: set[tuple[str, str]] = set()
    for info in _folders(store, "runs"):
        folder = RunFolder(store, info.base_name, create=False)
        history = folder.read_lines("events.jsonl")
        if history and history[-1]["event"] == "done":
            history = []
        for entry in (*folder.read_lines("ledger.jsonl", torn=False), *history):
            if {"kind", "fingerprint"} <= entry.keys():
                found.add((entry["kind"], entry["fingerprint"]))
        found |= set(_entries(folder.read_json(MODELS_FILE) or {}))
    return found | set(_bases(store, found))


def _bases(store: Store, kept: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What models that are kept add to, as adapters do to an encoder."""
    for name in kept:
        model = store.find(*name) if name[0] == "model" else None
        if model is not None and (base := model.info.get(BASE)):
            yield base["kind"], base["fingerprint"]


def _entries(value: Any) -> Iterator[tuple[str, str]]:
    """Every artifact that is named somewhere in a file of models."""
    if isinstance(value, Mapping):
        if {"kind", "fingerprint"} <= value.keys():
            yield value["kind"], value["fingerprint"]
        for inner in value.values():
            yield from _entries(inner)


def unused(store: Store, *, older: float) -> list[Unused]:
    """Artifacts, attempts and checkpoints that no run refers to, the largest first.

    Nothing that was written to lately counts: a run may be at it that has not noted it yet. Nor do
    the finished shards and checkpoints of a step that a run has begun: it goes on from there.

    Args:
        store: The store.
        older: Seconds since it was last written to, at least, by the store's clock.
    """
    kept, now, found = referred(store), _now(store), list[Unused]()
    for kind, info in _loose(store, kept):
        files = store.fs.get_file_info(pafs.FileSelector(info.path, recursive=True))
        times = [item.mtime_ns / 1e9 for item in (info, *files) if item.mtime_ns]
        changed = max(times, default=0.0)
        if now - changed >= older:
            size = sum(item.size or 0 for item in files)
            found.append(Unused(info.path, kind, size, changed))
    return sorted(found, key=lambda item: (-item.size, item.path))


def _now(store: Store) -> float:
    """The time by the store's clock, or by this machine's where one may only look."""
    try:
        return store.now()
    except OSError:
        return time.time()


def _loose(store: Store, kept: Collection[tuple[str, str]]) -> Iterator[tuple[str, pafs.FileInfo]]:
    """Kind and folder of what nothing refers to."""
    for kind in _folders(store, "artifacts"):
        for info in _folders(store, f"artifacts/{kind.base_name}"):
            for inner in _loose_of(store, kind.base_name, info, kept):
                yield kind.base_name, inner
    named = _configurations(store)
    for kind in (INPUTS, PREDICTIONS):
        for info in _folders(store, kind):
            if info.base_name not in named:
                yield kind, info
    for info in _folders(store, "work"):
        steps = [(kind, info.base_name) for kind in AT_WORK]
        if not any(step in kept and store.find(*step) is None for step in steps):
            yield "checkpoints", info


def _configurations(store: Store) -> str:
    """The text of every run's configuration, which names the rows that it read."""
    paths = [f"{info.path}/config.json" for info in _folders(store, "runs")]
    return "\n".join((store.read(path) or b"").decode("utf-8", "replace") for path in paths)


def _loose_of(
    store: Store, kind: str, info: pafs.FileInfo, kept: Collection[tuple[str, str]]
) -> list[pafs.FileInfo]:
    """The folder of an artifact, of an attempt at it or of what was set aside for it; or, on object
    storage, the attempts in the artifact's folder: if nothing refers to them."""
    fingerprint, _, rest = info.base_name.partition(".")
    if (kind, fingerprint) not in kept:
        return [info]
    there = store.find(kind, fingerprint)
    if rest:
        goes_on = there is None and rest.startswith("tmp-")
        return [] if goes_on else [info]
    if there is None:
        return []
    attempts = _folders(store, f"artifacts/{kind}/{fingerprint}")
    own = there.manifest["folder"]
    others = [item for item in attempts if f"{fingerprint}/{item.base_name}" != own]
    return [item for item in others if item.base_name.startswith("attempt-")]


def delete(store: Store, item: Unused) -> None:
    """Remove what is unused, the file that makes it an artifact first: no reader finds a half."""
    manifest = f"{item.path}/manifest.json"
    if store.fs.get_file_info(manifest).type == pafs.FileType.File:
        store.fs.delete_file(manifest)
    store.fs.delete_dir(item.path)
