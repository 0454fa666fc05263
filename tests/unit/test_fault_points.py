"""The points of a commit: each is known, none is left out, and nobody listens in a run."""

import ast
from pathlib import Path
from typing import get_args

import pytest

from xlt_ray.store import fault_points as module
from xlt_ray.store.artifacts import Store
from xlt_ray.store.fault_points import LISTENERS, LOCAL_POINTS, POINTS, Point, reached
from xlt_ray.store.run_folder import RunFolder

PACKAGE = Path(module.__file__).parents[1]


@pytest.mark.slow
def test_every_point_is_described_and_reached_somewhere() -> None:
    called = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "reached":
                (name,) = node.args
                assert isinstance(name, ast.Constant)
                called.add(name.value)
    assert called == set(POINTS) == set(get_args(Point))
    assert set(POINTS) > LOCAL_POINTS
    assert len(set(POINTS.values())) == len(POINTS)


def test_nobody_listens_in_a_run() -> None:
    assert LISTENERS == []
    reached("commit.begun")


def test_a_commit_comes_by_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(module, "LISTENERS", [seen.append])
    store = Store(str(tmp_path / "store"))
    attempt = store.attempt("kind", "f1")
    attempt.write("a", b"1")
    store.commit(attempt, {"info": {}, "seconds": 0.0})
    file = ["file.begun", "file.written", "file.kept"]
    assert seen == [
        "attempt.opened", *file, "commit.begun", *file, "commit.described", "commit.done",
    ]  # fmt: skip
    seen.clear()
    RunFolder(store, "run").publish("model", {"a": tmp_path / "store/artifacts/kind/f1/a"})
    assert seen == ["model.copied", "model.removed"]
