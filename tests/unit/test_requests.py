"""Requests of a service, and its answers, without HTTP."""

import json
from typing import Any

import pytest

from xlt_ray.commands.requests import Refusal, answer_of, texts_of
from xlt_ray.data.schema import Task
from xlt_ray.engine.labeller import Prediction, Span


def read(asked: Any, task: Task = "token", max_rows: int = 3) -> list[tuple[str, ...]]:
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    return [text.parts for text in texts_of(body, task, words="marks", max_rows=max_rows)]


def test_rows_of_all_forms() -> None:
    assert read({"texts": ["In Ulm.", ["In", "Ulm."]]}) == [("In", "Ulm", "."), ("In", "Ulm.")]
    assert read({"texts": ["In Ulm."], "words": "blanks"}) == [("In", "Ulm.")]
    pairs = [["One.", "Two."], {"premise": "One.", "hypothesis": "Two."}]
    assert read({"texts": pairs}, "pair") == [("One.", "Two."), ("One.", "Two.")]
    assert read({"texts": []}, "sentence") == []


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b"\xff\xfe", 400, "the body is not JSON"),
        (b"[" * 200_000, 400, "too many levels"),
        (b'{"texts": [' + b"1" * 5000 + b"]}", 400, "the body is not JSON"),
        ([], 422, "the body is [], needed: an object"),
        ({}, 422, "texts: missing"),
        ({"text": ["a"]}, 422, "'text': unknown field; allowed: texts, words"),
        ({"texts": "In Ulm"}, 422, "texts: 'In Ulm' is no list of rows"),
        ({"texts": None}, 422, "texts: None is no list"),
        ({"texts": ["a", 5]}, 422, "texts[1]: 5 is no row of a token task; allowed: a text"),
        ({"texts": ["a", ["b", None]]}, 422, "texts[1]: token None is not a string"),
        ({"texts": ["\ud800"]}, 422, "texts[0]: text b'\\xed\\xa0\\x80' is not valid UTF-8"),
        ({"texts": ["a"] * 4}, 413, "texts: 4 rows, serve.max_rows=3 at most"),
        ({"texts": ["a"], "words": "x"}, 422, "words: 'x'; allowed: blanks, marks, characters"),
        ({"texts": ["a"], "words": ["x"]}, 422, "words: ['x']; allowed"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(body: Any, status: int, reason: str) -> None:
    with pytest.raises(Refusal) as raised:
        read(body)
    assert raised.value.status == status
    assert reason in raised.value.message
    assert "Traceback" not in raised.value.message


@pytest.mark.parametrize("depth", range(800, 1001, 10))
def test_no_depth_is_an_error_of_the_service(depth: int) -> None:
    """What can be parsed just so cannot always be shown."""
    with pytest.raises(Refusal):
        read(b'{"texts": [' + b"[" * depth + b"]" * depth + b"]}")


def test_a_model_of_texts_has_no_words() -> None:
    with pytest.raises(Refusal, match="words: this model labels no words"):
        read({"texts": ["a"], "words": "marks"}, "sentence")


def test_answers_have_the_fields_of_predictions() -> None:
    span = Span("LOC", 3, 6, "Ulm", 0.5)
    words = Prediction("In Ulm", None, 0.5, ("In", "Ulm"), ("O", "B-LOC"), (0.75, 0.5), (span,))
    doubtful = Prediction("good", "pos", 0.25, uncertainty={"vacuity": (0.5,)})
    answer = json.loads(json.dumps(answer_of([words, doubtful, Prediction("x", "neg", 1.0)])))
    assert answer == {
        "predictions": [
            {
                "text": "In Ulm",
                "confidence": 0.5,
                "words": ["In", "Ulm"],
                "labels": ["O", "B-LOC"],
                "confidences": [0.75, 0.5],
                "spans": [{"label": "LOC", "start": 3, "end": 6, "text": "Ulm", "confidence": 0.5}],
            },
            {"text": "good", "label": "pos", "confidence": 0.25, "uncertainty": {"vacuity": [0.5]}},
            {"text": "x", "label": "neg", "confidence": 1.0},
        ]
    }
