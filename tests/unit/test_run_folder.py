"""A run's folder and the lease on it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.s3 import S3
from xlt_ray.store import run_folder
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease, LeaseHeldError
from xlt_ray.store.machine import machine
from xlt_ray.store.run_folder import RunFolder

WATCHED = 0.6
"""Seconds of the leases that a test waits for."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def folder(store: Store) -> str:
    return store.run_folder("run")


@pytest.fixture
def lease(store: Store, folder: str) -> Iterator[Lease]:
    taken = Lease(store, folder, seconds=30)
    taken.acquire()
    yield taken
    taken.release()


def holder(folder: str) -> dict[str, Any]:
    return json.loads(Path(folder, "lease.json").read_text())


def hold(folder: str, **fields: Any) -> None:
    """Leave the lease of somebody else behind."""
    held = {
        "owner": "somebody",
        "host": socket.gethostname(),
        "machine": machine(),
        "pid": os.getpid(),
        "seconds": WATCHED,
        "renewed": time.time(),
    }
    Path(folder, "lease.json").write_text(json.dumps({**held, **fields}))


def dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_lease_that_is_renewed_is_refused(store: Store, folder: str) -> None:
    first = Lease(store, folder, seconds=WATCHED)
    first.acquire()
    said: list[str] = []
    with pytest.raises(LeaseHeldError, match=r"run\.name") as caught:
        Lease(store, folder).acquire(note=said.append)
    holding = f"process {os.getpid()} on {socket.gethostname()}"
    assert holding in str(caught.value)
    (line,) = said
    assert holding in line
    first.check()
    first.release()


@pytest.mark.parametrize("skew", [-7200.0, 7200.0])
@pytest.mark.parametrize("host", ["elsewhere", socket.gethostname()])
def test_clocks_do_not_matter(store: Store, folder: str, host: str, skew: float) -> None:
    """The holder's clock is two hours behind or ahead: while it renews, it is refused."""
    stop = threading.Event()

    def renew() -> None:
        number = 0
        while not stop.wait(WATCHED / 6):
            number += 1
            hold(folder, host=host, renewed=time.time() + skew + number)

    hold(folder, host=host, renewed=time.time() + skew)
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(LeaseHeldError, match=f"on {host}"):
            Lease(store, folder).acquire()
    finally:
        stop.set()
        thread.join()
    lease = Lease(store, folder)
    lease.acquire()
    assert holder(folder)["owner"] == lease._owner
    lease.release()


def test_a_process_of_another_container_is_not_looked_for(store: Store, folder: str) -> None:
    """Of the same host name and boot, with process ids of its own: nobody has that id here."""
    stop = threading.Event()
    others = subprocess.check_output(CONTAINER, text=True).strip()

    def renew() -> None:
        while not stop.wait(WATCHED / 6):
            hold(folder, pid=dead_process(), machine=others, renewed=time.time())

    hold(folder, pid=dead_process(), machine=others)
    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(LeaseHeldError, match=f"on {socket.gethostname()}"):
            Lease(store, folder).acquire()
    finally:
        stop.set()
        thread.join()


NAMED = """
import os
from xlt_ray.store import machine
link = os.readlink
os.readlink = lambda path: link(path).replace("pid:[4", "pid:[5")
print(machine.machine())
"""
CONTAINER = [sys.executable, "-c", NAMED]
"""Prints the name of another PID namespace of this machine."""


@pytest.mark.parametrize("gone", ["silent", "silent elsewhere", "dead", "torn"])
def test_a_lease_is_taken_over(store: Store, folder: str, gone: str) -> None:
    lease = Lease(store, folder, seconds=WATCHED)
    if gone == "dead":
        hold(folder, pid=dead_process(), seconds=100)
    elif gone == "torn":
        Path(folder, "lease.json").write_text('{"owner": "some')
    else:
        hold(folder, host="elsewhere" if "elsewhere" in gone else socket.gethostname())
    began = time.monotonic()
    lease.acquire()
    assert (time.monotonic() - began < WATCHED) == (gone == "dead")
    assert holder(folder)["pid"] == os.getpid()
    lease.check()
    lease.release()


def test_a_lease_that_is_given_up_is_taken(store: Store, folder: str) -> None:
    hold(folder, seconds=20)
    timer = threading.Timer(0.1, Path(folder, "lease.json").unlink)
    timer.start()
    lease = Lease(store, folder)
    began = time.monotonic()
    lease.acquire()
    assert time.monotonic() - began < 10
    lease.release()
    timer.join()


def test_release_leaves_the_run_free(store: Store, folder: str) -> None:
    for _ in range(2):
        lease = Lease(store, folder)
        lease.acquire()
        lease.release()
        assert not Path(folder, "lease.json").exists()


def test_a_lease_is_renewed(store: Store, folder: str) -> None:
    lease = Lease(store, folder, seconds=0.6)
    lease.acquire()
    first = holder(folder)["renewed"]
    deadline = time.monotonic() + 10
    while holder(folder)["renewed"] <= first:
        assert time.monotonic() < deadline, "the lease was not renewed"
        time.sleep(0.02)
    lease.check()
    lease.release()


@pytest.mark.parametrize("how", ["taken", "removed"])
def test_a_lost_lease_raises_and_is_left_alone(store: Store, folder: str, how: str) -> None:
    lease = Lease(store, folder, seconds=0.6)
    lease.acquire()
    if how == "taken":
        hold(folder)
    else:
        Path(folder, "lease.json").unlink()
    lease._thread.join(timeout=10)
    with pytest.raises(LeaseHeldError, match="took over"):
        lease.check()
    lease.release()
    assert how == "removed" or holder(folder)["owner"] == "somebody"


def test_only_one_of_many_takers_wins(store: Store, folder: str) -> None:
    """All look at the ended lease before the first of them takes it."""
    hold(folder, pid=dead_process())
    takers = [Lease(store, folder) for _ in range(8)]
    barrier, won = threading.Barrier(len(takers)), list[Lease]()

    def take(lease: Lease) -> None:
        read = lease._read

        def read_together() -> dict[str, Any] | None:
            held = read()
            barrier.wait(timeout=10)
            return held

        lease._read = read_together  # type: ignore[method-assign]
        try:
            lease.acquire()
            won.append(lease)
        except LeaseHeldError:
            pass
        lease._read = read  # type: ignore[method-assign]

    threads = [threading.Thread(target=take, args=(lease,)) for lease in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = won
    assert holder(folder)["owner"] == winner._owner
    assert os.listdir(folder) == ["lease.json"]
    winner.release()


def test_a_late_taker_puts_the_new_lease_back(store: Store, folder: str) -> None:
    """It looked at the ended lease, and was overtaken before it could move that away."""
    hold(folder, pid=dead_process())
    first, late = Lease(store, folder), Lease(store, folder)
    ended = late._read()
    first.acquire()
    late._read = lambda: ended  # type: ignore[method-assign]
    with pytest.raises(LeaseHeldError, match="at the same moment"):
        late.acquire()
    assert holder(folder)["owner"] == first._owner
    assert os.listdir(folder) == ["lease.json"]
    first.check()
    first.release()


def test_on_object_storage_the_last_to_write_has_it(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.is_local = False
    monkeypatch.setattr(run_folder.time, "sleep", lambda seconds: hold(folder))
    with pytest.raises(LeaseHeldError, match="at the same moment"):
        Lease(store, folder).acquire()
    assert holder(folder)["owner"] == "somebody"


@pytest.mark.slow
def test_on_object_storage_a_lease_is_taken_over_and_refused(s3: S3) -> None:
    store = Store(s3.root())
    first = Lease(store, store.run_folder("run"), seconds=WATCHED)
    first.acquire()
    with pytest.raises(LeaseHeldError, match="another driver is at work"):
        Lease(store, first._path.removesuffix("/lease.json")).acquire()
    first._stop.set()  # it is killed
    first._thread.join()
    second = Lease(store, store.run_folder("run"), seconds=WATCHED)
    second.acquire()
    assert store.read(first._path) is not None
    with pytest.raises(LeaseHeldError, match="could not renew"):
        first.check()
    second.release()
    assert store.read(first._path) is None


def test_a_store_that_comes_back_in_time_costs_nothing(store: Store, folder: str) -> None:
    lease = Lease(store, folder, seconds=3)
    write, failed = store.write, threading.Event()

    def fail(path: str, data: bytes) -> None:
        failed.set()
        raise OSError("no store")

    lease.acquire()
    first = holder(folder)["renewed"]
    store.write = fail  # type: ignore[method-assign]
    assert failed.wait(10)
    store.write = write  # type: ignore[method-assign]
    deadline = time.monotonic() + 10
    while holder(folder)["renewed"] <= first:
        assert time.monotonic() < deadline, "the lease was not renewed"
        time.sleep(0.02)
    lease.check()
    lease.release()


def test_a_torn_event_is_cut_off(store: Store) -> None:
    """The disk was full: half a line is there, and the session that wrote it is gone."""
    first = RunFolder(store, "run")
    first.event("finished", rows=3)
    path = Path(first.path, "events.jsonl")
    path.write_bytes(path.read_bytes() + b'{"event": "fini')
    second = RunFolder(store, "run")
    second.event("finished", rows=4)
    second.event("finished", rows=5)
    assert [event["rows"] for event in lines(store, "events.jsonl")] == [3, 4, 5]


def lines(store: Store, name: str) -> list[dict[str, Any]]:
    text = Path(store.run_folder("run"), name).read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_the_ledger_starts_anew_and_the_events_go_on(store: Store) -> None:
    first = RunFolder(store, "run")
    first.step({"step": 1})
    first.step({"step": 2})
    first.event("finished", rows=3)
    second = RunFolder(store, "run")
    assert len(lines(store, "ledger.jsonl")) == 2
    second.step({"step": 1, "again": True})
    second.event("finished", rows=4)
    assert lines(store, "ledger.jsonl") == [{"step": 1, "again": True}]
    events = lines(store, "events.jsonl")
    assert [(event["event"], event["rows"]) for event in events] == [
        ("finished", 3),
        ("finished", 4),
    ]
    assert events[0]["time"] <= events[1]["time"] <= time.time() + 1


def test_files_of_a_run(store: Store) -> None:
    run = RunFolder(store, "run")
    run.write_json("config.json", {"b": 1, "a": [2]})
    run.write("model/x.bin", b"12")
    assert json.loads(Path(run.path, "config.json").read_text()) == {"a": [2], "b": 1}
    assert Path(run.path, "model", "x.bin").read_bytes() == b"12"
    assert run.path == f"{store.base}/runs/run"


def test_a_folder_is_published_whole(tmp_path: Path) -> None:
    folder = RunFolder(Store(str(tmp_path)), "run")
    for names in (["a", "b"], ["b", "c"]):
        files = {}
        for name in names:
            files[name] = tmp_path / name
            files[name].write_text("".join(names))
        folder.publish("model", files)
    published = Path(folder.path) / "model"
    assert {path.name: path.read_text() for path in published.iterdir()} == {"b": "bc", "c": "bc"}
    assert [path.name for path in published.parent.iterdir()] == ["model"]


def test_a_lease_that_could_not_be_renewed_is_lost(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    lease = Lease(store, store.run_folder("run"), seconds=0.3)
    lease.acquire()
    store.write = _fail  # type: ignore[method-assign]
    time.sleep(0.6)
    with pytest.raises(LeaseHeldError, match="could not renew"):
        lease.check()
    lease._thread.join(timeout=10)
    assert not lease._thread.is_alive()
    with pytest.raises(LeaseHeldError):
        lease.check()


def _fail(path: str, data: bytes) -> None:
    raise OSError("no store")


@pytest.mark.parametrize("there", ["folder", "nothing", "file"])
def test_a_link_in_the_place_of_a_model_is_replaced(tmp_path: Path, there: str) -> None:
    """What it led to stays as it is."""
    target, source = tmp_path / "elsewhere", tmp_path / "new"
    source.write_text("new")
    if there == "folder":
        target.mkdir()
        (target / "kept").write_text("kept")
    elif there == "file":
        target.write_text("kept")
    folder = RunFolder(Store(str(tmp_path / "store")), "run")
    published = Path(folder.path) / "model"
    published.symlink_to(target)
    for _ in range(2):
        folder.publish("model", {"a": source})
        assert not published.is_symlink()
        assert [path.name for path in published.iterdir()] == ["a"]
    if there == "folder":
        assert (target / "kept").read_text() == "kept"
    assert target.exists() == (there != "nothing")


def test_a_place_that_cannot_be_written_says_which_key_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reason = r"store\.root: nothing can be written at .*file/store .*name another folder: --set"
    with pytest.raises(ValueError, match=reason):
        RunFolder(Store(f"{tmp_path}/file/store"), "a")
