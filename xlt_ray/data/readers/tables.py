"""Rows of Parquet files, of which only so much is decoded at a time.

What is held is the page of each column that is at work, as its writer cut it, and a batch of rows:
as many as have ``data.max_row_bytes`` by what the file says of itself, 512 at most. Texts become
strings of Python once their sizes are known.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xlt_ray.config.schema import first_line
from xlt_ray.data.readers.files import DataFile
from xlt_ray.data.readers.lines import too_long
from xlt_ray.data.readers.rows import Record, RowError
from xlt_ray.store.parquet import check_plain, open_parquet

_FEATURES = b"huggingface"
_BATCH = 512
_VALUE = 8
"""Bytes that a value of a list counts at least: a row of nothing but empty texts is large, too."""


def schema_of(file: DataFile) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        ValueError: it cannot be read, or has an extension type.
    """
    with _stream(file) as stream:
        return open_parquet(stream, file.location).schema_arrow


def class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Of each column with numbers of classes their names, as ``datasets`` writes them."""
    try:
        written = json.loads((schema.metadata or {}).get(_FEATURES, b"{}"))
        features = written["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    found = {}
    for column, kind in features.items():
        inner = kind.get("feature", kind) if isinstance(kind, dict) else kind
        names = inner.get("names") if isinstance(inner, dict) else None
        if names and all(isinstance(name, str) for name in names):
            found[column] = tuple(names)
    return found


def rows_of(
    file: DataFile, most: int, columns: Sequence[str] | None = None
) -> Iterator[tuple[int, Record | RowError]]:
    """Number, from 1, and fields of each row of a Parquet file.

    Args:
        file: The file.
        most: Bytes of the values of a row at most; a larger row is an error of the row.
        columns: Columns that are read; default: all.

    Raises:
        ValueError: it cannot be read, or has an extension type.
    """
    number = 0
    with _stream(file) as stream:
        plain = open_parquet(stream, file.location)
        texts = _texts(plain.metadata)
        table = open_parquet(stream, file.location, metadata=plain.metadata, read_dictionary=texts)
        for group in range(table.num_row_groups):
            for row in _rows_in(table, group, plain.schema_arrow, most, columns):
                number += 1
                yield number, row


def tabled(table: pa.Table, most: int, where: str) -> Iterator[Record | RowError]:
    """Fields of the rows of a table that another library has read.

    Args:
        table: The table.
        most: Bytes of the values of a row at most.
        where: What messages call it.

    Raises:
        ValueError: it has an extension type.
    """
    check_plain(table.schema, where)
    for batch in table.to_batches():
        yield from _decoded(batch, table.schema, most)


@contextmanager
def _stream(file: DataFile) -> Iterator[pa.NativeFile]:
    try:
        with file.fs.open_input_file(file.path) as stream:
            yield stream
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{file.location}: cannot be read ({first_line(error)})") from None


def _texts(metadata: pq.FileMetaData) -> list[str]:
    """Paths of the columns of texts: kept as a dictionary, one that is there a thousand times takes
    its memory once."""
    columns = [metadata.schema.column(number) for number in range(len(metadata.schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _rows_in(
    table: pq.ParquetFile, group: int, schema: pa.Schema, most: int, columns: Sequence[str] | None
) -> Iterator[Record | RowError]:
    count = table.metadata.row_group(group).num_rows
    each = _size(table.metadata, group) // max(1, count)
    if each > most:  # there is no telling which, before all are unpacked
        fault = too_long(most, f"one of {count:,} rows with {each:,} bytes each")
        yield from (fault for _ in range(count))
        return
    batch_rows = max(1, min(_BATCH, most // max(1, each)))
    for batch in table.iter_batches(batch_rows, [group], columns, use_threads=False):
        yield from _decoded(batch, schema, most)


def _size(metadata: pq.FileMetaData, group: int) -> int:
    """Bytes of a row group, unpacked, as its file tells them."""
    found, total = metadata.row_group(group), 0
    for number in range(found.num_columns):
        column, width = found.column(number), metadata.schema.column(number).length or 0
        total += max(column.total_uncompressed_size, column.num_values * max(_VALUE, width))
    return total


def _decoded(batch: pa.RecordBatch, schema: pa.Schema, most: int) -> Iterator[Record | RowError]:
    """The rows of a batch, of as many at a time as one row may be large."""
    names, start = batch.schema.names, 0
    sizes_S = sum((sizes_of(column) for column in batch.columns), np.zeros(len(batch), np.int64))
    while start < len(batch):
        count = int(np.searchsorted(np.cumsum(sizes_S[start:]), most, side="right"))
        if not count:
            yield too_long(most)
        else:
            columns = [
                values_of(_plain(column.slice(start, count), schema.field(name).type))
                for name, column in zip(names, batch.columns, strict=True)
            ]
            for row in zip(*columns, strict=True) if columns else [()] * count:
                yield dict(zip(names, row, strict=True))
        start += max(1, count)


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return column if column.type == kind else column.cast(kind)
    except pa.ArrowNotImplementedError:
        return column  # the values of a dictionary are the same, and slower to get


def sizes_of(column: pa.Array) -> np.ndarray:
    """[S] bytes of the values of each row, with what is nested in them."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return sizes_of(column.storage)
    if pa.types.is_dictionary(kind):
        own = np.append(sizes_of(column.dictionary), 0)
        return own[column.indices.fill_null(len(own) - 1).to_numpy(zero_copy_only=False)]
    if pa.types.is_struct(kind):
        parts = (sizes_of(column.field(number)) for number in range(kind.num_fields))
        return sum(parts, np.zeros(len(column), np.int64))
    if pa.types.is_map(kind):
        kind = pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))
        return sizes_of(column.cast(kind))
    if pa.types.is_nested(kind):
        lengths = (
            pc.call_function("list_value_length", [column])
            .fill_null(0)
            .to_numpy(zero_copy_only=False)
        )
        items = np.maximum(sizes_of(pc.call_function("list_flatten", [column])), _VALUE)
        ends, totals = np.cumsum(lengths), np.concatenate([[0], np.cumsum(items)])
        return totals[ends] - totals[ends - lengths]
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_primitive(kind):
        return np.full(len(column), max(_VALUE, kind.bit_width // 8), np.int64)
    if not (_is_text(kind)):  # decimals, intervals, and what comes: a few bytes each
        return np.full(len(column), _VALUE, np.int64)
    lengths = pc.call_function("binary_length", [column.cast(pa.large_binary())]).fill_null(0)
    return lengths.to_numpy(zero_copy_only=False).astype(np.int64)


def _is_text(kind: pa.DataType) -> bool:
    tests = ("is_string", "is_large_string", "is_string_view", "is_binary", "is_large_binary",
             "is_binary_view")  # fmt: skip
    return any(getattr(pa.types, name)(kind) for name in tests)


def values_of(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values; undecodable bytes of texts become lone surrogates, which checks of rows find."""
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return [_lenient(value) for value in column.cast(_as_bytes(column.type)).to_pylist()]


def _as_bytes(kind: pa.DataType) -> pa.DataType:
    """A type with bytes in place of texts."""
    if pa.types.is_dictionary(kind):
        return _as_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        fields = (kind.field(number) for number in range(kind.num_fields))
        return pa.struct([(item.name, _as_bytes(item.type)) for item in fields])
    if pa.types.is_map(kind):
        return pa.map_(_as_bytes(kind.key_type), _as_bytes(kind.item_type))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.large_list(_as_bytes(kind.value_type))
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return pa.large_binary() if is_text else kind


def _lenient(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case list() | tuple():
            return [_lenient(item) for item in value]
        case Mapping():
            return {key: _lenient(item) for key, item in value.items()}
        case _:
            return value
