"""Entities that are marked in a text, in every form that annotation tools write; words of texts."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from xlt_ray.data.readers.json_array import json_rows
from xlt_ray.data.readers.rows import RowError
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.readers.words import Cut, word_places
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet

LABELS = LabelSet(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))
TEXT = "Ada Byron left Rome."
WORDS = ("Ada", "Byron", "left", "Rome", ".")
TAGS = ["B-PER", "I-PER", "O", "B-LOC", "O"]
SPANS = [(0, 9, "PER"), (15, 19, "LOC")]

LISTS = [list(item) for item in SPANS]
FORMS: dict[str, Any] = {
    "doccano": {"id": 1, "text": TEXT, "label": LISTS},
    "doccano, labels": {"text": TEXT, "labels": LISTS},
    "doccano, relations": {
        "id": 4, "text": TEXT, "relations": [], "Comments": [],
        "entities": [{"id": n, "label": t, "start_offset": a, "end_offset": b}
                     for n, (a, b, t) in enumerate(SPANS)],
    },
    "Label Studio": {
        "id": 7, "data": {"text": TEXT}, "predictions": [],
        "annotations": [
            {"was_cancelled": True, "result": []},
            {"result": [{"type": "labels", "from_name": "label", "to_name": "text",
                         "value": {"start": a, "end": b, "text": TEXT[a:b], "labels": [t]}}
                        for a, b, t in SPANS]},
        ],
    },
    "Label Studio, short": {
        "text": TEXT, "id": 3, "annotator": 1, "lead_time": 2.5,
        "label": [{"start": a, "end": b, "text": TEXT[a:b], "labels": [t]} for a, b, t in SPANS],
    },
    "spaCy": [TEXT, {"entities": LISTS}],
    "Prodigy": {
        "text": TEXT, "answer": "accept", "_input_hash": 1,
        "tokens": [{"text": word, "id": n} for n, word in enumerate(WORDS)],
        "spans": [{"start": a, "end": b, "label": t, "token_start": 0} for a, b, t in SPANS],
    },
    "GLiNER": {"tokenized_text": list(WORDS), "ner": [[0, 1, "PER"], [3, 3, "LOC"]]},
}  # fmt: skip


def read(path: Path, labels: LabelSet | None = LABELS) -> tuple[list[Example], list[BadRow]]:
    rows = list(UserSource((str(path),), "de", "train", "token").examples(labels))
    return (
        [row for row in rows if isinstance(row, Example)],
        [row for row in rows if isinstance(row, BadRow)],
    )


@pytest.mark.parametrize("ending", ["jsonl", "json"])
@pytest.mark.parametrize("form", FORMS)
def test_entities_of_every_form_are_read_alike(tmp_path: Path, form: str, ending: str) -> None:
    path, row = tmp_path / f"a.{ending}", FORMS[form]
    path.write_text(json.dumps([row], indent=1) if ending == "json" else f"{json.dumps(row)}\n")
    (good,), bad = read(path)
    assert not bad
    assert good.tokens == WORDS
    assert good.labels == tuple(map(LABELS.index, TAGS))
    ((plain,), _) = read(path, None)
    assert (plain.tokens, plain.id) == (good.tokens, good.id), "text does not depend on entities"


@pytest.mark.parametrize(
    ("entities", "reason"),
    [
        ([[0, 3, "PER"], [2, 9, "LOC"]], "entities LOC and PER share a word|entities PER and LOC"),
        ([[15, 99, "LOC"]], r"entity \[15, 99, 'LOC'\] is not within the 20 characters of its"),
        ([[3, 3, "LOC"]], "is not within"),
        ([[9, 10, "LOC"]], r"entity \[9, 10, 'LOC'\] has no word"),
        ([[0, 3, ""]], "has no type, or several"),
        ([{"start": 0, "end": 3, "labels": ["PER", "LOC"]}], "has no type, or several"),
        ([["0", 3, "PER"]], "needed: start, end and type"),
        ([[0, 3, "GPE"]], "unknown tag 'B-GPE', allowed: "),
    ],
)
def test_entities_that_are_none_make_a_bad_row(
    tmp_path: Path, entities: list[Any], reason: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": TEXT, "label": entities}) + "\n")
    good, (bad,) = read(path)
    assert not good
    assert re.search(reason, bad.reason), bad.reason


def test_an_entity_that_ends_within_a_word_has_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "in Romes Gassen", "label": [[3, 7, "LOC"]]}) + "\n")
    ((row,), _) = read(path)
    assert row.labels == (0, 1, 0)


def test_an_entity_marked_twice_is_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "in Rome", "label": [[3, 7, "LOC"]] * 2}) + "\n")
    ((row,), _) = read(path)
    assert row.labels == (0, 1)


@pytest.mark.parametrize(
    ("text", "cut", "words"),
    [
        ("Ja, Dr. Ann's", "marks", ["Ja", ",", "Dr", ".", "Ann", "'", "s"]),
        ("他住在東京。", "marks", [*"他住在東京。"]),
        ("東京タワーは高い", "marks", [*"東京タワーは高い"]),
        ("กำลังไป", "marks", ["กำ", "ลั", "ง", "ไ", "ป"]),
        ("서울에서 왔다", "marks", ["서울에서", "왔다"]),
        ("नमस्ते दुनिया।", "marks", ["नमस्ते", "दुनिया", "।"]),
        ("e\u0301a!", "characters", ["e\u0301", "a", "!"]),
        ("1\ufe0f\u20e3 x", "marks", ["1\ufe0f\u20e3", "x"]),
        ("𠮷野家", "blanks", ["𠮷野家"]),
        (" \u3000a\u00a0b ", "marks", ["a", "b"]),
        ("", "marks", []),
    ],
)
def test_words_of_every_script(text: str, cut: Cut, words: list[str]) -> None:
    places = word_places(text, cut)
    assert [text[a:b] for a, b in places] == words
    assert all(one[1] <= other[0] for one, other in pairwise(places))


def chunks(text: str, size: int) -> list[bytes]:
    raw = text.encode()
    return [raw[start : start + size] for start in range(0, len(raw), size)]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_rows_of_json_come_however_the_file_is_read(size: int) -> None:
    rows = [{"text": "größer ]},{", "n": n} for n in range(4)]
    expected = list(enumerate(rows, 1))
    for text in (
        json.dumps(rows, ensure_ascii=False, indent=2),
        "\ufeff" + json.dumps(rows),
        "\n".join(map(json.dumps, rows)),
    ):
        assert list(json_rows(chunks(text, size), 1000)) == expected
    assert list(json_rows(chunks("[]", size), 1000)) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"a": 1}, {"a": }]', "no valid JSON: Expecting value at character 18"),
        ('[{"a": 1}', "no valid JSON: the array does not end"),
        ('[{"a": 1', "no valid JSON: .* at character"),
    ],
)
@pytest.mark.parametrize("size", [3, 1000])
def test_json_that_is_none_says_where(text: str, reason: str, size: int) -> None:
    with pytest.raises(ValueError, match=reason):
        list(json_rows(chunks(text, size), 1000))


def test_a_row_of_json_that_is_too_large_is_an_error_of_the_row() -> None:
    """And no other row is lost; a file in which no row ends is not read to its end."""
    text = json.dumps([{"a": 1}, {"a": "x" * 500}, {"a": 2}])
    first, large, last = json_rows(chunks(text, 50), 100)
    assert (first, last) == ((1, {"a": 1}), (3, {"a": 2}))
    assert isinstance(large[1], RowError)
    with pytest.raises(ValueError, match=r"row 2: the row has more than 100 bytes; data\.max_row"):
        list(json_rows(chunks('[{"a": 1}, {"a": "' + "x" * (1 << 21), 1 << 18), 100))
