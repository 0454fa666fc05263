"""The artifact store: immutable, content-checked results, on any ``pyarrow.fs`` file system.

``<root>/artifacts/<kind>/<fingerprint>/manifest.json`` is written last and names every file with
its size and sha256; a folder without it does not exist for a reader. On a local file system an
attempt is a sibling that is renamed into place. On object storage, where renames are not atomic, an
attempt's files stay where they are and the single write of the manifest names them. Two writers of
one fingerprint are harmless: the first commit wins and the other attempt is dropped.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt_ray.store.attempt import Attempt
from xlt_ray.store.beside import beside
from xlt_ray.store.fault_points import reached
from xlt_ray.store.files import is_parquet, listed, open_root, read_bytes, sync, write_bytes
from xlt_ray.store.machine import is_gone, machine
from xlt_ray.store.manifest import (
    CHUNK,
    MANIFEST,
    ManifestError,
    check_rows,
    entry_of,
    is_inside,
    read_manifest,
)
from xlt_ray.store.parquet import open_parquet

_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
"""Why no folder can be made, today or tomorrow; of a disk alone, so its path has no secrets."""

BASE = "base"
"""In what a step says of its result: kind and fingerprint of the artifact that this one adds to."""
CONTENT_KINDS = frozenset({"text", "gold"})
"""Kinds of artifacts that are known by their content in later steps."""
INPUTS, PREDICTIONS = "inputs", "predictions"
"""Folders of rows that callers had in memory, and of what models say of them."""
STALE_SECONDS = 3600.0
"""An attempt that nobody wrote to for so long is dropped when another one commits; one whose
writer is gone from this machine is dropped at once."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _is_orphan(folder: str) -> bool:
    """Whether an attempt's name says that a process that could be seen from here is gone."""
    writer = re.search(rf"-{machine()}-(\d+)-[0-9a-f]+$", folder)
    return writer is not None and is_gone(int(writer[1]))


def own_cache() -> Path:
    """Folder for copies of distant artifacts, which nobody but this user can write to."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "xlt_ray"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


@dataclass(frozen=True)
class Artifact:
    """A committed result: a folder of files that never changes.

    Attributes:
        root: Root of the store that holds it.
        kind: Kind of the step that made it.
        fingerprint: Hash of everything the result depends on.
        manifest: Files, inputs, parameters, counts, seconds, hardware and versions.
    """

    root: str
    kind: str
    fingerprint: str
    manifest: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def info(self) -> Mapping[str, Any]:
        """What the step said about its result: row counts, scores, small values."""
        return self.manifest["info"]

    @property
    def names(self) -> list[str]:
        """Names of its files, sorted."""
        return sorted(self.manifest["files"])

    @property
    def identity(self) -> str:
        """What stands for it in the fingerprints of later steps.

        For what is read from outside that is its content: text that is equal counts as equal,
        whatever file it came from and whatever that file says besides.
        """
        return self.digest if self.kind in CONTENT_KINDS else self.fingerprint

    @property
    def digest(self) -> str:
        """Hash of the content alone: equal files give an equal digest, however they came about."""
        sums = {name: entry["sha256"] for name, entry in self.manifest["files"].items()}
        return hashlib.sha256(canonical_json(sums).encode()).hexdigest()

    @property
    def seconds(self) -> float:
        """Wall time that the step took when it ran."""
        return self.manifest["seconds"]

    @property
    def folder(self) -> str:
        """Its folder, below the root of the store."""
        return f"artifacts/{self.kind}/{self.manifest['folder']}"

    @cached_property
    def _place(self) -> tuple[pafs.FileSystem, str]:
        fs, base = open_root(self.root)
        return fs, f"{base}/{self.folder}"

    def open(self, name: str) -> pa.NativeFile:
        """Open one of its files for reading, at random positions."""
        fs, folder = self._place
        return fs.open_input_file(f"{folder}/{name}")

    def read(self, name: str) -> bytes:
        """Whole content of one file."""
        with self.open(name) as stream:
            return stream.read()

    def json(self, name: str) -> Any:
        """Content of a JSON file."""
        return json.loads(self.read(name))

    @contextmanager
    def parquet(self, name: str) -> Iterator[pq.ParquetFile]:
        """One of its Parquet files, open.

        Raises:
            ValueError: it has columns that no step writes.
        """
        with self.open(name) as stream:
            yield open_parquet(stream, f"{self.kind}/{self.fingerprint}/{name}")

    def shard(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """One of its Parquet files."""
        with self.parquet(name) as file:
            table = file.read(columns, use_threads=False)
        return table if columns is None else table.select(list(columns))

    def schema(self) -> pa.Schema:
        """Columns of its Parquet files."""
        name = next(name for name in self.names if name.endswith(".parquet"))
        with self.parquet(name) as file:
            return file.schema_arrow

    def columns(self) -> list[str]:
        """Names of the columns of its Parquet files."""
        return self.schema().names

    def tables(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Its Parquet files in the order of their names, one at a time."""
        for name in self.names:
            if name.endswith(".parquet"):
                yield self.shard(name, columns)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All of its rows; for results that are small, or for a few columns."""
        return pa.concat_tables(self.tables(columns))

    def local(self) -> Path:
        """Its folder on a local disk, fetched and checked if the store is elsewhere.

        Where it adds to another artifact, that one's folder is in there as ``base``, and its files
        beside its own, but for weights and those of the same name.

        Raises:
            FileNotFoundError: the other one is not in the store any more.
        """
        own, base = self._fetched(), self.info.get(BASE)
        return own if base is None else self._on(own, base)

    def _on(self, own: Path, named: Mapping[str, str]) -> Path:
        base = Store(self.root).find(named["kind"], named["fingerprint"])
        if base is None:
            raise FileNotFoundError(
                f"{self.kind}/{self.fingerprint} adds to {named['kind']}/{named['fingerprint']}, "
                "which is not in the store any more"
            )
        return beside(own, base.local(), own_cache() / self.kind, BASE)

    def _fetched(self) -> Path:
        fs, folder = self._place
        if isinstance(fs, pafs.LocalFileSystem):
            return Path(folder)
        cache, disk = own_cache() / self.kind / self.digest, pafs.LocalFileSystem()
        if cache.exists():
            if not self._wrong(disk, str(cache)):
                return cache
            shutil.rmtree(cache)
        fetched = Path(f"{cache}.tmp-{uuid.uuid4().hex}")
        try:
            for name in self.names:
                if not is_inside(name):
                    raise ManifestError(
                        f"{self.kind}/{self.fingerprint}: {name!r} is no file of it"
                    )
                path = fetched / name
                path.parent.mkdir(parents=True, exist_ok=True)
                pafs.copy_files(f"{folder}/{name}", str(path), fs, disk, chunk_size=CHUNK)
            if wrong := self._wrong(disk, str(fetched)):
                place = f"{self.kind}/{self.fingerprint}/{wrong[0]}"
                raise OSError(f"{place}: content differs from its manifest")
            with suppress(OSError):  # another process may have been faster
                fetched.rename(cache)
        finally:
            shutil.rmtree(fetched, ignore_errors=True)
        return cache

    def verify(self) -> list[str]:
        """Names of the files that are gone or whose content is not what the manifest says."""
        return self._wrong(*self._place)

    def _wrong(self, fs: pafs.FileSystem, folder: str) -> list[str]:
        wrong: list[str] = []
        for name, entry in self.manifest["files"].items():
            try:
                found = entry_of(fs, f"{folder}/{name}")
            except (FileNotFoundError, NotADirectoryError):
                found = None
            if found != entry:
                wrong.append(name)
        return wrong


class Store:
    """Artifacts and run folders under one root; folders are made by what is written into them."""

    def __init__(self, root: str):
        self.root = root if "://" in root else str(Path(root).expanduser().absolute())
        self.fs, self.base = open_root(self.root)
        self.is_local = isinstance(self.fs, pafs.LocalFileSystem)

    def find(self, kind: str, fingerprint: str) -> Artifact | None:
        """The committed artifact of a fingerprint, or None.

        Raises:
            ManifestError: its manifest was not written by a run, or the name by no step.
        """
        if not all(is_inside(name) and "/" not in name for name in (kind, fingerprint)):
            raise ManifestError(
                f"{kind!r}, {fingerprint!r}: no kind and fingerprint of an artifact"
            )
        manifest = self._manifest(f"artifacts/{kind}/{fingerprint}", fingerprint)
        return Artifact(self.root, kind, fingerprint, manifest) if manifest else None

    def attempt(self, kind: str, fingerprint: str) -> Attempt:
        """Start a new attempt at an artifact."""
        name = f"{machine()}-{os.getpid()}-{uuid.uuid4().hex}"
        folder = f"{fingerprint}.tmp-{name}" if self.is_local else f"{fingerprint}/attempt-{name}"
        attempt = Attempt(self.root, kind, fingerprint, folder)
        self.fs.create_dir(f"{self.base}/artifacts/{kind}/{folder}", recursive=True)
        reached("attempt.opened")
        return attempt

    def adopt(self, attempt: Attempt) -> int:
        """Take over Parquet files of earlier attempts at the same artifact that never committed.

        Only files written whole count, and the writer must be deterministic: every attempt writes
        the same bytes under the same name.

        Args:
            attempt: The attempt to fill.

        Returns:
            How many files were taken over.
        """
        adopted = 0
        for folder in self._attempts(attempt.kind, attempt.fingerprint):
            if folder == attempt.folder:
                continue
            other = Attempt(self.root, attempt.kind, attempt.fingerprint, folder)
            for name in self._files(other):
                if name.endswith(".parquet") and not attempt.has(name):
                    data = read_bytes(self.fs, f"{other._place[1]}/{name}") or b""
                    if is_parquet(data):
                        attempt.write(name, data)
                        adopted += 1
        return adopted

    def commit(self, attempt: Attempt, record: Mapping[str, Any]) -> Artifact:
        """Make an attempt the artifact, unless another one was first.

        A folder of that name without a valid manifest, as a process leaves it that was killed while
        it deleted one, is no artifact; it is set aside.

        Args:
            attempt: The finished attempt.
            record: What the manifest says besides the files: inputs, params, info, seconds, ...

        Raises:
            OSError: the files do not hold the rows that were written.
        """
        folder = attempt._place[1]
        final = f"{self.base}/artifacts/{attempt.kind}/{attempt.fingerprint}"
        files = {name: entry_of(self.fs, f"{folder}/{name}") for name in self._files(attempt)}
        place = attempt.fingerprint if self.is_local else attempt.folder
        check_rows(self.fs, folder, attempt.kind, files, record.get("info", {}))
        manifest = {**record, "files": files, "folder": place}
        data = (json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode()
        reached("commit.begun")
        if self.is_local:
            write_bytes(self.fs, f"{folder}/{MANIFEST}", data)
            # What the manifest names must be on the disk before the move is.
            for path in (folder, *(str(path) for path in Path(folder).rglob("*"))):
                sync(path)
            reached("commit.described")
            self._move(attempt, folder, final)
            sync(os.path.dirname(final))
        elif self.find(attempt.kind, attempt.fingerprint) is None:
            write_bytes(self.fs, f"{final}/{MANIFEST}", data)
        reached("commit.done")
        artifact = self.find(attempt.kind, attempt.fingerprint)
        if artifact is None:
            raise OSError(f"{final}: the commit left no manifest behind")
        self._drop_stale(attempt, artifact)
        return artifact

    def _manifest(self, place: str, fingerprint: str) -> dict[str, Any] | None:
        return read_manifest(self.fs, f"{self.base}/{place}", fingerprint, place=place)

    def _move(self, attempt: Attempt, folder: str, final: str) -> None:
        """Move a described attempt into place, unless there is an artifact."""
        while True:
            try:
                os.rename(folder, final)
            except OSError as error:
                if self.find(attempt.kind, attempt.fingerprint) is not None:
                    return  # somebody else was first
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            else:
                return
            aside = f"{attempt.fingerprint}.aside-{uuid.uuid4().hex}"
            beside = f"{os.path.dirname(final)}/{aside}"
            with suppress(FileNotFoundError):  # another writer is doing the same
                os.rename(final, beside)
                if self._manifest(f"artifacts/{attempt.kind}/{aside}", attempt.fingerprint):
                    with suppress(OSError):  # committed since it was looked at: it goes back
                        os.rename(beside, final)

    def discard(self, attempt: Attempt) -> None:
        """Remove an attempt that will not be committed."""
        with suppress(FileNotFoundError):
            self.fs.delete_dir(attempt._place[1])

    def _drop_stale(self, attempt: Attempt, kept: Artifact) -> None:
        # By the clock of the store, or of the machine that wrote last, not by this one's.
        manifest = f"{kept._place[1]}/{MANIFEST}"
        now = (self.fs.get_file_info(manifest).mtime_ns or 0) / 1e9
        for folder in self._attempts(attempt.kind, attempt.fingerprint):
            if folder == kept.manifest["folder"]:
                continue
            other = Attempt(self.root, attempt.kind, attempt.fingerprint, folder)
            found = listed(self.fs, other._place[1], recursive=True)
            found.append(self.fs.get_file_info(other._place[1]))
            touched = max((item.mtime_ns / 1e9 for item in found if item.mtime_ns), default=now)
            is_over = folder == attempt.folder or _is_orphan(folder)
            if is_over or now - touched > STALE_SECONDS:
                self.discard(other)

    def _attempts(self, kind: str, fingerprint: str) -> list[str]:
        inside = f"{self.base}/artifacts/{kind}" + ("" if self.is_local else f"/{fingerprint}")
        found = listed(self.fs, inside)
        names = sorted(item.base_name for item in found if item.type == pafs.FileType.Directory)
        if self.is_local:
            return [name for name in names if name.startswith(f"{fingerprint}.tmp-")]
        return [f"{fingerprint}/{name}" for name in names if name.startswith("attempt-")]

    def _files(self, attempt: Attempt) -> list[str]:
        folder = attempt._place[1]
        found = self.fs.get_file_info(pafs.FileSelector(folder, recursive=True))
        names = [item.path[len(folder) + 1 :] for item in found if item.type == pafs.FileType.File]
        return sorted(name for name in names if ".tmp-" not in name and name != MANIFEST)

    def now(self) -> float:
        """Seconds since 1970 by the clock that times the store's files, which this machine's may
        not agree with; a file is written for it, and removed."""
        path = f"{self.base}/clock-{uuid.uuid4().hex}"
        write_bytes(self.fs, path, b"")
        try:
            return (self.fs.get_file_info(path).mtime_ns or 0) / 1e9
        finally:
            self.fs.delete_file(path)

    def read(self, path: str) -> bytes | None:
        """Content of a file of a run, by its path inside the file system, or None."""
        return read_bytes(self.fs, path)

    def write(self, path: str, data: bytes) -> None:
        """Write a file of a run whole."""
        write_bytes(self.fs, path, data)

    def delete(self, path: str) -> None:
        """Remove a file of a run."""
        self.fs.delete_file(path)

    def run_folder(self, name: str, *, create: bool = True) -> str:
        """Path of a run's folder inside the file system; it is made, unless it is only read."""
        folder = f"{self.base}/runs/{name}"
        if create:
            try:
                self.fs.create_dir(folder, recursive=True)
            except OSError as error:
                if error.errno not in _NO_PLACE:
                    raise
                raise ValueError(
                    f"store.root: nothing can be written at {self.root} "
                    f"({os.strerror(error.errno)}); name another folder: --set store.root=FOLDER"
                ) from None
        return folder
