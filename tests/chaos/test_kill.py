"""Kill -9 of a driver, an annotator or a training worker: the same command ends in the same bytes.

Every scenario runs the job as a user would, in a process of its own with a Ray of its own, and
kills at a point that the run's folder shows.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.nodes import named
from tests.world import World, artifacts, jsonl, without_times

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180


class Job:
    """The job in a process group of its own."""

    def __init__(self, config: Path, store: Path):
        self.store = store
        self.log = store / "job.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "jobs/cltp_wikiann.py", "--config", str(config)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def events(self) -> list[dict]:
        """What has happened so far; a line that is being written is left out."""
        path = self.store / "runs/test/events.jsonl"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines(True) if line[-1] == "\n"]

    def started(self, title: str) -> str | None:
        """Fingerprint of a step that has started and not finished."""
        found = None
        for event in self.events():
            if event.get("title") == title:
                found = event["fingerprint"] if event["event"] == "started" else None
        return found

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is seen."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"the job ended early:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"never seen:\n{self.log.read_text()}"
            time.sleep(0.01)

    def children(self, title: str) -> list[int]:
        """Processes under the job whose command line begins with a title."""
        return named(self.process.pid, title)

    def kill(self) -> None:
        """Kill -9 of the driver alone."""
        self.process.kill()
        self.process.wait()

    def finish(self) -> None:
        """Wait for success."""
        try:
            assert self.process.wait(PATIENCE) == 0, self.log.read_text()
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


def write_config(world: World, folder: Path, *, workers: int, annotators: int = 2) -> Path:
    """The small world's configuration as a file, without the final pass."""
    values = world.values(folder)
    values["resources"] |= {"train_workers": workers, "annotators": annotators}
    values["method"] |= {"rounds": 1, "one_hot_rounds": 0, "final_epochs": 0}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(json.loads(json.dumps(values))))
    return path


def undisturbed(config: Path) -> Path:
    """The folder of a run that nobody kills."""
    Job(config, config.parent).finish()
    return config.parent


@pytest.fixture(scope="module")
def in_process(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trains in the driver's process."""
    return undisturbed(write_config(world, tmp_path_factory.mktemp("in-process"), workers=0))


@pytest.fixture(scope="module")
def two_workers(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that trains on two workers."""
    folder = tmp_path_factory.mktemp("two-workers")
    return undisturbed(write_config(world, folder, workers=2, annotators=0))


def check_equal(store: Path, reference: Path) -> None:
    """Same artifacts, same model, same report but for times; nothing half-written is visible."""
    assert artifacts(store) == artifacts(reference)
    for name in ("model/model.safetensors", "model/config.json"):
        ours, theirs = (folder / "runs/test" / name for folder in (store, reference))
        assert ours.read_bytes() == theirs.read_bytes()
    reports = [
        without_times(json.loads((folder / "runs/test/report.json").read_text()))
        for folder in (store, reference)
    ]
    for report in reports:
        report["config"]["store"] = None
    assert reports[0] == reports[1]
    assert not any((store / "work").iterdir())


def complete(job: Job, title: str) -> bool:
    """Whether a running train step has a complete checkpoint."""
    name = job.started(title)
    return bool(name) and any((job.store / "work" / str(name)).glob("step-*/complete.json"))


def shards(job: Job, title: str) -> int:
    """Shards that a running annotate step has written."""
    name = job.started(title)
    folder = job.store / "artifacts/annotation"
    return len(list(folder.glob(f"{name}.tmp-*/part-*.parquet"))) if name else 0


def test_killed_driver(in_process: Path, world: World, tmp_path: Path):
    config = write_config(world, tmp_path, workers=0)
    points = [lambda: complete(job, "source"), lambda: shards(job, "round 1 annotation") > 0]
    for point in points:
        job = Job(config, tmp_path)
        job.wait_for(point)
        job.kill()
        assert not (tmp_path / "runs/test/report.json").exists()
    Job(config, tmp_path).finish()
    check_equal(tmp_path, in_process)
    events = list(jsonl(tmp_path / "runs/test/events.jsonl"))
    assert sum(event["event"] == "session" for event in events) == 3
    computed = [
        event["title"] for event in events if event["event"] == "finished" and not event["cached"]
    ]
    assert len(computed) == len(set(computed)), "a finished step was computed again"


def test_killed_annotators(in_process: Path, world: World, tmp_path: Path):
    job = Job(write_config(world, tmp_path, workers=0), tmp_path)
    title = "ray::MapWorker(MapBatches(ShardAnnotator))"
    job.wait_for(
        lambda: job.started("round 1 annotation") is not None and bool(job.children(title))
    )
    os.kill(job.children(title)[0], signal.SIGKILL)
    job.wait_for(
        lambda: job.started("zero-shot test annotation") is not None and bool(job.children(title))
    )
    os.kill(job.children(title)[-1], signal.SIGKILL)
    job.finish()
    check_equal(tmp_path, in_process)


def test_killed_train_worker(two_workers: Path, world: World, tmp_path: Path):
    job = Job(write_config(world, tmp_path, workers=2, annotators=0), tmp_path)
    title = "ray::RayTrainWorker"
    job.wait_for(lambda: job.started("source") is not None and bool(job.children(title)))
    os.kill(job.children(title)[0], signal.SIGKILL)
    job.wait_for(lambda: complete(job, "source") and bool(job.children(title)))
    os.kill(job.children(title)[0], signal.SIGKILL)
    job.finish()
    check_equal(tmp_path, two_workers)


def test_second_driver_is_refused(world: World, tmp_path: Path):
    config = write_config(world, tmp_path, workers=0)
    job = Job(config, tmp_path)
    job.wait_for(lambda: (tmp_path / "runs/test/lease.json").exists())
    second = subprocess.run(
        [sys.executable, "jobs/cltp_wikiann.py", "--config", str(config)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    job.kill()
    assert second.returncode == 3
    assert "another driver is at work on this run" in second.stderr
