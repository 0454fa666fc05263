"""The files of a report."""

import json
from dataclasses import replace

import pytest

from tests.reports import example
from xlt_ray.report.record import Report
from xlt_ray.report.write import json_bytes, write_report


def written(report: Report) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    write_report(report, files.__setitem__)
    return files


def test_both_files_json_last() -> None:
    files = written(example())
    assert list(files) == ["report.md", "report.json"]
    assert all(data.endswith(b"\n") and not data.endswith(b"\n\n") for data in files.values())


def test_json_keeps_full_precision_and_sorted_keys() -> None:
    data = json_bytes(example())
    record = json.loads(data)
    assert record["final"]["de"]["f1"] == 1 / 3
    assert b"0.3333333333333333" in data
    assert list(record) == sorted(record)
    assert data.startswith(b'{\n "average": ')


def test_repeated_run_differs_in_times_and_memory_only() -> None:
    report = example()
    changed = [replace(s, cached=True, seconds=9.9, driver_mb=9.0) for s in report.steps]
    again = replace(report, steps=changed)
    first, second = json.loads(json_bytes(report)), json.loads(json_bytes(again))
    for record in (first, second):
        for step in record["steps"]:
            del step["seconds"], step["driver_mb"], step["cached"]
    assert first == second
    assert written(report) == written(Report.from_json(json.loads(json_bytes(report))))


def test_no_such_thing_as_a_score_of_nan() -> None:
    broken = example(final={"nl": {"f1": float("nan")}, "de": {"f1": 0.0}})
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes(broken)
