"""The worked examples, and what their report says about wrong, unknown and malformed ones."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import formulas

EXAMPLES = Path(__file__).parents[1] / "data" / "examples.json"
READ = formulas.read(EXAMPLES)

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(cases: list[dict[str, Any]], **listed: dict[str, Any]) -> Path:
        path = tmp_path / "examples.json"
        listed = listed or {case["id"]: {} for case in cases}
        path.write_text(json.dumps({"formulas": listed, "cases": {"group": cases}}))
        return path

    return write_file


def dirichlet_case(**changes: float) -> dict[str, Any]:
    expected = {"S": 4.0, "vacuity": 0.5} | changes
    return {
        "id": "cltp.dirichlet",
        "case": 0,
        "input": {"evidence": [2.0, 0.0]},
        "expected": expected,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(formulas.EVALUATE))
def test_examples(name: str) -> None:
    cases = READ.cases[name]
    assert cases
    for case in cases:
        evaluate = formulas.EVALUATE[name]
        assert formulas.check(case, evaluate, rtol=READ.rtol[name]) is None


@pytest.mark.parametrize("method", ["cltp", "lvm", "conlst", "iwda", "maral", "base"])
def test_every_example_is_evaluated(method: str) -> None:
    listed = {name for name in READ.cases if name.startswith(f"{method}.")}
    assert listed
    assert listed <= formulas.EVALUATE.keys()


def test_the_report_counts_ids(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    unknown = {"id": "none.such", "case": 0, "input": {}, "expected": {}}
    path = write([dirichlet_case(), unknown, dirichlet_case()])
    assert formulas.main([str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cltp.dirichlet ok 2/2",
        "none.such not implemented",
        "1 passed, 0 failed, 1 not implemented",
    ]


def test_a_wrong_expectation_fails(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write([dirichlet_case(), dirichlet_case(S=4.0000001)])
    assert formulas.main([str(path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "cltp.dirichlet FAILED 1/2 case 0: S got 4.0 want 4.0000001",
        "0 passed, 1 failed, 0 not implemented",
    ]


def test_a_key_nobody_evaluates_fails(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert formulas.main([str(write([dirichlet_case(kurtosis=1.0)]))]) == 1
    assert "kurtosis is not evaluated, want 1.0" in capsys.readouterr().out


def test_an_input_that_cannot_be_evaluated_fails(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert formulas.main([str(write([dirichlet_case() | {"input": {}}]))]) == 1
    assert "case 0: raised KeyError: 'evidence'" in capsys.readouterr().out


def test_an_id_without_cases_is_named(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    listed: dict[str, dict[str, Any]] = {"cltp.evidence": {}}
    assert formulas.main([str(write([], **listed))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cltp.evidence no cases",
        "0 passed, 0 failed, 0 not implemented",
    ]


def test_a_formula_may_set_its_own_tolerance(write: Write) -> None:
    listed: dict[str, dict[str, Any]] = {"cltp.dirichlet": {"rtol": 1e-6}}
    assert formulas.main([str(write([dirichlet_case(S=4.0000001)], **listed))]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        ("[]", "not in the format"),
        ('{"formulas": {}}', "key 'cases' is missing"),
        ('{"formulas": {}, "cases": {"a": [{"id": "x"}]}}', "key 'case' is missing"),
        ('{"formulas": {"x": {"rtol": "big"}}, "cases": {}}', "not in the format"),
        ('{"formulas": {}, "cases": {"a": [3]}}', "not in the format"),
    ],
)
def test_a_malformed_file_is_explained(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "examples.json"
    path.write_text(text)
    assert formulas.main([str(path)]) == 2
    assert re.match(f"{re.escape(str(path))}: .*{message}", capsys.readouterr().err)


def test_a_missing_file_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert formulas.main([str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("got", "want", "same"),
    [
        (1.0, 1, True),
        (1, 1.0, True),
        (1, 2, False),
        (True, 1, False),
        (1, True, False),
        (True, True, True),
        (1e-12, 0.0, True),
        (1e-10, 0.0, False),
        (float("nan"), 0.0, False),
        (1 + 1e-10, 1.0, True),
        ("a", "a", True),
        (None, None, True),
        (None, 0.0, False),
        ((1, 2), [1, 2], True),
        ([1], [1, 2], False),
        ({0: [1]}, {"0": [1]}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ([], {}, False),
        (torch.tensor([1.0, 2.0]), [1.0, 2.0], True),
        (torch.tensor(3), 3, True),
    ],
)
def test_comparison(got: Any, want: Any, same: bool) -> None:
    assert (formulas.mismatch({"value": got}, {"value": want}, rtol=1e-9) is None) == same
