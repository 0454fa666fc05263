"""List columns as flat arrays."""

import numpy as np
import pyarrow as pa
import pytest

from xlt_ray.data.keyed import items_of, ranges


def test_values_and_where_rows_begin() -> None:
    column = pa.chunked_array([[[1, 2], []], [[3]]], pa.list_(pa.int16()))
    values, offsets = items_of(column)
    assert values.tolist() == [1, 2, 3]
    assert values.dtype == np.int16
    assert offsets.tolist() == [0, 2, 2, 3]


def test_vectors() -> None:
    rows = [[[0.5, 0.25], [1.0, 0.0]], [[0.125, 0.75]]]
    values, offsets = items_of(pa.chunked_array([rows], pa.list_(pa.list_(pa.float32()))))
    assert values.tolist() == [[0.5, 0.25], [1.0, 0.0], [0.125, 0.75]]
    assert offsets.tolist() == [0, 2, 3]


def test_a_part_of_a_table_has_its_own_items_alone() -> None:
    column = pa.table({"x": [[[1, 2]], [[3, 4]], [[5, 6], [7, 8]]]}).slice(1)["x"]
    values, offsets = items_of(column)
    assert values.tolist() == [[3, 4], [5, 6], [7, 8]]
    assert offsets.tolist() == [0, 1, 3]


@pytest.mark.parametrize("kind", [pa.list_(pa.int16()), pa.list_(pa.list_(pa.float32()))])
def test_no_rows(kind: pa.DataType) -> None:
    values, offsets = items_of(pa.chunked_array([], kind))
    assert len(values) == 0
    assert offsets.tolist() == [0]


def test_a_row_without_a_list_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 rows have no value"):
        items_of(pa.chunked_array([[[1], None]], pa.list_(pa.int16())))


def test_ranges_stand_end_to_end() -> None:
    found = ranges(np.array([5, 0, 7]), np.array([2, 0, 3]))
    assert found.tolist() == [5, 6, 7, 8, 9]
    none = np.zeros(0, np.int64)
    assert ranges(none, none).tolist() == []
