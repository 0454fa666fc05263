"""Tables with ids."""

import pyarrow as pa

from xlt_ray.data.keyed import (
    Ids,
    Places,
    of_language,
    positions,
    sorted_by_id,
    with_ids,
    without_ids,
)

PARTS = [
    pa.table({"id": ["c", "a"], "language": ["x", "y"], "n": [1, 2]}),
    pa.table({"id": ["b"], "language": ["x"], "n": [3]}),
]
TABLE = pa.concat_tables(PARTS)


def numbers(table: pa.Table) -> list[int]:
    return table["n"].to_pylist()


def test_rows_are_restricted_in_their_order() -> None:
    ids = pa.array(["b", "c", "z"])
    assert numbers(with_ids(TABLE, ids)) == [1, 3]
    assert numbers(without_ids(TABLE, ids)) == [2]
    assert numbers(of_language(TABLE, "x")) == [1, 3]


def test_ids_that_are_hashed_once_restrict_as_arrays_do() -> None:
    ids = Ids(pa.array(["b"]), pa.chunked_array([["c"], ["z", "b"]]))
    assert len(ids) == 3
    assert numbers(with_ids(TABLE, ids)) == [1, 3]
    assert numbers(without_ids(TABLE, ids)) == [2]
    none = Ids()
    assert len(none) == 0
    assert numbers(with_ids(TABLE, none)) == []
    assert numbers(without_ids(TABLE, none)) == [1, 2, 3]


def test_places_are_positions() -> None:
    wanted = pa.table({"id": ["b", "z", "c"]})
    assert Places(TABLE).of(wanted).to_pylist() == positions(wanted, TABLE).to_pylist()


def test_no_ids() -> None:
    none = pa.array([], pa.string())
    assert numbers(with_ids(TABLE, none)) == []
    assert numbers(without_ids(TABLE, none)) == [1, 2, 3]


def test_rows_are_ordered_and_found() -> None:
    assert numbers(sorted_by_id(TABLE)) == [2, 3, 1]
    wanted = pa.table({"id": ["b", "z", "c"]})
    assert positions(wanted, TABLE).to_pylist() == [2, None, 0]
