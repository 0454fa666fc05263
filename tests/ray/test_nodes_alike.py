"""Whoever works for a run sees its store, and has its code and its libraries."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayError

from tests.nodes import Cluster
from tests.world import World
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine import same_code as door
from xlt_ray.engine.derive import start_step_actor
from xlt_ray.engine.pool import Pool, over_shards
from xlt_ray.engine.read import map_rows
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Store

pytestmark = pytest.mark.ray
OTHERS = "/proc/self/cwd/xlt-store"
"""A path that is another folder in every process that was started elsewhere."""


class Nothing:
    """An actor that does nothing."""

    def __init__(self, task: Any):
        self.task = task

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        return shards


@pytest.fixture
def opened(ray_cluster: str, tmp_path: Path) -> Iterator[door.CodeCheck]:
    store = Store(str(tmp_path / "store"))
    with door.checking(store, store.run_folder("run")) as found:
        yield found


def test_a_store_that_nodes_do_not_share_is_noticed(
    ray_cluster: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="does not see the driver's store"):
        run(world.config(Path(OTHERS), "resources.annotators=1"))
    assert not (tmp_path / "xlt-store/artifacts").exists()
    assert not list((tmp_path / "xlt-store/runs/test").glob("word-*"))


def test_everything_comes_in_by_the_door(
    opened: door.CodeCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks, actors of pools, and the actor of derive steps, on nodes that joined later, too."""
    door.check_nodes()
    pool = Pool(1, 1, 1, 0.0)
    over_shards(Nothing, None, pool, ["a"])
    assert map_rows([{"x": 1}], lambda row: {"y": row["x"]}, 1e9) == [{"y": 1}]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"word": "another", "place": "none"}, "does not see the driver's store"),
        ({"word": "1", "code": "0"}, "has other code of xlt_ray"),
        ({"word": "2", "versions": {**opened.versions, "torch": "1.0"}}, "has torch .*driver 1.0"),
    ]
    for changed, said in cases:
        other = replace(opened, patience=0.2, **changed)
        if changed["word"] in "12":
            (Path(opened.root) / other.place).write_text(changed["word"])
        monkeypatch.setattr(door._here, "code_check", other)
        monkeypatch.setattr(door._here, "asked", set())
        with pytest.raises(ConfigError, match=said):
            door.check_nodes()
        if said != "has other code of xlt_ray":
            continue
        for work in (
            lambda: over_shards(Nothing, None, pool, ["a"]),
            lambda: map_rows([{"x": 1}], lambda row: {"y": row["x"]}, 1e9),
            lambda: ray.get(start_step_actor().call.remote(door.guarded(done), None)),
        ):
            with pytest.raises(RayError, match=said):
                work()


def done(task: None) -> dict[str, int]:
    return {}


def test_words_of_dead_drivers_go(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    folder = store.run_folder("run")
    (Path(folder) / "word-1").write_text("1")
    with door.checking(store, folder) as found:
        assert [path.name for path in Path(folder).glob("word-*")] == [f"word-{found.word}"]
        found.check()
    assert not list(Path(folder).glob("word-*"))


def test_other_libraries_of_a_node_are_found(opened: door.CodeCheck, tmp_path: Path) -> None:
    """Its processes find another version of transformers first."""
    path = os.pathsep.join([str(other_transformers(tmp_path)), os.environ["PYTHONPATH"]])
    there: Any = ray.remote(runtime_env={"env_vars": {"PYTHONPATH": path}})(door._answer)
    told = ray.get(there.remote(opened))
    assert "has transformers 4.0.0, and the driver 5." in told


def other_transformers(folder: Path) -> Path:
    """A folder of packages with what an old version leaves there."""
    fake = folder / "path/transformers-4.0.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: transformers\nVersion: 4.0.0\n")
    return fake.parent


@pytest.mark.slow
@pytest.mark.long
def test_a_node_with_other_libraries_is_named(world: World, tmp_path: Path) -> None:
    """On a cluster of two nodes, and to whoever calls the command."""
    path = other_transformers(tmp_path)
    cluster = Cluster(cpus=2)
    try:
        before = cluster._path
        cluster._path = os.pathsep.join([str(path), *filter(None, [before])])
        cluster.add_node("other", cpus=1)
        cluster.wait_for_nodes(2)
        values = world.values(tmp_path / "store")
        values["resources"]["address"] = cluster.address
        script = (
            "import sys; from xlt_ray.commands.cli import run_job; "
            f"sys.exit(run_job({values!r}, argv=[]))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    finally:
        cluster.stop()
    assert done.returncode == 2, done.stderr
    assert "has transformers 4.0.0, and the driver 5." in done.stderr
    assert "Traceback" not in done.stderr
