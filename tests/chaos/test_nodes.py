"""Machines that go and come while a run is at work: worker nodes, spot machines, the head."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.book import fault
from tests.chaos.conftest import Values
from tests.chaos.drivers import Driver, Reference
from tests.nodes import Cluster, Node

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

ANNOTATOR = "ray::MapWorker(MapBatches(ShardAnnotator))"
TRAINER = "ray::RayTrainWorker"
Config = Callable[..., dict[str, Any]]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that drivers and small tasks use."""
    made = Cluster(cpus=1)
    yield made
    made.stop()


@pytest.fixture
def node(cluster: Cluster) -> Node:
    """A worker node of two CPUs, which has joined."""
    made = cluster.add_node("workers", cpus=2)
    cluster.wait_for_nodes(2)
    return made


@pytest.fixture
def config(cluster: Cluster, values: Values, tmp_path: Path) -> Config:
    """Makes the configuration of a run on the cluster."""

    def make(**resources: Any) -> dict[str, Any]:
        return values(tmp_path / "store", cluster.address, **resources)

    return make


@pytest.fixture(scope="module")
def two_workers(
    address: str, values: Values, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    """A run that trains on two workers, and that nobody disturbs."""
    folder = tmp_path_factory.mktemp("two-workers")
    return Reference.of(values(folder / "store", address, train_workers=2), folder)


@pytest.mark.long
def test_a_node_dies_while_it_annotates(
    cluster: Cluster, config: Config, undisturbed: Reference, tmp_path: Path
) -> None:
    """And another one joins."""
    doomed = cluster.add_node("doomed", cpus=2)
    cluster.wait_for_nodes(2)
    with fault("worker node killed in an annotate step, another one added", times=2) as entry:
        driver = Driver(settings := config(annotators=2), tmp_path)
        driver.wait_for(
            lambda: driver.running("round 1 annotation") and doomed.processes(ANNOTATOR)
        )
        cluster.add_node("new", cpus=2)
        doomed.kill()
        assert driver.running("round 1 annotation")
        undisturbed.check_part(str(tmp_path / "store"))
        entry.lost = driver.join(0) - undisturbed.seconds
        undisturbed.check(settings)


@pytest.mark.long
def test_training_workers_are_killed(
    node: Node, config: Config, two_workers: Reference, tmp_path: Path
) -> None:
    """One before there is a checkpoint, and one after."""
    settings = config(train_workers=2)
    with fault("training worker killed, before and after a checkpoint", times=2) as entry:
        driver = Driver(settings, tmp_path)
        driver.wait_for(lambda: driver.running("source") and node.processes(TRAINER))
        assert not checkpoints(driver)
        os.kill(node.processes(TRAINER)[0], signal.SIGKILL)
        driver.wait_for(lambda: checkpoints(driver) and node.processes(TRAINER))
        os.kill(node.processes(TRAINER)[-1], signal.SIGKILL)
        assert driver.running("source")
        entry.lost = driver.join(0) - two_workers.seconds
        two_workers.check(settings)


@pytest.mark.long
def test_ctrl_c_while_workers_train(
    node: Node, config: Config, two_workers: Reference, tmp_path: Path
) -> None:
    """Ends the run with code 3, and not with that of Ray's own handler, which is 0."""
    settings = config(train_workers=2)
    with fault("Ctrl-C while workers train") as entry:
        driver = Driver(settings, tmp_path)
        driver.wait_for(lambda: checkpoints(driver) and node.processes(TRAINER))
        driver.send(signal.SIGINT)
        first = driver.join(3)
        two_workers.check_part(settings["store"]["root"])
        entry.lost = first + Driver(settings, tmp_path).join(0) - two_workers.seconds
        two_workers.check(settings)


def checkpoints(driver: Driver) -> list[Path]:
    """Whole checkpoints of the training on the source language while it is at work."""
    work = Path(driver.values["store"]["root"]) / "work" / str(driver.running("source"))
    return list(work.glob("step-*/complete.json"))


@pytest.mark.long
def test_a_node_dies_while_it_trains(
    cluster: Cluster, config: Config, two_workers: Reference, tmp_path: Path
) -> None:
    """With a checkpoint behind it; the machine left takes its place."""
    kept, doomed = cluster.add_node("kept", cpus=2), cluster.add_node("doomed", cpus=2)
    cluster.wait_for_nodes(3)
    settings = config(train_workers=2)
    with fault("worker node killed in a train step") as entry:
        driver = Driver(settings, tmp_path)

        def at_work() -> bool:
            both = [*kept.processes(TRAINER), *doomed.processes(TRAINER)]
            return bool(checkpoints(driver)) and len(both) == 2

        driver.wait_for(at_work)
        (doomed if doomed.processes(TRAINER) else kept).kill()
        assert driver.running("source")
        entry.lost = driver.join(0) - two_workers.seconds
        two_workers.check(settings)


@pytest.mark.long
def test_a_training_goes_on_with_the_machines_that_are_left(
    cluster: Cluster, config: Config, address: str, values: Values, tmp_path: Path
) -> None:
    """With the bytes of a run whose two seats have had a process each, all the time."""
    undisturbed = Reference.of(values(tmp_path / "whole", address, train_workers=[2, 2]), tmp_path)
    doomed = cluster.add_node("doomed", cpus=1)
    cluster.wait_for_nodes(2)
    settings = config(train_workers=[1, 2])
    with fault("one of two nodes killed in an elastic training") as entry:
        driver = Driver(settings, tmp_path)

        def at_work() -> bool:
            both = [*cluster.head.processes(TRAINER), *doomed.processes(TRAINER)]
            return bool(checkpoints(driver)) and len(both) == 2

        driver.wait_for(at_work)
        doomed.kill()
        assert driver.running("source")
        entry.lost = driver.join(0) - undisturbed.seconds
        undisturbed.check(settings)


@pytest.mark.long
def test_a_spot_machine_is_taken_away(
    cluster: Cluster, config: Config, undisturbed: Reference, tmp_path: Path
) -> None:
    """It is drained with notice, and gone when the time is up."""
    spot = cluster.add_node("spot", cpus=2)
    names = cluster.wait_for_nodes(2)
    settings = config(annotators=2)
    with fault("worker node drained with notice, then killed", times=2) as entry:
        driver = Driver(settings, tmp_path)
        driver.wait_for(lambda: driver.running("round 1 annotation") and spot.processes(ANNOTATOR))
        cluster.add_node("other", cpus=2)
        cluster.drain(names["spot"], seconds=2)
        assert driver.running("round 1 annotation")
        time.sleep(2)
        spot.kill()
        entry.lost = driver.join(0) - undisturbed.seconds
        undisturbed.check(settings)


@pytest.mark.long
def test_the_head_is_lost_and_started_again(
    cluster: Cluster, config: Config, undisturbed: Reference, tmp_path: Path
) -> None:
    """The driver cannot live without its Ray; the same command goes on with the new one."""
    settings = config()
    with fault("head killed and started again") as entry:
        driver = Driver(settings, tmp_path)
        driver.wait_for(lambda: driver.running("source"))
        cluster.head.kill()
        code = driver.end()
        assert code not in (0, 2, None), driver.log.read_text()
        undisturbed.check_part(str(tmp_path / "store"))
        cluster.start_head(cpus=1)
        second = Driver(settings, tmp_path / "second").join(0)
        entry.lost = driver.seconds + second - undisturbed.seconds
        undisturbed.check(settings)


@pytest.mark.long
@pytest.mark.parametrize("title", ["round 1 annotation", "final test annotation"])
def test_an_annotator_is_out_of_memory(
    node: Node, config: Config, undisturbed: Reference, tmp_path: Path, title: str
) -> None:
    """The kernel kills the process without a word, as it does when memory ends."""
    settings = config(annotators=2)
    with fault(f"annotator killed as out of memory, in `{title}`") as entry:
        driver = Driver(settings, tmp_path)
        driver.wait_for(lambda: driver.running(title) and node.processes(ANNOTATOR))
        (first, *_) = node.processes(ANNOTATOR)
        os.kill(first, signal.SIGKILL)
        entry.lost = driver.join(0) - undisturbed.seconds
        undisturbed.check(settings)
