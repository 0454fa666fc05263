"""Several sources on a real Ray: what is shared, trainings at once, and training in parts."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.world import SOURCE, TARGETS, World, artifacts, jsonl
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.ops.confusion import tau_of
from xlt_ray.recipe.corpus import Mix, Model
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.session import open_run, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NEAR, FAR = TARGETS
EM = {
    "name": "lvm", "source_lr": 4e-3, "source_epochs": 2,
    "lr": 2e-3, "matrix_lr": 1e-2, "epochs": 2, "tol": 0.0,
}  # fmt: skip


def values(world: World, store: Path, name: str, **benchmark: Any) -> dict[str, Any]:
    found = world.values(store)
    found["benchmark"] |= {"source": [SOURCE, NEAR], "targets": [FAR], **benchmark}
    found["method"], found["run"] = EM, {"name": name}
    found["resources"] = {"annotators": 0, "train_workers": 0, "train_cpus": 1, "num_cpus": 2}
    return found


@pytest.fixture(scope="module")
def first(
    ray_cluster: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict]:
    """A finished run of LVM and its report."""
    store = tmp_path_factory.mktemp("sources")
    return store, run(configure_run(values(world, store, "first")))


def titles(store: Path, name: str, *, computed: bool = False) -> list[str]:
    ledger = jsonl(store / f"runs/{name}/ledger.jsonl")
    return [entry["title"] for entry in ledger if not (computed and entry["cached"])]


def learnt(store: Path, name: str) -> dict[str, Path]:
    """Folder of the model of each target."""
    found = json.loads((store / f"runs/{name}/models.json").read_text())["by_language"]
    return {language: store / entry["folder"] for language, entry in found.items()}


def test_a_run_is_source_models_and_then_em(first) -> None:
    store, report = first
    models = [step["title"] for step in report["steps"] if step["kind"] == "model"]
    expected = [f"source {SOURCE}", f"source {NEAR}", f"{FAR} start"]
    assert models == [*expected, f"{FAR} M-step 1", f"{FAR} M-step 2"]
    likelihoods = [
        entry["info"]["J"]
        for entry in jsonl(store / "runs/first/ledger.jsonl")
        if entry["title"].endswith("likelihood")
    ]
    assert likelihoods[1] < likelihoods[0]
    assert set(report["final"]) == {SOURCE, NEAR, FAR}
    assert report["final"][FAR]["f1"] != report["zero_shot"][FAR]["f1"]
    folders = learnt(store, "first")
    assert list(folders) == [FAR]
    own = load_file(folders[FAR] / "objective.safetensors")
    assert own["lam"] == 0.0
    assert own["raw"].shape == (2, 7, 7)
    assert not (folders[FAR] / "optimiser.safetensors").exists()


def test_the_optimiser_is_kept_between_parts_alone(first) -> None:
    store, report = first
    steps = {step["title"]: step["fingerprint"] for step in report["steps"]}
    kept = {
        title: (store / f"artifacts/model/{steps[title]}/optimiser.safetensors").exists()
        for title in (f"source {NEAR}", f"{FAR} start", f"{FAR} M-step 1", f"{FAR} M-step 2")
    }
    assert list(kept.values()) == [False, False, True, False]


def test_leaving_one_out_shares_source_models(first, world: World) -> None:
    store, _ = first
    everything = {"targets": [SOURCE, NEAR, FAR], "leave_one_out": True}
    report = run(configure_run(values(world, store, "each", **everything)))
    again = titles(store, "each", computed=True)
    assert not [title for title in again if title.startswith("source ") and "dev" not in title]
    folders = learnt(store, "each")
    assert list(folders) == [SOURCE, NEAR, FAR]
    own = load_file(folders[SOURCE] / "objective.safetensors")
    assert own["raw"].shape == (1, 7, 7), "the only other source teaches it"
    assert report["zero_shot"][SOURCE] != report["zero_shot"][NEAR]


@pytest.mark.long
def test_source_models_are_trained_at_once_if_there_is_room(
    first, world: World, tmp_path: Path
) -> None:
    store, report = first
    config = values(world, tmp_path, "first")
    config["resources"] |= {"train_workers": 1}
    at_once = run(configure_run(config))
    plan = next(x for x in jsonl(tmp_path / "runs/first/events.jsonl") if x["event"] == "session")
    assert plan["resources"]["trainings"] == 4
    begun = [x["title"] for x in jsonl(tmp_path / "runs/first/events.jsonl")
             if x["event"] in ("started", "finished") and x["title"].startswith("source ")
             and x["kind"] == "model"]  # fmt: skip
    assert {*begun[:2]} == {f"source {SOURCE}", f"source {NEAR}"}
    assert len(begun) == 4
    assert artifacts(tmp_path).items() <= artifacts(store).items()
    assert at_once["final"] == report["final"]


@pytest.mark.long
def test_matrices_are_learnt_on_two_workers(first, world: World, tmp_path: Path) -> None:
    config = values(world, tmp_path, "first")
    config["resources"] |= {"train_workers": 2}
    run(configure_run(config))
    own = load_file(learnt(tmp_path, "first")[FAR] / "objective.safetensors")
    assert own["lam"] == 0.0
    alone = load_file(learnt(first[0], "first")[FAR] / "objective.safetensors")["raw"]
    begin = tau_of(0.3, 7) * np.eye(7)
    moved = np.abs(alone - begin)
    assert moved.max() > 0.1
    # Other batches, and so another path, but the same way.
    assert np.abs(own["raw"] - alone).mean() < 0.5 * moved.mean()


@pytest.mark.long
def test_dev_text_of_named_sources_chooses(first, world: World) -> None:
    store, report = first
    run(configure_run(values(world, store, "dev", dev=[NEAR])))
    again = titles(store, "dev", computed=True)
    assert f"{FAR} start" in again
    assert f"source {NEAR}" not in again
    with pytest.raises(ConfigError, match=f"benchmark.dev: '{FAR}' is no source, there are"):
        run(configure_run(values(world, store, "wrong", dev=[FAR])))
    assert report["source"] == [SOURCE, NEAR]


def test_the_only_source_cannot_be_left_out(first, world: World) -> None:
    store, _ = first
    config = values(world, store, "alone", source=[SOURCE], targets=[SOURCE], leave_one_out=True)
    with pytest.raises(ConfigError, match=f"{SOURCE} is the only source, and a target too"):
        run(configure_run(config))
    config["method"] = {"name": "cltp"}
    with pytest.raises(ConfigError, match="leave_one_out: cltp trains one model for all targets"):
        configure_run(config)


@pytest.mark.long
def test_labels_of_targets_are_never_used(ray_cluster: str, world: World, tmp_path: Path) -> None:
    kept: list[dict[tuple[str, str], dict[str, str]]] = []
    scores = []
    for name, root in (("clean", world.corpus), ("noisy", world.noisy)):
        options = {"source": [SOURCE], "targets": [NEAR, FAR], "root": str(root)}
        config = values(world, tmp_path / name, "first", **options)
        config["method"] = EM | {"epochs": 1, "predict": "q"}
        scores.append(run(configure_run(config))["final"])
        read = ("backbone", "tokens", "model", "annotation", "derived")
        found = artifacts(tmp_path / name)
        kept.append({key: sums for key, sums in found.items() if key[0] in read})
    assert kept[0] == kept[1]
    assert scores[0] != scores[1]
    assert scores[0][SOURCE] == scores[1][SOURCE]


@contextmanager
def driver_of(world: World, store: Path, **train: Any) -> Iterator[RayDriver]:
    found = values(world, store, "parts", source=[SOURCE])
    config = configure_run(found | {"train": found.get("train", {}) | train})
    with open_run(config) as begun:
        yield RayDriver(config, begun.runner, begun.plan)


def weights(model: Model) -> dict[str, Any]:
    return load_file(model.artifact.local() / "model.safetensors")


def test_training_in_parts_is_the_same_training(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    """Order of the rows, dropout, learning rate and the optimiser's moments all go on."""
    with driver_of(world, tmp_path) as driver:
        mix, loss = Mix(driver.source("train")), CrossEntropy()
        schedule = Schedule(2e-3, 3, keep="last")
        whole = driver.train("whole", mix, loss, start=driver.backbone, schedule=schedule)
        model = driver.backbone
        for before, epochs in ((0, 1), (1, 2)):
            schedule = Schedule(2e-3, epochs, keep="last", part=(before, 3))
            model = driver.train(f"after {before}", mix, loss, start=model, schedule=schedule)
    assert (model.artifact.local() / "model.safetensors").read_bytes() == (
        whole.artifact.local() / "model.safetensors"
    ).read_bytes()
    scores = [[x["source_dev"] for x in item.history] for item in (whole, model)]
    assert scores[0][1:] == scores[1]


def test_no_epochs_give_the_start_with_its_head_and_score(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    with driver_of(world, tmp_path) as driver:
        mix, loss = Mix(driver.source("train")), CrossEntropy()
        begin, frozen = Schedule(2e-3, 0), Schedule(2e-3, 1, frozen_layers=1)
        start = driver.train("start", mix, loss, start=driver.backbone, schedule=begin)
        direct = driver.train("direct", mix, loss, start=driver.backbone, schedule=frozen)
        through = driver.train("through", mix, loss, start=start, schedule=frozen)
        too_many = Schedule(2e-3, 1, frozen_layers=2)
        with pytest.raises(ValueError, match="2 layers cannot be frozen, the encoder has 1"):
            driver.train("too many", mix, loss, start=driver.backbone, schedule=too_many)
    assert [(x["epoch"], x["step"]) for x in start.history] == [(0, 0)]
    one, other, before = weights(direct), weights(through), weights(start)
    assert all((one[name] == other[name]).all() for name in one), "the same head was drawn"
    moved = {name for name in one if (one[name] != before[name]).any()}
    assert moved == {"classifier.weight", "classifier.bias"}, "the one layer is frozen"


def test_embeddings_may_stay_and_the_head_may_be_faster(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    found: list[dict[str, Any]] = []
    for train in ({"freeze_embeddings": True}, {"freeze_embeddings": True, "head_lr_ratio": 9.0}):
        with driver_of(world, tmp_path, **train) as driver:
            gold, loss = Mix(driver.source("train")), CrossEntropy()
            for epochs in (0, 1):
                schedule = Schedule(2e-3, epochs, keep="last")
                model = driver.train("x", gold, loss, start=driver.backbone, schedule=schedule)
                found.append(weights(model))
    before, once, again, faster = found
    moved = {name for name in once if (once[name] != before[name]).any()}
    assert not any("embeddings" in name for name in moved)
    assert any("encoder.layer.0" in name for name in moved)
    assert all((again[name] == before[name]).all() for name in before)
    head = "classifier.weight"
    assert abs(faster[head] - before[head]).mean() > 3 * abs(once[head] - before[head]).mean()


def test_a_training_that_diverges_is_an_error_and_no_model(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    with driver_of(world, tmp_path) as driver:
        gold = Mix(driver.source("train"))
        for schedule in (Schedule(1e30, 2, keep="last"), Schedule(1e38, 0, keep="last", steps=1)):
            with pytest.raises(ValueError, match=r"diverged"):
                driver.train("x", gold, CrossEntropy(), start=driver.backbone, schedule=schedule)
    models = {entry["title"] for entry in jsonl(tmp_path / "runs/parts/ledger.jsonl")}
    assert "x" not in models


def test_nothing_to_train_on_is_an_error(ray_cluster: str, world: World, tmp_path: Path) -> None:
    """And nothing to choose by: the model would be the start, and nobody would know."""
    with driver_of(world, tmp_path) as driver:
        gold, dev, loss = driver.source("train"), driver.dev(), CrossEntropy()
        none, schedule = gold.sample(1e-6, seed=0), Schedule(2e-3, 1)
        with pytest.raises(ValueError, match="the training set is empty"):
            driver.train("none", Mix(none), loss, start=driver.backbone, schedule=schedule)
        dev = dev.sample(1e-6, seed=0)
        with pytest.raises(ValueError, match="the source dev set is empty"):
            driver.train(
                "no dev", Mix(gold), loss, start=driver.backbone, schedule=schedule, dev=dev
            )
