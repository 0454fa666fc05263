"""Tables whose rows are known by an ``id``: restrict, order and look up."""

import pyarrow as pa
import pyarrow.compute as pc


def with_ids(table: pa.Table, ids: pa.Array) -> pa.Table:
    """The rows whose id is among ``ids``, in their order."""
    return table.filter(_among(table["id"], ids))


def without_ids(table: pa.Table, ids: pa.Array) -> pa.Table:
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


def _among(column: pa.ChunkedArray | pa.Array, ids: pa.Array) -> pa.ChunkedArray | pa.Array:
    return pc.call_function("is_in", [column], pc.SetLookupOptions(value_set=ids))
