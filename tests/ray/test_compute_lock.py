"""One computation of a step in a cluster."""

import threading
import time

import pytest
import ray
from ray.exceptions import ActorUnavailableError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from xlt_ray.engine import compute_lock as gate

pytestmark = pytest.mark.ray


@pytest.mark.parametrize("own", [False, True])
def test_one_at_a_time_and_all_in_the_end(
    ray_cluster: str, monkeypatch: pytest.MonkeyPatch, own: bool
):
    """Of the cluster's drivers, or of the threads of one that has a Ray of its own."""
    monkeypatch.setattr(gate, "is_own", lambda: own)
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with gate.right_to("step/abc"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.3)
            inside.remove(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


@pytest.mark.parametrize("own", [False, True])
def test_a_run_does_not_wait_for_itself(
    ray_cluster: str, monkeypatch: pytest.MonkeyPatch, own: bool
):
    """Its driver was killed with the right in its hands, and is started again."""
    monkeypatch.setattr(gate, "is_own", lambda: own)
    with gate.right_to("step/run", owner="run"):
        began = time.monotonic()
        with gate.right_to("step/run", owner="run"):
            assert time.monotonic() - began < 5


def test_other_steps_do_not_wait(ray_cluster: str):
    with gate.right_to("step/one"):
        began = time.monotonic()
        with gate.right_to("step/two"):
            assert time.monotonic() - began < 5


def test_right_outlives_its_actor(ray_cluster: str, monkeypatch: pytest.MonkeyPatch):
    """A renewal fails; the actor restarts and has forgotten all; the next renewal reminds it."""
    get, failed = ray.get, threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise ActorUnavailableError("restarting", None)

    monkeypatch.setattr(gate, "SECONDS", 0.4)
    with gate.right_to("step/kept"):
        with monkeypatch.context() as patch:
            patch.setattr(gate.ray, "get", fail)
            assert failed.wait(10)
        actor = gate._actor()
        ray.kill(actor, no_restart=False)
        time.sleep(3)
        assert not get(actor.acquire.remote("step/kept", "somebody"))
    assert get(actor.acquire.remote("step/kept", "somebody"))
    get(actor.release.remote("step/kept", "somebody"))


def test_right_passes_on_when_its_holder_died(monkeypatch: pytest.MonkeyPatch):
    rights = gate.Rights()
    now = [100.0]
    monkeypatch.setattr(gate.time, "monotonic", lambda: now[0])
    assert rights.acquire("step", "first")
    assert not rights.acquire("step", "second")
    now[0] += gate.SECONDS / 2
    assert rights.acquire("step", "first")
    now[0] += gate.SECONDS + 1
    assert rights.acquire("step", "second")
    rights.release("step", "first")
    assert not rights.acquire("step", "first")
    rights.release("step", "second")
    assert rights.acquire("step", "first")


def test_a_trial_of_a_sweep_may_be_the_first_to_ask(ray_cluster: str):
    """In a placement group that takes in what is started in it, and has no room for the gate."""
    ray.kill(gate._actor())
    group = placement_group([{"CPU": 0.5}])
    inside = PlacementGroupSchedulingStrategy(group, placement_group_capture_child_tasks=True)

    @ray.remote(num_cpus=0.5, scheduling_strategy=inside)
    def trial() -> str:
        with gate.right_to("step/trial"):
            return "computed"

    try:
        assert ray.get(trial.remote(), timeout=60) == "computed"
    finally:
        remove_placement_group(group)
