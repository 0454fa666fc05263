"""Whole files: what a reader sees of one that could not be written."""

import errno
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from xlt_ray.store import files as module
from xlt_ray.store.fault_points import LISTENERS, Point
from xlt_ray.store.files import is_parquet, listed, placed, read_bytes, read_json, write_bytes

DISK = pafs.LocalFileSystem()


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "ledger.jsonl"
    write_bytes(DISK, str(path), b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.os, failing, fail)
        with pytest.raises(OSError, match="No space left"):
            write_bytes(DISK, str(path), b"new")
    assert [item.name for item in tmp_path.iterdir()] == ["ledger.jsonl"]
    assert read_bytes(DISK, str(path)) == b"old"


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": [1]}', {"a": [1]}),
        (b'{"a": [1', None),
        (b"\xff\xfe", None),
        (b"[1]", None),
        (b"", None),
        (None, None),
    ],
)
def test_a_torn_object_is_none(tmp_path: Path, content: bytes | None, found: object) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    assert read_json(DISK, str(path)) == found


def test_a_torn_parquet_file_is_told_from_a_whole_one() -> None:
    """At whichever byte it is torn."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ["a", "b"]}), sink)
    whole = sink.getvalue().to_pybytes()
    assert is_parquet(whole)
    assert not any(is_parquet(whole[:size]) for size in range(len(whole)))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises, also in a background job, where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_until_an_object_is_whole(tmp_path: Path) -> None:
    """Closing its stream on the way out would keep what is in it so far: nothing."""
    objects = pafs.SubTreeFileSystem(str(tmp_path), DISK)  # is written to as objects are

    def interrupt(point: Point) -> None:
        if point == "file.written":
            signal.raise_signal(signal.SIGINT)

    write_bytes(objects, "a", b"old")
    LISTENERS.append(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_bytes(objects, "a", b"new")
    finally:
        LISTENERS.remove(interrupt)
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_until_an_object_is_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But while its pieces are made it does not."""
    objects, copy = pafs.SubTreeFileSystem(str(tmp_path), DISK), shutil.copyfileobj

    def interrupted(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        copy(*arguments)

    monkeypatch.setattr(module.shutil, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt), placed(objects, "a") as stream:
        signal.raise_signal(signal.SIGINT)
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), placed(objects, "a") as stream:
        stream.write(b"all of it")
    assert (tmp_path / "a").read_bytes() == b"all of it"


def test_a_folder_that_comes_while_it_is_listed_has_nothing(tmp_path: Path) -> None:
    """Arrow finds no folder, another thread makes it, and Arrow does not know why it failed."""
    folder, over, failed = tmp_path / "at", Event(), 0
    fs = pafs.LocalFileSystem()

    def come_and_go() -> None:
        while not over.is_set():
            folder.mkdir()
            folder.rmdir()

    thread = Thread(target=come_and_go)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while failed < 3 and time.monotonic() < deadline:
            try:
                fs.get_file_info(pafs.FileSelector(str(folder), allow_not_found=True))
            except FileNotFoundError:
                failed += 1
            assert listed(fs, str(folder)) == []
    finally:
        over.set()
        thread.join()
    assert listed(fs, str(folder)) == []
    folder.mkdir()
    (folder / "a").touch()
    assert [item.base_name for item in listed(fs, str(tmp_path), recursive=True)] == ["at", "a"]
