"""Rows that are given as values: texts, words, pairs, or mappings with named fields."""

from collections.abc import Iterable, Mapping
from typing import Any

from xlt_ray.config.schema import shown
from xlt_ray.data.readers.records import words_in
from xlt_ray.data.readers.rows import RowError, Text, text_of
from xlt_ray.data.readers.words import Cut
from xlt_ray.data.schema import Task

FORMS: Mapping[Task, str] = {
    "token": "a text, a list of words, or tokens",
    "sentence": "a text, or text",
    "pair": "a list of two texts, or premise and hypothesis, or text and text_pair",
}
"""What a row of a task may be; named fields last."""


def text_in(row: Any, task: Task, words: Cut) -> Text:
    """The text of one row.

    Args:
        row: A string; in token tasks also some words; for pairs two strings; or a
            mapping with the fields of `xlt_ray.data.readers.rows.text_of`.
        task: Kind of task.
        words: Where the words of a string end, in token tasks.

    Raises:
        RowError: it is none of these; says what is allowed.
    """
    if isinstance(row, Mapping):
        return text_of(dict(row), task)
    if isinstance(row, str) and task == "token":
        return words_in({"text": row}, words)
    if isinstance(row, str) and task == "sentence":
        return text_of({"text": row}, task)
    if isinstance(row, Iterable) and not isinstance(row, str | bytes):
        values = list(row)
        if task == "token":
            return text_of({"tokens": values}, task)
        if task == "pair" and len(values) == 2:
            return text_of({"premise": values[0], "hypothesis": values[1]}, task)
    raise RowError(f"{shown(row)} is no row of a {task} task; allowed: {FORMS[task]}")
