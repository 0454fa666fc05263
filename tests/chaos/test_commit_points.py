"""Drivers that are killed at the points of a commit, over and over, until the run is done."""

import signal
from typing import Any

import pytest

from tests.chaos.book import fault
from tests.chaos.conftest import Scene
from tests.chaos.drivers import Disturbance, Driver
from tests.s3 import S3
from xlt_ray.store.fault_points import LOCAL_POINTS, POINTS, Point

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

COUNTS: dict[Point, int] = {
    "file.begun": 5, "file.written": 6, "file.kept": 7, "step.noted": 3, "checkpoint.written": 2,
    "checkpoint.complete": 3, "checkpoint.dropping": 2,
}  # fmt: skip
"""At which time a driver comes by it is killed, where that is not the first."""
SHORT: list[Point] = ["commit.described", "checkpoint.written"]
OBJECT_POINTS: list[Point] = [point for point in POINTS if point not in LOCAL_POINTS]


def chain(scene: Scene, config: dict[str, Any], points: list[Point], where: str) -> None:
    """Kill a run at one point after the other, then let it end."""
    root, seconds = config["store"]["root"], 0.0
    names = ", ".join(f"`{point}`" for point in points)
    with fault(f"driver killed at {names}", where, times=len(points)) as entry:
        for point in points:
            trouble = Disturbance(at=point, count=COUNTS.get(point, 1), signal=signal.SIGKILL)
            seconds += Driver(config, scene.folder, trouble).join(-signal.SIGKILL)
            scene.reference.check_part(root)
        seconds += Driver(config, scene.folder).join(0)
        entry.lost = seconds - scene.reference.seconds
        scene.reference.check(config)
    ended = [event for event in Driver.events_of(config) if event["event"] == "finished"]
    computed = [event["title"] for event in ended if not event["cached"]]
    assert len(computed) == len(set(computed)), "a finished step was computed again"


def test_some_points(scene: Scene) -> None:
    chain(scene, scene.values(scene.store), SHORT, "local disk")


@pytest.mark.long
def test_the_other_points(scene: Scene) -> None:
    rest: list[Point] = [point for point in POINTS if point not in SHORT]
    chain(scene, scene.values(scene.store), rest, "local disk")


@pytest.mark.long
def test_s3(scene: Scene, s3: S3) -> None:
    """A run on an S3 store gives the bytes of one on a disk, and does so after a kill."""
    chain(scene, scene.values(s3.root()), ["checkpoint.complete"], "S3")


@pytest.mark.long
def test_every_point_on_s3(scene: Scene, s3: S3) -> None:
    chain(scene, scene.values(s3.root()), OBJECT_POINTS, "S3")
