"""IWDA, killed in its adversarial stage: critic, weights and both optimisers go on as they were."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.book import fault
from tests.chaos.conftest import Values
from tests.chaos.drivers import Disturbance, Driver, Reference
from tests.world import TARGETS, jsonl
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.store.fault_points import Point

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

INSIDE: list[tuple[Point, int]] = [
    ("checkpoint.complete", 2), ("checkpoint.written", 2), ("checkpoint.complete", 3)
]  # fmt: skip
"""The point at which a driver is killed, and at which time it comes by there."""
NEEDED = {
    "model": {"own.critic.first.weight", "own.w", "own.C", "own.t"},
    "worker-0": {"objective.moved", "objective.optimiser.exp_avg", "objective.optimiser.step"},
}
"""What has to be in a checkpoint, besides the moments of model and critic."""


def of(values: dict[str, Any]) -> dict[str, Any]:
    """The run with one target and alignment in place of self-training."""
    values["benchmark"] |= {"targets": [TARGETS[1]]}
    values["method"] = {
        "name": "iwda", "source_lr": 4e-3, "source_epochs": 1,
        "lr": 1e-3, "epochs": 3, "critic_hidden": 64,
    }  # fmt: skip
    return values


@pytest.mark.long
def test_killed_while_critic_and_encoder_play(address: str, values: Values, tmp_path: Path) -> None:
    config = of(values(tmp_path / "whole", address))
    config["train"]["checkpoint_seconds"] = 0
    reference = Reference.of(config, tmp_path)
    ledger = [entry["title"] for entry in jsonl(tmp_path / "whole/runs/test/ledger.jsonl")]
    begin = f"{TARGETS[1]} initial weights"
    config = {**config, "store": {"root": str(tmp_path / "store")}}
    seconds = 0.0
    with fault("driver killed in the adversarial stage of IWDA", times=4) as entry:
        at = Disturbance("step.committed", ledger.index(begin) + 1, signal.SIGKILL)
        seconds += Driver(config, tmp_path, at).join(-signal.SIGKILL)
        steps = [0]
        for point, count in INSIDE:
            at = Disturbance(point, count, signal.SIGKILL)
            seconds += Driver(config, tmp_path, at).join(-signal.SIGKILL)
            begun = Driver.events_of(config)[-1]
            assert begun["event"] == "started"
            assert begun["title"] == TARGETS[1]
            kept = Checkpoints(config["store"]["root"], begun["fingerprint"])
            steps.append(kept.steps()[-1])
            for part, names in NEEDED.items():
                assert names <= set(kept.load_part(steps[-1], part))
        assert steps == sorted(set(steps)), "each session goes on from where the last one was"
        seconds += Driver(config, tmp_path).join(0)
        entry.lost = seconds - reference.seconds
        reference.check(config)
