"""The report as data."""

import json

import pytest

from tests.reports import example
from xlt_ray.report.record import Report, RoundReport, StepReport


def test_averages_leave_the_source_out() -> None:
    """Zero-shot: (0.5 + 0.25) / 2. Final: (0.75 + 1/3) / 2."""
    report = example()
    assert report.counted == ["nl", "de"]
    assert report.languages == ["nl", "de", "en"]
    assert report.zero_shot_average == 0.375
    assert report.average == (0.75 + 1 / 3) / 2


def test_without_other_targets_there_is_no_average() -> None:
    report = example(targets=["en"])
    assert report.zero_shot_average is None
    assert report.average is None


def test_keys_are_the_public_ones() -> None:
    assert set(example().to_json()) == {
        *("run", "method", "benchmark", "metric", "source", "targets", "zero_shot", "final"),
        *("zero_shot_average", "average", "rounds", "steps", "config", "versions", "notes"),
        "mechanisms",
        "made_by",
        "by_class",
        "target_dev",
        "labellers",
        "few",
    }
    first = example().to_json()["rounds"][0]
    assert first == {
        "round": 1,
        "selected": {"nl": 12, "de": 8},
        "set_sizes": {"1": 20},
        "source_dev": 0.875,
    }
    scored = RoundReport(1, {}, {}, None, {"nl": {"f1": 0.5, "support": 40}})
    assert scored.to_json()["scores"] == {"nl": {"f1": 0.5, "support": 40}}


def test_json_round_trip_is_exact() -> None:
    report = example()
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report


def test_step_of_a_ledger_entry() -> None:
    entry = {
        **{"title": "t", "kind": "model", "fingerprint": "f", "seconds": 1.0, "cached": False},
        **{"step": 1, "inputs": [], "info": {}},
    }
    assert StepReport.of(entry) == StepReport("t", "model", "f", 1.0, False)
    with pytest.raises(KeyError):
        StepReport.of({})
