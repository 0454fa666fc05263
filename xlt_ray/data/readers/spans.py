"""Entities that are marked in a running text, in the forms that annotation tools write.

=============  ====================================================================================
doccano        ``{"text", "label": [[start, end, type], ...]}``, also ``labels``, or
               ``"entities": [{"start_offset", "end_offset", "label"}]``
Label Studio   ``{"data": {"text"}, "annotations": [{"result": [{"value": {"start", "end",
               "labels": [type]}}]}]}``; in its short form ``{"text", "label": [{"start", "end",
               "labels": [type]}]}``
spaCy          ``{"text", "spans": [{"start", "end", "label"}]}``, ``[text, {"entities": [[start,
               end, type]]}]``, with Prodigy's ``tokens`` or without
GLiNER         ``{"tokenized_text": [word, ...], "ner": [[first, last, type]]}``, of words
=============  ====================================================================================

Starts and ends count characters, and the end is that after the last one; GLiNER's count words, and
the last one is in. What the words are never depends on the entities: of an entity that ends within
a word, the whole word is part.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, TypeGuard

from xlt_ray.config.schema import shown
from xlt_ray.data.readers.rows import Record, RowError
from xlt_ray.data.readers.words import Cut, Place, word_places
from xlt_ray.labels import Span, spans_to_bio

LISTS = ("entities", "spans", "label", "labels")
"""Fields that hold marked entities."""
_STARTS, _ENDS = ("start", "start_offset", "begin"), ("end", "end_offset")
_TYPES = ("label", "labels", "type", "tag", "entity", "category")
_DATA, _DONE, _WORDS, _NER = "data", ("annotations", "completions"), "tokenized_text", "ner"


class Marked(NamedTuple):
    """An entity: its first character, the one after its last, and its type."""

    start: int
    end: int
    type: str


def in_usual_form(record: Any) -> Any:
    """A record of one of the forms above as one with ``text`` or ``tokens``; others as they are."""
    if isinstance(record, list) and len(record) == 2 and isinstance(record[1], Mapping):
        return {"text": record[0], **record[1]}  # spaCy
    if not isinstance(record, Mapping):
        return record
    if _WORDS in record and "tokens" not in record:
        return {"tokens": record[_WORDS], **{k: v for k, v in record.items() if k != _WORDS}}
    if isinstance(record.get(_DATA), Mapping) and "text" not in record:
        others = {key: value for key, value in record.items() if key != _DATA}
        return {**others, **_labelled(others), **record[_DATA]}
    tokens = record.get("tokens")
    if tokens and isinstance(tokens, list) and all(isinstance(x, Mapping) for x in tokens):
        return {key: value for key, value in record.items() if key != "tokens"}  # Prodigy
    return record


def is_marked(record: Record) -> bool:
    """Whether a record has entities that are marked in its text, rather than a tag per word."""
    if "tokens" in record:
        return _NER in record
    return any(_is_list(record.get(name)) for name in LISTS)


def _is_list(value: Any) -> bool:
    """Whether a value may be a list of marked entities."""
    if not isinstance(value, list):
        return False
    return all(isinstance(x, Mapping) or (isinstance(x, list) and len(x) == 3) for x in value)


def tags_of_text(record: Record, cut: Cut) -> list[str]:
    """BIO tags of the words of a record with a text.

    Raises:
        RowError: an entity has no characters, is outside the text, or shares a word with another.
    """
    text = record["text"]
    places = word_places(text, cut)
    return spans_to_bio(_of_words(text, places, list(marked_in(record))), len(places))


def tags_in_words(record: Record, words: Sequence[str]) -> list[str]:
    """BIO tags of words that make up the text of a record, however they are cut.

    Args:
        record: It has ``text``, or the words with blanks between them are the text.
        words: The words; blanks apart, their characters are those of the text.

    Raises:
        RowError: as `tags_of_text` does, or the text is another one.
    """
    text = record.get("text")
    text = text if isinstance(text, str) else " ".join(words)
    if bare(text) != bare(*words):
        raise RowError("its text is another one than that of the row")
    entities = list(marked_in(record))
    for item in entities:
        if not 0 <= item.start < item.end <= len(text):
            reason = f"entity {shown(list(item))} is not within the {len(text)} characters"
            raise RowError(f"{reason} of its text")
    before = list(accumulate((not x.isspace() for x in text), initial=0))
    moved = [Marked(before[x.start], before[x.end], x.type) for x in entities]
    ends = list(accumulate(len(bare(word)) for word in words))
    places = list(zip([0, *ends[:-1]], ends, strict=True))
    if empty := next((x for x in moved if x.start == x.end), None):
        raise RowError(f"entity {shown(empty.type)} has no word")
    return spans_to_bio(_of_words(bare(*words), places, moved), len(words))


def bare(*texts: str) -> str:
    """The characters of texts that are no white space."""
    return "".join(part for text in texts for part in text.split())


def tags_of_words(record: Record) -> list[str]:
    """BIO tags of the words of a record with ``tokens`` and ``ner``; raises RowError as above."""
    count, spans = len(record["tokens"]), list[Span]()
    for item in record[_NER]:
        first, last, kind = item if isinstance(item, list) and len(item) == 3 else [None] * 3
        if not _is_number(first) or not _is_number(last) or not 0 <= first <= last < count:
            allowed = f"[first, last, type] of the words 0 to {count - 1}"
            raise RowError(f"entity {shown(item)}, allowed: {allowed}")
        spans.append(Span(_name(kind, item), first, last + 1))
    return spans_to_bio(_apart(spans), count)


def marked_in(record: Record) -> Iterator[Marked]:
    """The entities of a record, as they are marked there; raises RowError on what is none."""
    fields = [name for name in LISTS if name in record]
    if not fields:
        raise RowError(f"no marked entities, needed: {' or '.join(LISTS)}")
    value = record[fields[0]]
    if not isinstance(value, list):
        raise RowError(f"{fields[0]} {shown(value)} is not a list")
    for item in value:
        match item:
            case [start, end, kind]:
                pass
            case Mapping():
                start = next((item[name] for name in _STARTS if name in item), None)
                end = next((item[name] for name in _ENDS if name in item), None)
                kind = next((item[name] for name in _TYPES if name in item), None)
            case _:
                start = end = kind = None
        if not _is_number(start) or not _is_number(end):
            raise RowError(f"entity {shown(item)}, needed: start, end and type")
        yield Marked(start, end, _name(kind, item))


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(kind: Any, item: Any) -> str:
    if isinstance(kind, list) and len(kind) == 1:
        kind = kind[0]
    if not isinstance(kind, str) or not kind.strip():
        raise RowError(f"entity {shown(item)} has no type, or several")
    return kind.strip()


def _of_words(text: str, places: Sequence[Place], entities: Sequence[Marked]) -> list[Span]:
    spans = []
    for item in entities:
        if not 0 <= item.start < item.end <= len(text):
            reason = f"entity {shown(list(item))} is not within the {len(text)} characters"
            raise RowError(f"{reason} of its text")
        inside = [n for n, (a, b) in enumerate(places) if a < item.end and item.start < b]
        if not inside:
            raise RowError(f"entity {shown(list(item))} has no word")
        spans.append(Span(item.type, inside[0], inside[-1] + 1))
    return _apart(spans)


def _apart(spans: Sequence[Span]) -> list[Span]:
    """Spans in order; the same one twice is one."""
    found = sorted(set(spans), key=lambda span: (span.start, span.end, span.type))
    for one, other in pairwise(found):
        if other.start < one.end:
            raise RowError(
                f"entities {one.type} and {other.type} share a word, and a word has one label"
            )
    return found


def _labelled(record: Record) -> dict[str, Any]:
    """What a person has chosen in Label Studio, as one field ``label``."""
    done = next((record[name] for name in _DONE if isinstance(record.get(name), list)), [])
    kept = [x for x in done if isinstance(x, Mapping) and not x.get("was_cancelled")]
    if not kept:
        return {}
    results = [x.get("value") for x in kept[0].get("result") or () if isinstance(x, Mapping)]
    values = [value for value in results if isinstance(value, Mapping)]
    choices = [choice for value in values for choice in value.get("choices") or ()]
    return {"label": choices or [value for value in values if "start" in value]}
