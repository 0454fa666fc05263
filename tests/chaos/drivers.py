"""Drivers that are disturbed, and what has to hold after each disturbance.

A driver is forked from a server that has imported everything, so that a run can be killed and
started again many times in a test. It runs the command line's own `main`; what disturbs it is done
to its process, its clock, its limits or its file system, never to the code of the project.
"""

import hashlib
import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.fs as pafs

from tests.world import SIZES, without_times
from xlt_ray.store.artifacts import Store
from xlt_ray.store.fault_points import LISTENERS, Point
from xlt_ray.store.files import open_root

PATIENCE = 600
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.chaos.preload"])

Found = dict[tuple[str, str], dict[str, str]]
"""Sha256 of every file of every artifact, by (kind, fingerprint)."""


@dataclass(frozen=True)
class Disturbance:
    """What is to happen to a driver.

    Attributes:
        at: The point at which it happens; None: from the beginning.
        count: At which time the driver comes by there.
        signal: Sent to itself.
        file_size: Largest file that it can write from then on, as on a disk that is full.
        lease: Seconds of its lease.
        skew: By how much its clock is wrong, in seconds.
        host: What it takes for its machine's name.
        faulty: The file system is that of `tests.chaos.faulty`.
    """

    at: Point | None = None
    count: int = 1
    signal: int | None = None
    file_size: int | None = None
    lease: float | None = None
    skew: float = 0.0
    host: str | None = None
    faulty: bool = False


def _drive(values: Mapping[str, Any], log: str, cache: str, trouble: Disturbance) -> None:
    """Body of a driver's process."""
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    with open(log, "ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ["XDG_CACHE_HOME"] = cache
    _prepare(trouble, values["resources"].get("address"))
    from xlt_ray.commands.cli import run_job

    sys.exit(run_job(values, argv=[]))


def _prepare(trouble: Disturbance, address: str | None) -> None:
    from xlt_ray.store import lease, machine, run_folder

    left = trouble.count

    def listen(point: Point) -> None:
        nonlocal left
        left -= point == trouble.at
        if point == trouble.at and left == 0:
            _strike(trouble)

    if trouble.at is not None:
        LISTENERS.append(listen)
    if trouble.lease is not None:
        defaults = lease.Lease.__init__.__kwdefaults__
        assert defaults is not None
        defaults["seconds"] = trouble.lease
    if trouble.skew or trouble.host:
        now, host = time.time, trouble.host or socket.gethostname()
        clock = {"monotonic": time.monotonic, "sleep": time.sleep}
        run_folder.time = lease.time = SimpleNamespace(time=lambda: now() + trouble.skew, **clock)  # type: ignore[assignment]
        lease.socket = SimpleNamespace(gethostname=lambda: host)  # type: ignore[assignment]
        machine.socket = lease.socket
    if trouble.faulty:
        from tests.chaos import faulty

        faulty.install()
    if trouble.faulty and address is not None:
        import ray

        hook = {"worker_process_setup_hook": "tests.chaos.faulty.install"}
        ray.init(address=address, runtime_env=hook, log_to_driver=False)


def _strike(trouble: Disturbance) -> None:
    if trouble.file_size is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (trouble.file_size, hard))
    if trouble.signal is not None:
        os.kill(os.getpid(), trouble.signal)


class Driver:
    """One session of a run."""

    def __init__(
        self,
        values: Mapping[str, Any],
        folder: Path,
        trouble: Disturbance | None = None,
    ):
        """Start a driver.

        Args:
            values: Its configuration.
            folder: Where its output and its copies of distant files go.
            trouble: What happens to it.
        """
        self.values, self.log = values, folder / "driver.log"
        folder.mkdir(parents=True, exist_ok=True)
        self.began = time.monotonic()
        arguments = (values, str(self.log), str(folder / "cache"), trouble or Disturbance())
        self.seconds = 0.0
        self.process = _CONTEXT.Process(target=_drive, args=arguments)
        self.process.start()

    def end(self) -> int | None:
        """Wait for its end; returns the exit code, None if it had to be killed."""
        was_running = self.process.exitcode is None
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
        if was_running:
            self.seconds = time.monotonic() - self.began
        return code

    def join(self, expect: int) -> float:
        """Wait for its end and compare the exit code; returns its seconds."""
        code = self.end()
        text = self.log.read_text(errors="replace")
        assert code == expect, f"exit code {code}, expected {expect}:\n{text[-4000:]}"
        assert "Traceback" not in text, text
        return self.seconds

    def send(self, number: int) -> None:
        """Send a signal to the driver's process alone."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def events(self) -> list[dict[str, Any]]:
        """What has happened in the run so far."""
        return self.events_of(self.values)

    @staticmethod
    def events_of(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What has happened in a run in all its sessions, whole lines alone."""
        fs, base = open_root(values["store"]["root"])
        path = f"{base}/runs/{values['run']['name']}/events.jsonl"
        if fs.get_file_info(path).type != pafs.FileType.File:
            return []
        with fs.open_input_stream(path) as stream:
            lines = stream.read().splitlines(True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def running(self, title: str) -> str | None:
        """Fingerprint of a step that is at work now."""
        found = None
        for event in self.events():
            if event.get("title") == title:
                found = event["fingerprint"] if event["event"] == "started" else None
        return found

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something is seen while the driver is at work."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.exitcode is None, f"it ended early:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"never seen:\n{self.log.read_text()}"
            time.sleep(0.02)


def visible(root: str) -> Found:
    """All that a reader sees of a store; every file is compared with its manifest."""
    store, found = Store(root), Found()
    fs, base = store.fs, f"{store.base}/artifacts"
    for kind in fs.get_file_info(pafs.FileSelector(base, allow_not_found=True)):
        for item in fs.get_file_info(pafs.FileSelector(kind.path)):
            artifact = None
            if ".tmp-" not in item.base_name:
                artifact = store.find(kind.base_name, item.base_name)
            if artifact is not None:
                assert artifact.verify() == [], item.path
                entries = artifact.manifest["files"]
                found[kind.base_name, item.base_name] = {
                    name: entry["sha256"] for name, entry in entries.items()
                }
    return found


@dataclass(frozen=True)
class Reference:
    """An undisturbed run.

    Attributes:
        values: Its configuration.
        found: Its artifacts.
        model: Sha256 of the files of its model.
        report: Its report, without times and places.
        seconds: How long it took.
    """

    values: Mapping[str, Any]
    found: Found
    model: dict[str, str]
    report: dict[str, Any]
    seconds: float

    @classmethod
    def of(cls, values: Mapping[str, Any], folder: Path) -> "Reference":
        """Run a configuration that nobody disturbs."""
        seconds = Driver(values, folder).join(0)
        return replace(cls._seen(values), seconds=seconds)

    @classmethod
    def _seen(cls, values: Mapping[str, Any]) -> "Reference":
        root, name = values["store"]["root"], values["run"]["name"]
        store = Store(root)
        folder = store.run_folder(name)
        report = without_times(json.loads(store.read(f"{folder}/report.json") or b"{}"))
        report["config"] = None
        assert store.read(f"{folder}/lease.json") is None
        work = pafs.FileSelector(f"{store.base}/work", recursive=True, allow_not_found=True)
        left = [i.path for i in store.fs.get_file_info(work) if i.type == pafs.FileType.File]
        assert left == []
        found = visible(root)
        _account(store, found)
        files = _sums(store, f"{folder}/model")
        models = [sums for (kind, _), sums in found.items() if kind == "model"]
        assert files in [_without_findings(sums) for sums in models]
        return cls(values, found, files, report, 0.0)

    def check_part(self, root: str) -> None:
        """What is there is whole, and is what the undisturbed run has."""
        for key, sums in visible(root).items():
            assert sums == self.found[key], key

    def check(self, values: Mapping[str, Any]) -> None:
        """A finished run has the same artifacts, model and report."""
        other = self._seen(values)
        assert other.found == self.found
        assert other.model == self.model
        assert other.report == self.report


def _without_findings(sums: Mapping[str, str]) -> dict[str, str]:
    """Files of a model, but what its training noted about examples."""
    return {name: value for name, value in sums.items() if not name.endswith(".parquet")}


def _sums(store: Store, folder: str) -> dict[str, str]:
    sums = {}
    for item in store.fs.get_file_info(pafs.FileSelector(folder, recursive=True)):
        if item.type == pafs.FileType.File:
            data = store.read(item.path) or b""
            sums[item.path.removeprefix(f"{folder}/")] = hashlib.sha256(data).hexdigest()
    return dict(sorted(sums.items()))


def _account(store: Store, found: Found) -> None:
    """Every row that was read is in the result, or in quarantine."""
    rows: dict[str, int] = {}
    for kind, name in sorted(found, key=lambda key: key[0] == "tokens"):
        artifact = store.find(kind, name)
        assert artifact is not None
        info = artifact.info
        if kind in ("text", "gold"):
            split = Path(artifact.manifest["params"]["sources"][0]["name"]).stem
            for language, count in info["rows_by_language"].items():
                assert count + info["quarantined_by_language"][language] == SIZES[split]
            rows[name] = info["rows"]
        if kind == "tokens":
            assert info["rows"] == rows[artifact.manifest["inputs"][0]]
