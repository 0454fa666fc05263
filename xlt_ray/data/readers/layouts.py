"""Rows in the lines of a file: what all layouts share, and JSONL.

JSONL (all tasks): ``{"tokens": [...], "tags" | "labels" | "ner_tags": [...]}``, ``{"text",
"label"}``, ``{"premise", "hypothesis", "label"}`` or ``{"text", "text_pair", "label"}``, with an
``"id"`` if wanted. Labels are class names, or integers as indices into the benchmark's labels.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from xlt_ray.config.schema import ROW_BYTES, shown
from xlt_ray.data.readers.lines import Overlong, too_long
from xlt_ray.data.readers.rows import (
    Record,
    RowError,
    Text,
    check_tokens,
    labels_of,
    text_of,
)
from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet, Scheme

MAX_SENTENCE = 20_000
"""Lines after which a sentence is no sentence: a lost blank line must not fill the memory."""

Raw = TypeVar("Raw")
Lost = Literal["", "lines", "bytes", "line"]


@dataclass(frozen=True)
class Notation:
    """How the words and tags of a file are written.

    Attributes:
        prefix: What every word starts with; it is taken off.
        scheme: Scheme of the tags.
        types: The label set's name of each entity type that the tags call otherwise.
    """

    prefix: str
    scheme: Scheme
    types: Mapping[str, str]

    def words(self, words: Sequence[bytes], fault: RowError | None = None) -> Text:
        """The words of a sentence as text, checked.

        Args:
            words: The words.
            fault: Why there are no more words than these; raised unless one of them is wrong.
        """
        # No word holds a line end, and decoding them at once is faster.
        tokens = decoded(b"\n".join(words)).split("\n") if words else []
        if fault is None:
            return Text(tokens=check_tokens(tokens, prefix=self.prefix))
        if tokens:
            check_tokens(tokens, prefix=self.prefix)
        raise fault


class LineFormat(Protocol[Raw]):
    """How rows are found in lines, and their text and labels in rows."""

    def rows(self, lines: Iterable[bytes], most: int = ROW_BYTES) -> Iterator[tuple[int, Raw]]:
        """First line, from 1, and content of each row.

        Args:
            lines: The lines of the file.
            most: Bytes of a row at most, as of each line.
        """
        ...

    def text(self, raw: Raw) -> Text:
        """The text of a row; raises RowError."""
        ...

    def labels(self, raw: Raw, text: Text, labels: LabelSet) -> tuple[int, ...] | int:
        """The labels of a row with good text; raises RowError."""
        ...

    def token_line(self, raw: Raw, position: int) -> int | None:
        """The line of a row's token; None where they share the row's first line."""
        ...


@dataclass(frozen=True, slots=True)
class Sentence:
    """The lines of one sentence, with their numbers from 1.

    Attributes:
        lines: What stands in each line.
        numbers: Where each line is in the file.
        most: Bytes of a sentence at most.
        lost: Why these are not all lines, or not the whole of one; empty: they are.
    """

    lines: list[bytes]
    numbers: list[int]
    most: int = ROW_BYTES
    lost: Lost = ""

    def check_whole(self) -> None:
        """Raise RowError on a sentence that is too long to be one."""
        match self.lost:
            case "lines":
                raise RowError(f"no empty line in {MAX_SENTENCE} lines, one must end each sentence")
            case "bytes":
                raise too_long(self.most, "the sentence")
            case "line":
                long = [isinstance(line, Overlong) for line in self.lines]
                raise too_long(self.most, "the line", long.index(True) if any(long) else None)


def sentences(
    lines: Iterable[tuple[int, bytes | None]], most: int = ROW_BYTES
) -> Iterator[Sentence]:
    """Gather numbered lines into sentences; None stands between them.

    Args:
        lines: The lines.
        most: Bytes of a sentence at most; what goes beyond them, or `MAX_SENTENCE`, is not kept.
    """
    kept, numbers, size = list[bytes](), list[int](), 0
    lost: Lost = ""
    for number, line in lines:
        if line is None:
            if kept:
                yield Sentence(kept, numbers, most, lost)
            kept, numbers, size, lost = [], [], 0, ""
            continue
        size += len(line)
        if size > most or len(kept) == MAX_SENTENCE:
            lost = lost or ("bytes" if size > most else "lines")
            continue
        if type(line) is Overlong:
            lost = lost or "line"
        kept.append(line)
        numbers.append(number)
    if kept:
        yield Sentence(kept, numbers, most, lost)


class TokenLines:
    """What layouts with a token per line have in common."""

    def token_line(self, raw: Sentence, position: int) -> int:
        """The line of a token."""
        return raw.numbers[position]


@dataclass(frozen=True)
class JsonlFormat:
    """A JSON object per line.

    Attributes:
        notation: How words and tags are written.
        task: Kind of task.
    """

    notation: Notation
    task: Task

    def rows(
        self, lines: Iterable[bytes], most: int = ROW_BYTES
    ) -> Iterator[tuple[int, Record | RowError]]:
        """Line and object of each row; lines of white space are skipped."""
        for number, line in enumerate(lines, 1):
            if isinstance(line, Overlong):
                yield number, too_long(most)
            elif line.strip():
                yield number, as_record(parsed(line))

    def text(self, raw: Record | RowError) -> Text:
        """The fields of the text."""
        if isinstance(raw, RowError):
            raise raw
        return text_of(raw, self.task, prefix=self.notation.prefix)

    def labels(self, raw: Record | RowError, text: Text, labels: LabelSet) -> tuple[int, ...] | int:
        """The field of the labels."""
        assert not isinstance(raw, RowError)
        scheme, types = self.notation.scheme, self.notation.types
        return labels_of(raw, self.task, text, labels, scheme=scheme, types=types)

    def token_line(self, raw: Record | RowError, position: int) -> None:
        """None: the tokens of a row stand in its one line."""


def decoded(value: bytes) -> str:
    """A part of a line; undecodable bytes become lone surrogates, which the checks find."""
    return value.decode("utf-8", "surrogateescape")


def parsed(line: bytes) -> Any:
    """The JSON value of a line, or a RowError."""
    # Undecodable bytes do no harm in a label that nobody asked for.
    try:
        return json.loads(decoded(line))
    except json.JSONDecodeError as error:
        return RowError(f"no valid JSON: {error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:
        return RowError(f"no valid JSON: {error}")


def as_record(value: Any) -> Record | RowError:
    """A JSON value as a record, or why it is none."""
    if isinstance(value, dict | RowError):
        return value
    return RowError(f"{shown(value)} is not a JSON object")
