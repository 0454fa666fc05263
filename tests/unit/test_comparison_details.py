"""Rounds, settings and idle parts behind the averages of a comparison."""

from dataclasses import replace
from typing import Any

from tests.reports import example
from tests.unit.test_report_compare import comparison, trial
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.report.compare import markdown
from xlt_ray.report.comparison import Comparison, ComparisonRow, ScoredRun
from xlt_ray.report.comparison_details import at_work_lines, course_grid, settings_grid
from xlt_ray.report.page import comparison_page
from xlt_ray.report.record import RoundReport


def round_of(number: int, nl: float, de: float) -> RoundReport:
    scores = {"en": {"f1": 0.9}, "nl": {"f1": nl}, "de": {"f1": de}}
    return RoundReport(number, {"nl": 1}, {"1": 1}, 0.5, scores)


def with_method(run: ScoredRun, **method: Any) -> ScoredRun:
    config = {**run.report.config, "method": {"name": "x", **method}}
    return replace(run, report=replace(run.report, config=config))


def of_rows(*rows: ComparisonRow) -> Comparison:
    return comparison(rows=list(rows))


def test_the_course_of_a_row_is_the_mean_of_its_seeds() -> None:
    """Averages of the rounds: 0.25, 0.75 and 1 with seed 0, 0.5 and 0.25 with seed 1, of which the
    means are 0.375 and 0.5; a round that one seed did not reach has none."""
    long = [round_of(1, 0.25, 0.25), round_of(2, 0.5, 1.0), round_of(3, 1.0, 1.0)]
    short = [round_of(1, 0.5, 0.5), round_of(2, 0.25, 0.25)]
    both = ComparisonRow("a", [trial(0, 0.5, 0.5, rounds=long), trial(1, 0.5, 0.5, rounds=short)])
    one = ComparisonRow("b", [trial(s, 0.75, 0.5, rounds=long[:1]) for s in (0, 1)])
    none = ComparisonRow("c", [trial(s, 0.5, 0.5, rounds=[]) for s in (0, 1)])
    grid = course_grid(of_rows(both, one, none))
    assert grid is not None
    assert grid.columns == [
        "method", "zero-shot", "1", "2", "3", "last round", "mean of rounds", "chosen"
    ]  # fmt: skip
    assert grid.rows == [
        ["a", "37.50", "37.50", "50.00", "-", "62.50", "43.75", "50.00"],
        ["b", "37.50", "25.00", "-", "-", "25.00", "25.00", "62.50"],
        ["c", "37.50", "-", "-", "-", "-", "-", "50.00"],
    ]


def test_without_scored_rounds_there_is_no_course() -> None:
    assert course_grid(comparison()) is None
    assert example().course == []
    assert example().last_round_average is None


def test_settings_that_differ_are_listed() -> None:
    rows = [
        ComparisonRow(
            "a", [with_method(trial(0, 0.5, 0.5), lr=1e-5, rounds=5, a=1, deep={"x": 1})]
        ),
        ComparisonRow("b", [with_method(trial(0, 0.5, 0.5), lr=2e-5, rounds=5, deep={"x": None})]),
        ComparisonRow("c", [with_method(trial(0, 0.5, 0.5), rounds=5, fast=True)]),
    ]
    grid = settings_grid(of_rows(*rows))
    assert grid is not None
    assert grid.columns == ["method", "lr", "deep.x"]
    assert grid.rows == [["a", "1e-05", "1"], ["b", "2e-05", "none"], ["c", "-", "-"]]
    assert settings_grid(of_rows(rows[0])) is None


def test_parts_that_were_not_at_work_are_listed_by_row() -> None:
    idle, busy = Mechanism("sets", {}, "there are none"), Mechanism("ranking", {"round 1": 0.5})
    trials = [trial(s, 0.5, 0.5, mechanisms=[idle, busy]) for s in (0, 1)]
    plain = [trial(s, 0.5, 0.5) for s in (0, 1)]
    found = of_rows(ComparisonRow("a", trials), ComparisonRow("b", plain))
    assert at_work_lines(found) == ["a, sets: there are none (seed 0, 1)"]
    for page in (markdown(found), comparison_page(found)):
        assert "a, sets: there are none (seed 0, 1)" in page


def test_pages_have_the_rounds_and_the_settings() -> None:
    rounds = [round_of(1, 0.5, 0.5)]
    rows = [
        ComparisonRow("a", [with_method(trial(0, 0.5, 0.5, rounds=rounds), lr=1)]),
        ComparisonRow("b", [with_method(trial(0, 0.5, 0.5, rounds=rounds), lr=2)]),
    ]
    for page in (markdown(of_rows(*rows)), comparison_page(of_rows(*rows))):
        for title in ("Round by round", "mean of rounds", "Where the rows differ"):
            assert title in page
