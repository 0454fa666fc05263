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

from xlt_ray import ledger as module
from xlt_ray.ledger import Lease, LeaseHeldError, RunFolder
from xlt_ray.store import Store


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
        "pid": os.getpid(),
        "expires": time.time() + 100,
    }
    Path(folder, "lease.json").write_text(json.dumps({**held, **fields}))


def dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def refused(store: Store, folder: str) -> str:
    with pytest.raises(LeaseHeldError) as caught:
        Lease(store, folder).acquire()
    return str(caught.value)


def test_a_lease_that_is_held_is_refused(store: Store, folder: str, lease: Lease) -> None:
    text = refused(store, folder)
    assert f"process {os.getpid()} on {socket.gethostname()}" in text
    assert "run.name" in text
    lease.check()


def test_another_machines_process_cannot_be_looked_at(store: Store, folder: str) -> None:
    hold(folder, host="elsewhere", pid=dead_process())
    assert "on elsewhere" in refused(store, folder)


@pytest.mark.parametrize("gone", ["expired", "expired elsewhere", "dead"])
def test_a_lease_is_taken_over(store: Store, folder: str, gone: str) -> None:
    if gone == "dead":
        hold(folder, pid=dead_process())
    else:
        host = "elsewhere" if gone == "expired elsewhere" else socket.gethostname()
        hold(folder, host=host, expires=time.time() - 1)
    lease = Lease(store, folder)
    lease.acquire()
    assert holder(folder)["pid"] == os.getpid()
    assert holder(folder)["expires"] > time.time()
    lease.check()
    lease.release()


def test_release_leaves_the_run_free(store: Store, folder: str) -> None:
    for _ in range(2):
        lease = Lease(store, folder)
        lease.acquire()
        lease.release()
        assert not Path(folder, "lease.json").exists()


def test_a_lease_is_renewed(store: Store, folder: str) -> None:
    lease = Lease(store, folder, seconds=0.6)
    lease.acquire()
    first = holder(folder)["expires"]
    deadline = time.monotonic() + 10
    while holder(folder)["expires"] <= first:
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
    hold(folder, expires=time.time() - 1)
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
    hold(folder, expires=time.time() - 1)
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
    monkeypatch.setattr(module.time, "sleep", lambda seconds: hold(folder))
    with pytest.raises(LeaseHeldError, match="at the same moment"):
        Lease(store, folder).acquire()
    assert holder(folder)["owner"] == "somebody"


def test_a_store_that_comes_back_in_time_costs_nothing(store: Store, folder: str) -> None:
    lease = Lease(store, folder, seconds=3)
    write, failed = store.write, threading.Event()

    def fail(path: str, data: bytes) -> None:
        failed.set()
        raise OSError("no store")

    lease.acquire()
    first = holder(folder)["expires"]
    store.write = fail  # type: ignore[method-assign]
    assert failed.wait(10)
    store.write = write  # type: ignore[method-assign]
    deadline = time.monotonic() + 10
    while holder(folder)["expires"] <= first:
        assert time.monotonic() < deadline, "the lease was not renewed"
        time.sleep(0.02)
    lease.check()
    lease.release()


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
