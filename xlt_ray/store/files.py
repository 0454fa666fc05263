"""Whole files, on any ``pyarrow.fs`` file system: readers see one that is complete, or none."""

import json
import os
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt_ray.config.credentials import redacted
from xlt_ray.store.fault_points import reached


def open_root(root: str, what: str = "store.root") -> tuple[pafs.FileSystem, str]:
    """File system and path of a folder or URI.

    Args:
        root: The folder or URI.
        what: What messages call it.

    Raises:
        ValueError: the URI's scheme is not one that pyarrow knows.
    """
    if "://" not in root:
        return pafs.LocalFileSystem(), str(Path(root).expanduser().absolute())
    try:
        return pafs.FileSystem.from_uri(root)
    except ValueError as error:  # pyarrow's own errors are among them, and repeat the URI
        reason = f"{what} {root!r}: cannot be opened ({error})"
        raise ValueError(redacted(reason)) from None


def read_bytes(fs: pafs.FileSystem, path: str) -> bytes | None:
    """Content of a file, or None where there is none."""
    try:
        with fs.open_input_stream(path) as stream:
            return stream.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def listed(fs: pafs.FileSystem, folder: str, *, recursive: bool = False) -> list[pafs.FileInfo]:
    """What is in a folder; nothing if there is none, also if it comes or goes meanwhile: Arrow
    looks whether it is there after it could not list it."""
    selector = pafs.FileSelector(folder, recursive=recursive, allow_not_found=True)
    try:
        return fs.get_file_info(selector)
    except FileNotFoundError:
        return []


def write_bytes(fs: pafs.FileSystem, path: str, data: bytes) -> None:
    """Write a whole file so that readers see the old content or the new, never a part."""
    if isinstance(fs, pafs.LocalFileSystem):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary = f"{path}.tmp-{uuid.uuid4().hex}"
        reached("file.begun")
        try:
            with open(temporary, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            reached("file.written")
            os.replace(temporary, path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)  # the disk may be full
            raise
        reached("file.kept")
        return
    reached("file.begun")
    with _undisturbed(), fs.open_output_stream(path) as stream:
        stream.write(data)
        reached("file.written")
    reached("file.kept")


@contextmanager
def placed(fs: pafs.FileSystem, path: str) -> Iterator[IO[bytes]]:
    """A file that is written piece by piece, and seen once it is whole."""
    if isinstance(fs, pafs.LocalFileSystem):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(f"{path}.tmp-{uuid.uuid4().hex}")
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return
    with TemporaryDirectory() as folder:
        local = Path(folder, "part")
        with local.open("wb") as stream:
            yield stream
        with (
            _undisturbed(),
            local.open("rb") as whole,
            fs.open_output_stream(path) as remote,
        ):
            shutil.copyfileobj(whole, remote, 1 << 20)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back to the end of the block, in the thread that they interrupt.

    An object's stream keeps what it has when it is closed, also on the way out of an exception. An
    interrupt between opening and writing would put an empty object in place of the old one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in held[:1]:
            signal.raise_signal(number)


def read_json(fs: pafs.FileSystem, path: str) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is none.

    A file system that shows a file before it is whole may leave a torn one behind. What was being
    written was not there yet, so that it counts as none.
    """
    data = read_bytes(fs, path)
    try:
        found = json.loads(data) if data else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def sync(path: str) -> None:
    """Bring a local file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_parquet(data: bytes) -> bool:
    """Whether this is a Parquet file to its end; a torn one has no footer."""
    try:
        pq.read_metadata(pa.BufferReader(data))
    except pa.ArrowInvalid:
        return False
    return True


def write_parquet(
    open_sink: Callable[[], IO[bytes] | pa.NativeFile],
    schema: pa.Schema,
    rows: Iterator[Mapping[str, Any]],
    *,
    chunk: int = 4096,
) -> int:
    """Stream rows into one Parquet file, a bounded number of them in memory.

    Returns:
        The number of rows written.
    """
    total, pending = 0, []
    with open_sink() as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for row in rows:
            pending.append(row)
            if len(pending) == chunk:
                writer.write_table(pa.Table.from_pylist(pending, schema=schema))
                total, pending = total + len(pending), []
        if pending:
            writer.write_table(pa.Table.from_pylist(pending, schema=schema))
    return total + len(pending)
