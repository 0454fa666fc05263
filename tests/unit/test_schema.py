"""Ids and tables of rows."""

from hashlib import blake2b

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt_ray.data.schema import (
    GOLD_SCHEMA,
    TEXT_SCHEMA,
    ContentIds,
    Example,
    content_id,
)

part = st.text(alphabet="ab\u00e9\u4e2d", max_size=4)
parts = st.lists(part, min_size=1, max_size=4)


def test_content_id_is_a_hash_of_lengths_texts_and_occurrence() -> None:
    """Spelled out byte by byte: 8 bytes of length before each text, 8 of the occurrence at last."""
    message = (
        b"\x01" + bytes(7) + b"a" + b"\x02" + bytes(7) + "\u00e9".encode() + b"\x03" + bytes(7)
    )
    expected = f"de-dev-{blake2b(message, digest_size=8).hexdigest()}"
    assert content_id("de", "dev", ("a", "\u00e9"), 3) == expected


@given(parts, parts, st.integers(0, 2), st.integers(0, 2))
def test_content_id_differs_exactly_with_its_input(
    one: list[str], other: list[str], first: int, second: int
) -> None:
    same = content_id("de", "dev", one, first) == content_id("de", "dev", other, second)
    assert same == ((one, first) == (other, second))


def test_content_id_names_language_and_split() -> None:
    ids = {content_id(language, split, ("a",), 0) for language in "xy" for split in ("dev", "test")}
    assert len(ids) == 4
    assert len({name.rsplit("-", 1)[1] for name in ids}) == 1


@given(st.lists(parts, max_size=12))
def test_content_ids_count_occurrences(rows: list[list[str]]) -> None:
    ids = ContentIds("de", "train")
    given_ids = [ids.next(row) for row in rows]
    expected = [
        content_id("de", "train", row, rows[:position].count(row))
        for position, row in enumerate(rows)
    ]
    assert given_ids == expected
    assert len(set(given_ids)) == len(rows)


def test_text_tables_have_no_place_for_labels() -> None:
    columns = {task: schema.names for task, schema in TEXT_SCHEMA.items()}
    assert columns == {
        "token": ["id", "language", "tokens"],
        "sentence": ["id", "language", "text"],
        "pair": ["id", "language", "text", "text_pair"],
    }
    for task, schema in GOLD_SCHEMA.items():
        assert schema.names == ["id", "language", "labels"], task
        assert schema.field("labels").type == pa.list_(pa.int16())


def test_rows_are_frozen_and_have_no_dict() -> None:
    row = Example("i", "de", ("a",), None, None, (0,), "de/dev.txt", 1)
    assert not hasattr(row, "__dict__")
    with pytest.raises(AttributeError):
        row.labels = None  # pyrefly: ignore [read-only]
