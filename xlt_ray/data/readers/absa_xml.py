"""Aspect terms in the XML of SemEval (``xml``): 2014 task 4, 2015 task 12, 2016 task 5.

A ``<sentence>`` has a ``<text>`` and its terms: ``<Opinion target from to>``, or in 2014
``<aspectTerm term from to>``. ``from`` and ``to`` are places in the text; a target NULL is no term.
Words are runs of letters and digits, and every other sign by itself. A word that a term covers in
part belongs to it, two terms that share a word are one, and the same term said twice is one. All
terms have one type, ``ASP``.

A document type, and with it every entity of its own, is refused: it could name files, or grow.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from xlt_ray.config.schema import ROW_BYTES, shown
from xlt_ray.data.readers.layouts import Notation
from xlt_ray.data.readers.lines import Overlong, too_long
from xlt_ray.data.readers.rows import RowError, Text, tag_ids
from xlt_ray.labels import OUTSIDE, LabelSet

TYPE = "ASP"
_WORD = re.compile(r"\w+|[^\w\s]")
_TERMS = ("Opinion", "aspectTerm")


@dataclass
class ReviewSentence:
    """A sentence as it is in the file.

    Attributes:
        text: Its text; None: it has none.
        terms: Attributes of its terms.
        fault: Why it cannot be read.
        size: Letters that were read of it.
    """

    text: str | None = None
    terms: list[dict[str, str]] = field(default_factory=list)
    fault: RowError | None = None
    size: int = 0


@dataclass(frozen=True)
class AbsaXml:
    """Sentences of reviews with their aspect terms.

    Attributes:
        notation: How words are written, and types that have another name; there is no scheme.
    """

    notation: Notation

    def rows(
        self, lines: Iterable[bytes], most: int = ROW_BYTES
    ) -> Iterator[tuple[int, ReviewSentence]]:
        """First line and content of each sentence.

        Raises:
            ValueError: the file is no XML, or has a document type.
        """
        reader = _Reader(most)
        number = 0
        for number, line in enumerate(lines, 1):
            if isinstance(line, Overlong):
                raise ValueError(f"line {number}: {too_long(most, 'the line')}")
            reader.feed(line + b"\n", number)
            yield from reader.take()
        reader.feed(b"", number, is_last=True)
        yield from reader.take()

    def text(self, raw: ReviewSentence) -> Text:
        """The words of the sentence."""
        if raw.fault is not None:
            raise raw.fault
        if raw.text is None:
            raise RowError("a sentence without text")
        return self.notation.words([word.encode() for word in _WORD.findall(raw.text)])

    def labels(self, raw: ReviewSentence, text: Text, labels: LabelSet) -> tuple[int, ...]:
        """The terms as BIO."""
        assert raw.text is not None
        tags = bio_of_terms(raw.text, raw.terms)
        return tag_ids(tags, labels, types=self.notation.types)

    def token_line(self, raw: ReviewSentence, position: int) -> int | None:
        """All words stand where their sentence begins."""
        return None


def bio_of_terms(text: str, terms: Iterable[dict[str, str]]) -> list[str]:
    """Tags of the words of a text.

    Args:
        text: The text.
        terms: ``target`` or ``term``, ``from`` and ``to`` of each term.

    Raises:
        RowError: a place is no number or outside the text, or there is another text at it.
    """
    words = [(match.start(), match.end()) for match in _WORD.finditer(text)]
    covered: list[set[int]] = []
    for term in terms:
        name = term.get("target", term.get("term", "NULL"))
        if name == "NULL" or not name.strip():
            continue
        begin, end = (_place(term, key, len(text)) for key in ("from", "to"))
        if " ".join(text[begin:end].split()) != " ".join(name.split()):
            raise RowError(f"term {shown(name)}, but {shown(text[begin:end])} is at its place")
        inside = {at for at, (first, after) in enumerate(words) if first < end and after > begin}
        apart = [other for other in covered if not other & inside]
        covered = [*apart, inside.union(*(other for other in covered if other & inside))]
    tags = [OUTSIDE] * len(words)
    for inside in covered:
        for at in inside:
            tags[at] = f"{'B' if at == min(inside) else 'I'}-{TYPE}"
    return tags


def _place(term: dict[str, str], key: str, most: int) -> int:
    value = term.get(key, "")
    if not value.isdecimal() or int(value[:9]) > most:
        raise RowError(f"{key} {shown(value)} of a term, needed: a place in the text")
    return int(value[:9])


class _Reader:
    """Sentences out of the events of a parser, which is fed line by line."""

    def __init__(self, most: int):
        self.most, self.line, self.fed = most, 0, 0
        self.done: list[tuple[int, ReviewSentence]] = []
        self.begun = 0
        self.now: ReviewSentence | None = None
        self.letters: list[str] | None = None
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.data
        self.parser.StartDoctypeDeclHandler = self.doctype

    def feed(self, data: bytes, line: int, *, is_last: bool = False) -> None:
        """Read on; the parser holds no more of a tag or comment than a row may have."""
        self.line = line
        self.fed += len(data)
        try:
            self.parser.Parse(data, is_last)
        except (expat.ExpatError, LookupError) as error:  # the latter of an unknown encoding
            raise ValueError(f"line {line}: no valid XML: {error}") from None
        if self.fed - self.parser.CurrentByteIndex > self.most + len(data):
            raise ValueError(f"line {line}: a tag or comment is longer than {self.most} bytes")

    def take(self) -> list[tuple[int, ReviewSentence]]:
        """The sentences that have ended since the last time."""
        done, self.done = self.done, []
        return done

    def doctype(self, *_: Any) -> None:
        """Refuse it."""
        raise ValueError(f"line {self.line}: a document type (<!DOCTYPE) is not read")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """A sentence, its text, or a term."""
        if name == "sentence":
            self.now, self.begun = ReviewSentence(), self.line
        elif self.now is not None and name == "text":
            self.letters = []
        elif (
            self.now is not None
            and name in _TERMS
            and self.grow(len(name) + sum(map(len, attributes.values())))
        ):
            self.now.terms.append(attributes)

    def data(self, letters: str) -> None:
        """Letters of the text."""
        if self.letters is not None and self.grow(len(letters)):
            self.letters.append(letters)

    def grow(self, size: int) -> bool:
        """Whether the sentence may have so much more; otherwise it is a bad row."""
        assert self.now is not None
        self.now.size += size
        if self.now.size > self.most:
            self.now.fault = too_long(self.most, "the sentence")
        return self.now.fault is None

    def end(self, name: str) -> None:
        """The text, or the whole sentence."""
        if self.now is not None and name == "text" and self.letters is not None:
            self.now.text, self.letters = "".join(self.letters), None
        elif self.now is not None and name == "sentence":
            self.done.append((self.begun, self.now))
            self.now = None
