"""Rows in memory become Parquet files of the store, named by their content.

Whatever holds the rows, the same rows are the same file, so a second call finds every step of the
first one.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt_ray.config.errors import DataError
from xlt_ray.data.readers.files import ending_of
from xlt_ray.data.readers.user_source import ENDINGS
from xlt_ray.store.artifacts import INPUTS, Store
from xlt_ray.store.files import placed

_ROWS = 4096
"""Rows of a row group: the same rows make the same bytes, however they came."""
KINDS = (
    "a path or glob, a list of paths, a list of texts, of lists of words or of dicts, an Arrow "
    "table, a pandas frame, a Hugging Face Dataset or a ray.data.Dataset"
)


def is_paths(data: Any) -> bool:
    """Whether these are places of files rather than rows.

    A string or path is; a list of them is where all have the ending of a file that can be read.
    """
    if isinstance(data, str | Path):
        return True
    if not isinstance(data, list | tuple) or not data:
        return False
    return all(
        isinstance(item, Path) or (isinstance(item, str) and _is_file(item)) for item in data
    )


def _is_file(text: str) -> bool:
    name = text.rpartition("/")[2]
    return "." in name and len(text.split()) == 1 and ending_of(name) in ENDINGS


def places_of(data: Any, store: Store, key: str) -> list[str]:
    """Where the rows lie: the given paths, or a file of the store that is written first.

    Args:
        data: Paths, or rows.
        store: The store.
        key: What messages call the rows.

    Raises:
        DataError: it is nothing that has rows, or there are none.
    """
    if isinstance(data, str):
        return [part.strip() for part in data.split(",") if part.strip()]
    if is_paths(data):
        return [str(item) for item in ([data] if isinstance(data, Path) else data)]
    return [put(_tables(data, key), store, key)]


def put(tables: Iterator[pa.Table], store: Store, key: str) -> str:
    """Write rows into the store, unless they are there; gives the path or URI of the file."""
    with TemporaryDirectory(prefix="xlt-rows-") as folder:
        local = Path(folder, "rows.parquet")
        if not _write(tables, local):
            raise DataError(f"{key}: there are no rows")
        with local.open("rb") as stream:
            name = f"{INPUTS}/{hashlib.file_digest(stream, 'sha256').hexdigest()[:40]}/rows.parquet"
        path = f"{store.base}/{name}"
        if store.fs.get_file_info(path).type != pafs.FileType.File:
            with placed(store.fs, path) as sink, local.open("rb") as stream:
                while part := stream.read(1 << 20):
                    sink.write(part)
    return path if store.is_local else inside(store.root, name)


def inside(root: str, name: str) -> str:
    """The URI of a file below another; what follows a question mark stays last."""
    place, mark, options = root.partition("?")
    return f"{place.rstrip('/')}/{name}{mark}{options}"


def _write(tables: Iterator[pa.Table], path: Path) -> int:
    writer: pq.ParquetWriter | None = None
    total, pending = 0, list[pa.Table]()

    def flush(*, end: bool) -> None:
        nonlocal writer, pending
        whole = pa.concat_tables(pending, promote_options="permissive").combine_chunks()
        pending = []
        while len(whole) >= _ROWS or (end and len(whole)):
            part, whole = whole.slice(0, _ROWS), whole.slice(_ROWS)
            if writer is None:
                writer = pq.ParquetWriter(path, part.schema.remove_metadata(), compression="zstd")
            writer.write_table(part.cast(writer.schema))
        pending = [whole] if len(whole) else []

    for table in tables:
        total += len(table)
        pending.append(table.replace_schema_metadata(None))
        if sum(map(len, pending)) >= _ROWS:
            flush(end=False)
    if pending:
        flush(end=True)
    if writer is not None:
        writer.close()
    return total


def _tables(data: Any, key: str) -> Iterator[pa.Table]:
    """The rows as Arrow tables, a bounded number at a time where they are not in memory."""
    library = type(data).__module__.partition(".")[0]
    if isinstance(data, pa.Table):
        return iter([data])
    if isinstance(data, pa.RecordBatch):
        return iter([pa.Table.from_batches([data])])
    if library == "datasets" and hasattr(data, "features"):
        return _of_hub(data)
    if library == "ray" and hasattr(data, "iter_batches"):
        return _of_ray(data)
    if library == "pandas" and hasattr(data, "columns"):
        return iter([pa.Table.from_pandas(data, preserve_index=False)])
    if isinstance(data, Sequence):
        return iter([_of_list(data, key)])
    raise DataError(f"{key}: no rows in a value of type {type(data).__name__}; allowed: {KINDS}")


def _of_list(rows: Sequence[Any], key: str) -> pa.Table:
    if all(isinstance(row, str) for row in rows):
        return pa.table({"text": pa.array(rows, pa.string())})
    if all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        try:
            return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise DataError(f"{key}: the rows do not make columns: {error}") from None
    if all(isinstance(row, list | tuple) and all(isinstance(x, str) for x in row) for row in rows):
        return pa.table({"tokens": pa.array([list(row) for row in rows], pa.list_(pa.string()))})
    raise DataError(f"{key}: rows are texts, lists of words, or dicts, all of one kind")


def _of_hub(data: Any) -> Iterator[pa.Table]:
    """A Hugging Face Dataset; integers of a ClassLabel become its names."""
    names = {name: _class_names(feature) for name, feature in data.features.items()}
    for batch in data.with_format("arrow").iter(batch_size=_ROWS):
        for name, known in names.items():
            if known:
                at = batch.schema.get_field_index(name)
                batch = batch.set_column(at, name, _named(batch[name], known))
        yield batch


def _class_names(feature: Any) -> Sequence[str]:
    inner = getattr(feature, "feature", feature)
    return getattr(inner, "names", None) or ()


def _named(column: pa.ChunkedArray, names: Sequence[str]) -> pa.Array:
    table = pa.array(names, pa.string())
    values = column.combine_chunks()
    if isinstance(values, pa.ListArray):
        return pa.ListArray.from_arrays(
            pa.concat_arrays([values.offsets]), table.take(values.values.cast(pa.int64()))
        )
    return table.take(values.cast(pa.int64()))


def _of_ray(data: Any) -> Iterator[pa.Table]:
    """A Ray dataset, in the order of its rows, block after block."""
    data.context.execution_options.preserve_order = True
    yield from data.iter_batches(batch_size=_ROWS, batch_format="pyarrow")
