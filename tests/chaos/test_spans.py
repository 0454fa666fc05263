"""MARAL, killed in the middle of an epoch: class means, pseudo-labels and neighbours go on."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.book import fault
from tests.chaos.conftest import Values
from tests.chaos.drivers import Disturbance, Driver, Reference
from tests.world import TARGETS, jsonl
from xlt_ray.engine.train.checkpoints import Checkpoints

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

STEPS = [45, 7]
"""Steps of the student after which a driver is killed, counted from where it begins: 10 steps make
an epoch, so the first is in the middle of the fifth, and the second goes on from there."""
NEEDED = {
    "memory.p", "memory.y", "memory.reliable", "memory.score", "memory.score_mean",
    "memory.near_mean", "memory.z", "memory.ids", "memory.stored.z_SQ", "memory.stored.label_S",
    "memory.stored.place_N", "next_mean", "next_count", "pi_t", "epoch", "epoch_labels",
}  # fmt: skip


def of(values: dict[str, Any]) -> dict[str, Any]:
    """The run with one target and MARAL in place of self-training."""
    values["benchmark"] |= {"targets": [TARGETS[1]]}
    values["method"] = {
        "name": "maral", "source_lr": 4e-3, "source_epochs": 1, "q": 8, "k": 20,
        "lr": 1e-3, "epochs": 6, "w_mlm": 0.01,
    }  # fmt: skip
    return values


@pytest.mark.long
def test_killed_in_the_fifth_epoch(address: str, values: Values, tmp_path: Path) -> None:
    config = of(values(tmp_path / "whole", address))
    config["train"]["checkpoint_seconds"] = 0
    reference = Reference.of(config, tmp_path)
    ledger = [entry["title"] for entry in jsonl(tmp_path / "whole/runs/test/ledger.jsonl")]
    before = ledger.index(f"{TARGETS[1]} student")
    config = {**config, "store": {"root": str(tmp_path / "store")}}
    seconds = 0.0
    with fault("driver killed in the fifth epoch of MARAL", times=3) as entry:
        at = Disturbance("step.committed", before, signal.SIGKILL)
        seconds += Driver(config, tmp_path, at).join(-signal.SIGKILL)
        steps = [0]
        for count in STEPS:
            at = Disturbance("checkpoint.complete", count, signal.SIGKILL)
            seconds += Driver(config, tmp_path, at).join(-signal.SIGKILL)
            begun = Driver.events_of(config)[-1]
            assert (begun["event"], begun["title"]) == ("started", f"{TARGETS[1]} student")
            kept = Checkpoints(config["store"]["root"], begun["fingerprint"])
            steps.append(kept.steps()[-1])
            there = set(kept.load_part(steps[-1], "worker-0"))
            assert {f"objective.{name}" for name in NEEDED} <= there
            assert {"classes.mean", "classes.count"} <= set(kept.load_part(steps[-1], "model"))
            place = kept.meta(steps[-1])
            assert (place["epoch"], place["step_in_epoch"] > 0) in [(4, True), (5, True)]
        assert steps == sorted(set(steps)), "each session goes on from where the last one was"
        seconds += Driver(config, tmp_path).join(0)
        entry.lost = seconds - reference.seconds
        reference.check(config)
