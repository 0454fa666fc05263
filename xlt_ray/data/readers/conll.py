"""CoNLL-U treebanks, and OntoNotes in the columns of CoNLL-2012.

CoNLL-U (``conllu``): ten columns with TAB between them; the word is FORM, column 2, which may hold
spaces, its tag is UPOS, column 4. Comments stand before the first line of a sentence. Multiword
ranges (``3-4``) and empty nodes (``5.1``) are skipped.

OntoNotes (``gold_conll``, ``v4_gold_conll``): columns with blanks between them; the word is column
4, its entity column 11 in brackets: ``(ORG*`` begins an entity, ``*)`` ends it, ``*`` goes on or is
outside, ``(GPE)`` is an entity of one word. Lines of ``#begin document`` and ``#end document`` end
sentences as empty lines do.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from xlt_ray.config.schema import ROW_BYTES, shown
from xlt_ray.data.readers.layouts import Notation, Sentence, TokenLines, decoded, sentences
from xlt_ray.data.readers.lines import Overlong
from xlt_ray.data.readers.rows import RowError, Text, tag_ids
from xlt_ray.labels import OUTSIDE, LabelSet

_NUM_COLUMNS = 10
_ID = re.compile(rb"\d+([-.]\d+)?")
_BETWEEN = re.compile(rb"\d+[-.]\d+")
_FORM, _UPOS = 1, 3

_BLANKS = re.compile(rb"[ \t]+")
_DOCUMENT = (b"#begin document", b"#end document")
_WORD, _ENTITY = 3, 10
_BRACKETS = re.compile(r"\((?P<type>[^()*]+)(?P<end>[*)])|\*(?P<close>\)?)")


@dataclass(frozen=True)
class ConllU(TokenLines):
    """A line per word with the ten columns of CoNLL-U.

    Attributes:
        notation: How words and tags are written.
    """

    notation: Notation

    def rows(self, lines: Iterable[bytes], most: int = ROW_BYTES) -> Iterator[tuple[int, Sentence]]:
        """First line that is no comment, and the lines of the words, of each sentence."""
        for sentence in sentences(_uncommented(lines), most):
            yield sentence.numbers[0], _without_extras(sentence)

    def text(self, raw: Sentence) -> Text:
        """The column FORM."""
        raw.check_whole()
        words: list[bytes] = []
        for position, line in enumerate(raw.lines):
            columns = line.split(b"\t")
            if reason := _fault(line, columns):
                return self.notation.words(words, RowError(reason, position))
            words.append(columns[_FORM])
        return self.notation.words(words)

    def labels(self, raw: Sentence, text: Text, labels: LabelSet) -> tuple[int, ...]:
        """The column UPOS."""
        tags = [decoded(line.split(b"\t")[_UPOS]) for line in raw.lines]
        return tag_ids(tags, labels, scheme=self.notation.scheme, types=self.notation.types)


def _uncommented(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    inside = False
    for number, line in enumerate(lines, 1):
        if inside or not line.startswith(b"#"):
            inside = bool(line)
            yield number, line or None


def _without_extras(sentence: Sentence) -> Sentence:
    numbered = zip(sentence.lines, sentence.numbers, strict=True)
    kept = [(line, number) for line, number in numbered if not _is_extra(line)]
    lines, numbers = [line for line, _ in kept], [number for _, number in kept]
    return replace(sentence, lines=lines, numbers=numbers)


def _is_extra(line: bytes) -> bool:
    columns = line.split(b"\t")
    return len(columns) == _NUM_COLUMNS and _BETWEEN.fullmatch(columns[0]) is not None


def _fault(line: bytes, columns: Sequence[bytes]) -> str | None:
    if line.startswith(b"#"):
        comment = shown(decoded(line))
        return f"comment {comment} inside a sentence, allowed: before its first line"
    if len(columns) != _NUM_COLUMNS:
        return f"{len(columns)} columns, needed: {_NUM_COLUMNS} with TAB between them"
    if not _ID.fullmatch(columns[0]):
        allowed = "whole (3), a range (3-4) or decimal (5.1)"
        return f"ID {shown(decoded(columns[0]))}, allowed: {allowed}"
    return None


@dataclass(frozen=True)
class OntoNotes(TokenLines):
    """A line per word with the columns of CoNLL-2012.

    Attributes:
        notation: How words are written, and types that have another name; there is no scheme.
    """

    notation: Notation

    def rows(self, lines: Iterable[bytes], most: int = ROW_BYTES) -> Iterator[tuple[int, Sentence]]:
        """First line and lines of each sentence."""
        marked = ((n, None if _ends(line) else line) for n, line in enumerate(lines, 1))
        for sentence in sentences(marked, most):
            yield sentence.numbers[0], sentence

    def text(self, raw: Sentence) -> Text:
        """The fourth column."""
        raw.check_whole()
        words: list[bytes] = []
        for position, line in enumerate(raw.lines):
            columns = _columns(line)
            if len(columns) <= _WORD:
                return self.notation.words(words, _too_few(columns, position))
            words.append(columns[_WORD])
        return self.notation.words(words)

    def labels(self, raw: Sentence, text: Text, labels: LabelSet) -> tuple[int, ...]:
        """The eleventh column, as BIO."""
        brackets: list[str] = []
        missing = None
        for position, line in enumerate(raw.lines):
            columns = _columns(line)
            if len(columns) <= _ENTITY:
                missing = _too_few(columns, position)
                break
            brackets.append(decoded(columns[_ENTITY]))
        tags, fault = bio_of_brackets(brackets, is_whole=missing is None)
        return tag_ids(tags, labels, types=self.notation.types, fault=fault or missing)


def bio_of_brackets(
    brackets: Sequence[str], *, is_whole: bool = True
) -> tuple[list[str], RowError | None]:
    """Entities of a sentence as BIO tags.

    Args:
        brackets: The entity column.
        is_whole: Whether it goes to the end of the sentence, where all entities must be closed.

    Returns:
        The tags before the first fault, and that fault if there is one.
    """
    tags: list[str] = []
    start: int | None = None
    for position, value in enumerate(brackets):
        match = _BRACKETS.fullmatch(value)
        if match is None:
            reason = f"entity {shown(value)}, allowed: (TYPE*, *, *) and (TYPE)"
            return tags, RowError(reason, position)
        if match["type"]:
            if start is not None:
                reason = f"entity {shown(value)} inside {shown(brackets[start])}, needed: *) before"
                return tags, RowError(reason, position)
            start = position if match["end"] == "*" else None
            tags.append(f"B-{match['type']}")
            continue
        if start is None and match["close"]:
            reason = f"entity {shown(value)} ends none, needed: (TYPE* before"
            return tags, RowError(reason, position)
        tags.append(OUTSIDE if start is None else f"I-{tags[start][2:]}")
        if match["close"]:
            start = None
    if is_whole and start is not None:
        reason = f"entity {shown(brackets[start])} is not closed, needed: *) at its last word"
        return tags[:start], RowError(reason, start)
    return tags, None


def _ends(line: bytes) -> bool:
    is_blank = not line.strip(b" \t") and not isinstance(line, Overlong)
    return is_blank or line.startswith(_DOCUMENT)


def _columns(line: bytes) -> list[bytes]:
    return _BLANKS.split(line.strip(b" \t"))


def _too_few(columns: Sequence[bytes], position: int) -> RowError:
    needed = f"{_ENTITY + 1} or more: the word is column {_WORD + 1}, its entity {_ENTITY + 1}"
    return RowError(f"{len(columns)} columns, needed: {needed}", position)
