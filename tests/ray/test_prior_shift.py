"""The studies around IWDA on a real Ray: gain by prior shift, and feature shift by layer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.world import SOURCE, TARGETS, World, jsonl
from xlt_ray.oracle import feature_shift
from xlt_ray.oracle.prior_shift import configure as configure_study
from xlt_ray.oracle.prior_shift import study
from xlt_ray.run.check import configure_run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NEAR, _ = TARGETS
SHORT = {"source_lr": 4e-3, "source_epochs": 1, "lr": 1e-3, "epochs": 1, "critic_hidden": 16}


def values(world: World, store: Path) -> dict[str, Any]:
    found = world.values(store)
    found["benchmark"] = {"name": "toy_rating", "source": [SOURCE], "targets": [NEAR],
                          "unlabelled_split": "train", "metric": "macro_f1",
                          "max_rows": {"train": 200, "dev": 40, "test": 120}}  # fmt: skip
    return found


@pytest.mark.long
def test_a_study_has_a_point_per_run(world: World, tmp_path: Path) -> None:
    asked = values(world, tmp_path)
    del asked["method"]
    asked["run"] = {"name": "study"}
    asked["study"] = {"shares": [[1, 1, 1, 1, 1], [1, 1, 1, 4, 8]], "rows": 60}
    asked["compare"] = {
        "seeds": [0],
        "shared": SHORT,
        "methods": {"none": {"name": "iwda", "weighting": "none"}, "iwda": {}},
    }
    points = study(configure_study(asked))
    assert [(x["subset"], x["row"]) for x in points] == [
        (0, "none"), (0, "iwda"), (1, "none"), (1, "iwda"),
    ]  # fmt: skip
    even, tilted = points[1], points[3]
    assert even["shares"] == (0.2,) * 5
    assert tilted["shares"] == pytest.approx([1 / 15, 1 / 15, 1 / 15, 4 / 15, 8 / 15], abs=0.02)
    assert tilted["tv"] == pytest.approx(
        sum(abs(a - b) for a, b in zip(tilted["source"], tilted["shares"], strict=True)) / 2
    )
    assert points[0]["weights"] == (), "all are 1, nothing is estimated"
    assert len(tilted["weights"]) == 5
    assert even["zero_shot"] != tilted["zero_shot"], "other test rows"
    models = {
        entry["fingerprint"]
        for number in (0, 1)
        for entry in jsonl(tmp_path / f"runs/study-{number}-iwda-s0/ledger.jsonl")
        if entry["title"] == "source"
    }
    assert len(models) == 1, "all subsets have one source"
    folder = tmp_path / "runs/study"
    assert json.loads((folder / "shift.json").read_text()) == json.loads(json.dumps(points))
    for name in ("shift.md", "figure-shift.svg", "figure-shift.png", "config.json"):
        assert (folder / name).stat().st_size > 0


@pytest.mark.long
def test_feature_shift_has_a_number_for_each_layer(world: World, tmp_path: Path) -> None:
    asked = values(world, tmp_path)
    asked["method"] = {"name": "iwda", **SHORT}
    found = feature_shift.find(configure_run(asked))
    start, end = found["records"]
    assert (start["model"], end["model"]) == ("start", "end")
    assert len(start["shift"]) == len(end["shift"]) == 2, "embeddings and one layer"
    assert start["shift"] != end["shift"]
    assert start["shift"][0] == 0, "the first token of a text has one embedding"
    assert start["shift"][1] > 0
    page = (tmp_path / "runs/test/shift.md").read_text()
    assert f"| {NEAR} | start |" in page
    assert (tmp_path / "runs/test/figure-feature-shift.svg").stat().st_size > 0
