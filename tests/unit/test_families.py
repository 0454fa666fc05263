"""Every family of encoders does what the table of docs/encoders.md says of it."""

import re
from pathlib import Path

import pytest
import transformers

from tests.families import CHECKS, FAMILIES, KINDS, Family, Kind, Trial

PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"
DIFFERENT = {
    "BERT with XLM-R's tokenizer", "DistilBERT", "DeBERTa-v2, v3", "ELECTRA", "X-MOD",
    "ModernBERT, mean", "EuroBERT", "mT5", "Qwen3", "Gemma 3, both sides",
}  # fmt: skip
"""Families that have something of their own; the others, of these kinds, take longer together."""


def table() -> dict[str, list[str]]:
    """The cells of the page by family."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if "|" in line]
    return {row[0]: row[1:] for row in rows if len(row) == 1 + len(KINDS)}


def trials() -> list[object]:
    found = []
    for family in FAMILIES:
        for kind in KINDS:
            quick = family.name in DIFFERENT and kind in ("token", "pair")
            marks = [] if quick else [pytest.mark.slow]
            found.append(pytest.param(family, kind, marks=marks, id=f"{family.name}, {kind}"))
    return found


@pytest.mark.parametrize(("family", "kind"), trials())
def test_a_family_does_what_the_table_says(family: Family, kind: Kind, tmp_path: Path) -> None:
    """All but the graphs, which take their time; an error there is not of the message's kind."""
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        found = Trial(family, kind, tmp_path).run(onnx=False)
    finally:
        transformers.logging.set_verbosity(verbosity)
    said = table()[family.name][KINDS.index(kind)]
    if said.startswith("refused"):
        assert set(found) == set(CHECKS)
        assert "done" not in found.values()
        number = re.findall(r"\d+", said)[0]
        assert f"{number}. {found['train']}" in PAGE.read_text().replace("\n   ", " ")
    else:
        assert said == "all" or said.startswith("all but onnx")
        assert found == dict.fromkeys(CHECKS[:-1], "done")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["token", "pair"])
def test_the_graph_of_a_family(kind: Kind, tmp_path: Path) -> None:
    (family,) = (family for family in FAMILIES if family.name == "Qwen3")
    found = Trial(family, kind, tmp_path).run(onnx=True)
    said = table()[family.name][KINDS.index(kind)]
    assert (found["onnx"] == "done") == (said == "all")


def test_there_are_enough_families() -> None:
    """At least fifteen for tokens and fourteen for pairs, and a row for each family."""
    rows = table()
    assert [name for name in rows if name != "Family"] == [family.name for family in FAMILIES]
    for kind, least in (("token", 15), ("pair", 14)):
        column = [cells[KINDS.index(kind)] for cells in rows.values()]
        assert sum(cell.startswith("all") for cell in column) >= least
