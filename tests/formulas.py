"""Worked numeric examples, evaluated by the project's own functions.

``python -m tests.formulas FILE.json`` prints one line per formula and a count, and exits with 1 if
an expected number is missed and with 2 if the file cannot be read. `EVALUATE` maps the id of a
formula to an adapter from a case's input to a dict with at least the keys of its expected output.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tests.adapters.baselines import BASELINES
from tests.adapters.cltp import CLTP
from tests.adapters.conlst import CONLST
from tests.adapters.iwda import IWDA
from tests.adapters.lvm import LVM
from tests.adapters.maral import MARAL
from tests.adapters.types import Evaluate, Json

ATOL = 1e-11
RTOL = 1e-9


@dataclass(frozen=True)
class Case:
    id: str
    number: int
    input: dict[str, Json]
    expected: dict[str, Json]


@dataclass(frozen=True)
class Examples:
    """The ids a file lists, in its order, with the relative tolerance and the cases of each."""

    rtol: dict[str, float]
    cases: dict[str, list[Case]]


def read(path: Path) -> Examples:
    """Parse a file of examples; raises ValueError naming what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        formulas, groups = content["formulas"], content["cases"]
        rtol = {name: float(formula.get("rtol", RTOL)) for name, formula in formulas.items()}
        cases: dict[str, list[Case]] = {name: [] for name in rtol}
        for entry in (entry for group in groups.values() for entry in group):
            case = Case(entry["id"], entry["case"], dict(entry["input"]), dict(entry["expected"]))
            cases.setdefault(case.id, []).append(case)
    except KeyError as error:
        raise ValueError(f"{path}: the key {error} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not in the format of the examples: {error}") from error
    return Examples(rtol, cases)


def mismatch(got: Any, want: Json, *, rtol: float, where: str = "") -> str | None:
    """First difference of ``got`` from ``want``, or None. Numbers with a fraction get a tolerance.

    Of the outermost dict only the expected keys count; every other container must match in full.
    """
    got = got.tolist() if isinstance(got, Tensor | np.ndarray | np.generic) else got
    if isinstance(want, dict):
        keys = {str(key): value for key, value in got.items()} if isinstance(got, dict) else {}
        if not isinstance(got, dict) or (where and keys.keys() != want.keys()):
            return f"{where or 'output'} got {got!r} want {want!r}"
        for key, value in want.items():
            name = f"{where}.{key}" if where else key
            if key not in keys:
                return f"{name} is not evaluated, want {value!r}"
            if found := mismatch(keys[key], value, rtol=rtol, where=name):
                return found
        return None
    if isinstance(want, list):
        if not isinstance(got, list | tuple) or len(got) != len(want):
            return f"{where} got {got!r} want {want!r}"
        differences = (
            mismatch(one, other, rtol=rtol, where=f"{where}[{position}]")
            for position, (one, other) in enumerate(zip(got, want, strict=True))
        )
        return next(filter(None, differences), None)
    return None if _equal(got, want, rtol) else f"{where} got {got!r} want {want!r}"


def _equal(got: Any, want: Json, rtol: float) -> bool:
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in (got, want)
    )
    if not numbers or (isinstance(got, int) and isinstance(want, int)):
        return type(got) is type(want) and got == want
    return got == want or abs(got - want) <= ATOL + rtol * abs(want)


def check(case: Case, evaluate: Evaluate, *, rtol: float) -> str | None:
    """What is wrong with the evaluation of a case, or None."""
    try:
        got = evaluate(case.input)
    except Exception as error:  # an adapter that breaks is a failed case, not the end of the report
        return f"case {case.number}: raised {type(error).__name__}: {error}"
    found = mismatch(got, case.expected, rtol=rtol)
    return found and f"case {case.number}: {found}"


def report(examples: Examples, evaluators: dict[str, Evaluate]) -> tuple[list[str], int]:
    """Lines of the report and the number of failed ids; an id without cases counts nowhere."""
    lines: list[str] = []
    passed = failed = missing = 0
    for name, cases in examples.cases.items():
        if not cases:
            lines.append(f"{name} no cases")
        elif name not in evaluators:
            lines.append(f"{name} not implemented")
            missing += 1
        else:
            rtol = examples.rtol.get(name, RTOL)
            found = [check(case, evaluators[name], rtol=rtol) for case in cases]
            wrong = [text for text in found if text is not None]
            counts = f"{len(cases) - len(wrong)}/{len(cases)}"
            lines.append(f"{name} FAILED {counts} {wrong[0]}" if wrong else f"{name} ok {counts}")
            failed += bool(wrong)
            passed += not wrong
    lines.append(f"{passed} passed, {failed} failed, {missing} not implemented")
    return lines, failed


EVALUATE: dict[str, Evaluate] = {**CLTP, **BASELINES, **LVM, **CONLST, **IWDA, **MARAL}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.formulas", description=__doc__)
    parser.add_argument("file", type=Path, help="examples in the format of tests/data")
    path = parser.parse_args(argv).file
    try:
        examples = read(path)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    lines, failed = report(examples, EVALUATE)
    print("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
