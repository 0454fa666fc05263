"""The printed tables: the transcription is consistent, and every row of it can be shown."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

import pytest

from xlt_ray.report.published import PublishedRow, PublishedTable, published

ROOT = Path(__file__).resolve().parents[2]
CONTENT = json.loads((ROOT / "xlt_ray/report/published.json").read_text(encoding="utf-8"))
NUMBERS = {
    paper: list(dict.fromkeys(row["table"] for row in CONTENT["rows"] if row["paper"] == title))
    for paper, title in CONTENT["papers"].items()
}


def every_table() -> Iterator[PublishedTable]:
    for paper, numbers in NUMBERS.items():
        for number in numbers:
            yield from published(paper, number)


def test_the_row_of_the_method() -> None:
    """As printed: average 75.5, English 85.0, Thai 7.4."""
    (table,) = published("CLTP", "1")
    assert table.paper_title == CONTENT["papers"]["CLTP"]
    assert (table.dataset, table.metric) == ("WikiANN (XTREME panx, 40 languages)", "F1")
    row = table.rows[-1]
    assert (row.title, row.backbone, row.average) == ("CLTP", "XLM-R-large", 75.5)
    assert (row.scores["en"], row.scores["th"]) == (85.0, 7.4)
    assert len(table.codes) == 40
    assert table.codes[:3] == ["en", "af", "ar"]
    noted = {row.title for row in table.rows if row.note == "reported by Xu et al. (2021)"}
    assert noted == {"BL-Direct", "BL-Single", "BL-Joint"}


def test_a_table_of_averages() -> None:
    (table,) = published("CLTP", "3")
    assert [(row.title, row.average) for row in table.rows] == [
        ("CLTP (lambda=2, tau=10)", 74.6),
        ("CLTP (lambda=4, tau=5)", 72.9),
        ("CLTP (lambda=4, tau=10)", 75.5),
        ("CLTP (lambda=8, tau=10)", 73.4),
    ]
    assert table.codes == []


def test_a_table_about_two_data_sets_has_two_parts() -> None:
    conll, wikiann = published("MARAL", "1")
    assert (conll.dataset, wikiann.dataset) == ("CoNLL-2002/2003", "WikiANN")
    assert conll.rows[-1].average == 84.11
    assert wikiann.rows[-1].average == 76.28


def test_every_row_of_the_file_is_in_one_table() -> None:
    rows = [row for table in every_table() for row in table.rows]
    assert len(rows) == len(CONTENT["rows"]) == 260
    assert sum(len(row.scores) for row in rows) == sum(
        len(set(row["scores"]) - {"avg"}) for row in CONTENT["rows"]
    )


def test_printed_averages_are_means_of_the_printed_numbers() -> None:
    """To one unit of the last printed digit, but for two rows whose papers do not add up."""
    wrong = []
    for table in every_table():
        unit = 10**-table.decimals
        for row in table.rows:
            if row.average is not None and row.scores:
                mean = sum(row.scores.values()) / len(row.scores)
                if abs(mean - row.average) > unit + 1e-9:
                    wrong.append((table.paper, table.table, row.method))
    assert wrong == [("CoNLST", "1", "CoNLST-RS"), ("CoNLST", "2", "SL-EVI (Xu et al., 2021)")]


@pytest.mark.parametrize(
    ("paper", "number", "decimals"), [("CLTP", "1", 1), ("LVM", "2", 2), ("MARAL", "11", 0)]
)
def test_decimals_are_those_of_the_table(paper: str, number: str, decimals: int) -> None:
    assert {table.decimals for table in published(paper, number)} == {decimals}


def test_decimals_of_a_table_without_numbers() -> None:
    row = PublishedRow("m", "b", {})
    assert PublishedTable("P", "Paper", "1", "D", "F1", [row]).decimals == 0


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no paper 'BERT', there are: CLTP, LVM, CoNLST, IWDA"):
        published("BERT", "1")
    with pytest.raises(ValueError, match=r"no table '9' of CLTP, there are: 1, 2, 3, 4$"):
        published("CLTP", "9")


def test_plain_form_and_back() -> None:
    (table,) = published("CLTP", "2")
    again = PublishedTable.from_json(json.loads(json.dumps(asdict(table))))
    assert again == table


def test_the_package_takes_its_data_along() -> None:
    """Every file of the package that is no module is covered by package-data."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["xlt_ray"]
    package = ROOT / "xlt_ray"
    files = [
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert "report/published.json" in files
    for file in files:
        assert any(fnmatch(file, pattern) for pattern in patterns), file
