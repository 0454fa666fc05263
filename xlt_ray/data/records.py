"""Rows with named fields in files of the user's own: JSONL, CSV and Parquet; and plain text.

Fields are called as in `xlt_ray.data.rows.text_of`, or as ``own.columns`` says. In token tasks a
field ``text``, or a line of plain text, is cut into words; such rows have no labels.
"""

import csv
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow.parquet as pq

from xlt_ray.config import first_line
from xlt_ray.data.layouts import Jsonl, Notation, decoded
from xlt_ray.data.readers import DataFile
from xlt_ray.data.rows import Record, RowError, Text, labels_of, text_of
from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet

Cut = Literal["blanks", "marks", "characters"]
_BATCH = 512


def words_of(text: str, cut: Cut) -> list[str]:
    """The words of a text.

    Args:
        text: The text.
        cut: Where words end: ``blanks`` at white space, ``marks`` also before and after every
            punctuation mark, ``characters`` after every character; white space is left out.
    """
    if cut == "blanks":
        return text.split()
    if cut == "characters":
        return [character for character in text if not character.isspace()]
    from tokenizers.pre_tokenizers import BertPreTokenizer

    return [word for word, _ in BertPreTokenizer().pre_tokenize_str(text)]


def words_in(record: Record, cut: Cut) -> Text:
    """The words of a record that has its text as a whole."""
    whole = text_of(record, "sentence")
    return text_of({"tokens": words_of(whole.text or "", cut), "id": whole.id}, "token")


@dataclass(frozen=True)
class Records:
    """Rows with named fields.

    Attributes:
        task: Kind of task.
        notation: How tags are written.
        columns: Name in the file of each field that is called otherwise there.
        cut: How a text becomes words in token tasks.
    """

    task: Task
    notation: Notation
    columns: Mapping[str, str]
    cut: Cut

    def text(self, raw: Record | RowError) -> Text:
        """The fields of the text."""
        record = self._named(raw)
        if self.task == "token" and "tokens" not in record and "text" in record:
            return words_in(record, self.cut)
        return text_of(record, self.task)

    def labels(self, raw: Record | RowError, text: Text, labels: LabelSet) -> tuple[int, ...] | int:
        """The field of the labels."""
        scheme, types = self.notation.scheme, self.notation.types
        return labels_of(self._named(raw), self.task, text, labels, scheme=scheme, types=types)

    def token_line(self, raw: Record | RowError, position: int) -> None:
        """None: the tokens of a row stand in its one line."""

    def _named(self, raw: Record | RowError) -> Record:
        if isinstance(raw, RowError):
            raise raw
        others = {column: name for name, column in self.columns.items()}
        return {others.get(name, name): value for name, value in raw.items()}


@dataclass(frozen=True)
class JsonLines(Records):
    """A JSON object per line."""

    def rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Record | RowError]]:
        """Line and object of each row."""
        return Jsonl(self.notation, self.task).rows(lines)


@dataclass(frozen=True)
class Csv(Records):
    """Values with commas between them, or semicolons or TAB; the first line names the fields."""

    def rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Record | RowError]]:
        """First line and fields of each row; a value in quotes may have several lines.

        A line whose quotes are not as in CSV is a row by itself, that of a table with TABs one
        whose quotes are part of its values.
        """
        texts = (f"{decoded(line)}\n" for line in lines)
        number, head = next((x for x in enumerate(texts, 1) if x[1].strip()), (0, ""))
        if not head:
            return
        counts = {mark: head.count(mark) for mark in ",;\t"}
        mark = max(counts, key=lambda mark: counts[mark])
        source = _Rewound(itertools.chain([head], texts), number)
        reader = csv.reader(source, delimiter=mark, strict=True)
        try:
            names = next(reader)
        except csv.Error as error:
            yield number, RowError(f"no valid CSV: {error}")
            return  # without names nothing can be read
        while True:
            line = source.begin()
            try:
                values = next(reader, None)
            except csv.Error as error:  # a quote that is none: the next line is another row
                first = source.rewind()
                values = first.rstrip("\n").split(mark) if mark == "\t" else []
                if len(values) != len(names):
                    yield line, RowError(f"no valid CSV: {error}")
                    continue
            if values is None:
                return
            if len(values) == len(names):
                yield line, dict(zip(names, values, strict=True))
            elif values:
                needed = f"{len(names)} as in the first line"
                yield line, RowError(f"{len(values)} columns, needed: {needed}")


class _Rewound:
    """Lines from one of a number on; those of a row that cannot be read come once more."""

    def __init__(self, lines: Iterator[str], number: int):
        self._lines, self._ahead = lines, deque[str]()
        self._taken: list[str] = []
        self._number = number

    def __iter__(self) -> "_Rewound":
        return self

    def __next__(self) -> str:
        line = self._ahead.popleft() if self._ahead else next(self._lines)
        self._taken.append(line)
        return line

    def begin(self) -> int:
        """A row begins; gives its line."""
        self._number += len(self._taken)
        self._taken.clear()
        return self._number

    def rewind(self) -> str:
        """Go back to the second line of the row; gives the first."""
        first, *others = self._taken
        self._ahead.extendleft(reversed(others))
        self._taken = [first]
        return first


@dataclass(frozen=True)
class Lines(Records):
    """Plain text: a sentence per line; empty lines are skipped."""

    def rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Record | RowError]]:
        """Number and text of each line."""
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, {"text": decoded(line)}


def parquet_rows(file: DataFile) -> Iterator[tuple[int, Record]]:
    """Number, from 1, and fields of each row of a Parquet file.

    Raises:
        ValueError: it cannot be read.
    """
    number = 0
    try:
        with file.fs.open_input_file(file.path) as stream:
            for batch in pq.ParquetFile(stream).iter_batches(_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ValueError(f"{file.location}: cannot be read ({first_line(error)})") from None


def fields_of(raw: Any) -> tuple[str, ...]:
    """Names of a row's fields; none of one that is no record."""
    return tuple(raw) if isinstance(raw, Mapping) else ()
