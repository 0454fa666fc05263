"""The comparison as data and as tables."""

import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from tests.reports import example
from xlt_ray.report.compare import (
    LATEX_COLUMNS,
    caption,
    duration,
    latex,
    latex_text,
    markdown,
    published_caption,
    published_grid,
    published_notes,
    result_grid,
    seed_grid,
    shared_grid,
    terminal_tables,
    write_comparison,
)
from xlt_ray.report.comparison import Comparison, ComparisonRow, Grid, ScoredRun, SharedStep
from xlt_ray.report.page import comparison_page
from xlt_ray.report.published import PublishedRow, PublishedTable, published
from xlt_ray.report.record import StepReport
from xlt_ray.report.significance import Difference

SPECIAL = '[a] & b * 50% \\x{y} $1 #2 _3 ~4 ^5 <6|7> "8"'


def trial(seed: int, nl: float, de: float, **changes: Any) -> ScoredRun:
    """A run with these final scores; the source, en, has 0.875."""
    final = {
        "en": {"f1": 0.875, "support": 50},
        "nl": {"f1": nl, "support": 40},
        "de": {"f1": de, "support": 30},
    }
    config = {"seed": seed, "method": {"name": "cltp", "lambda": 8.0}}
    report = example(**{"final": final, "config": config, "run": f"x-s{seed}", **changes})
    return ScoredRun(report, {"zero-shot": "a", "final": "b"})


def steps(*fingerprints: str, seconds: float = 10.0, driver_mb: float = 800.0) -> list[StepReport]:
    """Train steps."""
    return [
        StepReport(f"train {name}", "model", name, seconds, False, driver_mb=driver_mb)
        for name in fingerprints
    ]


def comparison(**changes: Any) -> Comparison:
    """Two rows, two seeds; both rows share the source model of each seed."""
    rows = [
        ComparisonRow(
            "baseline",
            [
                trial(0, 0.5, 0.25, steps=steps("source0")),
                trial(1, 0.5, 0.75, steps=steps("source1")),
            ],
        ),
        ComparisonRow(
            "CLTP, one_hot",
            [
                trial(0, 0.75, 0.5, steps=steps("source0", "round0", "source0")),
                trial(1, 0.5, 0.5, steps=steps("source1", "round1")),
            ],
        ),
    ]
    values: dict[str, Any] = {
        "name": "compare-toy",
        "rows": rows,
        "published": [],
        "config": {"backbone": "toy"},
    }
    return Comparison(**(values | changes))


def test_statistics_of_a_row() -> None:
    """Averages (0.5 + 0.25) / 2 = 0.375 and (0.5 + 0.75) / 2 = 0.625; their mean is 0.5, and each
    is 0.125 off it: the sample variance is 2 * 0.125^2 / 1, its root 0.125 * sqrt(2)."""
    row = comparison().rows[0]
    assert row.average == 0.5
    assert row.std == pytest.approx(0.125 * 2**0.5, rel=1e-12)
    assert row.zero_shot_average == 0.375
    assert (row.score("nl"), row.score("de"), row.score("en")) == (0.5, 0.5, 0.875)
    assert row.score("xx") is None
    assert row.method == {"name": "cltp", "lambda": 8.0}


def test_a_score_that_one_seed_lacks_has_no_mean() -> None:
    full = trial(0, 0.5, 0.5)
    part = trial(1, 0.5, 0.5, final={"nl": {"f1": 0.5, "support": 1}}, targets=["nl"])
    assert ComparisonRow("r", [full, part]).score("de") is None


def test_one_seed_has_no_deviation() -> None:
    assert ComparisonRow("r", [trial(0, 0.5, 0.25)]).std is None


def test_without_targets_there_is_no_average() -> None:
    row = ComparisonRow("r", [trial(seed, 0.5, 0.5, targets=["en"]) for seed in (0, 1)])
    assert (row.average, row.std) == (None, None)


def test_a_step_that_comes_up_twice_counts_once() -> None:
    """Row 2: source0, round0 and source0 again, 10 s each, and two trainings with seed 1."""
    first, second = comparison().rows[1].trials
    assert (first.seconds, second.seconds) == (20.0, 20.0)
    assert comparison().rows[0].seconds == 10.0


def test_memory_is_the_most_of_a_step_and_of_a_seed() -> None:
    """A step of a run before it was noted has none, and then the row has none either."""
    runs = [
        trial(0, 0.5, 0.5, steps=[*steps("a", driver_mb=700.0), *steps("b", driver_mb=900.0)]),
        trial(1, 0.5, 0.5, steps=steps("c", driver_mb=950.0)),
    ]
    assert ComparisonRow("r", runs).driver_mb == 950.0
    unknown = StepReport("train d", "model", "d", 1.0, False)
    assert ComparisonRow("r", [*runs, trial(2, 0.5, 0.5, steps=[unknown])]).driver_mb is None


def test_result_grid() -> None:
    """Row 2: nl (0.75 + 0.5) / 2, de 0.5; averages 0.625 and 0.5, 0.0625 off their mean."""
    grid = result_grid(comparison())
    assert grid.columns == [
        "method", "nl", "de", "en (source)", "average", "std", "wall time", "driver, MB"
    ]  # fmt: skip
    assert grid.rows == [
        ["baseline", "50.00", "50.00", "87.50", "50.00", "17.68", "10.0 s", "800"],
        ["CLTP, one_hot", "62.50", "50.00", "87.50", "56.25", "8.84", "20.0 s", "800"],
    ]
    assert seed_grid(comparison()).rows == [
        ["baseline", "37.50", "62.50"],
        ["CLTP, one_hot", "62.50", "50.00"],
    ]
    assert seed_grid(comparison()).columns == ["method", "seed 0", "seed 1"]


def test_shared_trainings() -> None:
    """A training that one row alone needs is not listed, nor is another kind of step."""
    both = ["baseline", "CLTP, one_hot"]
    assert comparison().shared == [
        SharedStep("train source0", 0, "source0", both, 10.0),
        SharedStep("train source1", 1, "source1", both, 10.0),
    ]
    assert shared_grid(comparison()).rows[1] == [
        "train source1", "baseline; CLTP, one_hot", "1", "10.0 s",
    ]  # fmt: skip
    text = [StepReport("source", "text", "t", 1.0, False)]
    rows = [ComparisonRow(title, [trial(0, 0.5, 0.5, steps=text)]) for title in "ab"]
    assert comparison(rows=rows).shared == []


def test_differences_are_shown_with_their_intervals_and_p_values() -> None:
    tested = Difference("baseline", "CLTP, one_hot", -0.0625, 0.0123, (-0.125, 0.0025))
    full = comparison(tested=(tested,))
    page = markdown(full)
    assert "## Differences" in page
    assert "| method | difference from CLTP, one_hot | 95% interval | p |" in page
    assert "| baseline | -6.25 | -12.50 to +0.25 | 0.012 |" in page
    again = Comparison.from_json(json.loads(json.dumps(full.to_json())))
    assert again.tested == full.tested
    assert "difference from CLTP, one_hot" in comparison_page(full)
    assert "-12.50 to +0.25" in comparison_page(full)
    assert "## Differences" not in markdown(comparison())


def test_plain_form_and_back() -> None:
    full = comparison(published=published("CLTP", "2"))
    record = json.loads(json.dumps(full.to_json()))
    assert set(record) == {
        *("name", "benchmark", "metric", "source", "targets", "seeds", "rows", "shared"),
        *("published", "config", "significance"),
    }
    assert record["rows"][1]["scores"] == {"nl": 0.625, "de": 0.5, "en": 0.875}
    assert record["rows"][1]["trials"][1]["models"] == {"zero-shot": "a", "final": "b"}
    assert record["rows"][0]["trials"][0]["report"]["rounds"][0]["selected"] == {"nl": 12, "de": 8}
    again = Comparison.from_json(record)
    assert again == full
    assert markdown(again) == markdown(full)
    assert latex(again) == latex(full)


def test_parts_of_a_wide_table() -> None:
    grid = Grid(["m", "a", "b", "c"], [["x", "1", "2", "3"]])
    assert grid.parts(2) == [
        Grid(["m", "a", "b"], [["x", "1", "2"]]),
        Grid(["m", "c"], [["x", "3"]]),
    ]
    assert grid.parts(3) == [grid]


def small_table() -> PublishedTable:
    """Two languages besides the source; the second row has a dash."""
    whole = PublishedRow("A", "big", {"en": 90.0, "nl": 60.0, "de": 70.5}, average=73.5)
    dash = PublishedRow("B", "big", {"en": 80.0, "nl": 50.0}, setting="x=1", note="quoted")
    return PublishedTable("P", "A Paper", "7", "Data", "F1", [whole, dash])


def test_published_grid() -> None:
    """Without the source, row A has (60 + 70.5) / 2 = 65.25, shown with the table's one decimal;
    row B has no number for de, and no mean."""
    grid = published_grid(small_table(), ["en"])
    assert grid.columns == [
        "method", "backbone", "nl", "de", "en (source)", "average", "without source",
    ]  # fmt: skip
    assert grid.rows == [
        ["A", "big", "60.0", "70.5", "90.0", "73.5", "65.2"],
        ["B (x=1)", "big", "50.0", "-", "80.0", "-", "-"],
    ]
    assert published_notes(small_table()) == ["B (x=1): quoted."]


def test_published_grid_of_another_source() -> None:
    grid = published_grid(small_table(), ["fr"])
    assert grid.columns == ["method", "backbone", "en", "nl", "de", "average"]
    only_source = published_grid(small_table(), ["en", "nl", "de"])
    assert only_source.columns[-2:] == ["de (source)", "average"]


def test_published_averages_without_the_source() -> None:
    """The 40 numbers of the method's row sum to 3019.3; without English, 85.0, 39 are left, with
    the mean 2934.3 / 39 = 75.238."""
    (table,) = published("CLTP", "1")
    assert sum(table.rows[-1].scores.values()) == pytest.approx(3019.3)
    grid = published_grid(table, ["en"])
    assert grid.rows[-1][-3:] == ["85.0", "75.5", "75.2"]


def test_markdown_keeps_measured_and_published_apart() -> None:
    page = markdown(comparison(published=[small_table()]))
    assert page.startswith("# compare-toy\n\ntoy, from en to en, nl, de.\n")
    measured, _, rest = page.partition("\n## Computed once\n")
    shared, _, printed = rest.partition("\n## Published: P, Table 7, Data\n")
    assert "| baseline | 50.00 | 50.00 | 87.50 | 50.00 | 17.68 | 10.0 s |" in measured
    assert "| CLTP, one_hot | 62.50 | 50.00 |\n" in measured
    assert "| train source0 | baseline; CLTP, one_hot | 0 | 10.0 s |" in shared
    assert "| A | big | 60.0 | 70.5 | 90.0 | 73.5 | 65.2 |" in printed
    assert "B (x=1): quoted." in printed
    assert "big" not in measured + shared
    config = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])
    assert config["rows"] == {row: {"name": "cltp", "lambda": 8.0} for row in (
        "baseline", "CLTP, one_hot",
    )}  # fmt: skip
    assert config["backbone"] == "toy"
    assert "| ray | 2.60.0 |" in page


def test_markdown_of_one_row_and_seed() -> None:
    page = markdown(comparison(rows=[ComparisonRow("only", [trial(0, 0.5, 0.25)])]))
    assert "| only | 50.00 | 25.00 | 87.50 | 37.50 | - | 12.4 s |" in page
    assert "## Computed once" not in page
    assert "seed by seed" not in page


def test_captions() -> None:
    two = caption(comparison())
    assert "mean of seeds 0, 1. The average is over the 2 targets other than the source." in two
    assert "sample standard deviation" in two
    alone = [ComparisonRow("r", [trial(3, 0.5, 0.5, targets=["nl"])])]
    one = caption(comparison(rows=alone))
    assert "mean of seed 3. The average is over the 1 target other than" in one
    assert "One seed has no standard deviation." in one
    words = published_caption(small_table())
    assert words.startswith("F1 as printed in Table 7 of A Paper (P). Not measured here")


def test_terminal_tables() -> None:
    """Twelve languages do not fit side by side: the labels are repeated below."""
    out = io.StringIO()
    names = [f"l{number}" for number in range(12)]
    scores = {name: {"f1": 0.25, "support": 1} for name in names}
    wide = trial(0, 0, 0, source=["s"], targets=names, final=scores, zero_shot=scores)
    Console(file=out, width=110).print(
        terminal_tables(comparison(rows=[ComparisonRow("only", [wide])]))
    )
    text = out.getvalue()
    assert "toy: entity F1" in text
    assert text.count("only") == text.count("method") == 2
    assert text.count("25.00") == 13
    assert all(len(line) <= 110 for line in text.splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (61.5, "1 min 02 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (93784, "26 h 03 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_latex_text_escapes_what_has_a_meaning() -> None:
    assert latex_text("a_b & 5%\n#1") == r"a\_b \& 5\% \#1"
    assert latex_text("[x]") == "{[}x]"
    assert latex_text("\\{~^}") == r"\textbackslash{}\{\textasciitilde{}\textasciicircum{}\}"


def tabulars(text: str) -> list[tuple[str, list[list[str]]]]:
    """Column letters and cells of every tabular; a cell ends at an ampersand without backslash."""
    found = []
    pattern = r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\n\\end\{tabular\}"
    for letters, body in re.findall(pattern, text, re.DOTALL):
        lines = [line for line in body.splitlines() if line.endswith(r" \\")]
        cells = [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in lines]
        found.append((letters, cells))
    return found


def test_latex_tables_are_well_formed() -> None:
    """The cells of a line are as many as the letters, braces match, environments close."""
    rows = [ComparisonRow(SPECIAL, [trial(0, 0.5, 0.25)])]
    text = latex(comparison(rows=rows, published=[*published("CLTP", "1"), small_table()]))
    found = tabulars(text)
    assert [letters for letters, _ in found] == [
        "lrrrrrrr", *["ll" + LATEX_COLUMNS * "r"] * 3, "ll" + 9 * "r", "llrrrrr",
    ]  # fmt: skip
    for letters, lines in found:
        assert len(lines) > 1
        assert {len(line) for line in lines} == {len(letters)}
    assert found[0][1][1][1:] == ["50.00", "25.00", "87.50", "37.50", "-", "12.4 s", "-"]
    assert found[1][1][-1][:3] == ["CLTP", "XLM-R-large", "86.0"]
    bare = re.sub(r"\\[\\{}%]", "", text)
    assert bare.count("{") == bare.count("}")
    assert "%" not in bare.partition("\n")[2]
    for name in ("table", "tabular"):
        assert text.count(f"\\begin{{{name}}}") == text.count(f"\\end{{{name}}}")
    assert text.count(r"\begin{table}") == 3


def has_latex() -> bool:
    """Whether pdflatex is there, with booktabs."""
    if not (shutil.which("pdflatex") and shutil.which("kpsewhich")):
        return False
    found = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False)
    return found.returncode == 0


@pytest.mark.skipif(not has_latex(), reason="no pdflatex with booktabs")
def test_latex_fragment_compiles(tmp_path: Path) -> None:
    rows = [
        ComparisonRow(title, [trial(0, 0.5, 0.25)]) for title in (SPECIAL, "* star", "[1ex] option")
    ]
    fragment = latex(comparison(rows=rows, published=published("CLTP", "1")))
    (tmp_path / "compare.tex").write_text(fragment, encoding="utf-8")
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\n"
        "\\begin{document}\n\\input{compare}\n\\end{document}\n"
    )
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout


def test_files_and_their_order() -> None:
    """Who finds compare.json finds the other two."""
    written: dict[str, bytes] = {}
    write_comparison(comparison(), written.__setitem__)
    assert list(written) == ["compare.md", "compare.tex", "compare.json"]
    assert Comparison.from_json(json.loads(written["compare.json"])) == comparison()
    assert written["compare.json"].endswith(b"}\n")
