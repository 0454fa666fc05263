"""BL-Direct, BL-Single, BL-Joint: which labels of which languages each trains on."""

from pathlib import Path
from typing import Any

from tests.recipes import MemoryDriver
from xlt_ray.methods import METHODS
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.schedule import Schedule


def run(name: str, driver: MemoryDriver, **options: Any) -> Outcome:
    kind = METHODS[name]
    return kind(kind.Config.model_validate(options)).run(driver)


def rows(driver: MemoryDriver, title: str) -> list[list[str]]:
    return [part.rows()["id"].to_pylist() for part in driver.call("train", title).parts]


def test_direct_is_the_source_model(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run("bl_direct", driver, source_epochs=3, source_lr=1e-3)
    assert outcome.final == outcome.zero_shot
    assert [(call.verb, call.title) for call in driver.calls] == [("train", "source")]
    assert driver.calls[0].schedule == Schedule(1e-3, 3)
    assert driver.calls[0].objective == CrossEntropy()


def test_joint_trains_once_on_every_predicted_label(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run("bl_joint", driver, src_ratio=0.5)
    gold, silver = rows(driver, "round 1")
    assert (len(gold), len(silver)) == (5, 50)
    assert outcome.final.artifact == driver.call("train", "round 1").result
    assert outcome.by_language == {}
    annotated = driver.call("annotate", "round 1")
    assert annotated.annotator == PredictLabels()
    labels = driver.call("derive", "round 1 silver").result
    assert labels is not None
    assert labels.info["selected"] == {"a": 20, "b": 30}
    table = labels.table()
    for given, sets in zip(
        table["labels"].to_pylist(), table["candidates"].to_pylist(), strict=True
    ):
        assert sets == [1 << label for label in given]


def test_single_trains_a_model_per_language_from_the_source_model(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run("bl_single", driver, src_ratio=0.5, round_epochs=2, round_lr=1e-4)
    assert outcome.final == outcome.zero_shot
    assert list(outcome.by_language) == ["a", "b"]
    for name, size in (("a", 20), ("b", 30)):
        call = driver.call("train", f"round 1 {name}")
        gold, silver = rows(driver, f"round 1 {name}")
        assert (len(gold), len(silver)) == (5, size)
        assert {item[0] for item in silver} == {name}
        assert call.start == outcome.zero_shot
        assert call.schedule == Schedule(1e-4, 2)
        assert outcome.by_language[name].artifact == call.result


def test_later_rounds_label_the_language_anew_with_its_own_model(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run("bl_single", driver, rounds=2)
    second = driver.call("annotate", "round 2 b")
    assert {name[0] for name in second.pool} == {"b"}
    assert second.start is not None
    assert second.start.artifact == driver.call("train", "round 1 b").result
    gold = [driver.call("train", f"round {n} b").parts[0] for n in (1, 2)]
    assert gold[0].seed != gold[1].seed
