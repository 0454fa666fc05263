"""Two drivers on one run: together, one that slept, and clocks that are wrong."""

import signal

import pytest

from tests.chaos.book import fault
from tests.chaos.conftest import Scene
from tests.chaos.drivers import Disturbance, Driver

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

LEASE = 6.0
HOURS = 3600.0


@pytest.mark.long
def test_started_together(scene: Scene) -> None:
    config = scene.values(scene.store)
    with fault("two drivers started together") as entry:
        pair = [Driver(config, scene.folder / name) for name in "ab"]
        codes = {driver.end(): driver for driver in pair}
        assert set(codes) == {0, 3}, [driver.log.read_text() for driver in pair]
        assert "another driver" in codes[3].log.read_text()
        entry.lost = codes[0].join(0) - scene.reference.seconds
        scene.reference.check(config)


@pytest.mark.long
@pytest.mark.parametrize("hours", [2, -2], ids=["ahead", "behind"])
def test_a_wrong_clock(scene: Scene, hours: int) -> None:
    """On a machine with a wrong clock: refused while the first one lives, taken over after."""
    config = scene.values(scene.store)
    word = "ahead" if hours > 0 else "behind"
    other = Disturbance(lease=LEASE, skew=hours * HOURS, host="elsewhere")
    with fault(f"second machine's clock {abs(hours)} h {word}, first driver killed") as entry:
        first = Driver(config, scene.folder / "first", Disturbance(lease=LEASE))
        first.wait_for(first.events)
        second = Driver(config, scene.folder / "second", other)
        second.join(3)
        assert "another driver is at work on this run" in second.log.read_text()
        first.send(signal.SIGKILL)
        lost = first.join(-signal.SIGKILL) - scene.reference.seconds
        entry.lost = lost + Driver(config, scene.folder / "second", other).join(0)
        scene.reference.check(config)


@pytest.mark.long
def test_one_that_slept(scene: Scene) -> None:
    """Its machine froze; another took over; it wakes up, and stops before it goes on."""
    config = scene.values(scene.store)
    with fault("driver frozen, overtaken, woken up") as entry:
        first = Driver(config, scene.folder / "first", Disturbance(lease=LEASE))
        first.wait_for(lambda: first.running("source"))
        first.send(signal.SIGSTOP)
        second = Driver(config, scene.folder / "second", Disturbance(lease=LEASE))
        second.wait_for(lambda: second.running("round 1"))
        first.send(signal.SIGCONT)
        first.join(3)
        assert "lease" in first.log.read_text()
        entry.lost = second.join(0) - scene.reference.seconds
        scene.reference.check(config)
