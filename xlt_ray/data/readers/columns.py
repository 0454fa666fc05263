"""A word per line, its tag in another column, and an empty line after each sentence.

What is read off the first lines of a file, unless ``files.columns`` says it:

- TAB separates columns if any line has one, so words may hold spaces; else runs of blanks do.
  Blanks and TABs at the end of a line are dropped; a line of nothing else is an empty line.
- The word is the first column, or the second where the first counts the words of each sentence.
- The tag is the last column that has tags of entities, or else the last. Where words are counted,
  as in GermEval and UNER, it is the first of them: nested and chunk tags stand behind or before.
- ``#`` at the beginning of a sentence is a comment if the line has blanks, and not the columns that
  other lines have; elsewhere it is data. ``-DOCSTART-`` and a first line of columns' names are
  skipped.

What the words are never depends on tags, only on how many columns there are.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from xlt_ray.config.schema import ROW_BYTES, shown
from xlt_ray.data.readers.layouts import Notation, Sentence, TokenLines, decoded, sentences
from xlt_ray.data.readers.lines import Overlong
from xlt_ray.data.readers.rows import RowError, Text, tag_ids
from xlt_ray.labels import OUTSIDE, LabelSet, spelled, split_tag

NO_NAMES: Mapping[str, str] = MappingProxyType({})
"""For files whose columns nobody has named."""

_SNIFFED = 2000
_MOST = 0.95
"""Share of the lines, or sentences, that a column has to be recognised by."""
_WORDS = ("token", "tokens", "word", "words", "form")
_TAGS = ("tag", "tags", "label", "labels", "ner", "ner_tag", "ner_tags", "pos", "upos")
_KEYS = {"token": _WORDS[:2], "tag": ("tag", "tags", "labels", "ner_tags")}
"""Names in files.columns of the two columns."""
_CHUNKS = frozenset(
    ["ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"]
)
_DOCUMENT = b"-DOCSTART-"


@dataclass(frozen=True)
class Columns:
    """Where the columns of a file are.

    Attributes:
        separator: What stands between them: TAB, or blanks.
        number: How many most lines have.
        token: Index of the column of words, from 0.
        tag: Index of the column of tags.
        header: Whether the first line names them.
        alone: Whether words stand there without tags.
    """

    separator: bytes = b"\t"
    number: int = 2
    token: int = 0
    tag: int = 1
    header: bool = False
    alone: bool = False

    def split(self, line: bytes) -> list[bytes]:
        """The columns of a line."""
        found = line.rstrip(b" \t").split(self.separator)
        if self.separator == b" " and b"" in found:
            found = [found[0], *(value for value in found[1:] if value)]
        return found

    def is_comment(self, line: bytes) -> bool:
        """Whether a line that begins with ``#``, where a sentence would, is none of its words."""
        if self.alone or (line.startswith(b"# ") and self.separator == b"\t"):
            return b" " in line or b"\t" in line
        found = self.split(line)
        return len(found) != self.number and (len(found) > 1 or b" " in line)


@dataclass(frozen=True)
class ColumnFormat(TokenLines):
    """A line per word.

    Attributes:
        notation: How words and tags are written.
        columns: Where they are.
    """

    notation: Notation
    columns: Columns

    def rows(self, lines: Iterable[bytes], most: int = ROW_BYTES) -> Iterator[tuple[int, Sentence]]:
        """First line and lines of each sentence."""
        for sentence in sentences(self._marked(lines), most):
            yield sentence.numbers[0], sentence

    def _marked(self, lines: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
        inside, header = False, self.columns.header
        for number, line in enumerate(lines, 1):
            if is_blank(line):
                inside = False
                yield number, None
            elif header:
                header = False
            elif line.startswith(_DOCUMENT) and self._token(line) == _DOCUMENT:
                inside = False
                yield number, None
            elif inside or line[:1] != b"#" or not self.columns.is_comment(line):
                inside = True
                yield number, line

    def _token(self, line: bytes) -> bytes:
        if self.columns.token == 0 and self.columns.separator in line:
            return line.split(self.columns.separator, 1)[0]
        found = self.columns.split(line)
        return found[self.columns.token] if len(found) > self.columns.token else b""

    def text(self, raw: Sentence) -> Text:
        """The column of words."""
        raw.check_whole()
        return self.notation.words([self._token(line) for line in raw.lines])

    def labels(self, raw: Sentence, text: Text, labels: LabelSet) -> tuple[int, ...]:
        """The column of tags."""
        tags, fault = self.tags(raw, text)
        scheme, types = self.notation.scheme, self.notation.types
        return tag_ids(tags, labels, scheme=scheme, types=types, fault=fault)

    def tags(self, raw: Sentence, text: Text) -> tuple[list[str], RowError | None]:
        """The column of tags as it stands there, and why there are no more of them, if so."""
        tags, fault, kept = [], None, self.columns
        for position, line in enumerate(raw.lines):
            found = kept.split(line)
            if len(found) != kept.number or found[kept.tag] == b"":
                assert text.tokens is not None
                fault = RowError(self._fault(len(found), line, text.tokens[position]), position)
                break
            tags.append(decoded(found[kept.tag].strip(b" ")))
        return tags, fault

    def _fault(self, count: int, line: bytes, token: str) -> str:
        kept = self.columns
        if count < kept.number and (kept.number == 2 or line.endswith(kept.separator)):
            separator = "TAB" if kept.separator == b"\t" else "space"
            return f"missing tag after token {shown(token)}, needed: token, {separator}, tag"
        if count == kept.number:
            return f"missing tag of token {shown(token)} in column {kept.tag + 1}"
        return f"{count} columns, needed: {kept.number} as in the rest of the file"


def columns_of(
    lines: Iterator[bytes],
    notation: Notation,
    *,
    tabs: bool,
    named: Mapping[str, str] = NO_NAMES,
) -> ColumnFormat:
    """Find out what separates the columns of a file, and which of them hold words and tags.

    Args:
        lines: All lines; they are read to the first TAB, and to the end where there is none.
        notation: How words and tags are written.
        tabs: Whether TAB separates in any case.
        named: Of ``token`` and ``tag`` the number of their column, from 1, or from the last as -1;
            or its name in the first line.

    Raises:
        ValueError: the file has no such columns.
    """
    head = list(itertools.islice(lines, _SNIFFED))
    whole = [x for x in head if not is_blank(x) and not isinstance(x, Overlong)]
    data = [line for line in whole if not line.startswith(b"#")] or whole
    later = (b"\t" in line and b"\t" in line.rstrip(b" \t") for line in lines if line[:1] != b"#")
    tabs = tabs or any(b"\t" in line.rstrip(b" \t") for line in data) or any(later)
    plain = Columns(b"\t" if tabs else b" ", 0)
    rows = [plain.split(line) for line in data if not line.startswith(_DOCUMENT)]
    counts = Counter(len(row) for row in rows)
    number = max(counts, key=lambda count: (counts[count], count), default=2)
    names = [decoded(value).strip() for value in rows[0]] if rows else []
    header = _is_header(names, named)
    rows = [row for row in rows[header:] if len(row) == number]
    body = head[head.index(data[0]) + 1 :] if header else head
    counted = number > 2 and _counts_words(body, plain, number)
    given = {key: _given(key, named, names if header else [], number) for key in _KEYS}
    token = given["token"] if given["token"] is not None else int(counted)
    tag = given["tag"]
    if tag is None and header:
        tag = _position(names, _TAGS)
    if tag is None:
        tag = _tag_column(rows, token, counted=counted)
    found = Columns(plain.separator, max(2, number), token, tag, header, alone=number == 1)
    return ColumnFormat(notation, found)


def is_blank(line: bytes) -> bool:
    """Whether a line ends a sentence."""
    return not line or (not line.strip(b" \t") and not isinstance(line, Overlong))


def _is_header(names: Sequence[str], named: Mapping[str, str]) -> bool:
    """Whether the first line names the columns."""
    wanted = [named[key] for keys in _KEYS.values() for key in keys if key in named]
    if any(not _is_number(value) and value in names for value in wanted):
        return True
    small = [name.lower() for name in names]
    return len(small) > 1 and any(x in _WORDS for x in small) and any(x in _TAGS for x in small)


def _position(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    small = [name.lower() for name in names]
    return next((small.index(name) for name in wanted if name in small), None)


def _given(key: str, named: Mapping[str, str], names: Sequence[str], number: int) -> int | None:
    """Index of the column that files.columns names for words or tags; None: it names none."""
    called = next((name for name in _KEYS[key] if name in named), None)
    if called is None:
        return _position(names, _WORDS) if key == "token" and names else None
    value = named[called]
    if not _is_number(value):
        if value in names:
            return names.index(value)
        raise ValueError(f"files.columns.{called}: no column {value!r} in the first line")
    found = int(value)
    if found == 0 or not -number <= found <= number:
        allowed = f"1 to {number}, or -1 to -{number} from the last"
        raise ValueError(f"files.columns.{called}: is {found}, allowed: {allowed}")
    return found - 1 if found > 0 else number + found


def _is_number(value: str) -> bool:
    return value.removeprefix("-").isdecimal()


def _counts_words(lines: Sequence[bytes], plain: Columns, number: int) -> bool:
    """Whether the first column counts the words of each sentence, from 0 or 1."""
    found: list[list[bytes]] = [[]]
    for line in lines:
        if is_blank(line):
            found.append([])
        elif len(row := plain.split(line)) == number and not (line[:1] == b"#" and not found[-1]):
            found[-1].append(row[0])
    kept = [firsts for firsts in found if firsts]
    right = [
        all(value.isdigit() for value in firsts)
        and [int(value) for value in firsts]
        in (list(range(len(firsts))), list(range(1, len(firsts) + 1)))
        for firsts in kept
    ]
    return max(map(len, kept), default=0) > 1 and sum(right) >= _MOST * len(kept)


def _tag_column(rows: Sequence[Sequence[bytes]], token: int, *, counted: bool) -> int:
    """The column that tags stand in."""
    if not rows:
        return 1
    last = len(rows[0]) - 1
    if last <= token:
        return 0 if token else 1
    entities: list[int] = []
    plain: list[int] = []
    for column in range(token + 1, last + 1):
        split = [split_tag(spelled(decoded(row[column].strip(b" ")))) for row in rows]
        kinds = {kind for letter, kind in split if letter}
        fit = sum(bool(letter) or kind == OUTSIDE for letter, kind in split)
        if kinds and fit >= _MOST * len(split):
            (plain if kinds <= _CHUNKS else entities).append(column)
    found = entities or plain
    if not found:
        return last
    return found[0] if counted else found[-1]
