"""What a run tells of the parts of its method, and where it is shown."""

import io
import json
import math
from dataclasses import replace

import pytest
from rich.console import Console

from tests.unit.test_page import run as report_of
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.report import Report
from xlt_ray.report.page import run_page
from xlt_ray.report.tables import markdown, terminal_table

IDLE = Mechanism("stage 2, share of texts kept", {"de": 1.0, "nl": 0.4567}, "all [red] were kept")
BUSY = Mechanism("sets", {"round 1": 1234.0, "round 2": math.nan})


def test_a_line_has_the_figures() -> None:
    assert IDLE.line == "stage 2, share of texts kept: de 1, nl 0.457"
    assert BUSY.line == "sets: round 1 1,234, round 2 -"
    assert Mechanism("sets").line == "sets: nothing was measured"


@pytest.mark.parametrize("item", [IDLE, BUSY])
def test_it_is_json_and_back(item: Mechanism) -> None:
    again = Mechanism.from_json(json.loads(json.dumps(item.to_json(), allow_nan=False)))
    assert (again.part, again.warning, again.line) == (item.part, item.warning, item.line)


def test_a_report_shows_it_everywhere() -> None:
    report = replace(report_of(), mechanisms=[IDLE, BUSY])
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert [item.line for item in again.mechanisms] == [IDLE.line, BUSY.line]
    screen = io.StringIO()
    Console(file=screen, width=200).print(terminal_table(again))
    for text in (markdown(again), screen.getvalue(), run_page(again, [], [])):
        assert IDLE.line in text
        assert BUSY.line in text
        assert "all [red] were kept" in text


def test_a_report_of_before_has_none() -> None:
    record = report_of().to_json()
    del record["mechanisms"]
    assert list(Report.from_json(record).mechanisms) == []
