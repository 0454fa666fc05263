"""The report for readers."""

import io

import yaml
from rich.console import Console

from tests.reports import example
from xlt_ray.report.record import RoundReport
from xlt_ray.report.tables import markdown, markdown_table, percent, result_rows, terminal_table


def test_result_rows() -> None:
    """Scores times 100; the difference is taken before rounding: 33.333 - 25 = 8.333."""
    rows, average = result_rows(example())
    assert rows == [
        ("nl", "40", "50.00", "75.00", "+25.00"),
        ("de", "30", "25.00", "33.33", "+8.33"),
        ("en (source)", "50", "90.00", "87.50", "-2.50"),
    ]
    assert average == ("average of 2 targets", "", "37.50", "54.17", "+16.67")


def test_result_rows_with_gaps() -> None:
    rows, average = result_rows(example(targets=["en"], zero_shot={}))
    assert rows[0] == ("en (source)", "50", "-", "87.50", "-")
    assert average == ("average of 0 targets", "", "-", "-", "-")
    assert percent(None) == "-"


def test_terminal_table() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(terminal_table(example()))
    text = out.getvalue()
    assert "cltp on toy: entity F1 (micro, seqeval's default mode)" in text
    assert "average of 2 targets" in text
    assert "+16.67" in text


def test_brackets_are_no_markup() -> None:
    """What rich would take for a style, or for the end of one, which is an error."""
    out = io.StringIO()
    odd = example(method="[/x]", benchmark=":smile: [bold]", targets=["sw[/x]"], notes=["[red]"])
    Console(file=out, width=100).print(terminal_table(odd))
    for part in ("[/x]", ":smile: [bold]", "sw[/x]", "[red]"):
        assert part in out.getvalue()


def test_markdown_page() -> None:
    page = markdown(example())
    assert page.startswith("# cltp-toy-s0\n\ncltp on toy, from en to en, nl, de.\n")
    assert "| de | 30 | 25.00 | 33.33 | +8.33 |" in page
    assert "| **average of 2 targets** |  | **37.50** | **54.17** | **+16.67** |" in page
    assert "| 2 | - | 18 | 1: 12, 2: 5, 10: 1 | de: 7, nl: 11 |" in page
    assert "| source | model | `a1b2c3d4e5f6` | 12.3 | yes |" in page
    assert "| round 1 \\| x | annotation | `000000000000` | 0.1 | no |" in page
    assert "| ray | 2.60.0 |\n| torch | 2.13.0 |\n" in page
    config = page.partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(config) == example().config


def test_markdown_without_rounds_and_with_scored_rounds() -> None:
    assert "## Rounds" not in markdown(example(rounds=[]))
    scores = {"nl": {"f1": 0.5, "support": 1}, "de": {"f1": 0.75, "support": 1}}
    rounds = [RoundReport(1, {"nl": 3}, {}, 0.5, scores), RoundReport(2, {}, {}, 0.5)]
    page = markdown(example(rounds=rounds))
    assert "| round | source dev | test average | selected |" in page
    assert "| 1 | 50.00 | 62.50 | 3 | - | nl: 3 |" in page
    assert "| 2 | 50.00 | - | 0 | - | - |" in page


def test_markdown_table_survives_odd_cells() -> None:
    assert markdown_table(("a", "b"), [("x\ny", "1|2")]) == (
        "| a | b |\n| :-- | --: |\n| x y | 1\\|2 |"
    )


def test_a_run_without_test_files_says_so() -> None:
    out, bare = io.StringIO(), example(zero_shot={}, final={})
    Console(file=out, width=200).print(terminal_table(bare))
    for text in (out.getvalue(), markdown(bare)):
        assert "Nothing was scored: there are no test files" in text
        assert "average of" not in text
