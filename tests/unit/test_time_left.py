"""How long a run is told to take."""

from pathlib import Path

import pytest

from tests.unit.test_plan import PLAN, toy
from xlt_ray.run.time_left import TimeLeft, planned_work
from xlt_ray.store.artifacts import Store

SOURCE, ROUND, READ = ("source", "model"), ("round 1", "model"), ("round 1", "annotation")
WORK = {SOURCE: 600.0, READ: 200.0, ROUND: 400.0}


def test_rows_to_come_take_as_long_as_those_that_were() -> None:
    left = TimeLeft(lambda: WORK)
    assert left.after(SOURCE, 10.0, 50.0) == pytest.approx(50 + 600 * 60 / 600)
    left.finished(SOURCE, 120.0)
    left.plan = lambda: {READ: 200.0, ROUND: 1000.0}  # more was selected than was assumed
    assert left.after(READ, 10.0, 30.0) == pytest.approx(30 + 1000 * 160 / 800)
    left.finished(READ, 40.0)
    left.plan = lambda: {ROUND: 1000.0}
    assert left.after(ROUND, 5.0, 45.0) == 45


def test_trainings_side_by_side() -> None:
    assert TimeLeft(lambda: WORK, at_a_time=2).after(SOURCE, 0.0, 60.0) == pytest.approx(60 + 30)


def test_each_step_asks_for_the_plan_once() -> None:
    asked = list[int]()

    def plan() -> dict[tuple[str, str], float]:
        asked.append(1)
        return WORK

    left = TimeLeft(plan)
    for _ in range(3):
        left.after(SOURCE, 1.0, 1.0)
        left.after(READ, 1.0, 1.0)
    assert len(asked) == 2


def test_nothing_is_told_without_a_plan() -> None:
    def broken() -> dict[tuple[str, str], float]:
        raise ValueError("a file is gone")

    assert TimeLeft(broken).after(SOURCE, 1.0, 1.0) is None
    assert TimeLeft(lambda: WORK).after(("other", "model"), 1.0, 1.0) is None
    left = TimeLeft(lambda: WORK)
    left.finished(SOURCE, 1.0)  # too short to have said how far it is
    assert left.after(READ, 2.0, 2.0) == pytest.approx(2 + 1000 * 4 / 200)


def test_the_plan_of_a_run(tmp_path: Path) -> None:
    config = toy(tmp_path)
    work = planned_work(config, Store(config.store.root), PLAN, reads=True)
    assert {title for title, kind in work if kind == "model"} == {
        "source", "round 1", "round 2", "final",
    }  # fmt: skip
    assert all(rows > 0 for rows in work.values())
    assert not planned_work(config, Store(config.store.root), PLAN), "files are left alone"
