"""What callers of a service send, checked, and what they are answered, without HTTP."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, get_args

from xlt_ray.config.schema import shown
from xlt_ray.data.readers.in_memory import text_in
from xlt_ray.data.readers.rows import RowError, Text
from xlt_ray.data.readers.words import Cut
from xlt_ray.data.schema import Task

if TYPE_CHECKING:
    from xlt_ray.engine.labeller import Prediction

FIELDS = ("texts", "words")
Status = Literal[400, 401, 408, 413, 422, 500, 503]


class Refusal(Exception):
    """Why a request is not answered as asked.

    Attributes:
        status: Code of HTTP.
        message: What is wrong, where, and what is allowed.
    """

    def __init__(self, status: Status, message: str):
        super().__init__(message)
        self.status: Status = status
        self.message = message


def texts_of(body: bytes, task: Task, *, words: Cut, max_rows: int) -> list[Text]:
    """The texts of a request.

    Args:
        body: A JSON object with ``texts``, a list of rows as of `text_in`, and perhaps ``words``.
        task: Kind of task.
        words: Where the words of strings end, unless the request says so.
        max_rows: Rows of a request at most.

    Raises:
        Refusal: it is something else; names the field.
    """
    try:
        return _texts(body, task, words, max_rows)
    except RecursionError:  # to parse it, or to show it in a message
        raise Refusal(400, "the body is JSON of too many levels") from None


def _texts(body: bytes, task: Task, words: Cut, max_rows: int) -> list[Text]:
    try:
        asked: Any = json.loads(body)
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise Refusal(400, f"the body is not JSON: {error}") from None
    if not isinstance(asked, dict):
        raise Refusal(422, f'the body is {shown(asked)}, needed: an object {{"texts": [...]}}')
    if unknown := sorted(asked.keys() - set(FIELDS)):
        raise Refusal(422, f"{shown(unknown[0])}: unknown field; allowed: {', '.join(FIELDS)}")
    if "texts" not in asked:
        raise Refusal(422, "texts: missing; it is a list of rows")
    rows, cut = asked["texts"], asked.get("words", words)
    if not isinstance(rows, list):
        raise Refusal(422, f"texts: {shown(rows)} is no list of rows")
    if len(rows) > max_rows:
        raise Refusal(413, f"texts: {len(rows)} rows, serve.max_rows={max_rows} at most")
    if cut not in get_args(Cut):
        raise Refusal(422, f"words: {shown(cut)}; allowed: {', '.join(get_args(Cut))}")
    if "words" in asked and task != "token":
        raise Refusal(422, f"words: this model labels no words, it is of a {task} task")
    return [_text(number, row, task, cut) for number, row in enumerate(rows)]


def _text(number: int, row: Any, task: Task, cut: Cut) -> Text:
    try:
        return text_in(row, task, cut)
    except RowError as error:
        raise Refusal(422, f"texts[{number}]: {error}") from None


def answer_of(predictions: "Sequence[Prediction]") -> dict[str, Any]:
    """Predictions as JSON: their fields, without those that a task does not have."""
    return {"predictions": [_fields(found) for found in predictions]}


def _fields(found: "Prediction") -> dict[str, Any]:
    fields = asdict(found)
    left = ("words", "labels", "confidences", "spans") if found.label is not None else ("label",)
    if not found.uncertainty:
        left = (*left, "uncertainty")
    return {name: value for name, value in fields.items() if name not in left}
