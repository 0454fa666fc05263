"""Training on one and on two workers of Ray Train."""

from pathlib import Path

import pytest

from tests.world import SOURCE, World, artifacts, begun_again, computed
from xlt_ray.config.schema import RunConfig
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def config(world: World, store: Path, workers: int) -> RunConfig:
    """Source training, one round with sets, a final pass; several forward passes per step."""
    return world.config(
        store,
        "method.rounds=1",
        "method.one_hot_rounds=0",
        "train.max_tokens=96",
        "train.eval_every=30",
        f"resources.train_workers={workers}",
    )


@pytest.fixture(scope="module")
def in_process(ray_cluster: str, world: World, tmp_path_factory: pytest.TempPathFactory):
    """Training in the driver's process."""
    store = tmp_path_factory.mktemp("in-process")
    return store, run(config(world, store, 0))


@pytest.mark.parametrize("training", [pytest.param("source", marks=pytest.mark.long), "round 1"])
def test_one_worker_equals_the_driver_process(
    in_process, world: World, tmp_path: Path, training: str
):
    """From the encoder on gold labels; and from a model on sets, which has all that this has."""
    store, report = in_process
    titles = begun_again(store, report, tmp_path, lambda step: step["title"] == training)
    assert computed(run(config(world, tmp_path, 1))) == titles
    assert artifacts(tmp_path) == artifacts(store)


@pytest.mark.long
def test_two_workers_converge_too(in_process, world: World, tmp_path: Path):
    store, report = in_process
    two = run(config(world, tmp_path, 2))
    models = [key for key in artifacts(tmp_path) if key[0] == "model"]
    assert len(models) == 3
    assert not set(models) & set(artifacts(store))
    assert two["zero_shot"][SOURCE]["f1"] > 0.6 * report["zero_shot"][SOURCE]["f1"] > 0.2
    assert sum(two["rounds"][0]["selected"].values()) > 0
