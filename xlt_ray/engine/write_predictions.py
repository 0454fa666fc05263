"""Predictions as files: every row of an input, in its order and format, and what is said of it.

One task writes one file. The input is read once more, row by row, beside the annotation of its good
rows; a row that could not be read, or that killed whoever labelled it, keeps its place and has no
prediction.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt_ray.data.quarantine import lost_rows
from xlt_ray.data.readers.base import NamedSource, check_unchanged
from xlt_ray.data.readers.files import PARQUET, DataFile, ending_of
from xlt_ray.data.readers.layouts import Sentence
from xlt_ray.data.readers.rows import RowError, Text
from xlt_ray.data.readers.tables import schema_of
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.schema import TEXT_SCHEMA, Task
from xlt_ray.engine.read import READ, map_rows
from xlt_ray.labels import LabelSet, bio_spans
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.files import open_root, placed

Format = Literal["conll", "csv", "jsonl", "parquet"]
UNKNOWN = "?"
"""In place of the label of a row that could not be read."""
_BATCH = 2048
_END: Mapping[str, Any] = {}
"""In place of what is said of a row, where there is none any more."""

Row = tuple[Any, Text | None, Mapping[str, Any] | None]
"""A row as it was read, its text, and what is said of it; None: it could not be read, or it killed
whoever labelled it."""


@dataclass(frozen=True, kw_only=True)
class WriteTask:
    """What a writing task needs besides its file.

    Attributes:
        sources: What each file is read from, as it was when its text was annotated.
        shards: Of each the names of the annotation's shards, in order.
        names: Of each the name of what is written.
        annotation: Columns of the rows that could be read.
        labels: Names of the classes.
        columns: Names of the numbers that are told.
        to: Folder or URI to write into.
        format: How everything is written; None: as it was.
    """

    sources: Sequence[NamedSource]
    shards: Sequence[Sequence[str]]
    names: Sequence[str]
    annotation: Artifact
    labels: Sequence[str]
    columns: Sequence[str]
    to: str
    format: Format | None

    def said(self, number: int) -> Iterator[dict[str, Any] | None]:
        """What is said of the rows of a file: labels by name, the numbers; None of lost ones."""
        lost = {(row.file, row.line) for row in lost_rows(self.annotation)}
        for name in self.shards[number]:
            line = 1
            for row in self.annotation.shard(name, ["labels", *self.columns]).to_pylist():
                while (name, line) in lost:
                    yield None
                    line += 1
                row["labels"] = [self.labels[label] for label in row["labels"]]
                yield row
                line += 1
            while (name, line) in lost:
                yield None
                line += 1

    def source(self, number: int) -> UserSource:
        """What a file is read from."""
        source = self.sources[number].source
        assert isinstance(source, UserSource)
        return source

    def rows(self, number: int) -> Iterator[Row]:
        """The rows of a file beside what is said of them."""
        source, said = self.source(number), self.said(number)
        (file,) = source.files()
        layout = source.layout(file)
        with source.raw(file, layout) as raws:
            for _, raw in raws:
                try:
                    text = layout.text(raw)
                except RowError:
                    yield raw, None, None
                    continue
                there = next(said, _END)
                if there and len(there["labels"]) != len(text.tokens or ("",)):
                    raise _changed(file)
                if there is _END:
                    raise _changed(file)
                yield raw, text, there
        if next(said, _END) is not _END:
            raise _changed(file)


def _changed(file: DataFile) -> ValueError:
    return ValueError(f"{file.location}: has changed since it was read; predict it again")


def format_of(name: str, task: str) -> Format:
    """How predictions of a file are written, by its name and the kind of task."""
    ending = ending_of(name)
    if ending == PARQUET:
        return PARQUET
    if ending == "csv" or (ending == "tsv" and task != "token"):
        return "csv"
    return "conll" if task == "token" and ending not in ("txt", "json", "jsonl") else "jsonl"


def write_file(task: WriteTask, number: int) -> dict[str, Any]:
    """Write one file, unless it is there; returns its name and counts."""
    source, name = task.source(number), task.names[number]
    fs, base = open_root(task.to, "predict.to")
    path = f"{base}/{name}"
    if fs.get_file_info(path).type == pafs.FileType.File:
        return {"name": name, "rows": None, "bad": None}
    (file,) = source.files()
    kind = task.format or format_of(file.name, source.task)
    counts = {"rows": 0, "bad": 0}

    def counted() -> Iterator[Row]:
        for row in task.rows(number):
            counts["rows"] += 1
            counts["bad"] += row[1] is None
            yield row

    with placed(fs, path) as stream:
        if kind == PARQUET:
            _parquet(stream, counted(), _schema(file, source.task, task.columns))
        else:
            _WRITERS[kind](stream, counted(), task.columns)
        check_unchanged(task.sources[number])
    return {"name": name, **counts}


def _conll(stream: IO[bytes], rows: Iterator[Row], columns: Sequence[str]) -> None:
    """A word per line: word, label and numbers, TAB between; an empty line after each sentence."""
    for raw, text, said in rows:
        if text is None or said is None:
            lines = raw.lines if isinstance(raw, Sentence) else [_bytes_of(raw)]
            found = [_word(line) + f"\t{UNKNOWN}".encode() for line in lines]
            stream.write(b"\n".join(found) + b"\n\n")
            continue
        values = [said["labels"], *([f"{x:.4f}" for x in said[name]] for name in columns)]
        words = zip(map(escaped, text.tokens or ()), *values, strict=True)
        stream.write("".join(["\t".join(word) + "\n" for word in words]).encode() + b"\n")


def escaped(word: str) -> str:
    """A word in which nothing ends a column or a line."""
    return word.translate(_ENDS)


_ENDS = {ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def _word(line: bytes) -> bytes:
    """The word of a line that could not be read: in ten columns, as of CoNLL-U, the second."""
    columns = line.split(b"\t")
    return columns[1 if len(columns) == 10 else 0]


def _bytes_of(raw: Any) -> bytes:
    value = raw.get("text", "") if isinstance(raw, Mapping) else str(raw)
    return encoded(str(value)).replace(b"\t", b" ").replace(b"\n", b" ").strip()


def encoded(text: str) -> bytes:
    """A text as bytes: undecodable ones as they were; what no bytes stand for is escaped."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half a character, as JSON may have one
        return text.encode("utf-8", "backslashreplace")


def prediction_fields(
    text: Text | None, said: Mapping[str, Any] | None, columns: Sequence[str]
) -> dict[str, Any]:
    """The fields that a row gets: of words lists, and the words where it had none.

    Entities of a running text are ``spans`` of its characters, with the least confidence of their
    words.
    """
    names = ("prediction", *columns)
    if text is None or said is None:
        return dict.fromkeys(names)
    values = [said["labels"], *([round(x, 4) for x in said[name]] for name in columns)]
    if text.tokens is None:
        values = [value[0] for value in values]
    found = dict(zip(names, values, strict=True))
    if text.tokens is None:
        return found
    found = {"tokens": list(text.tokens), **found}
    return {**found, "spans": spans_of(text, said)} if text.whole is not None else found


def spans_of(text: Text, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entities of a running text; none where the labels are no BIO tags."""
    if not LabelSet((*dict.fromkeys(("O", *said["labels"])),)).is_bio:
        return []
    assert text.whole is not None
    spans = []
    for entity in bio_spans(said["labels"]):
        start, end = text.places[entity.start][0], text.places[entity.end - 1][1]
        span: dict[str, Any] = {"start": start, "end": end, "label": entity.type}
        span["text"] = text.whole[start:end]
        if "confidence" in said:
            span["confidence"] = round(min(said["confidence"][entity.start : entity.end]), 4)
        spans.append(span)
    return spans


def _merged(rows: Iterator[Row], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for raw, text, said in rows:
        if isinstance(raw, Sentence):
            words = [_word(line).decode("utf-8", "replace") for line in raw.lines]
            yield {"tokens": words, **prediction_fields(text, said, columns)}
        else:
            own = raw if isinstance(raw, Mapping) else {"error": str(raw)}
            yield {**own, **prediction_fields(text, said, columns)}


def _jsonl(stream: IO[bytes], rows: Iterator[Row], columns: Sequence[str]) -> None:
    """The objects, with ``prediction`` and the numbers."""
    for record in _merged(rows, columns):
        try:
            line = json.dumps(record, ensure_ascii=False, default=str)
            stream.write(line.encode("utf-8", "surrogateescape") + b"\n")
        except UnicodeEncodeError:  # half a character, which JSON can tell in ASCII
            stream.write(json.dumps(record, default=str).encode() + b"\n")


def _csv(stream: IO[bytes], rows: Iterator[Row], columns: Sequence[str]) -> None:
    """The columns, and after them ``prediction`` and the numbers."""
    lines = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    waiting: list[dict[str, Any]] = []  # rows that could not be read, before the first that could
    for record in _merged(rows, columns):
        waiting.append(record)
        if writer is None:
            if "error" in record:
                continue
            writer = csv.DictWriter(lines, list(record), extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
        writer.writerows([_flat(item) for item in waiting])
        waiting.clear()
        stream.write(encoded(lines.getvalue()))
        lines.seek(0)
        lines.truncate()


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record whose lists are JSON, as a table has no lists."""
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
        for name, value in record.items()
    }


def _schema(file: DataFile, task: Task, columns: Sequence[str]) -> pa.Schema:
    """Columns of predictions as Parquet: those of the input, or its text, and what is told."""
    if ending_of(file.name) == PARQUET:
        own = list(schema_of(file))
    else:
        own = [field for field in TEXT_SCHEMA[task] if field.name not in ("id", "language")]
    labels, numbers = pa.string(), pa.float32()
    if task == "token":
        labels, numbers = pa.list_(labels), pa.list_(numbers)
        if all(field.name != "tokens" for field in own):
            own += [pa.field("tokens", pa.list_(pa.string())), pa.field("spans", _SPANS)]
    more = [pa.field("prediction", labels), *(pa.field(name, numbers) for name in columns)]
    taken = {field.name for field in more}
    return pa.schema([*(field for field in own if field.name not in taken), *more])


_SPANS = pa.list_(
    pa.struct(
        [
            ("start", pa.int64()),
            ("end", pa.int64()),
            ("label", pa.string()),
            ("text", pa.string()),
            ("confidence", pa.float32()),
        ]
    )
)


def _parquet(stream: IO[bytes], rows: Iterator[Row], schema: pa.Schema) -> None:
    """The columns of a schema, so many rows at a time."""
    columns = schema.names[schema.names.index("prediction") + 1 :]
    pending: list[dict[str, Any]] = []
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for raw, text, said in rows:
            texts = {} if text is None else {"text": text.text, "text_pair": text.text_pair}
            (record,) = _merged(iter([(raw, text, said)]), columns)
            pending.append(_fitting({**texts, **record}, schema))
            if len(pending) == _BATCH:
                writer.write_table(pa.Table.from_pylist(pending, schema=schema))
                pending = []
        writer.write_table(pa.Table.from_pylist(pending, schema=schema))


def _fitting(record: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """A record whose texts are texts: of a row that could not be read they may be anything."""
    if record["prediction"] is not None:
        return dict(record)

    def text(value: Any) -> str | None:
        if value is None:
            return None
        return encoded(value if isinstance(value, str) else str(value)).decode("utf-8", "replace")

    found: dict[str, Any] = {}
    for field in schema:
        value = record.get(field.name)
        if field.type == pa.string():
            value = text(value)
        elif field.type == pa.list_(pa.string()):
            value = [text(item) for item in value] if isinstance(value, list) else None
        found[field.name] = value
    return found


_WRITERS: Mapping[str, Callable[[IO[bytes], Iterator[Row], Sequence[str]], None]] = {
    "conll": _conll,
    "csv": _csv,
    "jsonl": _jsonl,
}


def run_write(task: WriteTask) -> list[dict[str, Any]]:
    """Write every file, several at once; returns names and counts.

    Raises:
        ValueError: a file cannot be read any more, or has changed.
    """
    count = len(task.sources)
    numbers = [{"number": number} for number in range(count)]

    def one(row: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"number": row["number"], "found": write_file(task, row["number"]), "error": ""}
        except ValueError as error:
            return {"number": row["number"], "found": None, "error": str(error)}

    seconds = READ * sum(item.source.volume() for item in task.sources)
    done = map_rows(numbers, one, seconds)
    if errors := sorted(row["error"] for row in done if row["error"]):
        raise ValueError("\n".join(errors))
    return [row["found"] for row in sorted(done, key=lambda row: row["number"])]
