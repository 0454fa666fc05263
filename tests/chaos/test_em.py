"""LVM, killed inside its E-steps and M-steps: what goes on is the same training."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.book import fault
from tests.chaos.conftest import Values
from tests.chaos.drivers import Disturbance, Driver, Reference
from tests.world import SOURCE, TARGETS, jsonl
from xlt_ray.store.fault_points import Point

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

INSIDE: list[tuple[str, Point, int]] = [
    ("E-step 1", "attempt.opened", 1),
    ("M-step 1", "checkpoint.complete", 2),
    ("E-step 2", "attempt.opened", 2),
    ("M-step 2", "checkpoint.written", 2),
]
"""What a driver is at when it is killed, the point, and at which time it comes by there."""


def of(values: dict[str, Any]) -> dict[str, Any]:
    """The run with two sources and EM in place of self-training."""
    values["benchmark"] |= {"source": [SOURCE, TARGETS[0]], "targets": [TARGETS[1]]}
    values["method"] = {
        "name": "lvm", "source_lr": 4e-3, "source_epochs": 1,
        "lr": 2e-3, "matrix_lr": 1e-2, "epochs": 2, "tol": 0.0,
    }  # fmt: skip
    return values


@pytest.mark.long
def test_killed_inside_em(address: str, values: Values, tmp_path: Path) -> None:
    reference = Reference.of(of(values(tmp_path / "whole", address)), tmp_path)
    ledger = [entry["title"] for entry in jsonl(tmp_path / "whole/runs/test/ledger.jsonl")]
    begin = f"{TARGETS[1]} start"
    config, seconds = of(values(tmp_path / "store", address)), 0.0
    with fault("driver killed inside E-steps and M-steps of LVM", times=5) as entry:
        at = Disturbance("step.committed", ledger.index(begin) + 1, signal.SIGKILL)
        seconds += Driver(config, tmp_path, at).join(-signal.SIGKILL)
        assert Driver.events_of(config)[-1]["title"] == begin
        for title, point, count in INSIDE:
            at = Disturbance(point, count, signal.SIGKILL)
            seconds += Driver(config, tmp_path, at).join(-signal.SIGKILL)
            begun = Driver.events_of(config)[-1]
            assert begun["event"] == "started"
            assert title in begun["title"]
            reference.check_part(config["store"]["root"])
        seconds += Driver(config, tmp_path).join(0)
        entry.lost = seconds - reference.seconds
        reference.check(config)
