"""A result in the making: files that no reader sees until they are committed."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt_ray.store.fault_points import reached
from xlt_ray.store.files import open_root, write_bytes
from xlt_ray.store.manifest import CHUNK
from xlt_ray.store.parquet import open_parquet


@dataclass(frozen=True)
class Attempt:
    """A result in the making; invisible to readers until it is committed."""

    root: str
    kind: str
    fingerprint: str
    folder: str

    @cached_property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        fs, base = open_root(self.root)
        return fs, f"{base}/artifacts/{self.kind}/{self.folder}"

    def write(self, name: str, data: bytes) -> None:
        """Write one file whole; a file that is there is complete."""
        fs, folder = self._place
        write_bytes(fs, f"{folder}/{name}", data)

    def write_json(self, name: str, value: Any) -> None:
        """Write one JSON file."""
        self.write(name, (json.dumps(value, sort_keys=True, indent=1) + "\n").encode())

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write one Parquet file."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self.write(name, sink.getvalue().to_pybytes())

    def stream(self, name: str) -> pa.NativeFile:
        """Open a file for writing in pieces; it counts once the attempt is committed."""
        fs, folder = self._place
        path = f"{folder}/{name}"
        if isinstance(fs, pafs.LocalFileSystem):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        return fs.open_output_stream(path)

    def write_folder(self, source: Path) -> None:
        """Copy every file of a local folder."""
        for path in sorted(source.rglob("*")):
            if path.is_file():
                self.copy(path.relative_to(source).as_posix(), path)

    def copy(self, name: str, source: Path) -> str:
        """Copy one local file, a piece at a time; returns the sha256 of what was copied."""
        digest = hashlib.sha256()
        reached("file.begun")
        with source.open("rb") as content, self.stream(name) as sink:
            while chunk := content.read(CHUNK):
                sink.write(chunk)
                digest.update(chunk)
            reached("file.written")
        reached("file.kept")
        return digest.hexdigest()

    def rows(self, name: str) -> int:
        """Rows of a finished Parquet file."""
        fs, folder = self._place
        with fs.open_input_file(f"{folder}/{name}") as stream:
            return pq.read_metadata(stream).num_rows

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A finished Parquet file, or some of its columns."""
        fs, folder = self._place
        place = f"{folder}/{name}"
        with fs.open_input_file(place) as stream, open_parquet(stream, place) as file:
            return file.read(columns, use_threads=False)

    def has(self, name: str) -> bool:
        """Whether the attempt already holds this file."""
        fs, folder = self._place
        return fs.get_file_info(f"{folder}/{name}").type == pafs.FileType.File
