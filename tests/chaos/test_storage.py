"""Storage that fails, is full, is slow, or keeps a part of what it was given."""

import errno
import signal
from typing import Any

import pytest

from tests.chaos import faulty
from tests.chaos.book import fault
from tests.chaos.conftest import Scene
from tests.chaos.drivers import Disturbance, Driver
from tests.s3 import S3
from xlt_ray.store.fault_points import Point

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

SOME_SHARD = r"/annotation/.*part-000001\.parquet$"
FAILURES: dict[str, dict[str, Any]] = {
    "write of a model fails": {"path": r"/model/.*\.safetensors$", "error": errno.EIO},
    "write of a manifest fails": {"path": r"manifest\.json$", "error": errno.EIO, "skip": 2},
    "half of a manifest kept": {
        "path": r"manifest\.json$", "error": errno.EIO, "part": 0.5, "skip": 3,
    },
    "half of a shard kept": {"path": SOME_SHARD, "error": errno.EIO, "part": 0.5},
    "half of a checkpoint kept": {
        "path": r"worker-0\.safetensors$", "error": errno.EIO, "part": 0.5, "skip": 1,
    },
    "half of a checkpoint's last file kept": {
        "path": r"complete\.json$", "error": errno.EIO, "part": 0.5, "skip": 1,
    },
    "disk full": {"path": r"/tokens/.*\.parquet$", "error": errno.ENOSPC, "part": 0.2, "skip": 1},
    "disk full, half of a lease kept": {
        "path": r"lease\.json$", "error": errno.ENOSPC, "part": 0.5,
    },
    "read fails": {"do": "read", "path": r"/tokens/.*\.parquet$", "error": errno.EIO},
}  # fmt: skip
SHORT = {"disk full"}
FAULTY = "a faulty file system"


def marked(names: dict[str, Any], short: set[str]) -> list[Any]:
    """Cases, of which some run in every test."""
    return [pytest.param(x, marks=[] if x in short else [pytest.mark.long]) for x in names]


@pytest.mark.parametrize("name", marked(FAILURES, SHORT))
def test_failures(scene: Scene, name: str) -> None:
    """The run ends with code 3, what is visible is whole, and the same command goes on."""
    trouble = Disturbance(faulty=True, lease=3.0)
    config = scene.values(f"{faulty.SCHEME}{scene.store}")
    faulty.order(scene.store, **{"do": "write", **FAILURES[name]})
    with fault(name, FAULTY) as entry:
        first = Driver(config, scene.folder, trouble).join(3)
        assert faulty.withdraw(scene.store) == 1
        scene.reference.check_part(str(scene.store))
        second = Driver(config, scene.folder, trouble).join(0)
        entry.lost = first + second - scene.reference.seconds
        scene.reference.check(scene.values(scene.store))


@pytest.mark.long
def test_slow_storage(scene: Scene) -> None:
    """Every write takes long, also of the lease: the run goes on, only later."""
    config = scene.values(f"{faulty.SCHEME}{scene.store}")
    paths = ("manifest", "ledger", "lease", r"\.parquet$")
    for path in paths:
        faulty.order(scene.store, do="write", path=path, delay=0.5, times=10)
    with fault("slow writes", FAULTY, times=len(paths)) as entry:
        seconds = Driver(config, scene.folder, Disturbance(faulty=True)).join(0)
        assert faulty.withdraw(scene.store) > 20
        entry.lost = seconds - scene.reference.seconds
        scene.reference.check(scene.values(scene.store))


@pytest.mark.long
@pytest.mark.parametrize("point", ["checkpoint.begun", "checkpoint.complete"])
def test_a_full_disk(scene: Scene, point: Point) -> None:
    """The kernel lets no file grow, from some moment on; at the next start there is room again."""
    config = scene.values(scene.store)
    with fault(f"no room on the disk from `{point}` on") as entry:
        full = Disturbance(at=point, file_size=20_000)  # less than a model, more than a log
        first = Driver(config, scene.folder, full).join(3)
        scene.reference.check_part(str(scene.store))
        second = Driver(config, scene.folder).join(0)
        entry.lost = first + second - scene.reference.seconds
        scene.reference.check(config)


S3_FAULTS: dict[str, dict[str, Any]] = {
    "server busy for 20 requests": {"status": 503, "skip": 60, "times": 20},
    "40 uploads cut off": {"method": "PUT", "cut": True, "skip": 20, "times": 40},
    "40 late answers": {"delay": 0.3, "skip": 40, "times": 40},
}


@pytest.mark.long
@pytest.mark.parametrize("name", S3_FAULTS)
def test_s3_failures(scene: Scene, s3: S3, name: str) -> None:
    """What the client's own retries do not mend ends the run with code 3, and it goes on."""
    config = scene.values(s3.root())
    s3.break_down(**S3_FAULTS[name])
    with fault(name, "S3") as entry:
        first = Driver(config, scene.folder, Disturbance(lease=3.0))
        assert first.end() in (0, 3), first.log.read_text()
        assert s3.mend() > 2
        scene.reference.check_part(config["store"]["root"])
        second = Driver(config, scene.folder, Disturbance(lease=3.0)).join(0)
        entry.lost = first.seconds + second - scene.reference.seconds
        scene.reference.check(config)


@pytest.mark.long
@pytest.mark.parametrize("title", ["source", "round 1"])
def test_a_notice_that_the_machine_goes(scene: Scene, title: str) -> None:
    """SIGTERM, as the owner of a spot machine and ``ray job stop`` send it."""
    config = scene.values(scene.store)
    with fault(f"preemption notice to the driver, in the step `{title}`") as entry:
        driver = Driver(config, scene.folder)
        driver.wait_for(lambda: driver.running(title))
        driver.send(signal.SIGTERM)
        first = driver.join(3)
        assert "the same command goes on" in driver.log.read_text()
        assert not (scene.store / "runs/test/lease.json").exists()
        entry.lost = first + Driver(config, scene.folder).join(0) - scene.reference.seconds
        scene.reference.check(config)
