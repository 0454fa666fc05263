"""Parquet files are opened here, so that none has columns whose values are made by code.

A column of an extension type holds plain values, and a class of some library makes others of them:
one that Ray registers unpickles them, which runs whatever the writer of the file wants.
"""

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlt_ray.config.schema import first_line

_BUILT_IN = frozenset({"arrow.json", "arrow.uuid"})
"""Texts and UUIDs, made by Arrow itself; ``datasets`` and pandas write them without being asked."""
_NAME = b"ARROW:extension:name"
"""Where a field says its extension type, if no library that is loaded has registered it."""


def open_parquet(source: pa.NativeFile | IO[bytes], where: str, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file whose columns are plain.

    Args:
        source: The file, at its beginning.
        where: What messages call it.
        options: Of `pyarrow.parquet.ParquetFile`.

    Raises:
        ValueError: a column is not; see `check_plain`.
    """
    try:
        file = pq.ParquetFile(source, **options)
    except (OSError, pa.ArrowException):
        raise
    except Exception as error:  # of a registered type, about its parameters
        raise ValueError(f"{where}: cannot be read ({first_line(error)})") from None
    check_plain(file.schema_arrow, where)
    return file


def check_plain(schema: pa.Schema, where: str) -> None:
    """See whether all columns are of Arrow's own types, and what is nested in them.

    Args:
        schema: The columns.
        where: What messages call the file.

    Raises:
        ValueError: one has an extension type, registered or not.
    """
    for path, name in _extensions(schema):
        if name not in _BUILT_IN:
            raise ValueError(
                f"{where}: column {path!r} has the extension type {name!r}, whose values may run "
                "code when they are read; cast it to a plain type, or leave it out"
            )


def _extensions(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Path and name of every extension type, however deep."""
    pending = [(field.name, field) for field in reversed(list(schema))]
    while pending:
        path, field = pending.pop()
        kind = field.type
        if isinstance(kind, pa.BaseExtensionType):
            yield path, kind.extension_name
            kind = kind.storage_type
        elif _NAME in (field.metadata or {}):
            yield path, field.metadata[_NAME].decode("utf-8", "replace")
        inner = [kind.field(number) for number in range(kind.num_fields)]
        if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            inner = [pa.field("values", kind.value_type)]
        pending += [(f"{path}.{item.name}", item) for item in reversed(inner)]
