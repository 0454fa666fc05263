"""Checks of single rows, shared by all readers: first the text, then the labels, never both.

A row that fails raises `RowError`; `assemble` turns it into a `BadRow`, so that no content of a
file stops a run by itself.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, TypeVar

from xlt_ray.config.schema import shown
from xlt_ray.data.schema import BadRow, ContentIds, Example, Task
from xlt_ray.labels import OUTSIDE, PREFIXES, LabelSet, Scheme, spelled, to_bio

NO_TYPES: Mapping[str, str] = MappingProxyType({})
"""For tags whose entity types are called as in the label set."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NEEDS = {
    "token": "tokens",
    "sentence": "text",
    "pair": "premise and hypothesis, or text and text_pair",
}
SEVERAL = "several labels, which are not supported:"
"""How the reason begins why a row with more than one class is not read."""
_TOKEN_LABEL_FIELDS = ("tags", "labels", "ner_tags")

Record = Mapping[str, Any]
Raw = TypeVar("Raw")


class RowError(Exception):
    """Why a row cannot be used.

    Attributes:
        reason: The value and what is allowed.
        position: Index of the offending token, if there is one.
    """

    def __init__(self, reason: str, position: int | None = None):
        super().__init__(reason)
        self.reason = reason
        self.position = position


@dataclass(frozen=True, slots=True)
class Text:
    """The part of a row that does not depend on its labels.

    Attributes:
        tokens: Words, in token tasks.
        text: The text, or the first of a pair.
        text_pair: The other of a pair.
        id: One that the file gave itself.
        whole: The running text that the words were cut from.
        places: Where each word is in it: its first character, and the one after its last.
    """

    tokens: tuple[str, ...] | None = None
    text: str | None = None
    text_pair: str | None = None
    id: str | None = None
    whole: str | None = None
    places: tuple[tuple[int, int], ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """What the content id is made of."""
        texts = (self.text, self.text_pair)
        return self.tokens or tuple(text for text in texts if text is not None)


def check_tokens(tokens: Sequence[object], *, prefix: str = "") -> tuple[str, ...]:
    """Accept words of any characters but none at all; invisible ones are data.

    Args:
        tokens: The words; undecodable bytes in them are lone surrogates.
        prefix: What every word must start with; it is taken off.
    """
    if not tokens:
        raise RowError("no tokens, a sentence needs at least one")
    words = []
    for position, token in enumerate(tokens):
        if not isinstance(token, str):
            raise RowError(f"token {shown(token)} is not a string", position)
        if not token.isascii():
            _check_unicode(token, "token", position)
        if not token.startswith(prefix):
            reason = f"token {shown(token)} does not start with {prefix!r}, as strip_prefix expects"
            raise RowError(reason, position)
        word = token.removeprefix(prefix)
        if not word.strip(" "):
            reason = f"empty token {shown(word)}, it needs a character other than a space"
            raise RowError(reason, position)
        words.append(word)
    return tuple(words)


def check_text(value: object, name: str) -> str:
    """Accept a string that is more than white space."""
    if not isinstance(value, str):
        raise RowError(f"{name} {shown(value)} is not a string")
    if not value.strip():
        raise RowError(f"empty {name} {shown(value)}, it needs a character other than white space")
    _check_unicode(value, name)
    return value


def _check_unicode(value: str, name: str, position: int | None = None) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogatepass")
        if all("\udc80" <= character <= "\udcff" for character in _SURROGATE.findall(value)):
            raw = value.encode("utf-8", "surrogateescape")
        raise RowError(f"{name} {shown(raw)} is not valid UTF-8", position) from None


def text_of(record: Record, task: Task, *, prefix: str = "") -> Text:
    """Text of a record with named fields, such as a line of JSONL or a row of Parquet."""
    own_id = _own_id(record.get("id"))
    if task == "token" and "tokens" in record:
        tokens = record["tokens"]
        if not isinstance(tokens, list):
            raise RowError(f"tokens {shown(tokens)} is not a list of strings")
        return Text(tokens=check_tokens(tokens, prefix=prefix), id=own_id)
    if task == "sentence" and "text" in record:
        return Text(text=check_text(record["text"], "text"), id=own_id)
    if task == "pair":
        for first, second in (("premise", "hypothesis"), ("text", "text_pair")):
            if first in record and second in record:
                one = check_text(record[first], first)
                other = check_text(record[second], second)
                return Text(text=one, text_pair=other, id=own_id)
    raise RowError(f"fields {shown(sorted(record))}, needed: {_NEEDS[task]}")


def _own_id(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise RowError(f"id {shown(value)} is neither a string nor a whole number")
    _check_unicode(str(value), "id")
    return str(value)


def labels_of(
    record: Record,
    task: Task,
    text: Text,
    labels: LabelSet,
    *,
    scheme: Scheme = "bio",
    types: Mapping[str, str] = NO_TYPES,
    names: Sequence[str] | None = None,
) -> tuple[int, ...] | int:
    """Class ids of a record with named fields.

    Args:
        record: The fields.
        task: Kind of task.
        text: What `text_of` read from the same record.
        labels: Label set to number the classes with.
        scheme: How the tags of a token task are written.
        types: Entity types that have another name in the label set, see `tag_ids`.
        names: Class names that integers in the record refer to; by default those of ``labels``.
    """
    fields = _TOKEN_LABEL_FIELDS if task == "token" else ("label",)
    given = [name for name in fields if name in record]
    if len(given) != 1:
        found = f"label fields {', '.join(given)}" if given else "no label field"
        raise RowError(f"{found}, needed: {' or '.join(fields)}")
    value = record[given[0]]
    if task != "token":
        return class_id(value, labels, names=names)
    if not isinstance(value, list):
        raise RowError(f"{given[0]} {shown(value)} is not a list")
    assert text.tokens is not None
    if len(value) != len(text.tokens):
        raise RowError(f"{len(value)} tags for {len(text.tokens)} tokens, one per token is needed")
    if all(isinstance(tag, str) for tag in value):
        return tag_ids(value, labels, scheme=scheme, types=types)
    if names is None:
        # Indices into the label set are class ids: there is nothing to convert.
        indexed = [
            class_id(tag, labels, noun="tag", position=position)
            for position, tag in enumerate(value)
        ]
        return tuple(indexed)
    tags, fault = [], None
    for position, tag in enumerate(value):
        try:
            tags.append(_class_name(tag, labels, names, "tag", position))
        except RowError as error:
            fault = error
            break
    return tag_ids(tags, labels, scheme=scheme, types=types, fault=fault)


def tag_ids(
    tags: Sequence[str],
    labels: LabelSet,
    *,
    scheme: Scheme = "bio",
    types: Mapping[str, str] = NO_TYPES,
    fault: RowError | None = None,
) -> tuple[int, ...]:
    """Class ids of the tags of a sentence.

    Args:
        tags: The tags.
        labels: Label set to number them with.
        scheme: How they are written; ``bio`` takes them as they stand.
        types: The label set's name of each entity type that has another one in the tags, or O for
            one that is no entity here. Prefixes are left alone, so an ``I-`` after another type
            that gets the same name continues it.
        fault: Why there are no more tags than these; raised unless one of them is wrong.
    """
    try:
        bio = tags if scheme == "bio" else to_bio(tags, scheme)
        named = [_renamed(tag, types) for tag in bio] if types else bio
        ids = tuple(labels.index(tag) for tag in named)
    except ValueError:
        usual = [spelled(tag) for tag in tags]
        if scheme == "bio" and labels.is_bio and usual != list(tags):
            return tag_ids(usual, labels, types=types, fault=fault)
        allowed = _allowed(labels, scheme, types)
        wrong = [position for position, tag in enumerate(tags) if tag not in allowed]
        assert wrong, "a scheme is converted for BIO label sets only"
        first, tag = wrong[0], tags[wrong[0]]
        _check_unicode(tag, "tag", first)
        reason = f"unknown tag {shown(tag)}, allowed: {', '.join(allowed)}"
        raise RowError(reason, first) from None
    if fault is not None:
        raise fault
    return ids


def _renamed(tag: str, types: Mapping[str, str]) -> str:
    prefix, dash, kind = tag.partition("-")
    if kind not in types:
        return tag
    return OUTSIDE if types[kind] == OUTSIDE else f"{prefix}{dash}{types[kind]}"


def _allowed(labels: LabelSet, scheme: Scheme, types: Mapping[str, str]) -> Sequence[str]:
    known = (*labels.entity_types, OUTSIDE)
    others = [kind for kind, name in types.items() if name in known]
    if scheme == "bare":
        return (OUTSIDE, *labels.entity_types, *others)
    if scheme not in ("bio", "iob1"):
        kinds, prefixes = (*labels.entity_types, *others), "".join(PREFIXES[scheme])
        first = (OUTSIDE,)
    else:
        kinds, prefixes, first = others, "BI", labels.names
    return (*first, *(f"{prefix}-{kind}" for kind in kinds for prefix in prefixes))


def class_id(
    value: object,
    labels: LabelSet,
    *,
    names: Sequence[str] | None = None,
    noun: str = "label",
    position: int | None = None,
) -> int:
    """Class id of a name, or of a number: an index into ``names``, or as the label set reads it.

    White space around a name is left out; truth values are called ``true`` and ``false``.
    """
    name = _class_name(value, labels, names, noun, position)
    _check_unicode(name, noun, position)
    try:
        return labels.index(name)
    except ValueError:
        allowed = ", ".join(labels.names)
        raise RowError(f"unknown {noun} {shown(name)}, allowed: {allowed}", position) from None


def _class_name(
    value: object,
    labels: LabelSet,
    names: Sequence[str] | None,
    noun: str,
    position: int | None,
) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        if name := value.strip():
            return name
        raise RowError(f"empty {noun} {shown(value)}, needed: the name of a class", position)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | Mapping):
        raise RowError(f"{SEVERAL} {shown(value)}, one class is needed", position)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    allowed = ", ".join(labels.names)
    if isinstance(value, int):
        if names is None and (found := labels.of_number(value)) is not None:
            return found
        if names is not None and 0 <= value < len(names):
            return names[value]
        known = labels.names if names is None else names
        allowed = ", ".join(f"{index} {name}" for index, name in enumerate(known))
    raise RowError(f"unknown {noun} {shown(value)}, allowed: {allowed}", position)


def assemble(
    rows: Iterable[tuple[int, Raw]],
    *,
    language: str,
    split: str,
    file: str,
    read_text: Callable[[Raw], Text],
    read_labels: Callable[[Raw, Text], tuple[int, ...] | int] | None,
    limit: int | None,
    token_line: Callable[[Raw, int], int | None] | None = None,
    ids: "RowIds | None" = None,
) -> Iterator[Example | BadRow]:
    """Turn raw rows into examples and bad rows.

    Args:
        rows: Line or row number (from 1) and content of each row.
        language: Language code.
        split: Split name.
        file: Name of the file in the results.
        read_text: Reads the text of a row; must not look at its labels.
        read_labels: Reads the labels of a row whose text is good; None leaves them unread.
        limit: Stop after so many rows with good text.
        token_line: Gives the line of a row's token, numbered from 0, or None where the tokens of
            a row share one line; absent: they do.
        ids: The ids given so far, where a split has several files.
    """
    ids = ids or RowIds(language, split)
    start = ids.count
    for line, raw in rows:
        try:
            text = read_text(raw)
            item_id = ids.next(text, line, file)
        except RowError as error:
            yield _bad_row(error, file, line, raw, token_line)
            continue
        try:
            labels = None if read_labels is None else read_labels(raw, text)
        except RowError as error:
            yield _bad_row(error, file, line, raw, token_line)
        else:
            yield Example(
                id=item_id,
                language=language,
                tokens=text.tokens,
                text=text.text,
                text_pair=text.text_pair,
                labels=labels,
                file=file,
                line=line,
            )
        if ids.count - start == limit:
            return


def _bad_row(
    error: RowError,
    file: str,
    line: int,
    raw: Raw,
    token_line: Callable[[Raw, int], int | None] | None,
) -> BadRow:
    if error.position is None:
        return BadRow(file, line, error.reason)
    own = token_line(raw, error.position) if token_line is not None else None
    if own is not None:
        return BadRow(file, own, error.reason)
    return BadRow(file, line, f"{error.reason} (token {error.position + 1})")


class RowIds:
    """The ids of one split: those that its files give, and content ids for the other rows.

    Rows of two files that have the same id in them are two rows. Keeps a few bytes of each row, not
    the row.

    Attributes:
        count: How many ids were given.
    """

    def __init__(self, language: str, split: str):
        self._prefix = f"{language}-{split}"
        self._content = ContentIds(language, split)
        self._lines: dict[bytes, int] = {}
        self._first = ""
        self.count = 0

    def next(self, text: Text, line: int, file: str) -> str:
        """The id of the next row; raises RowError if its file gave it to an earlier row."""
        if text.id is None:
            self.count += 1
            return self._content.next(text.parts)
        self._first = self._first or file
        name = text.id if file == self._first else f"{text.id} of {file}"
        key = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        if key in self._lines:
            raise RowError(f"duplicate id {shown(text.id)}, first used in line {self._lines[key]}")
        self._lines[key] = line
        self.count += 1
        return f"{self._prefix}-id-{name}"
