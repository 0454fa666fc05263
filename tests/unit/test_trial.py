"""Trials of a sweep: two with the same parameters take turns."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from xlt_ray.commands import trial
from xlt_ray.run.check import configure_run
from xlt_ray.store.lease import LeaseHeldError

CONFIG = configure_run(
    {"benchmark": {"name": "toy"}, "backbone": "toy", "method": {"name": "cltp"}}
)


def test_a_trial_waits_for_its_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    twin, asked = 2, []

    @contextmanager
    def session(config: Any) -> Iterator[str]:
        asked.append(config)
        if len(asked) <= twin:
            raise LeaseHeldError("another driver is at work on this run")
        yield "begun"

    monkeypatch.setattr(trial, "open_run", session)
    monkeypatch.setattr(trial, "_TURN_SECONDS", 0.0)
    with trial._in_turn(CONFIG) as begun:
        assert begun == "begun"
    assert asked == [CONFIG] * 3


def test_a_lease_lost_at_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def session(config: Any) -> Iterator[str]:
        yield "begun"

    monkeypatch.setattr(trial, "open_run", session)
    with pytest.raises(LeaseHeldError, match="took over"), trial._in_turn(CONFIG):
        raise LeaseHeldError("another driver took over the run")
