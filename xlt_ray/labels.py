"""Label sets, BIO tags and the spans they stand for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

OUTSIDE = "O"

UNLABELLED = -100
"""Class id of a word or text that takes part in no loss and no score."""

Scheme = Literal["bare", "iob1", "bio", "bioes", "bmes", "bilou"]

PREFIXES: dict[Scheme, Mapping[str, str]] = {
    "bare": {},
    "iob1": {"B": "B", "I": "I"},
    "bio": {"B": "B", "I": "I"},
    "bioes": {"B": "B", "I": "I", "E": "E", "S": "S"},
    "bmes": {"B": "B", "M": "I", "I": "I", "E": "E", "S": "S"},
    "bilou": {"B": "B", "I": "I", "L": "E", "U": "S"},
}
"""What each letter of a scheme says, in the letters of BIOES; ``bare`` has types without any."""

_LETTERS = frozenset("BIESMLU")


@dataclass(frozen=True)
class Span:
    """An entity over the words ``start`` to ``end - 1``."""

    type: str
    start: int
    end: int


@dataclass(frozen=True)
class LabelSet:
    """The classes of a task; a class id is the position of its name."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"label names must be distinct and at least one, got {self.names}")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """Class id of ``name``; raises ValueError with the allowed names otherwise."""
        if name not in self._ids:
            raise ValueError(f"unknown label {name!r}, allowed: {', '.join(self.names)}")
        return self._ids[name]

    def of_number(self, number: int) -> str | None:
        """Name of a class that a file has as a number: the name itself, or its position."""
        if str(number) in self._ids:
            return str(number)
        return self.names[number] if 0 <= number < len(self.names) else None

    @cached_property
    def is_bio(self) -> bool:
        """Whether the names are ``O`` and otherwise ``B-type`` and ``I-type``."""
        return OUTSIDE in self.names and all(
            name == OUTSIDE or (name[:2] in ("B-", "I-") and len(name) > 2) for name in self.names
        )

    @property
    def outside(self) -> int:
        """Class id of ``O``."""
        return self.index(OUTSIDE)

    @cached_property
    def class_types(self) -> tuple[str | None, ...]:
        """Entity type of each class id; None for ``O`` and for names outside BIO."""
        return tuple(name[2:] if self.is_bio and name != OUTSIDE else None for name in self.names)

    @cached_property
    def entity_types(self) -> tuple[str, ...]:
        """Entity types in order of first appearance; empty outside BIO."""
        return tuple(dict.fromkeys(name for name in self.class_types if name is not None))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {name: position for position, name in enumerate(self.names)}


def bio_spans(tags: Sequence[str]) -> list[Span]:
    """Entities of a BIO sequence as conlleval reads it: an orphan ``I-`` starts an entity."""
    spans: list[Span] = []
    start, current = 0, ""
    for position, (prefix, entity) in enumerate(_parsed(tags, scheme="bio")):
        continues = prefix == "I" and entity == current
        if current and not continues:
            spans.append(Span(current, start, position))
        if not continues:
            start, current = position, entity
    if current:
        spans.append(Span(current, start, len(tags)))
    return spans


def bio_spans_of_ids(ids: Sequence[int], labels: LabelSet) -> list[Span]:
    """`bio_spans` of class ids."""
    return bio_spans([labels.names[label] for label in ids])


def has_orphan(tags: Sequence[str]) -> bool:
    """Whether some ``I-X`` follows neither ``B-X`` nor ``I-X``."""
    previous = ""
    for prefix, entity in _parsed(tags, scheme="bio"):
        if prefix == "I" and entity != previous:
            return True
        previous = entity
    return False


def has_orphan_of_ids(ids: Sequence[int], labels: LabelSet) -> bool:
    """`has_orphan` of class ids."""
    return has_orphan([labels.names[label] for label in ids])


def spans_to_bio(spans: Iterable[Span], length: int) -> list[str]:
    """BIO tags of ``length`` words; raises ValueError on spans that overlap or do not fit."""
    tags = [OUTSIDE] * length
    for span in spans:
        if not 0 <= span.start < span.end <= length:
            raise ValueError(f"{span} does not fit into {length} words")
        if any(tag != OUTSIDE for tag in tags[span.start : span.end]):
            raise ValueError(f"{span} overlaps another span")
        inside = [f"I-{span.type}"] * (span.end - span.start - 1)
        tags[span.start : span.end] = [f"B-{span.type}", *inside]
    return tags


def to_bio(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """Rewrite tags of another scheme as BIO; raises ValueError on a tag the scheme does not have.

    In ``iob1`` an entity starts with ``I-`` unless it touches one of its own type, in ``bare``
    neighbours of one type are one entity. Sequences that break the rules of the other schemes keep
    their orphan ``I-``, so `has_orphan` still sees it. Tags may be written as `spelled` reads them.
    """
    result: list[str] = []
    previous = ""
    for prefix, entity in _parsed(tags, scheme=scheme):
        starts = prefix in "BS" or (scheme in ("bare", "iob1") and entity != previous)
        result.append(f"{'B' if starts else 'I'}-{entity}" if entity else OUTSIDE)
        previous = entity
    return result


def spelled(tag: str) -> str:
    """A tag with its letter in front: ``PER-B`` is ``B-PER``, a small ``o`` is ``O``."""
    if tag == OUTSIDE.lower():
        return OUTSIDE
    first, dash, rest = tag.partition("-")
    if not dash or (first in _LETTERS and rest):
        return tag
    kind, _, last = tag.rpartition("-")
    return f"{last}-{kind}" if last in _LETTERS and kind else tag


def split_tag(tag: str) -> tuple[str, str]:
    """Letter and type of a tag as `spelled` gives it; of one without a letter, "" and the tag."""
    prefix, dash, entity = tag.partition("-")
    return (prefix, entity) if dash and entity and prefix in _LETTERS else ("", tag)


def _parsed(tags: Sequence[str], *, scheme: Scheme) -> list[tuple[str, str]]:
    """What each letter says in BIOES, and the type."""
    pairs: list[tuple[str, str]] = []
    roles = PREFIXES[scheme]
    for position, tag in enumerate(tags):
        if tag == OUTSIDE:
            pairs.append((OUTSIDE, ""))
            continue
        prefix, dash, entity = tag.partition("-")
        if not (dash and entity and prefix in roles):
            usual = spelled(tag)
            if usual == OUTSIDE:
                pairs.append((OUTSIDE, ""))
                continue
            prefix, _, entity = usual.partition("-")
        if scheme == "bare" and tag:
            pairs.append(("I", tag))
        elif entity and prefix in roles:
            pairs.append((roles[prefix], entity))
        else:
            raise ValueError(f"tag {tag!r} at position {position} is not a {scheme} tag")
    return pairs
