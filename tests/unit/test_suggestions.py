"""Suggested labels in the files of annotation tools, and what is read of them again."""

import json
from pathlib import Path

from xlt_ray.data.readers.user_files import UserSource
from xlt_ray.data.schema import Example, Task
from xlt_ray.labels import LabelSet
from xlt_ray.report.suggestions import Suggestion, doccano, label_studio

ENTITIES = Suggestion("Anna saw الخرطوم today", None, None, ((0, 4, "PER"), (9, 16, "LOC")), 1.25)
NOTHING = Suggestion("nothing here", None, None, (), 0.5)
CLASS = Suggestion("fine", None, "positive", (), 0.25)
PAIR = Suggestion("a", "b", "neutral", (), 0.25)


def read(path: Path, task: Task, labels: tuple[str, ...]) -> list[Example]:
    source = UserSource((str(path),), "x", "train", task)
    rows = list(source.examples(LabelSet(labels)))
    assert all(isinstance(row, Example) for row in rows), rows
    return rows  # type: ignore[return-value]


def test_doccano_has_spans_by_characters_and_is_read_again(tmp_path: Path) -> None:
    content = doccano([ENTITIES, NOTHING])
    first, second = map(json.loads, content.decode().splitlines())
    assert first == {
        "text": ENTITIES.text,
        "label": [[0, 4, "PER"], [9, 16, "LOC"]],
        "uncertainty": 1.25,
    }
    assert second["label"] == []
    path = tmp_path / "asked.jsonl"
    path.write_bytes(content)
    one, other = read(path, "token", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    assert one.tokens == ("Anna", "saw", "الخرطوم", "today")
    assert one.labels == (1, 0, 3, 0)
    assert other.labels == (0, 0)


def test_classes_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_bytes(doccano([CLASS]))
    (row,) = read(path, "sentence", ("negative", "positive"))
    assert (row.text, row.labels) == ("fine", 1)
    path.write_bytes(doccano([PAIR]))
    (row,) = read(path, "pair", ("entailment", "neutral"))
    assert (row.text, row.text_pair, row.labels) == ("a", "b", 1)


def test_label_studio_has_predictions(tmp_path: Path) -> None:
    one, other = json.loads(label_studio([ENTITIES, CLASS], "mine"))
    assert one["data"] == {"text": ENTITIES.text, "uncertainty": 1.25}
    (prediction,) = one["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("mine", 0.0)
    assert [found["value"] for found in prediction["result"]] == [
        {"start": 0, "end": 4, "text": "Anna", "labels": ["PER"]},
        {"start": 9, "end": 16, "text": "الخرطوم", "labels": ["LOC"]},
    ]
    assert other["predictions"][0]["result"][0]["value"] == {"choices": ["positive"]}
    # A person takes them as they are: the tool exports the same under `annotations`.
    done = [{**task, "annotations": task.pop("predictions")} for task in (one,)]
    path = tmp_path / "done.json"
    path.write_text(json.dumps(done))
    (row,) = read(path, "token", ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
    assert row.labels == (1, 0, 3, 0)
