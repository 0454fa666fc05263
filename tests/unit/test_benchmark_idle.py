"""Seconds in which workers of a cluster are up, and those in which somebody holds them."""

import pytest

from benchmarks.idle import Idle, idle_of, page
from xlt_ray.engine.nodes import Change, Nodes


def change(second: float, workers: int, busy: int) -> Change:
    return Change(second, Nodes(workers, busy, 0, 0))


def test_idle_time_is_what_workers_are_up_without_being_held() -> None:
    """Up for 4 s alone, 6 s as two, 5 s alone again; held for 2 s by one, 6 s both. What changes
    after the end counts no more."""
    changes = [change(0, 0, 0), change(10, 1, 0), change(12, 1, 1), change(14, 2, 2),
               change(20, 1, 0), change(30, 0, 0)]  # fmt: skip
    found = idle_of(changes, 25.0)
    assert found == Idle(25.0, up=21.0, busy=14.0)
    assert found.share == pytest.approx(1 / 3)


def test_without_workers_nothing_is_idle() -> None:
    assert idle_of([change(0, 0, 0)], 9.0) == Idle(9.0, 0.0, 0.0)
    assert Idle(9.0, 0.0, 0.0).share == 0


def test_the_table_has_medians() -> None:
    turns = [Idle(10, 8, 4), Idle(12, 8, 6), Idle(11, 8, 2)]
    assert page({"so": turns}).splitlines()[-1] == "| so | 11.0 | 8.0 | 4.0 | 50% |"
