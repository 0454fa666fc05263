"""Whole runs with rules of the loop, without Ray: thresholds, weights, smoothing, curriculum."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.world import TARGETS, World, artifacts, begun_again, computed
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Artifact, Store

pytestmark = [pytest.mark.slow]

OF_GOLD = ("gold", "scores", "text")
ST = {
    "name": "st",
    "source_lr": 4e-3,
    "source_epochs": 4,
    "lr": 1e-3,
    "batch_size": 16,
    "iterations": 2,
    "budget_epochs": None,
}
LOU = {
    "name": "sl_lou",
    "source_lr": 4e-3,
    "source_epochs": 4,
    "round_lr": 1e-3,
    "round_epochs": 1,
    "rounds": 3,
    "final_epochs": 1,
}


def report_of(
    world: World,
    store: Path,
    method: dict[str, Any],
    *,
    noisy: bool = False,
    **more: Any,
) -> dict[str, Any]:
    values = world.values(store, noisy=noisy)
    return run(configure_run({**values, "method": {**method, **more}}))


def found(store: Path, report: dict[str, Any], title: str) -> Artifact:
    (step,) = (step for step in report["steps"] if step["title"] == title)
    artifact = Store(str(store)).find(step["kind"], step["fingerprint"])
    assert artifact is not None
    return artifact


def line(report: dict[str, Any], begin: str) -> dict[str, Any]:
    (told,) = (x for x in report["mechanisms"] if x["part"].startswith(begin))
    return told


def without_gold(report: dict[str, Any]) -> list[tuple[str, str]]:
    return [(x["title"], x["fingerprint"]) for x in report["steps"] if x["kind"] not in OF_GOLD]


def test_freematch_takes_entities_by_moving_thresholds(world: World, tmp_path: Path) -> None:
    """The averages are those of the annotations, which are of the whole pools; noise in place of
    target labels changes no step; and a run that begins again has the same bytes."""
    report = report_of(world, tmp_path / "a", LOU, threshold="freematch")
    tau, shares = dict.fromkeys(TARGETS, 1 / 7), line(report, "threshold freematch")["figures"]
    for number in (1, 2, 3):
        said = found(tmp_path / "a", report, f"round {number} annotation")
        rows = said.table(["language", "confidence", "valid"]).to_pylist()
        picked = found(tmp_path / "a", report, f"round {number} selection").info
        for language in TARGETS:
            own = [x for x in rows if x["language"] == language]
            assert len(own) == 96, "the whole dev split"
            given = [np.array(x["confidence"]) for x in own if x["valid"]]
            means = [np.nanmean(x) for x in given if not np.isnan(x).all()]
            tau[language] = (tau[language] + float(np.mean(means))) / 2
            assert picked["averages"][language]["tau"] == pytest.approx(tau[language], rel=1e-9)
            reached = picked["selected"].get(language, 0) / picked["eligible"][language]
            assert shares[f"{language} {number}"] == pytest.approx(reached)
    assert any(0 < share < 1 for share in shares.values())
    noisy = report_of(world, tmp_path / "b", LOU, noisy=True, threshold="freematch")
    assert without_gold(noisy) == without_gold(report)
    wanted = artifacts(tmp_path / "a")
    titles = begun_again(
        tmp_path / "a", report, tmp_path / "c", lambda step: step["title"] == "round 2 selection"
    )
    assert computed(report_of(world, tmp_path / "c", LOU, threshold="freematch")) == titles
    assert artifacts(tmp_path / "c") == wanted


def test_weights_reach_the_training(world: World, tmp_path: Path) -> None:
    """Beside a threshold that every sentence reaches, with the same rows, labels and schedule."""
    weighed = report_of(world, tmp_path, ST, threshold="softmatch", momentum=0.0)
    every = report_of(world, tmp_path, ST, threshold="fixed", t0=0.15)
    both = [found(tmp_path, x, "iteration 1 selection").table() for x in (weighed, every)]
    assert both[0].select(["id", "labels"]) == both[1].select(["id", "labels"])
    weights = np.array([x[0] for x in both[0]["weight"].to_pylist()])
    assert 0.2 < (weights < 0.99).mean() < 0.8
    assert weights.max() == 1
    folders = [found(tmp_path, x, "iteration 1").local() for x in (weighed, every)]
    models = [load_file(Path(folder) / "model.safetensors") for folder in folders]
    assert any(not np.array_equal(models[0][name], models[1][name]) for name in models[0])
    mean = line(weighed, "SoftMatch")["figures"]
    assert np.mean([mean[f"{x} 1"] for x in TARGETS]) == pytest.approx(weights.mean(), abs=0.01)


def test_smoothed_labels_lower_confidence(world: World, tmp_path: Path) -> None:
    """By a tenth at least; and the default is the run without the key, step by step."""
    options = {"threshold": "softmatch", "iterations": 1}
    reports = [
        report_of(world, tmp_path, ST, **options, label_smoothing=smoothing)
        for smoothing in (0.0, 0.4)
    ]
    sure = []
    for report in reports:
        said = found(tmp_path, report, "iteration 1 annotation").table(["confidence"])
        sure.append(np.mean(said["confidence"].to_pylist()))
    assert sure[1] < sure[0] - 0.1
    plain = report_of(world, tmp_path, ST, **options)
    assert computed(plain) == set()
    assert without_gold(plain) == without_gold(reports[0])


def test_near_languages_come_first_and_none_is_lost(world: World, tmp_path: Path) -> None:
    report = report_of(world, tmp_path / "a", LOU, curriculum="near", ratio=0.2)
    order = found(tmp_path / "a", report, "near languages first").info["order"]
    assert sorted(order) == sorted(TARGETS)
    chosen = [
        set(found(tmp_path / "a", report, f"round {n} selection").info["selected"])
        for n in (1, 2, 3)
    ]
    assert chosen == [{order[0]}, set(order), set(order)]
    figures = line(report, "curriculum")["figures"]
    assert list(figures) == [
        f"round 1 ({order[0]})",
        f"round 2 ({', '.join(order)})",
        f"round 3 ({', '.join(order)})",
    ]
    noisy = report_of(world, tmp_path / "b", LOU, noisy=True, curriculum="near", ratio=0.2)
    assert without_gold(noisy) == without_gold(report)
    listed = report_of(world, tmp_path / "a", LOU, curriculum=order, ratio=0.2)
    again = {step["title"]: step["cached"] for step in listed["steps"]}
    assert again["round 3"], "a list of the same order is the same run"
