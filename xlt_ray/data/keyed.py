"""Tables whose rows are known by an ``id``: restrict, order and look up."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Ids:
    """Ids that many tables are compared with.

    Arrow hashes what it looks values up in once per call, which for the shards of a corpus takes
    time by the square of its size; here that is done once.
    """

    def __init__(self, *columns: pa.Array | pa.ChunkedArray):
        self._known = frozenset(name for column in columns for name in column.to_pylist())

    def __len__(self) -> int:
        return len(self._known)

    def among(self, column: pa.Array | pa.ChunkedArray) -> pa.Array:
        """For each id of a column whether it is one of these."""
        return pa.array([name in self._known for name in column.to_pylist()], pa.bool_())


class Places:
    """Where the rows of a table stand, by id; hashed once as well."""

    def __init__(self, table: pa.Table):
        self.table = table
        self._places = {name: at for at, name in enumerate(table["id"].to_pylist())}

    def of(self, table: pa.Table) -> pa.Array:
        """Where the row of each id of another table stands; null where there is none."""
        found = [self._places.get(name) for name in table["id"].to_pylist()]
        return pa.array(found, pa.int64())


def with_ids(table: pa.Table, ids: pa.Array | Ids) -> pa.Table:
    """The rows whose id is among ``ids``, in their order."""
    return table.filter(_among(table["id"], ids))


def without_ids(table: pa.Table, ids: pa.Array | Ids) -> pa.Table:
    """The rows whose id is not among ``ids``, in their order."""
    return table.filter(pc.call_function("invert", [_among(table["id"], ids)]))


def of_language(table: pa.Table, name: str) -> pa.Table:
    """The rows of one language, in their order."""
    return table.filter(pc.call_function("equal", [table["language"], name]))


def sorted_by_id(table: pa.Table) -> pa.Table:
    """The rows in the order of their ids."""
    return table.take(pc.call_function("sort_indices", [table["id"]], pc.SortOptions()))


def positions(table: pa.Table, within: pa.Table) -> pa.ChunkedArray:
    """Where each row's id stands in another table; null where it does not."""
    options = pc.SetLookupOptions(value_set=within["id"].combine_chunks())
    return pc.call_function("index_in", [table["id"]], options)


def in_common(first: pa.Table, *others: pa.Table) -> list[pa.Table]:
    """The rows that all of the tables have, in the order of the first."""
    places = [positions(first, table) for table in others]
    known = pa.array(np.all([np.ones(len(first), bool), *(x.is_valid() for x in places)], axis=0))
    taken = (table.take(at.filter(known)) for table, at in zip(others, places, strict=True))
    return [first.filter(known), *taken]


def _among(column: pa.ChunkedArray, ids: pa.Array | Ids) -> pa.ChunkedArray | pa.Array:
    if isinstance(ids, Ids):
        return ids.among(column)
    return pc.call_function("is_in", [column], pc.SetLookupOptions(value_set=ids))


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
