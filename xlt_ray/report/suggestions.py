"""Rows with a model's labels as suggestions, in files that annotation tools import.

doccano        JSON lines: ``{"text", "label": [[start, end, type], ...]}``, or of a text its class
Label Studio   a JSON array of tasks: ``{"data", "predictions"}``

Both read what a person makes of them as training text again: their exports have the same form.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Suggestion:
    """A row that a person is asked to label.

    Attributes:
        text: The text; of a pair the first one.
        pair: The second text of a pair.
        label: Class that the model suggests; None in token tasks.
        spans: Entities that it suggests: first character, the one after the last, type.
        score: How uncertain the model is.
    """

    text: str
    pair: str | None
    label: str | None
    spans: tuple[tuple[int, int, str], ...]
    score: float


def doccano(rows: Sequence[Suggestion]) -> bytes:
    """JSON lines, as doccano imports them."""
    lines = []
    for row in rows:
        label: Any = row.label if row.label is not None else [list(span) for span in row.spans]
        record = {"text": row.text, "label": label, "uncertainty": round(row.score, 4)}
        if row.pair is not None:
            record["text_pair"] = row.pair
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def label_studio(rows: Sequence[Suggestion], model: str) -> bytes:
    """A JSON array, as Label Studio imports it: fields ``text`` and ``label``.

    Args:
        rows: The rows.
        model: Name of the model that suggests.
    """
    tasks = []
    for row in rows:
        data = {"text": row.text, "uncertainty": round(row.score, 4)}
        if row.pair is not None:
            data["text_pair"] = row.pair
        names = {"from_name": "label", "to_name": "text"}
        if row.label is not None:
            result = [{**names, "type": "choices", "value": {"choices": [row.label]}}]
        else:
            result = [
                {
                    **names,
                    "type": "labels",
                    "value": {
                        "start": start, "end": end, "text": row.text[start:end], "labels": [kind],
                    },
                }
                for start, end, kind in row.spans
            ]  # fmt: skip
        prediction = {"model_version": model, "score": 1 - min(1.0, row.score), "result": result}
        tasks.append({"data": data, "predictions": [prediction]})
    return (json.dumps(tasks, ensure_ascii=False, indent=1) + "\n").encode()
