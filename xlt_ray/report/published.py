"""Tables of the papers, as printed, to be shown beside measured ones and never among them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self

_SELF_LEARNING = ("bl_direct", "bl_single", "bl_joint", "sl_evi", "sl_leu", "cltp")
_SEVERAL = ("dt", "hard", "hard_cat", "hard_vote", "kd_re", "lvm", "mrt")
_ALIGNED = ("iwda", "kd", "st")
OF_METHODS = (
    (_SELF_LEARNING, "wikiann", "CLTP", "1", "WikiANN"),
    (_SELF_LEARNING, "xnli", "CLTP", "2", "XNLI"),
    (_SEVERAL, "conll", "LVM", "2", "CoNLL"),
    (_SEVERAL, "absa", "LVM", "2", "SemEval"),
    (_SEVERAL, "ontonotes", "LVM", "3", "OntoNotes"),
    (_SEVERAL, "udpos", "LVM", "4", "UD"),
    (("conlst", "sl_lou"), "xnli", "CoNLST", "2", "XNLI"),
    (_ALIGNED, "marc", "IWDA", "1", "MARC"),
    (_ALIGNED, "conll", "IWDA", "2", "CoNLL"),
    (_ALIGNED, "wikiann", "IWDA", "3", "WikiANN"),
    (_ALIGNED, "xnli", "IWDA", "6", "XNLI"),
    (("maral",), "conll", "MARAL", "1", "CoNLL"),
    (("maral",), "wikiann", "MARAL", "1", "WikiANN"),
    (("maral",), "multiconer", "MARAL", "2", "MultiCoNER"),
)
"""Methods, benchmark, and the printed table that has both: paper, number, start of the data set."""


@dataclass(frozen=True)
class PublishedRow:
    """One row of a printed table.

    Attributes:
        method: Name as printed.
        backbone: Encoder it was measured with.
        scores: Printed numbers by language or domain code; a code is missing where the paper
            prints a dash.
        average: The printed average, or None.
        setting: What tells rows of one method apart, or None.
        note: What the paper says about where the numbers are from, or None.
    """

    method: str
    backbone: str
    scores: Mapping[str, float]
    average: float | None = None
    setting: str | None = None
    note: str | None = None

    @property
    def title(self) -> str:
        """Method and setting."""
        return f"{self.method} ({self.setting})" if self.setting else self.method


@dataclass(frozen=True)
class PublishedTable:
    """The part of a printed table that is about one data set and one metric.

    Attributes:
        paper: Short name of the paper.
        paper_title: Its title.
        table: Number of the table.
        dataset: Data set, in words.
        metric: Metric, in words; numbers are in percent unless it says otherwise.
        rows: The rows, in printed order.
    """

    paper: str
    paper_title: str
    table: str
    dataset: str
    metric: str
    rows: Sequence[PublishedRow]

    @property
    def codes(self) -> list[str]:
        """Languages or domains of any row, in printed order."""
        return list(dict.fromkeys(code for row in self.rows for code in row.scores))

    @property
    def decimals(self) -> int:
        """Decimals that the numbers are printed with."""
        shown = [value for row in self.rows for value in row.scores.values()]
        shown += [row.average for row in self.rows if row.average is not None]
        return max((len(str(value).partition(".")[2]) for value in shown), default=0)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The table of its plain form, which `dataclasses.asdict` gives."""
        rows = [PublishedRow(**row) for row in record["rows"]]
        values: dict[str, Any] = {**record, "rows": rows}
        return cls(**values)


def published(paper: str, table: str) -> list[PublishedTable]:
    """A printed table, one part per data set and metric.

    Args:
        paper: Short name of the paper, such as "CLTP".
        table: Number of the table in it, such as "1".

    Raises:
        ValueError: there is no such paper or table; names those that there are.
    """
    there = _tables()
    if paper not in there:
        raise ValueError(f"no paper {paper!r}, there are: {', '.join(there)}")
    if table not in there[paper]:
        raise ValueError(f"no table {table!r} of {paper}, there are: {', '.join(there[paper])}")
    return there[paper][table]


def tables_of(method: str, benchmark: str) -> list[PublishedTable]:
    """The printed tables that have a method on a benchmark, both by their names here."""
    return [
        part
        for methods, data, paper, table, dataset in OF_METHODS
        if method in methods and data == benchmark
        for part in published(paper, table)
        if part.dataset.startswith(dataset)
    ]


@cache
def _tables() -> dict[str, dict[str, list[PublishedTable]]]:
    """Every table by paper and number."""
    content = json.loads(files("xlt_ray.report").joinpath("published.json").read_text("utf-8"))
    names = {title: name for name, title in content["papers"].items()}
    parts: dict[tuple[str, str, str, str], list[PublishedRow]] = {}
    for record in content["rows"]:
        key = (record["paper"], record["table"], record["dataset"], record["metric"])
        parts.setdefault(key, []).append(_row(record))
    found: dict[str, dict[str, list[PublishedTable]]] = {name: {} for name in names.values()}
    for (title, table, dataset, metric), rows in parts.items():
        part = PublishedTable(names[title], title, table, dataset, metric, rows)
        found[part.paper].setdefault(table, []).append(part)
    return found


def _row(record: Mapping[str, Any]) -> PublishedRow:
    """A row of the file; tables that print nothing but averages have them as a score "avg"."""
    scores = dict(record["scores"])
    average = record.get("printed_avg", scores.pop("avg", None))
    return PublishedRow(
        method=record["method"],
        backbone=record["backbone"],
        scores=scores,
        average=average,
        setting=record.get("setting"),
        note=record.get("note"),
    )
