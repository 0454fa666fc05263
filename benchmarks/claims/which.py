"""One table of all methods side by side, over every kept comparison, in docs/which-method.md.

A method has a place in it if a row of a comparison is called after it: rows of ablations are not.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims.kept import Kept
from benchmarks.claims.schema import ROOT
from benchmarks.claims.tables import comparisons_of, gain, rewritten
from xlt_ray.methods import METHODS
from xlt_ray.report.compare import duration
from xlt_ray.report.comparison import Comparison, ComparisonRow
from xlt_ray.report.tables import markdown_table, metric_name, percent

PAGE = ROOT / "docs/which-method.md"
SHOWN = ("wikiann-e5", "xnli-e5", "udpos-e5", "sentiment-e5")
"""Comparisons, in the order of their columns; what is not measured yet has none."""


def table(kept: Sequence[Kept]) -> str:
    """A row for each method that is measured; of each comparison score, gain, time and memory."""
    found = {comparison.name: comparison for comparison, _ in comparisons_of(kept)}
    shown = [found[name] for name in SHOWN if name in found]
    titles = dict.fromkeys(row.title for x in shown for row in x.rows if row.title in METHODS)
    columns = ["method"]
    for comparison in shown:
        name = f"{comparison.first.benchmark}, {metric_name(comparison.first.metric)}"
        columns += [name, "gain", "time", "MB"]
    rows = [[title, *(x for y in shown for x in _cells(_row(y, title)))] for title in titles]
    return markdown_table(columns, rows)


def write_which(kept: Sequence[Kept], page: Path = PAGE) -> None:
    """Write the table into the page; its sentences stay."""
    page.write_text(rewritten(page, table(kept)), encoding="utf-8")


def _row(comparison: Comparison, title: str) -> ComparisonRow | None:
    return next((row for row in comparison.rows if row.title == title), None)


def _cells(row: ComparisonRow | None) -> list[str]:
    if row is None:
        return ["-"] * 4
    memory = "-" if row.driver_mb is None else f"{row.driver_mb:,.0f}"
    return [percent(row.average), gain(row), duration(row.seconds), memory]
