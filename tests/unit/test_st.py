"""ST of Dong and de Melo: what it takes, and when it ends."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.recipes import FACTS, MemoryDriver, ids, output_of
from xlt_ray.methods.shared.confidence import ConfidenceAnnotator
from xlt_ray.methods.st import ST, STConfig, is_dropping
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext

PAIRS = TaskContext(FACTS.labels, ("a", "b"), task="pair")


def run(driver: MemoryDriver, **options: Any) -> Outcome:
    values = {"share": 0.2, "iterations": 3, "budget_epochs": None, **options}
    return ST(STConfig.model_validate(values)).run(driver)


def test_confidence_of_sentences_and_texts() -> None:
    logits = torch.tensor([[3.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 2.0]])
    best = logits.double().softmax(1).max(1).values.numpy()
    words = ConfidenceAnnotator().annotate(output_of(logits), np.array([0, 2, 3]), FACTS)
    np.testing.assert_allclose(words.rows["confidence"], [(best[0] + best[1]) / 2, best[2]])
    assert words.rows["class"].tolist() == [0, 0]
    texts = ConfidenceAnnotator().annotate(output_of(logits), np.arange(4), PAIRS)
    np.testing.assert_allclose(texts.rows["confidence"], best)
    assert texts.rows["class"].tolist() == [0, 1, 3]
    assert texts.items["labels"].tolist() == [0, 1, 3]
    nothing = ConfidenceAnnotator().annotate(output_of(logits[:0]), np.array([0]), PAIRS)
    assert nothing.rows["confidence"].shape == (0,)


def test_every_predicted_class_gives_equally_many(tmp_path: Path) -> None:
    """m = floor(0.2 N / 4): 1 of 20 and 1 of 30 texts."""
    driver = MemoryDriver(tmp_path, task="pair")
    outcome = run(driver)
    for item in outcome.rounds:
        table = item.picked.table(["language", "labels"]).to_pylist()
        for language in "ab":
            counts = np.bincount([x["labels"][0] for x in table if x["language"] == language])
            assert set(counts.tolist()) <= {0, 1}
    taken = [ids(item.picked) for item in outcome.rounds]
    assert not taken[0] & taken[1]


def test_sentences_have_no_class(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    assert [dict(x.selected) for x in run(driver).rounds] == [{"a": 4, "b": 6}] * 3


def test_an_iteration_trains_once_over_all_gold_and_all_that_was_taken(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, lr=1e-4, batch_size=16)
    sizes = [[len(p.rows()) for p in driver.call("train", f"iteration {n}").parts] for n in (1, 2)]
    assert sizes == [[10, 10], [10, 20]]
    second = driver.call("train", "iteration 2")
    assert second.schedule == Schedule(1e-4, 1, keep="last", batch_size=16)
    assert second.start is not None
    assert second.start.artifact == driver.call("train", "iteration 1").result


def test_it_ends_with_the_steps(tmp_path: Path) -> None:
    """Batches of 10: the gold is 1 step an epoch, the iterations take 2, 3, 4; 5 are allowed."""
    assert len(run(MemoryDriver(tmp_path / "5"), budget_epochs=5, batch_size=10).rounds) == 2
    assert len(run(MemoryDriver(tmp_path / "6"), budget_epochs=6, batch_size=10).rounds) == 3


def test_it_ends_with_the_pool(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    assert len(run(driver, share=0.5, iterations=9).rounds) == 2
    assert driver.call("annotate", "iteration 3").pool == ()


@pytest.mark.parametrize(
    ("scores", "drops", "rounds"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5], 3, 3),
        ([0.9, 0.8, 0.7, 0.7, 0.6], 3, 4),
        ([0.9, 0.8, 0.9, 0.8, 0.9], 1, 1),
    ],
)
def test_it_ends_when_source_dev_keeps_dropping(
    tmp_path: Path, scores: list[float], drops: int, rounds: int
) -> None:
    driver = MemoryDriver(tmp_path, scores=scores)
    assert len(run(driver, drops=drops, iterations=4).rounds) == rounds


def test_the_best_iteration_on_source_dev_is_the_result(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path, scores=[0.9, 0.5, 0.7, 0.6])
    outcome = run(driver)
    assert outcome.final.artifact == driver.call("train", "iteration 2").result
    nothing = run(MemoryDriver(tmp_path / "x"), iterations=0)
    assert nothing.final == nothing.zero_shot


def test_a_run_says_what_its_model_learned_from(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path, scores=[0.5, 0.6, 0.7, 0.4])
    share, chosen = run(driver).mechanisms
    assert dict(share.figures) == pytest.approx({"a": 0.4, "b": 0.4}), "two of three iterations"
    assert (dict(chosen.figures), chosen.warning) == ({"all targets": 2.0}, None)
    outcome = run(MemoryDriver(tmp_path / "none"), iterations=0)
    share, chosen = outcome.mechanisms
    assert dict(share.figures) == {"a": 0.0, "b": 0.0}
    assert chosen.warning == "nothing was learned from for all targets"


def test_an_iteration_can_look_at_a_part_of_the_pool(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run(driver, subset=20)
    first, second = (driver.call("annotate", f"iteration {n}").pool for n in (1, 2))
    assert len(first) == 20
    assert set(first) != set(second)
    assert not set(second) & ids(driver.call("derive", "iteration 1 selection").result)


def test_planned_models_do_not_drop(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    unknown = Model(driver._model("m", {}).artifact)
    assert not is_dropping([unknown] * 5, 3)
