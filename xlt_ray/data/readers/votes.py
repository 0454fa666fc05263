"""What a labeller says of texts: rows of files, or answers, as class ids and probabilities.

A row has the text, or the ``id`` of one, and labels in a field of its own, ``labels.NAME``; or
``labels`` by name; or, if it is of one labeller, in a field ``labels``, ``label``, ``tags``,
``ner_tags`` or ``prediction``, or as marked entities. A field ``labeller`` says whose row it is. In
files with a word per line a column has the labels. A row without labels is a missing vote, a word
without one (null, ``?`` or ``_``) a missing vote about the word.

``confidence`` (or ``confidence.NAME``) is the probability of the label, one for the row or one for
each word, and the rest of the mass is spread evenly; ``probs`` has all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlt_ray.config.schema import shown
from xlt_ray.data.readers.columns import ColumnFormat
from xlt_ray.data.readers.records import Records
from xlt_ray.data.readers.rows import (
    NO_TYPES,
    Record,
    RowError,
    Text,
    labels_of,
    text_of,
)
from xlt_ray.data.readers.spans import LISTS, bare, is_marked, tags_in_words, tags_of_words
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.schema import BadRow, Task
from xlt_ray.labels import OUTSIDE, UNLABELLED, LabelSet, Scheme

PLAIN = ("labels", "label", "tags", "ner_tags", "prediction", "entities", "spans", "ner")
"""Fields with the labels of the only labeller of a row."""
WHOSE = "labeller"
"""Field with the name of the only labeller of a row."""
MISSING = ("?", "_", "")
"""How a word without a vote is marked, unless a class is called so."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Vote:
    """What a labeller says of a text.

    Attributes:
        labels: [N] class ids of its words, or of the text; -100 where it says nothing.
        probs: [N, K] probabilities; zeros where it says nothing.
    """

    labels: np.ndarray
    probs: np.ndarray


@dataclass(frozen=True, slots=True)
class Said:
    """A row of a file, before it is compared with a text.

    Attributes:
        record: Its fields.
        key: Of its text, see `key_of`; None: it has an id alone.
        id: Its id, if it has one.
        file: File that it is in.
        line: Its first line or row there, from 1.
    """

    record: Record
    key: Key | None
    id: str | None
    file: str
    line: int


def key_of(row: Mapping[str, Any]) -> Key:
    """What rows of one text have in common: its characters without white space, so that it is found
    again however it was cut into words."""
    if row.get("tokens") is not None:
        return (bare(*map(str, row["tokens"])),)
    first, pair = row.get("premise", row.get("text")), row.get("hypothesis", row.get("text_pair"))
    return (bare(str(first)),) if pair is None else (bare(str(first)), bare(str(pair)))


def said_in(source: UserSource) -> Iterator[Said | BadRow]:
    """The rows of files, one after the other.

    Raises:
        ValueError: a file cannot be read, or is of no form that has votes.
    """
    for file in source.files():
        layout = source.layout(file)
        if not isinstance(layout, Records | ColumnFormat):
            raise ValueError(
                f"{source.key}: {file.location} has no votes; allowed: .jsonl, .json, .csv, "
                ".parquet, and words in columns"
            )
        with source.raw(file, layout) as rows:
            for line, raw in rows:
                try:
                    record = _record(layout, raw)
                    own = record.get("id")
                    yield Said(
                        record,
                        _key(record, source.task),
                        None if own in (None, "") else str(own),
                        file.name,
                        line,
                    )
                except RowError as error:
                    yield BadRow(file.name, line, error.reason)


def _record(layout: Any, raw: Any) -> Record:
    if not isinstance(layout, ColumnFormat):
        record, classes = layout.named(raw), layout.classes
        return {name: _names_of(value, classes.get(name)) for name, value in record.items()}
    text: Text = layout.text(raw)
    tags, fault = layout.tags(raw, text)
    if fault is not None:
        raise fault
    return {"tokens": list(text.tokens or ()), "labels": tags}


def _names_of(value: Any, classes: Sequence[str] | None) -> Any:
    """The names of classes that a column of Parquet has as numbers."""
    if classes is None:
        return value
    if isinstance(value, list):
        return [_names_of(item, classes) for item in value]
    return classes[value] if isinstance(value, int) and 0 <= value < len(classes) else value


def _key(record: Record, task: Task) -> Key | None:
    there = {"token": ("tokens", "text"), "sentence": ("text",), "pair": ("premise", "text")}[task]
    if record.get("id") not in (None, "") and not any(record.get(name) for name in there):
        return None
    if task == "token" and "tokens" not in record:
        text_of(record, "sentence")
    else:
        text_of(record, task)
    return key_of(record)


def labellers_in(record: Record) -> list[str]:
    """Names of the labellers of a row that has more than one, or says whose it is."""
    found = [name.partition(".")[2] for name in record if name.startswith("labels.")]
    if isinstance(record.get("labels"), Mapping):
        found += record["labels"]
    if isinstance(record.get(WHOSE), str):
        found.append(record[WHOSE])
    return found


def own_fields(record: Record, name: str, column: str | None) -> dict[str, Any] | None:
    """What a row says in the name of one labeller: ``labels``, ``confidence`` and ``probs``, as far
    as they are there; None: it says nothing.

    Args:
        record: The fields.
        name: The labeller.
        column: Field with its labels; None: the usual ones.

    Raises:
        RowError: it is not known which of several fields are meant.
    """
    whose, value = record.get(WHOSE), None
    if whose is not None and whose != name:
        return None
    several = isinstance(record.get("labels"), Mapping) or any(
        field.startswith("labels.") for field in record
    )
    if column is not None:
        own, value = column.partition(".")[2] or name, record.get(column)
        several = several or "." in column
    elif several:
        nested = record.get("labels")
        own, value = name, record.get(f"labels.{name}")
        if value is None and isinstance(nested, Mapping):
            value = nested.get(name)
    else:
        own, there = name, [field for field in PLAIN if record.get(field) is not None]
        if len(there) > 1:
            raise RowError(f"fields {', '.join(there)}: which has the labels? name it as column")
        value = record[there[0]] if there else None
    found = {"labels": value}
    for field in ("confidence", "probs"):
        given = record.get(f"{field}.{own}")
        nested = record.get(field)
        if given is None and isinstance(nested, Mapping):
            given = nested.get(own)
        elif given is None and not several:
            given = nested
        if given is not None:
            found[field] = given
    is_empty = value is None or (isinstance(value, str) and value in MISSING)
    return None if is_empty and "probs" not in found else found


def vote_of(
    own: Mapping[str, Any],
    row: Mapping[str, Any],
    task: Task,
    labels: LabelSet,
    said: Record,
    notation: UserSource | None = None,
) -> Vote | None:
    """What a labeller says of a text, as numbers; None: nothing.

    Args:
        own: `own_fields` of a row or answer.
        row: The text: ``tokens``, or ``text`` and perhaps ``text_pair``.
        task: Kind of task.
        labels: Classes.
        said: The whole row or answer, whose ``text`` entities are marked in.
        notation: How tags are written, and types called; None: as in the label set.

    Raises:
        RowError: it is no label, or not one for each word.
    """
    words = row.get("tokens")
    count = 1 if task != "token" else len(words or ())
    ids_N = _ids(own.get("labels"), words, task, labels, said, notation)
    probs_NK = _probs(own, count, len(labels))
    if ids_N is None and probs_NK is None:
        return None
    if ids_N is None:
        assert probs_NK is not None
        ids_N = probs_NK.argmax(axis=1).astype(np.int16)
    given_N = ids_N >= 0
    if probs_NK is None:
        probs_NK = _spread(own.get("confidence"), ids_N, len(labels))
    probs_NK = np.where(given_N[:, None], probs_NK, 0.0).astype(np.float16)
    return Vote(ids_N, probs_NK) if given_N.any() else None


def _ids(
    value: Any,
    words: Sequence[str] | None,
    task: Task,
    labels: LabelSet,
    said: Record,
    notation: UserSource | None,
) -> np.ndarray | None:
    if value is None:
        return None
    scheme: Scheme = "bio" if notation is None else notation.scheme
    types = NO_TYPES if notation is None else notation.types
    if task != "token":
        number = labels_of({"label": value}, task, Text(text=""), labels)
        return np.array([number], np.int16)
    assert words is not None
    marked = {"text": said.get("text"), "entities": value}
    if "tokens" in said and "ner" in said and value is said["ner"]:
        value = tags_of_words({"tokens": list(words), "ner": value})
        scheme = "bio"
    elif is_marked({**marked, "text": ""}):
        value = tags_in_words(marked, words)
        scheme = "bio"
    if not isinstance(value, list) or len(value) != len(words):
        raise RowError(f"labels {shown(value)}: one for each of {len(words)} words is needed")
    away = np.array([_is_missing(item, labels) for item in value], bool)
    first = OUTSIDE if OUTSIDE in labels.names else labels.names[0]
    tags = [first if gone else tag for tag, gone in zip(value, away, strict=True)]
    text = Text(tokens=tuple(words))
    found = labels_of({"labels": tags}, task, text, labels, scheme=scheme, types=types)
    return np.where(away, UNLABELLED, np.array(found)).astype(np.int16)


def _is_missing(item: Any, labels: LabelSet) -> bool:
    return item is None or (item in MISSING and item not in labels.names)


def _spread(given: Any, ids_N: np.ndarray, k: int) -> np.ndarray:
    """[N, K] the confidence on the label, and the rest evenly on the others."""
    sure_N = np.ones(len(ids_N)) if given is None else _numbers(given, (len(ids_N),), "confidence")
    if not ((sure_N >= 0) & (sure_N <= 1)).all():
        raise RowError(f"confidence {shown(given)}, allowed: numbers from 0 to 1")
    rest_N = (1 - sure_N) / max(k - 1, 1)
    probs_NK = np.repeat(rest_N[:, None], k, axis=1)
    probs_NK[np.arange(len(ids_N)), np.clip(ids_N, 0, None)] = sure_N
    return probs_NK


def _probs(own: Mapping[str, Any], count: int, k: int) -> np.ndarray | None:
    if own.get("probs") is None:
        return None
    probs_NK = _numbers(own["probs"], (count, k), "probs").reshape(count, k)
    if (probs_NK < 0).any() or (np.abs(probs_NK.sum(axis=1) - 1) > 0.01).any():
        raise RowError("probs of an item are below 0, or do not sum to 1")
    return probs_NK


def _numbers(value: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Numbers of a shape; one number is all of them."""
    try:
        found = np.asarray(value, dtype=np.float64)
        if name == "confidence":
            found = np.broadcast_to(found, shape)
        found = found.reshape(shape)
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"{name} {shown(value)}: {' times '.join(map(str, shape))} numbers are "
                       "needed") from None  # fmt: skip
    if not np.isfinite(found).all():
        raise RowError(f"{name} {shown(value)}: not all finite")
    return found


assert set(LISTS) <= set(PLAIN)
