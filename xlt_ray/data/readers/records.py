"""Rows with named fields in files of the user's own: JSON, CSV and Parquet; and plain text.

Fields are called as in `xlt_ray.data.readers.rows.text_of`, or as ``files.columns`` says. In
token tasks a field ``text``, or a line of plain text, is cut into words; entities of such rows are
marked by their characters, see `xlt_ray.data.readers.spans`.
"""

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xlt_ray.config.schema import ROW_BYTES
from xlt_ray.data.readers.json_array import json_rows
from xlt_ray.data.readers.layouts import MAX_SENTENCE, Notation, as_record, decoded, parsed
from xlt_ray.data.readers.lines import Overlong, too_long
from xlt_ray.data.readers.rows import (
    Record,
    RowError,
    Text,
    check_tokens,
    labels_of,
    tag_ids,
    text_of,
)
from xlt_ray.data.readers.spans import in_usual_form, is_marked, tags_of_text, tags_of_words
from xlt_ray.data.readers.words import Cut, word_places
from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet

Numbered = Iterator[tuple[int, Any]]
"""Where rows are, from 1, and their fields, or a RowError."""


def words_in(record: Record, cut: Cut) -> Text:
    """The words of a record that has its text as a whole, and where they are in it."""
    found = text_of(record, "sentence")
    assert found.text is not None
    places = word_places(found.text, cut)
    words = check_tokens([found.text[start:end] for start, end in places])
    return Text(tokens=words, id=found.id, whole=found.text, places=tuple(places))


@dataclass(frozen=True)
class Records:
    """Rows with named fields.

    Attributes:
        task: Kind of task.
        notation: How tags are written.
        columns: Name in the file of each field that is called otherwise there.
        cut: How a text becomes words in token tasks.
        classes: Of a column with numbers the names of the classes that they stand for.
    """

    task: Task
    notation: Notation
    columns: Mapping[str, str]
    cut: Cut
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def text(self, raw: Record | RowError) -> Text:
        """The fields of the text."""
        record = self.named(raw)
        if self.task == "token" and "tokens" not in record and "text" in record:
            return words_in(record, self.cut)
        return text_of(record, self.task)

    def labels(self, raw: Record | RowError, text: Text, labels: LabelSet) -> tuple[int, ...] | int:
        """The field of the labels, or the entities that are marked in the text."""
        record = self.named(raw)
        scheme, types = self.notation.scheme, self.notation.types
        if self.task == "token" and is_marked(record):
            words = "tokens" in record
            tags = tags_of_words(record) if words else tags_of_text(record, self.cut)
            return tag_ids(tags, labels, types=types)
        names = None
        for column, known in self.classes.items():
            if self._name(column) in ("label", "labels", "tags", "ner_tags"):
                names = known
        return labels_of(record, self.task, text, labels, scheme=scheme, types=types, names=names)

    def token_line(self, raw: Record | RowError, position: int) -> None:
        """None: the tokens of a row stand in its one line."""

    def named(self, raw: Record | RowError) -> Record:
        """The fields by their usual names; raises RowError."""
        if isinstance(raw, RowError):
            raise raw
        record = as_record(in_usual_form(raw))
        if isinstance(record, RowError):
            raise record
        return {self._name(column): value for column, value in record.items()}

    def _name(self, column: str) -> str:
        """The name of a field that is a column of the file."""
        return next((name for name, other in self.columns.items() if other == column), column)


@dataclass(frozen=True)
class JsonLines(Records):
    """A JSON object per line."""

    def rows(self, lines: Iterable[bytes], most: int = ROW_BYTES) -> Numbered:
        """Line and object of each row; lines of white space are skipped."""
        for number, line in enumerate(lines, 1):
            if isinstance(line, Overlong):
                yield number, too_long(most)
            elif line.strip():
                yield number, parsed(line)


@dataclass(frozen=True)
class JsonArray(Records):
    """A JSON array of objects, or objects after one another, in all their bytes."""

    def rows(self, chunks: Iterable[bytes], most: int = ROW_BYTES) -> Numbered:
        """Number and object of each row."""
        return json_rows(chunks, most)


@dataclass(frozen=True)
class Csv(Records):
    """Values with commas between them, or semicolons or TAB; the first line names the fields."""

    def rows(self, lines: Iterable[bytes], most: int = ROW_BYTES) -> Numbered:
        """First line and fields of each row; a value in quotes may have several lines.

        A line whose quotes are not as in CSV is a row by itself, that of a table with TABs one
        whose quotes are part of its values. So is the first line of a row that has more bytes than
        a row may have, or more lines than a sentence.
        """
        csv.field_size_limit(_ANY_SIZE)
        numbered = iter(enumerate(lines, 1))
        number, head = next((x for x in numbered if x[1].strip()), (0, b""))
        if not head:
            return
        counts = {mark: head.count(mark.encode()) for mark in ",;\t"}
        mark = max(counts, key=lambda mark: counts[mark])
        if named := _EXCEL.fullmatch(head):
            mark = decoded(named[1])
            number, head = next((x for x in numbered if x[1].strip()), (0, b""))
            if not head:
                return
        source = _Rewound(itertools.chain([head], (line for _, line in numbered)), number, most)
        reader = csv.reader(source, delimiter=mark, strict=True)
        try:
            names = next(reader)
        except (csv.Error, RowError) as error:
            yield number, _no_csv(error)
            return  # without names nothing can be read
        while True:
            line = source.begin()
            try:
                values = next(reader, None)
            except (csv.Error, RowError) as error:
                first = source.rewind()  # a quote that is none: the next line is another row
                values = decoded(first).split(mark) if mark == "\t" else []
                if len(values) != len(names) or isinstance(first, Overlong):
                    yield line, _no_csv(error)
                    continue
            if values is None:
                return
            if len(values) == len(names):
                yield line, dict(zip(names, values, strict=True))
            elif values:
                needed = f"{len(names)} as in the first line"
                yield line, RowError(f"{len(values)} columns, needed: {needed}")


_EXCEL = re.compile(rb'"?sep=([,;\t|])"?', re.IGNORECASE)
"""A first line by which Excel knows what stands between values."""
_ANY_SIZE = 2**31 - 1
"""Of a field of CSV: how much a row may have is known before its fields are."""


def _no_csv(error: Exception) -> RowError:
    return error if isinstance(error, RowError) else RowError(f"no valid CSV: {error}")


class _Rewound:
    """Lines from one of a number on; those of a row that cannot be read come once more."""

    def __init__(self, lines: Iterator[bytes], number: int, most: int):
        self._lines, self._ahead = lines, deque[bytes]()
        self._taken: list[bytes] = []
        self._number, self._most = number, most
        self._size = 0

    def __iter__(self) -> "_Rewound":
        return self

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self._taken.append(line)
        self._size += len(line)
        if isinstance(line, Overlong) or self._size > self._most:
            raise too_long(self._most)
        if len(self._taken) > MAX_SENTENCE:
            raise RowError(f"a value in quotes that does not end in {MAX_SENTENCE} lines")
        return f"{decoded(line)}\n"

    def begin(self) -> int:
        """A row begins; gives its line."""
        self._number += len(self._taken)
        self._taken.clear()
        self._size = 0
        return self._number

    def rewind(self) -> bytes:
        """Go back to the second line of the row; gives the first."""
        first, *others = self._taken
        self._ahead.extendleft(reversed(others))
        self._taken = [first]
        return first


@dataclass(frozen=True)
class Lines(Records):
    """Plain text: a sentence per line; empty lines are skipped."""

    def rows(self, lines: Iterable[bytes], most: int = ROW_BYTES) -> Numbered:
        """Number and text of each line."""
        for number, line in enumerate(lines, 1):
            if isinstance(line, Overlong):
                yield number, too_long(most)
            elif line.strip():
                yield number, {"text": decoded(line)}


def fields_of(raw: Any) -> tuple[str, ...]:
    """Names of a row's fields; none of one that is no record."""
    record = in_usual_form(raw)
    return tuple(record) if isinstance(record, Mapping) else ()
