"""What a store keeps for its runs, and what it can do without, on a disk and on object storage."""

import json
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tests.encoders import commit
from tests.s3 import S3
from xlt_ray.engine.deaths import Deaths
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.run import inventory as shelf
from xlt_ray.store.artifacts import Store

ROWS = {"rows": pa.table({"id": ["1"]})}
DAY = 86400.0


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "store"))
    server: S3 = request.getfixturevalue("s3")
    return Store(server.root())


def note(store: Store, run: str, *steps: tuple[str, str, str]) -> None:
    """The history of a run: event, kind and fingerprint of its steps; "done" ends it."""
    lines = [
        {"event": x, "kind": kind, "fingerprint": name, "time": 1.0} for x, kind, name in steps
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    store.write(f"{store.run_folder(run)}/events.jsonl", data)


def ledger(store: Store, run: str, *steps: tuple[str, str]) -> None:
    entry = {"step": 1, "title": "t", "seconds": 0.0, "cached": False, "info": {}}
    lines = [json.dumps({**entry, "kind": x, "fingerprint": name}) + "\n" for x, name in steps]
    store.write(f"{store.run_folder(run)}/ledger.jsonl", "".join(lines).encode())


def loose(store: Store, *, older: float = 0.0) -> set[str]:
    """Folders that can go, below the root, without the names of attempts."""
    found = [item.path[len(store.base) + 1 :] for item in shelf.unused(store, older=older)]
    return {path.partition(".tmp-")[0].partition("/attempt-")[0] for path in found}


def checkpoint(store: Store, name: str) -> None:
    Checkpoints(store.root, name).complete(3, {"epoch": 1})


def test_finished_shards_of_a_stopped_run_stay(store: Store) -> None:
    """The same command takes them over. Those that no run has begun go."""
    for name in ("begun", "nobodys"):
        store.attempt("annotation", name).write_table("p0.parquet", ROWS["rows"])
    note(store, "stopped", ("started", "annotation", "begun"))
    assert loose(store) == {"artifacts/annotation/nobodys"}


def test_attempts_beside_an_artifact_that_is_used_go(store: Store) -> None:
    store.attempt("annotation", "used").write_table("p0.parquet", ROWS["rows"])
    artifact = commit(store, "annotation", "used", ROWS)
    ledger(store, "done", ("annotation", "used"))
    note(store, "done", ("done", "", ""))
    (item,) = shelf.unused(store, older=0.0)
    assert item.path != f"{store.base}/{artifact.folder}"
    assert "used" in item.path
    shelf.delete(store, item)
    assert shelf.unused(store, older=0.0) == []
    assert artifact.verify() == []
    assert store.find("annotation", "used") == artifact


def test_checkpoints_go_with_their_step(store: Store) -> None:
    """Of a step that a stopped run is at they stay; of one that is done, or nobody's, they go."""
    for name in ("begun", "done", "nobodys"):
        checkpoint(store, name)
    commit(store, "model", "done", ROWS)
    note(store, "stopped", ("started", "model", "begun"), ("finished", "model", "done"))
    assert loose(store) == {"work/done", "work/nobodys"}
    for item in shelf.unused(store, older=0.0):
        shelf.delete(store, item)
    assert Checkpoints(store.root, "begun").steps() == [3]
    assert Checkpoints(store.root, "done").steps() == []


@pytest.mark.parametrize("kind", ["annotation", "translation"])
def test_verdicts_on_rows_go_with_their_step(store: Store, kind: str) -> None:
    for name in ("begun", "done"):
        Deaths(store.root, name).killed("p0.parquet", 0, 1, 1)
    commit(store, kind, "done", ROWS)
    note(store, "stopped", ("started", kind, "begun"), ("finished", kind, "done"))
    assert loose(store) == {"work/done"}


def test_what_was_set_aside_goes(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    artifact = commit(store, "model", "used", ROWS)
    (Path(artifact.local()) / "manifest.json").unlink()
    commit(store, "model", "used", ROWS)
    ledger(store, "done", ("model", "used"))
    (item,) = shelf.unused(store, older=0.0)
    assert "used.aside-" in item.path


@pytest.mark.parametrize("skew", [-2 * DAY, 2 * DAY])
def test_age_is_by_the_clock_of_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch, skew: float
) -> None:
    """The clock of the machine that looks is two days off."""
    commit(store, "annotation", "young", ROWS)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + skew)
    assert loose(store, older=DAY) == set()
    assert loose(store) == {"artifacts/annotation/young"}


def test_looking_leaves_nothing_behind(store: Store) -> None:
    commit(store, "annotation", "young", ROWS)
    shelf.unused(store, older=0.0)
    assert [info.base_name for info in shelf._folders(store, "")] == ["artifacts"]
    assert not [x for x in store.fs.get_file_info(shelf.pafs.FileSelector(store.base)) if x.is_file]


def test_who_may_only_look_sees_what_could_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's clock is read off a file that is written; without the right to, this machine's is
    taken, and nothing could be removed anyway."""
    store = Store(str(tmp_path / "store"))
    commit(store, "annotation", "young", ROWS)

    def refused(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("xlt_ray.store.artifacts.write_bytes", refused)
    assert loose(store) == {"artifacts/annotation/young"}
    assert loose(store, older=DAY) == set()
