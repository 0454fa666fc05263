"""Sentences of words that are read in translation, and labels that are brought back to them."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.test_project import COMMON, HERE, NER, OWN, committed, corpus_of, encoder_of, put
from tests.world import World
from xlt_ray.data.benchmarks.toy import LABELS, make_source
from xlt_ray.data.schema import GOLD_SCHEMA, Example
from xlt_ray.engine.bring_back import BringBackTask, run_bring_back
from xlt_ray.engine.mark import MarkTask, run_mark
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.engine.translate import Route, TranslateTask, run_translate
from xlt_ray.engine.words_in_translation import ReplaceTask, run_replace
from xlt_ray.labels import LabelSet
from xlt_ray.store.artifacts import Artifact, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def sentences(task: str, count: int) -> list[dict[str, Any]]:
    """Rows of the toy source language, each with its labels."""
    labels = LabelSet(LABELS[task])
    found = make_source(task, OWN, "train", {"train": count}).examples(labels)
    return [
        {"id": x.id, "language": OWN, "tokens": list(x.tokens or ()), "labels": list(x.labels)}  # type: ignore[arg-type]
        for x in found
        if isinstance(x, Example)
    ]


def read_with_one_more(store: Store, text: Artifact) -> tuple[Artifact, Artifact]:
    """A text as running text, and its translation: the last word first, then all of them."""
    mark = MarkTask(attempt=store.attempt("marked", "m"), text=text, gold=None, labels=NER,
                    brackets=False, bare=True)  # fmt: skip
    running = committed(store, mark, run_mark(mark))
    own = running.table()["text"].to_pylist()
    table = pa.table({"text": own, "pivot": [f"{x.split()[-1]} {x}" for x in own]})
    ready = put(store, "backbone", "ready", {f"{OWN}.parquet": table})
    made = TranslateTask(
        attempt=store.attempt("translation", "t"), text=running, task="sentence", whole=True,
        routes={OWN: Route(OWN, "xx", ready=ready, column="pivot", must=True)}, codes={}, beams=1,
        max_new_tokens=8, **COMMON,
    )  # fmt: skip
    return running, committed(store, made, run_translate(made, HERE, limit=0))


def replaced(store: Store, text: Artifact, translation: Artifact, *languages: str) -> Artifact:
    name = f"of {languages}"
    task = ReplaceTask(attempt=store.attempt("replaced", name), text=text, translation=translation,
                       languages=languages, cut="blanks")  # fmt: skip
    return committed(store, task, run_replace(task))


def labelled(store: Store, rows: list[dict[str, Any]]) -> Artifact:
    """What a model says that is always right about what it reads."""
    found = [{"id": x["id"], "language": OWN, "labels": [x["labels"][-1], *x["labels"]]}
             for x in rows]  # fmt: skip
    table = pa.Table.from_pylist(found, schema=GOLD_SCHEMA["token"])
    return put(store, "annotation", "a", {"part-000000.parquet": table}, rows=len(rows))


def brought(store: Store, **parts: Any) -> Artifact:
    values: dict[str, Any] = {
        "languages": (OWN,), "pivot": "xx", "labels": NER, "layer": 1, "threshold": 1e-3,
        "max_length": 64, **COMMON, **parts,
    }  # fmt: skip
    task = BringBackTask(attempt=store.attempt("brought-back", "b"), **values)
    return committed(store, task, run_bring_back(task, HERE, limit=0))


def test_words_of_the_translation_stand_where_those_of_the_text_stood(store: Store) -> None:
    """In files and rows of the same names; text of other languages stays as it is."""
    rows = sentences("ner", 5)
    text, _ = corpus_of(store, rows)
    running, translation = read_with_one_more(store, text)
    assert running.info["rows"] == 5
    made = replaced(store, text, translation, OWN)
    assert [x.text_name for x in shards_of(made)] == [x.text_name for x in shards_of(text)]
    assert made.table()["id"].to_pylist() == [x["id"] for x in rows]
    assert made.table()["tokens"].to_pylist() == [[x["tokens"][-1], *x["tokens"]] for x in rows]
    assert made.info == {"rows": 5, "rows_by_language": {OWN: 5}}
    kept = replaced(store, text, translation, "other")
    assert kept.table()["tokens"].to_pylist() == [x["tokens"] for x in rows]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "share"), [("ner", 0.85), ("tagging", 0.8)])
def test_labels_come_back_to_the_words_that_they_are_of(
    store: Store, world: World, task: str, share: float
) -> None:
    """Each word of these sentences stands in its translation, though a place later, and the encoder
    is tiny."""
    labels, rows = LabelSet(LABELS[task]), sentences(task, 40)
    text, _ = corpus_of(store, rows)
    _, translation = read_with_one_more(store, text)
    read = replaced(store, text, translation, OWN)
    parts = {"text": text, "read": read, "labels": labels, "encoder": encoder_of(store, world)}
    predicted = labelled(store, rows)
    made = brought(store, predicted=predicted, **parts)
    found = dict(zip(*(made.table()[x].to_pylist() for x in ("id", "labels")), strict=True))
    pairs = [(a, b) for x in rows for a, b in zip(x["labels"], found[x["id"]], strict=True)]
    same = [a == b for a, b in pairs if not labels.is_bio or a or b]
    assert sum(same) >= share * len(same)
    assert made.info["rows"] == 40
    assert share * made.info["given"] <= made.info["back"] <= made.info["given"]


def test_other_languages_keep_their_labels(store: Store) -> None:
    """No encoder is loaded for them; a row that nobody labelled has none."""
    rows = sentences("ner", 5)
    text, gold = corpus_of(store, rows)
    table = gold.table().slice(1)
    predicted = put(store, "annotation", "a", {"part-000000.parquet": table}, rows=4)
    _, translation = read_with_one_more(store, text)
    read = replaced(store, text, translation)
    made = brought(store, text=text, read=read, predicted=predicted, encoder=text, languages=())
    assert made.table()["labels"].to_pylist() == [x["labels"] for x in rows[1:]]
    assert made.info == {"rows": 4, "given": 0, "back": 0}
