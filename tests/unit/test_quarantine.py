"""Rows that are lost: whoever looks for them finds why they are missing."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.encoders import tokenised
from xlt_ray.data.keyed import in_common
from xlt_ray.data.quarantine import LostRow, lost_rows, write_lost
from xlt_ray.engine.derive import DeriveTask, ScoreTask, derive, score_predictions
from xlt_ray.labels import LabelSet
from xlt_ray.methods.hard import vote
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, View
from xlt_ray.store.artifacts import Artifact, Store

SHARD = "part-000000.parquet"
SECOND = LostRow("s0001", "xx", SHARD, 2)


def made(
    store: Store, kind: str, name: str, table: pa.Table, *lost: LostRow, file: str = SHARD
) -> Artifact:
    attempt = store.attempt(kind, name)
    attempt.write_table(file, table)
    write_lost(attempt, lost)
    return store.commit(attempt, {"info": {"rows": len(table)}, "seconds": 0.0})


def said(*rows: int) -> pa.Table:
    """Labels of rows of one word: row n has label n % 2."""
    return pa.table(
        {
            "id": pa.array([f"s{row:04d}" for row in rows], pa.string()),
            "language": pa.array(["xx"] * len(rows), pa.string()),
            "labels": pa.array([[row % 2] for row in rows], pa.list_(pa.int16())),
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_lost_rows_are_told_once_and_in_order(store: Store) -> None:
    first = LostRow("s0000", "yy", SHARD, 1)
    one = made(store, "annotation", "one", said(2), SECOND, first)
    two = made(store, "annotation", "two", said(0, 2), SECOND)
    assert lost_rows(one, two) == [first, SECOND]
    assert lost_rows(made(store, "annotation", "all", said(0, 1))) == []
    line = json.loads(one.read("quarantine-xx.jsonl"))
    assert (line["id"], line["file"], line["line"]) == ("s0001", SHARD, 2)
    assert "died" in line["reason"]


def test_rows_that_could_not_be_read_have_no_id(store: Store) -> None:
    attempt = store.attempt("text", "t")
    attempt.write("quarantine-xx.jsonl", b'{"file": "a", "line": 3, "reason": "torn"}\n')
    assert lost_rows(store.commit(attempt, {"info": {}, "seconds": 0.0})) == []


def test_a_corpus_is_without_rows_that_its_columns_lost(store: Store) -> None:
    """And a row that is missing for no reason is an error."""
    tokens = made(store, "tokens", "t", tokenised([[[5]], [[6]], [[7]]]))

    def view(annotation: Artifact) -> View:
        columns = JoinedColumns("teacher", annotation, ("labels",))
        return View(Corpus(tokens).with_columns(columns))

    lacking = made(store, "annotation", "lost", said(0, 2), SECOND)
    assert view(lacking).shard(SHARD)["id"].to_pylist() == ["s0000", "s0002"]
    assert Corpus(tokens).with_columns(JoinedColumns("t", lacking, ())).is_whole
    assert not Corpus(tokens).of("xx").is_whole
    with pytest.raises(ValueError, match="1 rows without teacher, such as s0001"):
        view(made(store, "annotation", "torn", said(0, 2))).shard(SHARD)


def test_rows_that_all_tables_have() -> None:
    found = in_common(said(0, 1, 2, 3), said(3, 1, 0), said(0, 3, 2))
    assert [table["id"].to_pylist() for table in found] == [["s0000", "s0003"]] * 3
    assert in_common(said(1, 0)) == [said(1, 0)]
    assert [len(table) for table in in_common(said(), said(1))] == [0, 0]


def test_a_vote_is_about_rows_that_all_sources_have(store: Store) -> None:
    sources = [made(store, "annotation", "a", said(0, 2), SECOND),
               made(store, "annotation", "b", said(0, 1, 2))]  # fmt: skip
    told: dict[str, Any] = {"names": ["a", "b"], "columns": [], "language": "xx", "num_classes": 2}
    task = DeriveTask(function=vote, artifacts=tuple(sources), arguments=told)
    task = task.into(store.attempt("derived", "v"))
    info = derive(task)
    voted = store.commit(task.out, {"info": info, "seconds": 0.0})
    assert voted.table()["id"].to_pylist() == ["s0000", "s0002"]
    assert lost_rows(voted) == [SECOND]


def test_lost_rows_are_not_scored_and_told(store: Store) -> None:
    gold = made(store, "gold", "g", said(0, 1, 2), file="gold-xx.parquet")
    predicted = made(store, "annotation", "p", said(0, 2), SECOND)
    task = ScoreTask(predicted=predicted, gold=gold, metric="accuracy", labels=LabelSet(("a", "b")))
    found = score_predictions(task.into(store.attempt("scores", "s")))
    assert found["quarantined"] == 1
    assert found["scores"]["xx"]["support"] == 2
    torn = made(store, "annotation", "torn", said(0, 2))
    task = ScoreTask(predicted=torn, gold=gold, metric="accuracy", labels=LabelSet(("a", "b")))
    with pytest.raises(AssertionError, match="gold rows without predictions"):
        score_predictions(task.into(store.attempt("scores", "torn")))
