"""The shared loop: CLTP without candidate sets is SL-EVI with CLTP's loss, step by step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import MemoryDriver, ids
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods import METHODS
from xlt_ray.methods.shared.softmax import SoftmaxAnnotator
from xlt_ray.methods.sl_evi import EvidentialAnnotator, EvidentialLoss
from xlt_ray.methods.sl_leu import NoisyAnnotator, NoisyCrossEntropy
from xlt_ray.methods.sl_lou import ScaledCrossEntropy
from xlt_ray.recipe.method import Method
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.store.fingerprint import parameters


def method(name: str, **options: Any) -> Method:
    kind = METHODS[name]
    return kind(kind.Config.model_validate({"rounds": 3, "ratio": 0.1, **options}))


def steps(driver: MemoryDriver) -> list[dict[str, Any]]:
    """Everything a fingerprint would be made of."""
    return [
        {
            "verb": call.verb,
            "title": call.title,
            "objective": call.objective and parameters(call.objective),
            "annotator": call.annotator and parameters(call.annotator),
            "schedule": call.schedule,
            "start": call.start and call.start.artifact.fingerprint,
            "parts": [part.describe() for part in call.parts],
            "pool": call.pool,
            "parameters": call.parameters,
        }
        for call in driver.calls
    ]


@pytest.mark.parametrize("task", ["token", "pair"])
def test_cltp_without_sets_is_the_one_hot_loop(tmp_path: Path, task: Any) -> None:
    one, other = MemoryDriver(tmp_path / "a", task=task), MemoryDriver(tmp_path / "b", task=task)
    method("cltp", label="one_hot").run(one)
    method("sl_evi", evi_loss="digamma").run(other)
    assert steps(one) == steps(other)
    assert one.titles("train") == ["source", "round 1", "round 2", "round 3", "final"]


OBJECTIVES = {
    "sl_evi": (EvidentialLoss("squared"), EvidentialAnnotator("dissonance", 1e-3)),
    "sl_leu": (NoisyCrossEntropy(7), NoisyAnnotator(7, "entropy", seed_of(3, "annotator", 1))),
    "sl_lou": (ScaledCrossEntropy(), SoftmaxAnnotator("entropy")),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["token", "sentence", "pair"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_each_baseline_has_its_loss_and_ranking_in_every_stage(
    tmp_path: Path, name: str, task: Any
) -> None:
    driver = MemoryDriver(tmp_path, task=task)
    options = {"samples": 7} if name == "sl_leu" else {}
    outcome = method(name, **options).run(driver)
    objective, annotator = OBJECTIVES[name]
    assert [call.objective for call in driver.calls if call.verb == "train"] == [objective] * 5
    assert driver.call("annotate", "round 1").annotator == annotator
    assert [item.number for item in outcome.rounds] == [1, 2, 3]
    for item in outcome.rounds:
        assert set(item.set_sizes) == {"1"}
        assert ids(item.picked) == ids(
            driver.call("derive", f"round {item.number} selection").result
        )


def test_noise_of_the_annotators_changes_from_round_to_round(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    method("sl_leu").run(driver)
    seeds = [getattr(call.annotator, "seed", None) for call in driver.calls if call.annotator]
    assert len(set(seeds)) == 3
    assert seeds == [seed_of(driver.seed, "annotator", number) for number in (1, 2, 3)]


@pytest.mark.parametrize("name", ["sl_evi", "sl_leu", "sl_lou", "cltp"])
def test_texts_are_selected_per_predicted_class(tmp_path: Path, name: str) -> None:
    """A tenth of 20 and of 30 texts: 2 and 3 of every class that has as many."""
    driver = MemoryDriver(tmp_path, task="pair")
    method(name, rounds=1).run(driver)
    picked = driver.call("derive", "round 1 selection").result
    assert picked is not None
    table = picked.table(["language", "labels"])
    for language, quota in (("a", 2), ("b", 3)):
        rows = [r["labels"][0] for r in table.to_pylist() if r["language"] == language]
        counts = np.bincount(rows, minlength=4)
        assert (counts <= quota).all()
        assert (counts == quota).any()


def test_without_a_final_pass_the_best_round_is_the_result(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path, scores=[0.9, 0.5, 0.7, 0.6])
    outcome = method("sl_lou", final_epochs=0).run(driver)
    assert outcome.final.artifact == driver.call("train", "round 2").result
    assert driver.titles("train") == ["source", "round 1", "round 2", "round 3"]


def test_defaults_of_the_baselines() -> None:
    """baselines.md: 4 rounds, 8% per class, 3 epochs, lr 2e-5, as many earlier rows as new ones."""
    for name in ("sl_evi", "sl_leu", "sl_lou"):
        values = METHODS[name].Config.model_validate({}).model_dump()
        wanted = {"rounds": 4, "ratio": 0.08, "src_ratio": 0.6, "prev_ratio": 1.0,
                  "round_lr": 2e-5, "round_epochs": 3, "source_lr": 2e-5}  # fmt: skip
        assert {key: values[key] for key in wanted} == wanted


def test_schedules_of_a_baseline(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    method("sl_evi", source_epochs=7, round_epochs=2, final_epochs=5).run(driver)
    found = [call.schedule for call in driver.calls if call.verb == "train"]
    assert found[0] == Schedule(2e-5, 7)
    assert found[1:4] == [Schedule(2e-5, 2, keep="last")] * 3
    assert found[4] == Schedule(2e-5, 5, patience=1)


def test_every_method_is_registered_under_its_name() -> None:
    for name, kind in METHODS.items():
        assert kind.Config.model_validate({}).name == name
        assert all(isinstance(x, type) for x in (kind, kind.Config))
    assert issubclass(NoisyCrossEntropy, Objective)
