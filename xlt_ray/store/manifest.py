"""Manifests: the file that makes a folder an artifact, and what has to be true of it."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow.fs as pafs
import pyarrow.parquet as pq

from xlt_ray.config.errors import DataError
from xlt_ray.store.files import read_bytes

MANIFEST = "manifest.json"
CHUNK = 1 << 22
"""Bytes of a file that are in memory at a time."""
COUNTED = frozenset(
    {"text", "gold", "tokens", "translation", "marked", "labelled", "annotation", "derived"}
)
"""Kinds of artifacts whose ``rows`` are the rows of their Parquet files."""
_ADVICE = "no run wrote that: remove the artifact's folder, and it is computed again"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestError(DataError):
    """A manifest that names what is not its own: it was not written by a run."""


def is_inside(name: str) -> bool:
    """Whether a relative path stays in the folder that it is taken to be in."""
    parts = PurePosixPath(name).parts
    plain = "/".join(parts) == name and "\\" not in name and "\0" not in name
    return bool(parts) and plain and not name.startswith("/") and ".." not in parts


def entry_of(fs: pafs.FileSystem, path: str) -> dict[str, Any]:
    """What a manifest says about a file: its size and sha256."""
    digest, size = hashlib.sha256(), 0
    with fs.open_input_stream(path, compression=None) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return {"sha256": digest.hexdigest(), "bytes": size}


def read_manifest(
    fs: pafs.FileSystem, folder: str, fingerprint: str, *, place: str
) -> dict[str, Any] | None:
    """The manifest in a folder; None where there is none, or one that is not whole.

    A file system that shows a file before it is whole may leave a torn one behind. What was being
    written was not there yet, so that it counts as none.

    Args:
        fs: File system of the store.
        folder: The folder.
        fingerprint: Name of the artifact.
        place: What messages call the folder.

    Raises:
        ManifestError: it is whole, and names a file or folder outside of its own.
    """
    data = read_bytes(fs, f"{folder}/{MANIFEST}")
    try:
        found: Any = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    if not _has_shape(found):
        return None
    place = f"{place}/{MANIFEST}"
    if not re.fullmatch(rf"{re.escape(fingerprint)}(/attempt-[A-Za-z0-9-]+)?", found["folder"]):
        folder = found["folder"]
        raise ManifestError(f"{place} names the folder {folder!r}, which is not its own; {_ADVICE}")
    for name in found["files"]:
        if not is_inside(name):
            reason = f"{place} names the file {name!r}, which is not in its folder"
            raise ManifestError(f"{reason}; {_ADVICE}")
    return found


def _has_shape(found: Any) -> bool:
    """Whether everything is there that is read of a manifest, and is what it should be."""
    if not isinstance(found, dict):
        return False
    files, info = found.get("files"), found.get("info")
    return (
        isinstance(files, dict)
        and isinstance(info, dict)
        and isinstance(found.get("folder"), str)
        and isinstance(found.get("seconds"), int | float)
        and all(isinstance(item, dict) and _is_entry(item) for item in files.values())
    )


def _is_entry(item: Mapping[str, Any]) -> bool:
    digest, size = item.get("sha256"), item.get("bytes")
    is_digest = isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
    return is_digest and isinstance(size, int) and size >= 0


def check_rows(
    fs: pafs.FileSystem, folder: str, kind: str, files: Iterable[str], info: Mapping[str, Any]
) -> None:
    """Compare the rows that a step says it wrote with those that are in its files.

    Raises:
        OSError: they differ, as they do where a node wrote to a disk that is not the store's.
    """
    if kind not in COUNTED or "rows" not in info:
        return
    rows = 0
    for name in files:
        if name.endswith(".parquet"):
            with fs.open_input_file(f"{folder}/{name}") as stream:
                rows += pq.read_metadata(stream).num_rows
    if rows != info["rows"]:
        raise OSError(
            f"{folder}: {info['rows']} rows were written and {rows} are there; do all nodes see "
            "the same store? See docs/cluster.md"
        )
