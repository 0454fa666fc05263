"""Figures of the papers' tables that claims refer to."""

import statistics

import numpy as np

from benchmarks.claims.schema import Claim, GainWhereLow, Printed
from xlt_ray.report.published import PublishedRow, PublishedTable, published
from xlt_ray.report.significance import rank_correlation


def published_figures(claim: Claim) -> str:
    """The printed figures of a claim, as a cell of a table; a dash where it names none.

    Raises:
        ValueError: there is no such table or row.
    """
    if claim.printed is None:
        return claim.published or "-"
    table = _table(claim.paper, claim.printed)
    row = _row(table, claim.printed.row)
    if claim.printed.against is None:
        return f"{_mean(row, row):.{table.decimals}f}"
    other = _row(table, claim.printed.against)
    if isinstance(claim.test, GainWhereLow):
        both = [code for code in row.scores if code in other.scores]
        zero = np.array([other.scores[code] for code in both])
        gain = np.array([row.scores[code] for code in both]) - zero
        return f"correlation {float(rank_correlation(zero, gain)):+.2f} over {len(both)}"
    first, second = _mean(row, other), _mean(other, row)
    places = max(1, table.decimals)
    return f"{first:.{places}f} and {second:.{places}f}"


def _table(paper: str, printed: Printed) -> PublishedTable:
    parts = published(paper, printed.table)
    for part in parts:
        if part.dataset.startswith(printed.dataset):
            return part
    there = ", ".join(part.dataset for part in parts)
    raise ValueError(f"{paper}, Table {printed.table}: no {printed.dataset!r}, there are: {there}")


def _row(table: PublishedTable, title: str) -> PublishedRow:
    for row in table.rows:
        if row.title == title:
            return row
    there = ", ".join(row.title for row in table.rows)
    raise ValueError(f"{table.paper}, Table {table.table}: no row {title!r}, there are: {there}")


def _mean(row: PublishedRow, other: PublishedRow) -> float:
    """The printed average where both rows have one, or the mean over what both have numbers of."""
    if row.average is not None and other.average is not None:
        return row.average
    return statistics.fmean(row.scores[code] for code in row.scores if code in other.scores)
