"""Tables of a terminal: whatever its width, every number and every name can be read."""

import io
import re

import pytest
from rich.console import Console

from xlt_ray.report.wide_table import WideTable

NAMES = ("cltp", "conlst, no self-training at all", "sl_leu", "a-very-long-name-without-any-blank")
COLUMNS = ("method", *(f"l{n:02}" for n in range(14)), "average of 14 targets", "wall time")
ROWS = [
    (name, *(f"{10 * row + n}.{n:02}" for n in range(14)), "68.23", "1 h 03 min 12 s")
    for row, name in enumerate(NAMES)
]


def shown(table: WideTable, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 300])
def test_nothing_is_cut(width: int) -> None:
    text = shown(WideTable("a title", COLUMNS, ROWS, last=ROWS[0]), width)
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= width
    for row in ROWS:
        for cell in row[1:]:
            assert cell in text
    letters = re.sub(r"[^\w-]", "", text)
    for name in NAMES:
        assert all(part in letters for part in re.findall(r"[\w-]{1,9}", name)), name
    assert text.count("a title") == 1


def test_what_fits_is_one_table_and_what_does_not_repeats_the_names() -> None:
    table = WideTable("", COLUMNS, ROWS)
    assert len(table.parts(300)) == 1
    parts = [columns for columns, _ in table.parts(80)]
    assert len(parts) > 1
    assert all(columns[0] == 0 for columns in parts)
    assert [x for columns in parts for x in columns if x] == list(range(1, len(COLUMNS)))


def test_tables_may_have_no_rows_or_no_numbers() -> None:
    assert "method" in shown(WideTable("", ("method", "x"), []), 80)
    assert "b" in shown(WideTable("", ("a",), [("b",)]), 80)
    assert "b" in shown(WideTable("", ("a",), [("b",)], left=0), 80)
