"""IWDA on a real Ray, and what goes on from its models: runs, checkpoints, comparisons, workers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.world import SOURCE, TARGETS, World, artifacts, jsonl
from xlt_ray.commands.compare import compare
from xlt_ray.commands.compare import configure as configure_comparison
from xlt_ray.config.errors import ConfigError
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NEAR, FAR = TARGETS
SOURCE_MODEL = {"source_lr": 4e-3, "source_epochs": 3}
ALIGN = {"name": "iwda", **SOURCE_MODEL, "lr": 1e-3, "epochs": 2, "critic_hidden": 64}
STUDENT = {"name": "kd", "lr": 4e-3, "epochs": 1, "frozen_layers": None}


def values(world: World, store: Path, name: str, method: dict[str, Any]) -> dict[str, Any]:
    found = world.values(store)
    found["method"], found["run"] = method, {"name": name}
    return found


def go(world: World, store: Path, name: str, method: dict[str, Any]) -> dict[str, Any]:
    return run(configure_run(values(world, store, name, method)))


@pytest.fixture(scope="module")
def first(
    ray_cluster: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A finished run of IWDA and its report."""
    store = tmp_path_factory.mktemp("alignment")
    return store, go(world, store, "first", ALIGN)


def learnt(store: Path, name: str) -> dict[str, Any]:
    return json.loads((store / f"runs/{name}/models.json").read_text())


def weights_of(store: Path, name: str, *, every: int = 1) -> dict[str, np.ndarray]:
    """[scores, K] importance weights over the training of each target, where source dev was scored
    after so many steps or a multiple of them."""
    found = {}
    for entry in jsonl(store / f"runs/{name}/ledger.jsonl"):
        if entry["kind"] == "model" and entry["title"] in TARGETS:
            folder = store / "artifacts/model" / entry["fingerprint"]
            info = json.loads((folder / "manifest.json").read_text())["info"]
            scored = [item for item in info["history"] if item["step"] % every == 0]
            found[entry["title"]] = np.array([item["own"]["w"] for item in scored])
            assert entry["info"]["own"]["w"] == info["history"][-1]["own"]["w"]
    return found


def test_every_target_gets_a_model_and_weights_of_its_own(first) -> None:
    store, report = first
    models = learnt(store, "first")["by_language"]
    assert set(models) == {NEAR, FAR}
    assert report["final"][FAR] != report["zero_shot"][FAR]
    w = weights_of(store, "first")
    for target in TARGETS:
        own = load_file(store / models[target]["folder"] / "objective.safetensors")
        np.testing.assert_array_equal(own["w"], w[target][-1])
        assert (w[target] >= 0).all()
        assert own["critic.first.weight"].shape[0] == ALIGN["critic_hidden"]
    assert np.abs(w[NEAR] - w[FAR]).max() > 1e-3


@pytest.mark.long
@pytest.mark.parametrize("method", [STUDENT, {"name": "st", "lr": 1e-3, "iterations": 1}])
def test_methods_go_on_from_a_run(first, world: World, method: dict[str, Any]) -> None:
    """Each target from the model that the run has for it."""
    store, report = first
    name = f"{method['name']}-on-top"
    found = go(world, store, name, {**method, "start_from": "first"})
    assert found["zero_shot"] == report["zero_shot"], "what the first run began with"
    for target in TARGETS:
        before, after = (learnt(store, run)["by_language"] for run in ("first", name))
        assert before[target]["fingerprint"] != after[target]["fingerprint"]
    assert not [step for step in found["steps"] if step["title"] == "source"], "no source model"


@pytest.mark.long
def test_methods_go_on_from_a_folder(first, world: World, tmp_path: Path) -> None:
    """An ordinary checkpoint, as a run exports it, is a model for every target."""
    store, report = first
    models = learnt(store, "first")["by_language"]
    folder = shutil.copytree(store / models[NEAR]["folder"], tmp_path / "mine")
    found = go(world, store, "folder", {**STUDENT, "start_from": str(folder)})
    assert found["zero_shot"][NEAR] == report["final"][NEAR], "nothing else is known of it"
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    with pytest.raises(ConfigError, match=r"start_from: '.*mine' has another tokenizer"):
        go(world, store, "other", {**STUDENT, "start_from": str(folder)})


def test_a_start_has_to_be_there_and_to_fit(first, world: World) -> None:
    store, _ = first
    with pytest.raises(ConfigError, match="'second' is no finished run of the store, no folder"):
        go(world, store, "wrong", {**STUDENT, "start_from": "second"})
    other = values(world, store, "wrong", {**STUDENT, "start_from": "first"})
    other["benchmark"] = {"name": "toy_rating", "source": [SOURCE], "targets": [NEAR],
                          "max_rows": {"train": 40, "dev": 20, "test": 20}}  # fmt: skip
    with pytest.raises(ConfigError, match=r"has the classes \['O', 'B-PER'.*needed: \['1', '2'"):
        run(configure_run(other))


@pytest.mark.long
def test_a_start_has_a_model_for_every_target(first, world: World) -> None:
    store, _ = first
    one = values(world, store, "one", {**ALIGN, "epochs": 1})
    one["benchmark"] |= {"targets": [NEAR]}
    run(configure_run(one))
    with pytest.raises(ConfigError, match=f"that run has no model for '{FAR}', there are {NEAR}"):
        go(world, store, "again", {**STUDENT, "start_from": "one"})


@pytest.mark.long
def test_a_model_that_was_removed_is_missed(first, world: World, tmp_path: Path) -> None:
    store = shutil.copytree(first[0], tmp_path / "store")
    models = learnt(store, "first")["by_language"]
    shutil.rmtree(store / models[FAR]["folder"])
    with pytest.raises(ConfigError, match="of run 'first' is not in the store any more; run it"):
        go(world, store, "again", {**STUDENT, "start_from": "first"})


@pytest.mark.long
def test_rows_of_a_comparison_go_on_from_earlier_ones(first, world: World) -> None:
    store, report = first
    base = values(world, store, "table", {})
    del base["method"]
    base["compare"] = {
        "seeds": [0],
        "shared": {**SOURCE_MODEL, "epochs": ALIGN["epochs"], "lr": ALIGN["lr"]},
        "methods": {
            "iwda": {"critic_hidden": 64},
            "iwda + kd": {**STUDENT, "start_from": "iwda"},
            "iwda (oracle)": {"name": "iwda_oracle", "critic_hidden": 64},
        },
    }
    found = compare(configure_comparison(base))
    rows = {row["title"]: row["trials"][0]["report"] for row in found["rows"]}
    assert rows["iwda"]["final"] == report["final"]
    assert rows["iwda + kd"]["zero_shot"] == report["zero_shot"]
    with pytest.raises(ConfigError, match="run 'table-iwda-oracle-s0' is an upper bound, which kn"):
        go(world, store, "again", {**STUDENT, "start_from": "table-iwda-oracle-s0"})
    w = weights_of(store, "table-iwda-oracle-s0")[FAR]
    assert (w[0] == w[-1]).all(), "known weights do not move"


@pytest.mark.long
def test_labels_of_targets_are_never_used(ray_cluster: str, world: World, tmp_path: Path) -> None:
    kept = []
    for noisy in (False, True):
        store = tmp_path / str(noisy)
        for name, method in (("a", ALIGN), ("b", {**STUDENT, "start_from": "a"})):
            config = world.values(store, noisy=noisy)
            config["method"], config["run"] = method, {"name": name}
            run(configure_run(config))
        read = ("backbone", "tokens", "model", "annotation", "derived")
        kept.append({key: sums for key, sums in artifacts(store).items() if key[0] in read})
    assert kept[0] == kept[1]
    config = world.values(tmp_path / "True", noisy=True)
    config["method"] = {**ALIGN, "name": "iwda_oracle"}
    with pytest.raises(Exception, match="no tag"):
        run(configure_run(config))


TOLERANCE = 0.02
"""Total variation at most of the target priors that the weights of one and two workers imply."""


@pytest.mark.long
def test_two_workers_go_the_way_of_one(first, world: World, tmp_path: Path) -> None:
    """The statistics are those of the global batch; which rows share one, and dropout, differ."""
    start = learnt(first[0], "first")["zero_shot"]["final"]["folder"]
    moving = {"lr_iw": 1e-2, "epochs": 6, "stats_rate": 0.02, "critic_hidden": 64}
    moving |= {"lr": 2e-4, "batch_size": 16}
    method = {"name": "iwda", **moving, "start_from": str(first[0] / start)}
    w = []
    for workers in (0, 2):
        config = values(world, tmp_path / str(workers), "run", method)
        config["benchmark"] |= {"targets": [FAR], "unlabelled_split": "train"}
        config["resources"] |= {"train_workers": workers}
        config["train"] |= {"eval_every": 10}
        run(configure_run(config))
        w.append(weights_of(tmp_path / str(workers), "run", every=10)[FAR])
    one, two = w
    assert one.shape == two.shape
    assert len(one) >= 8
    entries = jsonl(tmp_path / "2/runs/run/ledger.jsonl")
    (prior,) = [x["info"]["prior"] for x in entries if x["title"] == f"{FAR} initial weights"]
    assert (0.5 * np.abs(one - two) @ np.array(prior)).max() < TOLERANCE
    assert np.abs(one[-1] - one[0]).max() > 0.1, "they have gone some way"
