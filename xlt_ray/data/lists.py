"""Lists end to end: columns of Arrow tables, whose rows hold a value or a vector per item."""

import numpy as np
import pyarrow as pa


def items_of(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The items of all rows, end to end.

    Args:
        column: Lists of numbers, or of lists of equally many numbers.

    Returns:
        [N] values or [N, K] vectors, and [S + 1] where each row begins, and N.

    Raises:
        ValueError: a row has no list.
    """
    values, offsets = _unwrapped(column)
    if not pa.types.is_list(values.type):
        return values.to_numpy(zero_copy_only=False), offsets
    count = len(values)
    inner = values.flatten().to_numpy(zero_copy_only=False)
    return inner.reshape(count, len(inner) // max(count, 1)), offsets


def ranges(begins: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Whole numbers from each begin on, as many as its count, end to end."""
    ends = np.cumsum(counts, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(begins - (ends - counts), counts)


def _unwrapped(column: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if array.null_count:
        raise ValueError(f"{array.null_count} rows have no value")
    sizes = array.value_lengths().to_numpy(zero_copy_only=False) if len(array) else np.zeros(0)
    return array.flatten(), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
