"""Predictions as files: rows, order and format of the input stay, rows that are bad are told."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from tests.encoders import commit
from xlt_ray.commands import predict
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.base import NamedSource
from xlt_ray.data.readers.files import DataFile
from xlt_ray.data.readers.user_files import UserSource
from xlt_ray.data.schema import Example
from xlt_ray.engine.write_predictions import WriteTask, format_of, write_file
from xlt_ray.store.artifacts import Store
from xlt_ray.store.files import placed

LABELS = ("O", "B-X", "I-X")


def said_of(store: Path, source: UserSource, shard_rows: int = 2) -> tuple[Any, list[str]]:
    """An annotation of a file's good rows, in shards: row n has class n % 3, sure to n / 10."""
    good = [row for row in source.examples(None) if isinstance(row, Example)]
    rows = []
    for number, row in enumerate(good):
        count = len(row.tokens or ("",))
        said = {"labels": [number % 3] * count, "confidence": [number / 10] * count}
        rows.append({"id": row.id, "language": row.language, **said})
    tables = {
        f"part-{at:06d}": pa.Table.from_pylist(rows[at : at + shard_rows])
        for at in range(0, len(rows), shard_rows)
    }
    artifact = commit(Store(str(store)), "annotation", f"said-{len(rows)}", tables)
    return artifact, sorted(artifact.names)


def task_of(
    source: UserSource, shards: list[str], name: str, said: Any, to: Path, form: Any = None
) -> WriteTask:
    return WriteTask(
        sources=[NamedSource.of(source)], shards=[shards], names=[name], annotation=said,
        labels=LABELS, columns=("confidence",), to=str(to), format=form,
    )  # fmt: skip


def written(folder: Path, path: Path, task: str = "token", form: Any = None) -> tuple[Path, Any]:
    """What is written for a file, and the counts."""
    source = UserSource((str(path),), "f0", "unlabelled", task)  # type: ignore[arg-type]
    annotation, shards = said_of(folder / "store", source)
    name = f"out.{form or format_of(path.name, task)}"
    job = task_of(source, shards, name, annotation, folder / "to", form)
    return folder / "to" / name, write_file(job, 0)


def test_columns_keep_their_sentences_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_bytes(b"a\tO\nb\tB-Y\n\nCaf\xe9\tO\nx\tO\n\n-DOCSTART-\n\nc\tO\n\nd\tO\n")
    out, counts = written(tmp_path, path)
    assert out.read_bytes() == (
        b"a\tO\t0.0000\nb\tO\t0.0000\n\nCaf\xe9\t?\nx\t?\n\nc\tB-X\t0.1000\n\nd\tI-X\t0.2000\n\n"
    )
    assert counts == {"name": "out.conll", "rows": 4, "bad": 1}
    assert [item.name for item in out.parent.iterdir()] == ["out.conll"]


def test_plain_text_has_entities_by_their_characters(tmp_path: Path) -> None:
    """Row 1 is B-X throughout: four words, four entities, each where it stands in its line."""
    path = tmp_path / "a.txt"
    path.write_text("Erst.\n  Ja, 東京 \n")
    out, _ = written(tmp_path, path)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[0]["spans"] == []
    assert rows[1]["text"] == "  Ja, 東京 "
    spans = [(x["start"], x["end"], x["text"], x["label"]) for x in rows[1]["spans"]]
    assert spans == [(2, 4, "Ja", "X"), (4, 5, ",", "X"), (6, 7, "東", "X"), (7, 8, "京", "X")]
    assert rows[1]["spans"][0]["confidence"] == 0.1


def test_tables_of_a_tagger_keep_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('n,text\n1,"so, so"\n2,b\n')
    out, _ = written(tmp_path, path)
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["n"], row["text"]) for row in rows] == [("1", "so, so"), ("2", "b")]
    assert json.loads(rows[0]["tokens"]) == ["so", ",", "so"]
    assert json.loads(rows[1]["spans"])[0]["start"] == 0


def test_words_with_line_ends_stay_in_their_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"tokens": ["a\tb", "c\nd", "e\r"]}) + "\n")
    out, _ = written(tmp_path, path, form="conll")
    assert [x.split("\t")[0] for x in out.read_text().strip("\n").split("\n")] == [
        "a\\tb", "c\\nd", "e\\r",
    ]  # fmt: skip


def test_plain_text_becomes_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"Ja, gut.\n\nCaf\xe9 zu\n")
    out, counts = written(tmp_path, path, form="conll")
    assert out.read_bytes() == (
        b"Ja\tO\t0.0000\n,\tO\t0.0000\ngut\tO\t0.0000\n.\tO\t0.0000\n\nCaf\xe9 zu\t?\n\n"
    )
    assert counts["rows"] == 2


def test_treebanks_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    good, bad = "1\tJa\t_\tX" + "\t_" * 6, "x\tNein\t_\tX" + "\t_" * 6
    path.write_text(f"# text\n{good}\n\n{bad}\n\n")
    out, _ = written(tmp_path, path)
    assert out.read_text() == "Ja\tO\t0.0000\n\nNein\t?\n\n"


def test_objects_keep_their_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"tokens": ["a", "b"], "meta": 7}\n{"tokens": []}\nnot\n{"text": "é x"}\n')
    out, counts = written(tmp_path, path)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows == [
        {"tokens": ["a", "b"], "meta": 7, "prediction": ["O", "O"], "confidence": [0.0, 0.0]},
        {"tokens": [], "prediction": None, "confidence": None},
        {"error": "no valid JSON: Expecting value at character 1", "prediction": None,
         "confidence": None},
        {"text": "é x", "tokens": ["é", "x"], "prediction": ["B-X", "B-X"],
         "confidence": [0.1, 0.1], "spans": [
             {"start": 0, "end": 1, "label": "X", "text": "é", "confidence": 0.1},
             {"start": 2, "end": 3, "label": "X", "text": "x", "confidence": 0.1}]},
    ]  # fmt: skip
    assert counts == {"name": "out.jsonl", "rows": 4, "bad": 2}


@pytest.mark.parametrize("form", ["jsonl", "conll", "parquet"])
def test_half_characters_stop_nothing(tmp_path: Path, form: str) -> None:
    """As of a text that was cut within a character, which JSON can hold and UTF-8 cannot."""
    path = tmp_path / "a.jsonl"
    rows = [
        '{"text": "a\\ud83d b"}',
        '{"text": "b", "by": "\\ud83d"}',
        '{"text": 7}',
        '{"text": "c"}',
    ]
    path.write_text("\n".join(rows) + "\n")
    out, counts = written(tmp_path, path, form=form)
    assert counts == {"name": f"out.{form}", "rows": 4, "bad": 2}
    if form == "jsonl":
        found = [json.loads(line) for line in out.read_text().splitlines()]
        assert [row["text"] for row in found] == ["a\ud83d b", "b", 7, "c"]
        assert found[1]["by"] == "\ud83d"
    elif form == "parquet":
        assert pq.read_table(out)["prediction"].to_pylist() == [None, ["O"], None, ["B-X"]]
    else:
        words = [part.split("\t")[0] for part in out.read_text().strip("\n").split("\n\n")]
        assert words == ["a\\ud83d b", "b", "7", "c"]


def test_tables_of_half_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "by": "\\ud83d"}\n')
    out, _ = written(tmp_path, path, "sentence", form="csv")
    assert out.read_text() == "text,by,prediction,confidence\na,\\ud83d,O,0.0\n"


def test_tables_keep_their_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('n,text\n1,\n2,"so, so"\n3,"two\nlines"\n4,a,b\n')
    out, counts = written(tmp_path, path, "sentence")
    with out.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["text"] for row in rows] == ["", "so, so", "two\nlines", ""]
    assert [row["prediction"] for row in rows] == ["", "O", "B-X", ""]
    assert [row["confidence"] for row in rows] == ["", "0.0", "0.1", ""]
    assert counts == {"name": "out.csv", "rows": 4, "bad": 2}


def test_parquet_keeps_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"k": number, "tokens": ["x"] * (number + 1), "note": None} for number in range(5)]
    schema = pa.schema([("k", pa.int8()), ("tokens", pa.list_(pa.string())), ("note", pa.string())])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    out, _ = written(tmp_path, path)
    found = pq.read_table(out)
    assert found.schema.names == ["k", "tokens", "note", "prediction", "confidence"]
    assert found.schema.field("k").type == pa.int8()
    assert found["prediction"].to_pylist() == [[LABELS[n % 3]] * (n + 1) for n in range(5)]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_another_format_may_be_asked_for(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a\tO\nb\tO\n\nc\tO\n\n")
    out, _ = written(tmp_path, path, form=form)
    rows = (
        pq.read_table(out).to_pylist()
        if form == "parquet"
        else [json.loads(line) for line in out.read_text().splitlines()]
    )
    assert [row["tokens"] for row in rows] == [["a", "b"], ["c"]]
    assert [row["prediction"] for row in rows] == [["O", "O"], ["B-X"]]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a\tO\n\n")
    out, _ = written(tmp_path, path)
    out.write_text("kept")
    _, counts = written(tmp_path, path)
    assert counts == {"name": "out.conll", "rows": None, "bad": None}
    assert out.read_text() == "kept"


def test_a_file_that_has_changed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("a\tO\n\nb\tO\n\n")
    source = UserSource((str(path),), "f0", "unlabelled", "token")
    annotation, shards = said_of(tmp_path / "store", source)
    job = task_of(source, shards, "out.conll", annotation, tmp_path)
    for content in ("a\tO\n\n", "a\tO\n\nb\tO\n\nc\tO\n\n"):
        path.write_text(content)
        with pytest.raises(
            ValueError, match=r"a\.conll: has changed since it was read; predict it"
        ):
            write_file(job, 0)
        assert not (tmp_path / "out.conll").exists()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.conll", "store"]


def test_nothing_half_written_is_seen(tmp_path: Path) -> None:
    def fail() -> None:
        with placed(pafs.LocalFileSystem(), str(tmp_path / "x/out")) as stream:
            stream.write(b"half")
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        fail()
    assert not any((tmp_path / "x").iterdir())


def test_keys_of_object_storage_do_not_lead_out_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key may have any parts; a file system has none of that name to make one here."""

    def listed(pattern: str, key: str) -> list[DataFile]:
        place = "b/in/../../x.txt"
        return [DataFile(pafs.LocalFileSystem(), place, "../../x.txt", f"s3://{place}", 3)]

    monkeypatch.setattr(predict, "matching", listed)
    section = predict.PredictSection(model="m", files=("s3://b/in/**",), to=str(tmp_path / "to"))
    with pytest.raises(ConfigError, match=r"x\.txt would be written outside of .*to"):
        predict._files(section, "token")
