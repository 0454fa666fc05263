"""MARAL and its baseline on the embedded benchmark: both learn the source, from one teacher."""

from pathlib import Path
from typing import Any

import pytest

from tests.world import Encoders
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

BASE: dict[str, Any] = {
    "benchmark": {
        "name": "toy", "targets": ["nolu", "teska"], "unlabelled_split": "train",
        "max_rows": {"train": 400, "dev": 150, "test": 300},
    },
    "backbone": "toy",
    "resources": {"train_cpus": 1, "annotators": 0},
}  # fmt: skip
TEACHER = {"source_lr": 1.5e-3, "source_epochs": 6, "batch_size": 16, "q": 32}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, toy_encoders: Encoders) -> Path:
    folder = tmp_path_factory.mktemp("store")
    toy_encoders.take(folder)
    return folder


def report_of(store: Path, title: str, **method: Any) -> dict[str, Any]:
    values = {**BASE, "method": {**TEACHER, **method}, "run": {"name": title}}
    return run(configure_run(values | {"store": {"root": str(store)}}))


@pytest.mark.long
def test_a_span_model_learns_the_source(ray_cluster: str, store: Path) -> None:
    direct = report_of(store, "spans", name="bl_spans")
    assert direct["final"]["mira"]["f1"] > 0.85
    assert direct["final"] == direct["zero_shot"]
    student = {"lr": 1.5e-3, "epochs": 6, "k": 50, "joint": True, "w_mlm": 0}
    maral = report_of(store, "maral", name="maral", **student)
    assert maral["final"]["mira"]["f1"] > 0.85
    assert maral["zero_shot"] == direct["final"], "the teacher is the baseline"
