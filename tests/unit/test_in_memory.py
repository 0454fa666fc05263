"""Rows that are given as values."""

from typing import Any

import pytest

from xlt_ray.data.readers.in_memory import text_in
from xlt_ray.data.readers.rows import RowError
from xlt_ray.data.schema import Task


@pytest.mark.parametrize(
    ("task", "row", "parts"),
    [
        ("token", "In Ulm.", ("In", "Ulm", ".")),
        ("token", ["In", "Ulm."], ("In", "Ulm.")),
        ("token", ("In", "Ulm."), ("In", "Ulm.")),
        ("token", {"tokens": ["In", "Ulm."]}, ("In", "Ulm.")),
        ("sentence", "Good.", ("Good.",)),
        ("sentence", {"text": "Good."}, ("Good.",)),
        ("pair", ["One.", "Two."], ("One.", "Two.")),
        ("pair", {"premise": "One.", "hypothesis": "Two."}, ("One.", "Two.")),
        ("pair", {"text": "One.", "text_pair": "Two."}, ("One.", "Two.")),
    ],
)
def test_all_forms_of_a_row(task: Task, row: Any, parts: tuple[str, ...]) -> None:
    assert text_in(row, task, "marks").parts == parts


def test_words_of_a_text_keep_their_places() -> None:
    found = text_in("  In Ulm.", "token", "blanks")
    assert (found.tokens, found.places) == (("In", "Ulm."), ((2, 4), (5, 9)))


@pytest.mark.parametrize(
    ("task", "row", "reason"),
    [
        ("token", 5, "5 is no row of a token task; allowed: a text, a list of words, or tokens"),
        ("token", ["In", 5], "token 5 is not a string"),
        ("token", [], "no tokens"),
        ("token", {"text": "In Ulm"}, "needed: tokens"),
        ("token", " ", "empty text ' '"),
        ("sentence", ["Good."], r"\['Good.'\] is no row of a sentence task; allowed: a text"),
        ("sentence", None, "None is no row"),
        ("pair", "ab", "'ab' is no row of a pair task; allowed: a list of two texts"),
        ("pair", ["One."], "is no row of a pair task"),
        ("pair", ["One.", 2], "hypothesis 2 is not a string"),
        ("sentence", "\ud800", "not valid UTF-8"),
    ],
)
def test_what_is_no_row_is_told_with_what_is(task: Task, row: Any, reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        text_in(row, task, "marks")
