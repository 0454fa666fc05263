"""Votes of labellers in files: forms of rows, how texts are found, what is missing, what is bad."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.base import NamedSource
from xlt_ray.data.readers.rows import RowError
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.readers.votes import labellers_in, own_fields, vote_of
from xlt_ray.engine.votes import VotesTask, run_votes
from xlt_ray.labels import LabelSet
from xlt_ray.store.artifacts import Artifact, Store

LABELS = LabelSet(("O", "B-X", "I-X"))
ROWS = {"xx": [["Ann", "Lee", "rests", "."], ["in", "Ulm"], ["in", "Ulm"]], "yy": [["Rio"]]}


def text_of(store: Store, rows: Mapping[str, Sequence[Any]], fields: str = "tokens") -> Artifact:
    attempt = store.attempt("text", fields)
    for language, texts in rows.items():
        names = [f"{language}-unlabelled-id-{number}" for number in range(len(texts))]
        table = {"id": names, "language": [language] * len(texts), fields: list(texts)}
        attempt.write_table(f"text-{language}.parquet", pa.table(table))
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


def task_of(folder: Path, path: Path, **changes: Any) -> VotesTask:
    store = Store(str(folder / "store"))
    source = UserSource(
        (str(path),), "anna", "votes", changes.get("task", "token"),
        columns=changes.pop("columns", {}), called="labellers.anna.file",
    )  # fmt: skip
    task = VotesTask(
        text=changes.pop("text", None) or text_of(store, ROWS), languages=("xx", "yy"),
        task="token", labels=LABELS, name="anna", column=None, source=NamedSource.of(source),
        max_bad_fraction=0.5,
    )  # fmt: skip
    return replace(task, attempt=store.attempt("annotation", "votes"), **changes)


def found_by(task: VotesTask) -> tuple[dict[str, Any], list[list[int]], list[Any]]:
    facts = run_votes(task)
    assert task.attempt is not None
    made = Store(task.text.root).commit(task.attempt, {"info": {}, "seconds": 0.0})
    rows = [row for name in made.names if name.endswith("parquet") for row in
            made.shard(name).to_pylist()]  # fmt: skip
    return facts, [row["labels"] for row in rows], [row["probs"] for row in rows]


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "votes.jsonl"
    path.write_text("".join(f"{x if isinstance(x, str) else json.dumps(x)}\n" for x in rows))
    return path


N = -100
WANTED = [[1, 2, 0, 0], [0, 1], [0, 1], [N]]


@pytest.mark.parametrize(
    "rows",
    [
        [{"tokens": ROWS["xx"][0], "labels.anna": ["B-X", "I-X", "O", "O"], "labels.ben": ["O"]},
         {"tokens": ["in", "Ulm"], "labels.anna": ["O", "B-X"]},
         {"tokens": ["Rio"], "labels.ben": ["O"]}],
        [{"tokens": ROWS["xx"][0], "labels": {"anna": ["B-X", "I-X", "O", "O"], "ben": ["O"]}},
         {"tokens": ["in", "Ulm"], "labels": {"anna": ["O", "B-X"]}}],
        [{"text": "Ann Lee rests.", "entities": [{"start": 0, "end": 7, "label": "X"}]},
         {"text": "in Ulm", "label": [[3, 6, "X"]]}],
        [{"text": "Ann  Lee rests.", "labels.anna": [[0, 8, "X"]], "labels.ben": []},
         {"text": "in Ulm", "labels.anna": [{"start": 3, "end": 6, "label": "X"}]}],
        [{"tokens": ROWS["xx"][0], "prediction": ["B-X", "I-X", "O", "O"], "labeller": "anna"},
         {"tokens": ROWS["xx"][0], "prediction": ["O", "O", "O", "O"], "labeller": "ben"},
         {"tokens": ["in", "Ulm"], "labels": ["O", "B-X"], "labeller": "anna"}],
        [{"id": "xx-unlabelled-id-0", "labels": ["B-X", "I-X", "O", "O"]},
         {"id": "1", "labels": ["O", "B-X"]}],
        [{"tokenized_text": ROWS["xx"][0], "ner": [[0, 1, "X"]]},
         {"tokens": ["in", "Ulm"], "labels": ["O", "B-X"]}],
    ],
    ids=["columns", "by-name", "spans", "span-columns", "whose", "ids", "gliner"],
)  # fmt: skip
def test_the_forms_of_a_row(rows: list[Any], tmp_path: Path) -> None:
    """Rows of equal text have equal votes; a row without a vote has none."""
    facts, labels, probs = found_by(task_of(tmp_path, jsonl(tmp_path, *rows)))
    assert labels == WANTED
    assert facts == {"rows": 4, "voted": 3, "of_other_texts": 0, "quarantined": 0}
    assert probs[1] == [[1, 0, 0], [0, 1, 0]]
    assert probs[3] == [[0, 0, 0]]


@pytest.mark.parametrize("column", ["2", "-1", "anna"])
def test_a_column_beside_the_words(column: str, tmp_path: Path) -> None:
    """A word without a vote; a sentence of another text."""
    path, lines = tmp_path / "votes.conll", [["token", "anna" if column != "-1" else "ben"]]
    lines += [["Ann", "B-X"], ["Lee", "?"], ["rests", "O"], [".", "O"], [], ["in", "_"],
              ["Ulm", "B-X"], [], ["gone", "O"], []]  # fmt: skip
    other = [[*line[:1], "O", *line[1:]] if column == "-1" and line else line for line in lines]
    path.write_text("".join("\t".join(line) + "\n" for line in other[column != "anna" :]))
    task = task_of(tmp_path, path, columns={"tag": column})
    facts, labels, probs = found_by(task)
    assert labels == [[1, N, 0, 0], [N, 1], [N, 1], [N]]
    assert probs[0][1] == [0, 0, 0]
    assert facts["of_other_texts"] == 1


def test_columns_of_parquet(tmp_path: Path) -> None:
    table = pa.table({
        "tokens": [ROWS["xx"][0], ["Rio"]],
        "labels.anna": [None, ["B-X"]],
        "confidence.anna": [None, 0.8],
    })  # fmt: skip
    pq.write_table(table, tmp_path / "votes.parquet")
    facts, labels, probs = found_by(task_of(tmp_path, tmp_path / "votes.parquet"))
    assert labels == [[N] * 4, [N, N], [N, N], [1]]
    assert facts["voted"] == 1
    assert probs[3][0] == pytest.approx([0.1, 0.8, 0.1], abs=1e-3)


def test_classes_of_texts(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    text = text_of(store, {"xx": ["good film", "bad film"], "yy": ["so so"]}, "text")
    path = jsonl(tmp_path, {"text": "bad  film", "labels.anna": "no", "confidence.anna": 0.6},
                 {"text": "good film", "label": "yes", "labeller": "anna"})  # fmt: skip
    labels = LabelSet(("no", "yes"))
    facts, found, probs = found_by(
        task_of(tmp_path, path, text=text, task="sentence", labels=labels)
    )
    assert found == [[1], [0], [N]]
    assert probs[1][0] == pytest.approx([0.6, 0.4], abs=1e-3)
    assert facts["voted"] == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("no JSON", "no valid JSON"),
        ({"tokens": ["Rio"], "labels": ["O", "O"]}, "one for each of 1 words is needed"),
        ({"tokens": ["Rio"], "labels": ["B-Y"]}, "unknown tag 'B-Y', allowed: O, B-X, I-X"),
        ({"tokens": ["Rio"], "labels": ["O"], "prediction": ["O"]}, "which has the labels?"),
        ({"tokens": ["Rio"], "labels": ["O"], "confidence": 1.5}, "allowed: numbers from 0 to 1"),
        ({"tokens": ["Rio"], "labels": ["O"], "confidence": [1, 1]}, "1 numbers are needed"),
        ({"tokens": ["Rio"], "probs": [[0.5, 0.1, 0.1]]}, "do not sum to 1"),
        ({"text": "Rio", "labels": [[0, 9, "X"]]}, "is not within the 3 characters"),
        ({"labels": ["O"]}, "fields"),
    ],
)
def test_a_bad_row_is_quarantined(row: Any, message: str, tmp_path: Path) -> None:
    good = {"tokens": ["in", "Ulm"], "labels": ["O", "B-X"]}
    task = task_of(tmp_path, jsonl(tmp_path, row, good))
    facts, labels, _ = found_by(task)
    assert labels[1] == [0, 1]
    assert facts["quarantined"] == 1
    made = Store(task.text.root).find("annotation", "votes")
    assert made is not None
    (line,) = made.read("quarantine-anna.jsonl").decode().splitlines()
    assert message in json.loads(line)["reason"]
    assert json.loads(line)["line"] == 1
    again = task_of(tmp_path / "2", jsonl(tmp_path, row, good), max_bad_fraction=0.4)
    with pytest.raises(ConfigError, match=r"1 of 2 rows .* labellers\.anna\.max_bad_fraction"):
        run_votes(again)


def test_votes_about_nothing_are_an_error(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"tokens": ["elsewhere"], "labels": ["O"]})
    with pytest.raises(ConfigError, match="none of the 1 rows is a vote of anna about the unlab"):
        run_votes(task_of(tmp_path, path))
    path = jsonl(tmp_path, {"id": "0", "labels": ["O"]})
    with pytest.raises(ConfigError, match="id 0 is of several rows"):
        run_votes(task_of(tmp_path / "2", path))
    path.write_text(json.dumps({"id": "0", "language": "yy", "labels": ["O"]}))
    assert found_by(task_of(tmp_path / "3", path))[1][3] == [0]


def test_a_file_that_is_edited_ends_it(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"tokens": ["Rio"], "labels": ["O"]})
    task = task_of(tmp_path, path)
    path.write_text(json.dumps({"tokens": ["Rio"], "labels": ["B-X"]}))
    with pytest.raises(ConfigError, match="has changed while the run was reading it"):
        run_votes(task)


def test_whose_rows_they_are() -> None:
    assert labellers_in({"labels.anna": 1, "labels.ben": 2, "labels": {"cy": 3}}) == [
        "anna", "ben", "cy",
    ]  # fmt: skip
    assert labellers_in({"labeller": "di", "labels": ["O"]}) == ["di"]
    assert own_fields({"labels.ben": ["O"]}, "anna", None) is None
    assert own_fields({"labels": ["O"]}, "anna", "labels.x") is None
    assert own_fields({"mine": ["O"], "labels": ["B-X"]}, "anna", "mine") == {"labels": ["O"]}
    assert own_fields({"probs": [[1, 0]]}, "anna", None) == {"labels": None, "probs": [[1, 0]]}


def test_probabilities_may_be_given() -> None:
    own = {"probs": [[0.2, 0.5, 0.3], [0.6, 0.4, 0]]}
    vote = vote_of(own, {"tokens": ["a", "b"]}, "token", LABELS, own)
    assert vote is not None
    assert vote.labels.tolist() == [1, 0]
    assert np.allclose(vote.probs, own["probs"], atol=1e-3)
    gone = vote_of({"labels": [None, "?"]}, {"tokens": ["a", "b"]}, "token", LABELS, {})
    assert gone is None
    with pytest.raises(RowError, match="another one than that of the row"):
        vote_of({"labels": [[0, 1, "X"]]}, {"tokens": ["a"]}, "token", LABELS, {"text": "b"})
