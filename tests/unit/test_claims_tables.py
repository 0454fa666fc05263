"""Tables of kept runs stand in their pages; what a person wrote around them stays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.claims.kept import Kept
from benchmarks.claims.tables import BEGIN, END, comparisons_of, precision_grid, write_tables
from benchmarks.claims.which import write_which
from tests.reports import example


def kept(title: str, seed: int, de: float, nl: float, **changes: Any) -> Kept:
    """A run that began at 0.25 in both of its targets."""
    scores = {"en": 0.875, "nl": nl, "de": de}
    final = {name: {"f1": value, "support": 40} for name, value in scores.items()}
    before = {name: {"f1": 0.25, "support": 40} for name in final}
    config = {"seed": seed, "method": {"name": "cltp"}, "benchmark": {}}
    values = {"final": final, "zero_shot": before, "config": config, **changes}
    return Kept("wikiann-e5", title, example(**values), {})


RUNS = [
    kept("cltp", 1, 0.75, 0.5),
    kept("bl_direct", 0, 0.25, 0.25),
    kept("cltp", 0, 0.5, 0.25),
    kept("bl_direct", 1, 0.25, 0.25),
    kept("sl_evi", 1, 0.5, 0.5),
]


def test_rows_are_in_the_order_of_the_preset_and_have_all_seeds() -> None:
    ((found, lacking),) = comparisons_of(RUNS)
    assert [row.title for row in found.rows] == ["bl_direct", "cltp"]
    assert found.seeds == [0, 1]
    assert lacking == ["sl_evi"]


def test_precision_and_recall_are_of_the_counts_of_sentences() -> None:
    """Of de 3 of 4 and 1 of 2 predictions are right, of 6 and 4 entities; seeds count alike."""
    counts = [np.array([[2.0, 3.0, 4.0], [1.0, 1.0, 2.0]]), np.array([[1.0, 2.0, 4.0]])]
    runs = [
        replace(kept("cltp", seed, 0.5, 0.5), counts={"final": {"de": found, "nl": found}})
        for seed, found in enumerate(counts)
    ]
    ((found, _),) = comparisons_of(runs)
    grid = precision_grid(found, runs)
    assert grid is not None
    assert dict(zip(grid.columns, grid.rows[0], strict=True)) == {
        "method": "cltp",
        "nl, precision": "62.50",
        "nl, recall": "37.50",
        "de, precision": "62.50",
        "de, recall": "37.50",
    }
    assert precision_grid(found, runs[:1]) is None, "a seed has no counts"
    other = [replace(x, report=replace(x.report, metric="accuracy")) for x in runs]
    assert precision_grid(next(comparisons_of(other))[0], other) is None


@pytest.mark.slow
def test_the_page_keeps_its_words(tmp_path: Path) -> None:
    page = tmp_path / "wikiann-e5.md"
    page.write_text(f"# Entities\n\nA finding.\n\n{BEGIN}\nold\n{END}\n\n## Setup\n")
    assert list(write_tables(RUNS, tmp_path)) == [page]
    text = page.read_text()
    assert text.startswith(f"# Entities\n\nA finding.\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\n## Setup\n")
    assert "old" not in text
    assert "| cltp | 37.50 | 62.50 | 87.50 | 50.00 | +25.00 | 17.68 |" in text
    assert "lack a seed: sl_evi." in text
    assert "Made by commit" in text
    assert (tmp_path / "wikiann-e5.png").read_bytes().startswith(b"\x89PNG")
    assert list(write_tables(RUNS, tmp_path)) == [page]
    assert page.read_text() == text, "the same again"


def test_methods_stand_side_by_side(tmp_path: Path) -> None:
    """In the order of the methods, without rows of ablations and of single seeds."""
    pairs = [replace(run, comparison="xnli-e5") for run in RUNS if run.title != "cltp"]
    one_seed = kept("cltp, no sets", 0, 0.5, 0.5), kept("cltp, no sets", 1, 0.5, 0.5)
    page = tmp_path / "which.md"
    page.write_text(f"# Which\n\n{BEGIN}\n{END}\n")
    write_which([*RUNS, *one_seed, *pairs], page)
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [10] * 4
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| bl_direct", "| cltp"]
    assert "| cltp | 50.00 | +25.00 |" in page.read_text()
    assert lines[3].endswith("| - | - | - | - |")


def test_a_page_without_a_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "wikiann-e5.md").write_text("# Entities\n")
    with pytest.raises(ValueError, match=r"wikiann-e5.md: no place for tables"):
        list(write_tables(RUNS, tmp_path))


def test_a_comparison_without_a_page_gets_one(tmp_path: Path) -> None:
    (page,) = write_tables(RUNS, tmp_path)
    assert page.read_text().startswith(f"# wikiann-e5\n\n{BEGIN}\n")
