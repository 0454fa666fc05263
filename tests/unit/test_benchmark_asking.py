"""A person who is asked, simulated: rows that are asked for get their gold."""

from pathlib import Path

import pytest

from benchmarks.asking import answers, drawn, page, sentences_of, write
from xlt_ray.labels import LabelSet

LABELS = LabelSet(("O", "B-PER", "I-PER"))
ROWS = [(("Ada", "Juma"), ("B-PER", "I-PER")), (("lala",), ("O",)), (("Juma", "!"), ("B-PER", "O"))]


def test_what_is_asked_is_answered_with_gold() -> None:
    """However its words are joined; of two sentences with one text the first."""
    again = [*ROWS, (("Ada", "Juma"), ("O", "O"))]
    assert answers(again, [("Juma!",), ("Ada", "Juma")]) == [ROWS[2], ROWS[0]]
    with pytest.raises(KeyError):
        answers(ROWS, [("Nairobi",)])


def test_fewer_rows_are_among_more_of_a_seed() -> None:
    rows = [((str(number),), ("O",)) for number in range(50)]
    assert drawn(rows, 9, 3)[:4] == drawn(rows, 4, 3)
    assert drawn(rows, 9, 3) != drawn(rows, 9, 4)
    assert len({words for words, _ in drawn(rows, 50, 0)}) == 50


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    """Types that the source's gold has not are no entities."""
    dated = (("leo",), ("B-DATE",))
    found = write(tmp_path / "rows", {"sw": [*ROWS, dated]})
    assert sentences_of(found["sw"], LABELS) == [*ROWS, (("leo",), ("O",))]


def test_the_table_has_means_and_deviations() -> None:
    found = [{"asked": [0.5, 0.7], "drawn": [0.5, 0.6]}, {"asked": [0.4, 0.6], "drawn": [0.4, 0.6]}]
    assert page([20], found).splitlines()[2:] == [
        "| 0 | 45.00 | 7.07 | 45.00 | 7.07 | +0.00 |",
        "| 20 | 65.00 | 7.07 | 60.00 | 0.00 | +5.00 |",
    ]
