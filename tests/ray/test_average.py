"""The mean of large models: a process beside the driver takes it, with the same bytes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from xlt_ray.engine import driver_node
from xlt_ray.engine.average import MeanTask, run_mean, write_mean
from xlt_ray.engine.same_code import guarded
from xlt_ray.store.artifacts import Artifact, Store

pytestmark = [pytest.mark.ray]


def model(store: Store, name: str, seed: int) -> Artifact:
    generator, place = torch.Generator().manual_seed(seed), Path(store.root) / name
    attempt = store.attempt("model", name)
    save_file({"weight": torch.randn(64, 32, generator=generator)}, place)
    attempt.write("model.safetensors", place.read_bytes())
    attempt.write("config.json", b"{}")
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


def mean(store: Store, models: tuple[Artifact, ...], name: str) -> Artifact:
    task = MeanTask(models=models).into(store.attempt("mean", name))
    return store.commit(task.out, {"info": run_mean(task), "seconds": 0.0})


def test_the_mean_of_large_models_is_that_of_small_ones(
    ray_cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    models = tuple(model(store, f"m{seed}", seed) for seed in range(3))
    here = mean(store, models, "here")

    asked = list[Any]()
    monkeypatch.setattr(driver_node, "SMALL", 0)
    monkeypatch.setattr(driver_node, "guarded", lambda work: (asked.append(work), guarded(work))[1])
    there = mean(store, models, "there")
    assert asked == [write_mean], "of another process"
    assert there.names == here.names == ["config.json", "model.safetensors"]
    assert there.digest == here.digest
    assert there.info == here.info == {"models": 3, "tensors": 1}
