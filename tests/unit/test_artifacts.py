"""The artifact store: on a local disk, on a file system without renames, on an S3 server."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from tests.s3 import S3
from xlt_ray.config.credentials import redacted
from xlt_ray.store import artifacts as module
from xlt_ray.store import attempt as attempt_module
from xlt_ray.store.artifacts import MANIFEST, STALE_SECONDS, Artifact, Store
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.files import write_parquet

RECORD: dict[str, Any] = {"info": {"rows": 3}, "seconds": 1.5, "params": {"x": 1}}
TABLE = pa.table({"id": ["a", "b", "c"], "n": [1, 2, 3]})


SERVER = pytest.param("s3", marks=pytest.mark.slow)


@pytest.fixture(params=["local", "object", SERVER])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """A store on a folder, one on a file system that is not local, and one on an S3 server."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if request.param == "local":
        yield Store(str(tmp_path / "store"))
        return
    if request.param == "s3":
        server: S3 = request.getfixturevalue("s3")
        yield Store(server.root())
        return
    memory = MemoryFileSystem()
    base = f"/bucket-{uuid.uuid4().hex}"
    fs = pafs.PyFileSystem(pafs.FSSpecHandler(memory))
    for place in (module, attempt_module):
        monkeypatch.setattr(place, "open_root", lambda root: (fs, base))
    made = Store("memory://bucket")
    assert not made.is_local
    yield made
    if memory.exists(base):
        memory.rm(base, recursive=True)


def fill(store: Store, name: str = "f1", files: Mapping[str, bytes] | None = None) -> Attempt:
    attempt = store.attempt("kind", name)
    for file, data in ({"x.bin": b"123", "y.bin": b"4"} if files is None else files).items():
        attempt.write(file, data)
    return attempt


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def paths(store: Store) -> list[str]:
    """Every file under the store's artifacts, without the root."""
    base = f"{store.base}/artifacts"
    found = store.fs.get_file_info(pafs.FileSelector(base, recursive=True))
    files = [item.path for item in found if item.type == pafs.FileType.File]
    return sorted(path.partition("/artifacts/")[2] for path in files)


def folder_of(attempt: Attempt) -> str:
    return attempt._place[1]


# -- commit ---------------------------------------------------------------------------------------


def test_nothing_is_visible_before_the_commit(store: Store) -> None:
    attempt = fill(store)
    assert store.find("kind", "f1") is None
    assert attempt.has("x.bin")
    artifact = store.commit(attempt, RECORD)
    assert store.find("kind", "f1") == artifact
    assert store.find("kind", "f2") is None
    assert store.find("other", "f1") is None


def test_the_manifest_names_files_with_size_and_hash(store: Store) -> None:
    artifact = store.commit(fill(store), RECORD)
    assert artifact.manifest["files"] == {
        "x.bin": {"sha256": hashlib.sha256(b"123").hexdigest(), "bytes": 3},
        "y.bin": {"sha256": hashlib.sha256(b"4").hexdigest(), "bytes": 1},
    }
    assert {key: artifact.manifest[key] for key in RECORD} == RECORD
    assert artifact.info == {"rows": 3}
    assert artifact.seconds == 1.5
    assert artifact.names == ["x.bin", "y.bin"]
    found = store.find("kind", "f1")
    assert found is not None
    assert found.manifest == artifact.manifest


def test_an_artifact_gives_its_files(store: Store) -> None:
    attempt = fill(store, files={"x.bin": b"123"})
    attempt.write_json("deep/facts.json", {"a": [1]})
    attempt.write_table("b.parquet", TABLE)
    attempt.write_table("a.parquet", TABLE.slice(1))
    assert attempt.rows("a.parquet") == 2
    artifact = store.commit(attempt, RECORD)
    assert artifact.read("x.bin") == b"123"
    assert artifact.json("deep/facts.json") == {"a": [1]}
    assert artifact.shard("b.parquet", ["n"]).to_pydict() == {"n": [1, 2, 3]}
    assert artifact.table(["id"])["id"].to_pylist() == ["b", "c", "a", "b", "c"]
    assert artifact.verify() == []


def test_a_folder_is_copied_with_its_folders(store: Store, tmp_path: Path) -> None:
    (tmp_path / "from" / "sub").mkdir(parents=True)
    (tmp_path / "from" / "a").write_bytes(b"1")
    (tmp_path / "from" / "sub" / "b").write_bytes(b"2")
    attempt = store.attempt("kind", "f1")
    attempt.write_folder(tmp_path / "from")
    artifact = store.commit(attempt, RECORD)
    assert artifact.names == ["a", "sub/b"]
    assert (artifact.local() / "sub" / "b").read_bytes() == b"2"


def test_files_are_on_the_disk_before_the_artifact_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streamed files, their folders and the manifest are synced, then moved, then the move is."""
    store, order = Store(str(tmp_path)), list[str]()
    attempt = store.attempt("kind", "f1")
    with attempt.stream("sub/a") as sink:
        sink.write(b"1")
    sync, rename = os.fsync, os.rename

    def note_sync(descriptor: int) -> None:
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def note_rename(old: str, new: str) -> None:
        order.append("rename")
        rename(old, new)

    monkeypatch.setattr(module.os, "fsync", note_sync)
    monkeypatch.setattr(module.os, "rename", note_rename)
    store.commit(attempt, RECORD)
    at = order.index("rename")
    assert {"a", "sub", MANIFEST, attempt.folder} <= set(order[:at])
    assert order[at:] == ["rename", "kind"]


def test_the_first_of_two_writers_wins(store: Store) -> None:
    first, second = fill(store, files={"a": b"first"}), fill(store, files={"a": b"second"})
    one = store.commit(first, RECORD)
    two = store.commit(second, {**RECORD, "seconds": 9.0})
    assert two == one
    assert (two.read("a"), two.seconds) == (b"first", 1.5)
    assert len([path for path in paths(store) if path.endswith("/a")]) == 1


def test_a_finished_artifact_never_changes(store: Store) -> None:
    artifact = store.commit(fill(store), RECORD)
    before = paths(store)
    store.commit(fill(store, files={"z.bin": b"9"}), RECORD)
    assert paths(store) == before
    assert artifact.verify() == []


def test_verify_names_what_was_changed_or_lost(store: Store) -> None:
    artifact = store.commit(fill(store), RECORD)
    folder = artifact._place[1]
    with store.fs.open_output_stream(f"{folder}/x.bin") as stream:
        stream.write(b"133")
    assert artifact.verify() == ["x.bin"]
    store.fs.delete_file(f"{folder}/y.bin")
    assert artifact.verify() == ["x.bin", "y.bin"]


def test_the_digest_is_that_of_the_content(store: Store) -> None:
    """Not of the name, the parameters or the time it took."""
    one = store.commit(fill(store, "f1"), RECORD)
    same = store.commit(fill(store, "f2"), {**RECORD, "params": {"x": 2}, "seconds": 8.0})
    other = store.commit(fill(store, "f3", files={"x.bin": b"123", "y.bin": b"5"}), RECORD)
    named = store.commit(fill(store, "f4", files={"x.bin": b"123", "z.bin": b"4"}), RECORD)
    assert one.digest == same.digest
    assert len({one.digest, other.digest, named.digest}) == 3


# -- attempts that did not make it ----------------------------------------------------------------


def test_finished_files_of_earlier_attempts_are_taken_over(store: Store) -> None:
    whole = parquet(TABLE)
    torn = {"torn.parquet": whole[:-9], "empty.parquet": b"", "short.parquet": whole[:40]}
    fill(store, files={"p1.parquet": whole, "p2.parquet": whole, "other.bin": b"3", **torn})
    fill(store, "f2", files={"p9.parquet": whole})
    attempt = fill(store, files={"p2.parquet": b"mine"})
    assert store.adopt(attempt) == 1
    artifact = store.commit(attempt, RECORD)
    assert artifact.names == ["p1.parquet", "p2.parquet"]
    assert artifact.read("p1.parquet") == whole
    assert artifact.read("p2.parquet") == b"mine"


def test_a_half_written_file_is_not_taken_over_nor_committed(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    broken = fill(store, files={"p1.parquet": parquet(TABLE)})
    Path(folder_of(broken), "p2.parquet.tmp-0123").write_bytes(b"half")
    attempt = store.attempt("kind", "f1")
    assert store.adopt(attempt) == 1
    assert store.commit(broken, RECORD).names == ["p1.parquet"]


def test_a_discarded_attempt_is_gone(store: Store) -> None:
    attempt = fill(store)
    store.discard(attempt)
    assert paths(store) == []
    store.discard(attempt)


def test_only_stale_attempts_are_dropped_at_a_commit(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    stale, fresh, foreign = fill(store), fill(store), fill(store, "f2")
    old = 1_000_000_000 - STALE_SECONDS
    for attempt in (stale, foreign):
        for path in (Path(folder_of(attempt)), *Path(folder_of(attempt)).iterdir()):
            os.utime(path, (old, old))
    store.commit(fill(store), RECORD)
    assert not Path(folder_of(stale)).exists()
    assert Path(folder_of(fresh)).exists()
    assert Path(folder_of(foreign)).exists()


def test_an_empty_attempt_ages_too(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    stale, fresh = store.attempt("kind", "f1"), store.attempt("kind", "f1")
    os.utime(folder_of(stale), (1_000_000_000, 1_000_000_000))
    store.commit(fill(store), RECORD)
    assert not Path(folder_of(stale)).exists()
    assert Path(folder_of(fresh)).exists()


def test_attempts_of_dead_writers_are_dropped_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this machine: what lives elsewhere cannot be told, nor who made a nameless one."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with monkeypatch.context() as patch:
        patch.setattr(module.os, "getpid", lambda: child.pid)
        fill(store, files={"dead": b"1"})
        patch.setattr(socket, "gethostname", lambda: "elsewhere")
        fill(store, files={"elsewhere": b"1"})
    fill(store, files={"alive": b"1"})
    nameless = ".tmp-" if store.is_local else "/attempt-"
    old = Attempt(store.root, "kind", "f1", f"f1{nameless}{uuid.uuid4().hex}")
    old.write("nameless", b"1")
    artifact = store.commit(fill(store, files={"a": b"1"}), RECORD)
    assert artifact.names == ["a"]
    left = {os.path.basename(path) for path in paths(store)}
    assert left == {"a", "alive", "elsewhere", "nameless", MANIFEST}


def test_a_folder_without_a_manifest_is_no_artifact(store: Store) -> None:
    folder = f"{store.base}/artifacts/kind/f1"
    store.fs.create_dir(folder, recursive=True)
    with store.fs.open_output_stream(f"{folder}/x.bin") as stream:
        stream.write(b"1")
    assert store.find("kind", "f1") is None


TORN = [
    b"",
    b'{"files": {"a"',
    b"[]",
    b"{}",
    b'{"files": {"a": 1}, "info": {}}',
    b"\xff",
    b"[" * 9999,
]


@pytest.mark.parametrize("torn", TORN, ids=range(len(TORN)))
def test_a_torn_manifest_is_none_and_is_replaced(store: Store, torn: bytes) -> None:
    """As a file system leaves it that shows files before they are whole."""
    store.write(f"{store.base}/artifacts/kind/f1/{MANIFEST}", torn)
    assert store.find("kind", "f1") is None
    artifact = store.commit(fill(store), RECORD)
    assert store.find("kind", "f1") == artifact
    assert artifact.verify() == []


def test_an_artifact_that_lost_its_manifest_is_set_aside(tmp_path: Path) -> None:
    """As something that deletes it leaves it, when it is killed after the first of two steps."""
    store = Store(str(tmp_path))
    first = store.commit(fill(store, files={"a": b"1"}), RECORD)
    folder = Path(first._place[1])
    (folder / MANIFEST).unlink()
    second = store.commit(fill(store, files={"b": b"2"}), RECORD)
    assert store.find("kind", "f1") == second
    assert second.names == ["b"]
    (aside,) = folder.parent.glob("f1.aside-*")
    assert (aside / "a").read_bytes() == b"1"
    assert store.commit(fill(store, files={"c": b"3"}), RECORD).names == ["b"]


def test_an_artifact_that_was_committed_meanwhile_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two writers find a folder without a manifest; the other is faster by a moment."""
    store, other = Store(str(tmp_path)), Store(str(tmp_path))
    (tmp_path / "artifacts/kind/f1").mkdir(parents=True)
    (tmp_path / "artifacts/kind/f1/x").touch()
    attempt, looked = fill(store, files={"slow": b"1"}), store.find

    def find(kind: str, fingerprint: str) -> Artifact | None:
        found = looked(kind, fingerprint)
        if found is None:
            monkeypatch.undo()
            other.commit(fill(other, files={"fast": b"2"}), RECORD)
        return found

    monkeypatch.setattr(store, "find", find)
    assert store.commit(attempt, RECORD).names == ["fast"]


OUTSIDE = ["../x", "a/../../x", "/etc/x", "..", "", ".", "a//b", "a\\..\\b", "./x", "x/", "a\0b"]


@pytest.mark.parametrize("name", OUTSIDE, ids=repr)
def test_a_manifest_names_no_file_elsewhere(store: Store, tmp_path: Path, name: str) -> None:
    """Somebody who may write to a bucket shall not write to the disks of those who read it."""
    artifact = store.commit(fill(store), RECORD)
    manifest = {**artifact.manifest, "files": {name: artifact.manifest["files"]["x.bin"]}}
    crafted = Artifact(store.root, "kind", "f1", manifest)
    if not store.is_local:
        with pytest.raises(ValueError, match=r"kind/f1: .* is no file of it"):
            crafted.local()
    store.write(f"{store.base}/artifacts/kind/f1/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(ValueError, match=r"artifacts/kind/f1/manifest\.json names the file"):
        store.find("kind", "f1")
    assert not (tmp_path / "xlt_ray" / "x").exists()


@pytest.mark.parametrize("name", ["../x", "..", ".", "", "a/b", "/x", "a\\b"], ids=repr)
def test_no_artifact_is_looked_for_elsewhere(store: Store, name: str) -> None:
    """Names of artifacts may come out of a file, such as the one that says a run's models."""
    for kind, fingerprint in ((name, "f1"), ("kind", name)):
        with pytest.raises(ValueError, match="no kind and fingerprint of an artifact"):
            store.find(kind, fingerprint)


@pytest.mark.parametrize("folder", ["../f2", "f2", "f1/..", "f1/attempt-../../x", "/f1", ""])
def test_a_manifest_names_no_folder_elsewhere(store: Store, folder: str) -> None:
    artifact = store.commit(fill(store), RECORD)
    manifest = {**artifact.manifest, "folder": folder}
    store.write(f"{store.base}/artifacts/kind/f1/{MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(ValueError, match="names the folder"):
        store.find("kind", "f1")


@pytest.mark.parametrize("kind", ["text", "tokens", "annotation", "derived"])
@pytest.mark.parametrize("files", [{}, {"a.parquet": TABLE}], ids=["none", "half"])
def test_a_commit_counts_its_rows(store: Store, kind: str, files: Mapping[str, pa.Table]) -> None:
    """Two nodes wrote, one of them to a disk of its own."""
    attempt = store.attempt(kind, "f1")
    for name, table in files.items():
        attempt.write_table(name, table)
    with pytest.raises(OSError, match=rf"6 rows were written and {3 * len(files)} are there"):
        store.commit(attempt, {**RECORD, "info": {"rows": 6}})
    assert store.find(kind, "f1") is None
    attempt.write_table("b.parquet", pa.concat_tables([TABLE] * (2 - len(files))))
    assert store.commit(attempt, {**RECORD, "info": {"rows": 6}}).info["rows"] == 6


@pytest.mark.parametrize("store", [SERVER], indirect=True)
def test_an_upload_in_parts_that_was_not_ended_is_invisible(store: Store) -> None:
    """A writer is killed while it streams several parts to the server."""
    attempt = store.attempt("kind", "f1")
    run = subprocess.run(
        [sys.executable, "-c", KILLED_UPLOAD, attempt.root, attempt.folder], check=False
    )
    assert run.returncode == -signal.SIGKILL
    assert not attempt.has("half.parquet")
    assert paths(store) == []
    assert store.commit(fill(store), RECORD).names == ["x.bin", "y.bin"]


@pytest.mark.parametrize("store", [SERVER], indirect=True)
def test_requests_that_fail_are_tried_again(store: Store, s3: S3) -> None:
    s3.break_down(method="PUT", status=503, times=2)
    artifact = store.commit(fill(store), RECORD)
    assert s3.mend() == 2
    assert artifact.verify() == []


@pytest.mark.slow
@pytest.mark.parametrize("store", [SERVER], indirect=True)
@pytest.mark.parametrize("fault", [{"status": 503}, {"cut": True}])
def test_a_commit_that_does_not_get_through_leaves_nothing(
    store: Store, s3: S3, fault: dict[str, Any]
) -> None:
    attempt = fill(store)
    s3.break_down(method="PUT", path=MANIFEST, times=100, **fault)
    with pytest.raises(OSError, match=r"bucket|key|Object"):
        store.commit(attempt, RECORD)
    assert s3.mend() > 1
    assert store.find("kind", "f1") is None
    assert store.commit(attempt, RECORD).verify() == []


KILLED_UPLOAD = """
import os, signal, sys
from xlt_ray.store.attempt import Attempt

attempt = Attempt(sys.argv[1], "kind", "f1", sys.argv[2])
stream = attempt.stream("half.parquet")
for _ in range(4):
    stream.write(b"2" * 6_000_000)
stream.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED = """
import os, signal, sys
import pyarrow as pa
from xlt_ray.store import artifacts as module

store = module.Store(sys.argv[1])
attempt = store.attempt("kind", "f1")
attempt.write_table("done.parquet", pa.table({"id": ["a"]}))
stage = sys.argv[2]
if stage == "file":
    def stop(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    os.fsync = stop
    attempt.write("half.parquet", b"2" * 100)
if stage == "stream":
    stream = attempt.stream("half.parquet")
    stream.write(b"2" * 100)
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
if stage == "commit":
    def stop(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    os.rename = stop
    store.commit(attempt, {"info": {}, "seconds": 0.0})
"""


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["file", "stream", "commit"])
def test_a_killed_writer_leaves_nothing_visible(tmp_path: Path, stage: str) -> None:
    run = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), stage], check=False)
    assert run.returncode == -signal.SIGKILL
    store = Store(str(tmp_path))
    assert store.find("kind", "f1") is None
    attempt = store.attempt("kind", "f1")
    adopted = store.adopt(attempt)
    if stage != "stream":
        assert adopted == 1
        assert attempt.has("done.parquet")
        assert not attempt.has("half.parquet")
    store.discard(attempt)
    artifact = store.commit(fill(store, files={"a": b"anew"}), RECORD)
    assert artifact.names == ["a"]
    assert artifact.verify() == []


# -- local copies ---------------------------------------------------------------------------------


def test_a_local_store_is_read_in_place(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    artifact = store.commit(fill(store), RECORD)
    assert artifact.local() == tmp_path / "artifacts" / "kind" / "f1"


@pytest.mark.parametrize("store", ["object", SERVER], indirect=True)
def test_a_distant_artifact_is_fetched_once(store: Store) -> None:
    artifact = store.commit(fill(store), RECORD)
    folder = artifact.local()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "x.bin": b"123",
        "y.bin": b"4",
    }
    store.fs.delete_dir_contents(artifact._place[1])
    assert artifact.local() == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("store", ["object", SERVER], indirect=True)
def test_a_fetched_copy_is_known_by_its_content(store: Store) -> None:
    """One step computed twice, on other hardware, may give other bytes under its fingerprint."""
    first = store.commit(fill(store, files={"a": b"1"}), RECORD)
    kept = first.local()
    store.fs.delete_dir(f"{store.base}/artifacts/kind/f1")
    second = store.commit(fill(store, files={"a": b"2"}), RECORD)
    assert (second.local() / "a").read_bytes() == b"2"
    assert (kept / "a").read_bytes() == b"1"


@pytest.mark.parametrize("store", ["object", SERVER], indirect=True)
@pytest.mark.parametrize("damage", ["changed", "lost"])
def test_a_damaged_copy_is_fetched_anew(store: Store, damage: str) -> None:
    artifact = store.commit(fill(store), RECORD)
    path = artifact.local() / "x.bin"
    path.write_bytes(b"133") if damage == "changed" else path.unlink()
    assert artifact.local() == path.parent
    assert path.read_bytes() == b"123"


@pytest.mark.parametrize("store", ["object", SERVER], indirect=True)
def test_copies_are_this_users_own(store: Store, tmp_path: Path) -> None:
    """Even if somebody made the folder before, with rights for all."""
    (tmp_path / "xlt_ray").mkdir()
    (tmp_path / "xlt_ray").chmod(0o777)
    folder = store.commit(fill(store), RECORD).local()
    assert folder.parent.parent == tmp_path / "xlt_ray"
    assert (tmp_path / "xlt_ray").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("store", ["object", SERVER], indirect=True)
def test_a_distant_artifact_that_was_changed_is_refused(store: Store, tmp_path: Path) -> None:
    artifact = store.commit(fill(store), RECORD)
    with store.fs.open_output_stream(f"{artifact._place[1]}/y.bin") as stream:
        stream.write(b"5")
    with pytest.raises(OSError, match=r"kind/f1/y\.bin: content differs"):
        artifact.local()
    assert not list((tmp_path / "xlt_ray" / "kind").iterdir())


# -- the rest -------------------------------------------------------------------------------------


def test_handles_travel_by_value(tmp_path: Path) -> None:
    """Workers get artifacts and attempts as plain fields and open the store themselves."""
    store = Store(str(tmp_path))
    attempt = fill(store)
    again = Attempt(attempt.root, attempt.kind, attempt.fingerprint, attempt.folder)
    again.write("z.bin", b"9")
    artifact = store.commit(attempt, RECORD)
    manifest = json.loads(json.dumps(artifact.manifest))
    copy = Artifact(artifact.root, artifact.kind, artifact.fingerprint, manifest)
    assert copy.read("z.bin") == b"9"


def test_files_of_runs(store: Store) -> None:
    folder = store.run_folder("mine")
    store.write(f"{folder}/a.json", b"1")
    assert store.read(f"{folder}/a.json") == b"1"
    store.delete(f"{folder}/a.json")
    assert store.read(f"{folder}/a.json") is None
    assert store.fs.get_file_info(f"{store.base}/artifacts").type == pafs.FileType.NotFound


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(ValueError, match=r"store\.root 'ftp2://x/y'"):
        Store("ftp2://x/y")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("s3://me:secret@bucket/x", "s3://***@bucket/x"),
        ("s3://me@bucket/x", "s3://***@bucket/x"),
        ("s3://me:se/cr@et@bucket/x", "s3://***@bucket/x"),
        ("no s3://me:secret@a, nor gs://me:secret@b", "no s3://***@a, nor gs://***@b"),
        ("/plain/me:secret@folder", "/plain/me:secret@folder"),
        ("'s3://b/x?secret_key=ab&region=eu'", "'s3://b/x?secret_key=***&region=eu'"),
    ],
)
def test_messages_do_not_show_credentials(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_root_that_cannot_be_opened_does_not_show_credentials() -> None:
    with pytest.raises(ValueError, match=r"store\.root 'ftp2://\*{3}@host/x'") as caught:
        Store("ftp2://me:secret@host/x")
    assert "secret" not in str(caught.value)


def test_a_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store("here").root == str(tmp_path / "here")


@pytest.mark.parametrize(("count", "groups"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_rows_are_streamed_in_groups(store: Store, count: int, groups: int) -> None:
    schema = pa.schema([("id", pa.string()), ("n", pa.list_(pa.int16()))])
    attempt = store.attempt("kind", "f1")
    rows = [{"id": str(i), "n": [i] * (i % 3)} for i in range(count)]
    pulled: list[int] = []

    def source() -> Iterator[dict[str, Any]]:
        for number, row in enumerate(rows):
            pulled.append(number)
            yield row

    assert write_parquet(lambda: attempt.stream("a.parquet"), schema, source(), chunk=4) == count
    artifact = store.commit(attempt, RECORD)
    with artifact.open("a.parquet") as stream:
        file = pq.ParquetFile(stream)
        assert file.num_row_groups == groups
        assert file.schema_arrow.equals(schema)
        assert file.read().to_pylist() == rows
    assert artifact.names == ["a.parquet"]
    assert (store.find("kind", "f1") or artifact).manifest["files"].keys() == {"a.parquet"}
    assert MANIFEST not in artifact.names
