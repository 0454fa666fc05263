"""Tables whose rows are known by an ``id``: restrict, order and look up."""

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


def _among(column: pa.ChunkedArray, ids: pa.Array | Ids) -> pa.ChunkedArray | pa.Array:
    if isinstance(ids, Ids):
        return ids.among(column)
    return pc.call_function("is_in", [column], pc.SetLookupOptions(value_set=ids))
