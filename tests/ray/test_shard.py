"""Training whose weights are cut up over two workers, beside two workers with whole ones."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.world import World
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def config(
    world: World, store: Path, *, shard: bool, seconds: float = 1e9, workers: int = 2
) -> RunConfig[Any]:
    """Source training in steps of several forward passes, of which workers need more or fewer."""
    values = world.values(store)
    values["method"] = {"name": "bl_direct", "source_lr": 4e-3, "source_epochs": 2}
    values["resources"]["train_workers"] = workers
    values["train"] |= {"max_tokens": 96, "eval_every": 5, "shard": shard}
    values["train"]["checkpoint_seconds"] = seconds
    return configure_run(values)


def trained(store: Path) -> tuple[dict[str, Any], Path]:
    """What the manifest of the one model of a store says, and its file of weights."""
    (manifest,) = store.glob("artifacts/model/*/manifest.json")
    return json.loads(manifest.read_text())["info"], manifest.parent / "model.safetensors"


@contextmanager
def killing(store: Path) -> Iterator[list[int]]:
    """Ends a training worker once there is a checkpoint after 20 steps; gives the step's number."""
    killed, over = list[int](), Event()

    def kill() -> None:
        while not (killed or over.is_set()):
            done = [int(path.parent.name[5:]) for path in store.glob("work/*/*/complete.json")]
            if max(done, default=0) >= 20:
                mine = psutil.Process().children(recursive=True)
                (worker, *_) = [p for p in mine if p.name().startswith("ray::RayTrain")]
                worker.kill()
                killed.append(max(done))
            time.sleep(0.01)

    thread = Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def stores(
    ray_cluster: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> dict[bool, Path]:
    """Stores of BL-Direct, by whether weights were cut up; then a worker is killed on the way."""
    found = {shard: tmp_path_factory.mktemp("shard") for shard in (False, True)}
    run(config(world, found[False], shard=False))
    with killing(found[True]) as killed:
        run(config(world, found[True], shard=True, seconds=0.1))
    assert 20 <= killed[0] < trained(found[True])[0]["steps"]
    return found


@pytest.mark.long
def test_losses_are_those_of_whole_weights(stores: dict[bool, Path]) -> None:
    whole, parts = (trained(stores[shard])[0] for shard in (False, True))
    assert whole["steps"] == parts["steps"] >= 50
    losses = [[entry["loss"] for entry in info["history"]] for info in (whole, parts)]
    assert losses[0][0] > 1.5 * losses[0][-1]
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), rtol=0, atol=1e-4)
    assert whole["chosen"] == parts["chosen"]


@pytest.mark.long
def test_the_saved_model_is_whole(stores: dict[bool, Path]) -> None:
    whole, parts = (load_file(trained(stores[shard])[1]) for shard in (False, True))
    assert {k: v.shape for k, v in whole.items()} == {k: v.shape for k, v in parts.items()}
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=0, atol=1e-3, msg=name)


@pytest.mark.long
def test_a_killed_worker_changes_nothing(
    stores: dict[bool, Path], world: World, tmp_path: Path
) -> None:
    run(config(world, tmp_path, shard=True))
    (undisturbed, weights), (killed, others) = trained(tmp_path), trained(stores[True])
    assert undisturbed["history"] == killed["history"]
    assert weights.read_bytes() == others.read_bytes()


def test_one_worker_has_nothing_to_cut(ray_cluster: str, world: World, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.shard: .*resources.train_workers=2 or more"):
        run(config(world, tmp_path, shard=True, workers=1))
