"""Near languages first: the order, the rounds, and that no language is lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from tests.encoders import commit
from tests.recipes import FACTS, MemoryDriver, ids, languages_of, output_of, run_method
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods import METHODS
from xlt_ray.methods.shared.curriculum import (
    Curriculum,
    RowVectors,
    curriculum_of,
    nearest_first,
    some_rows,
)
from xlt_ray.methods.st import STConfig
from xlt_ray.recipe.corpus import Start
from xlt_ray.recipe.method import Outcome
from xlt_ray.store.artifacts import Artifact, Store

LOOPS: dict[str, dict[str, Any]] = {
    "st": {"share": 0.2, "iterations": 4, "budget_epochs": None},
    "sl_evi": {"ratio": 0.1},
    "cltp": {"ratio": 0.1, "rounds": 4},
    "sl_leu": {"ratio": 0.1},
    "sl_lou": {"ratio": 0.1},
    "conlst": {"joint": True, "stage1": "none", "t0": 0.4, "least_change": 0.0},
}


def run(name: str, driver: MemoryDriver, **options: Any) -> Outcome:
    return run_method(name, driver, **{**LOOPS[name], **options})


@pytest.mark.parametrize(
    ("count", "rounds", "sizes"),
    [(5, 3, [2, 4, 5, 5]), (2, 3, [1, 2, 2, 2]), (1, 3, [1, 1, 1, 1]), (4, 2, [2, 4, 4, 4]),
     (3, 1, [3, 3, 3, 3]), (8, 5, [2, 4, 5, 7])],
)  # fmt: skip
def test_languages_of_a_round_by_hand(count: int, rounds: int, sizes: list[int]) -> None:
    """ceil(L r / N)."""
    order = tuple("abcdefgh"[:count])
    course = Curriculum(order, rounds)
    found = [course.languages(number) for number in (1, 2, 3, 4)]
    assert [len(x) for x in found] == sizes
    assert all(x == order[: len(x)] for x in found)
    assert [course.is_whole(number) for number in (1, 2, 3, 4)] == [
        number >= rounds for number in (1, 2, 3, 4)
    ]
    assert course.languages(rounds) == order


def vectors(store: Store, name: str, by_language: dict[str, np.ndarray]) -> Artifact:
    rows = [(f"{x}{i:02d}", x, row.tolist()) for x, q in by_language.items()
            for i, row in enumerate(q)]  # fmt: skip
    table = pa.table(dict(zip(("id", "language", "vector"), map(list, zip(*rows, strict=True)),
                              strict=True)))  # fmt: skip
    return commit(store, "annotation", name, {"p0": table})


def test_the_order_is_by_neighbours_of_the_source(tmp_path: Path) -> None:
    """Languages on a circle: rows of c lie where those of the source do, those of a opposite."""
    store, draw = Store(str(tmp_path)), np.random.default_rng(0)

    def around(angle: float) -> np.ndarray:
        return np.array([np.cos(angle), np.sin(angle)]) + 0.1 * draw.standard_normal((12, 2))

    source = vectors(store, "s", {"s": around(0.0), "t": around(0.1)})
    targets = vectors(store, "t", {"a": around(3.0), "b": around(1.2), "c": around(0.05)})
    table, facts = nearest_first(source, targets)
    assert facts["order"][0] == "c"
    assert table["language"].to_pylist() == facts["order"]
    assert sum(facts["shares"].values()) == pytest.approx(1)
    assert facts["shares"]["c"] > 0.5
    equal = vectors(store, "e", {x: np.ones((3, 2)) for x in "cab"})
    assert sorted(nearest_first(source, equal)[1]["order"]) == ["a", "b", "c"]
    alone = vectors(store, "o", {"a": around(1.0)[:1]})
    assert nearest_first(source, alone)[1]["order"] == ["a"]


def test_a_vector_is_the_mean_over_the_items() -> None:
    output = output_of(torch.zeros(3, 4))
    features = RowVectors().feature_outputs(None, output.features)
    found = RowVectors().annotate(
        output._replace(feature_outputs=features), np.array([0, 2, 3]), FACTS
    )
    np.testing.assert_allclose(found.rows["vector"], [[0.15, 0.25, 0.35], [0.6, 0.7, 0.8]])


def test_some_rows_of_each_language(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    options = {"languages": ["a", "b"], "count": 4}
    table, _ = some_rows(driver.targets.tokens, seed=0, **options)
    counts = [table["language"].to_pylist().count(x) for x in "ab"]
    assert counts == [4, 4]
    assert table["id"].to_pylist() == sorted(table["id"].to_pylist())
    again, _ = some_rows(driver.targets.tokens, seed=0, **options)
    other, _ = some_rows(driver.targets.tokens, seed=1, **options)
    assert again == table != other
    every, _ = some_rows(driver.targets.tokens, seed=0, languages=["a"], count=99)
    assert len(every) == 20


@pytest.mark.parametrize("name", LOOPS)
def test_early_rounds_learn_from_the_first_languages(tmp_path: Path, name: str) -> None:
    task: Any = "pair" if name == "conlst" else "token"
    driver = MemoryDriver(tmp_path, task=task)
    outcome = run(name, driver, curriculum="b", curriculum_rounds=3)
    assert [set(item.selected) for item in outcome.rounds[:3]] == [{"b"}, {"a", "b"}, {"a", "b"}]
    assert "vectors" not in " ".join(driver.titles("annotate")), "the order was given"
    parts = driver.call("train", "iteration 1" if name in ("st", "conlst") else "round 1").parts
    assert languages_of(parts[0 if name == "conlst" else 1]) == {"b"}
    (line,) = [x for x in outcome.mechanisms if x.part.startswith("curriculum")]
    assert list(line.figures)[:3] == ["round 1 (b)", "round 2 (b, a)", "round 3 (b, a)"]
    assert line.figures["round 1 (b)"] == outcome.rounds[0].selected["b"]
    assert line.warning is None


@pytest.mark.parametrize("name", LOOPS)
def test_no_loop_ends_and_no_model_is_chosen_before_all_languages_are_in(
    tmp_path: Path, name: str
) -> None:
    """Source dev falls from the first round on, which would end the loop, or choose that round."""
    task: Any = "pair" if name == "conlst" else "token"
    driver = MemoryDriver(tmp_path, task=task, scores=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    stop = {"st": {"drops": 1}, "conlst": {"drops": 1}}.get(name, {"patience": 1})
    if name not in ("st", "conlst"):
        stop |= {"final_epochs": 0}
    outcome = run(name, driver, curriculum="b,a", **stop)
    title = "iteration" if name in ("st", "conlst") else "round"
    numbers = [item.number for item in outcome.rounds]
    assert numbers[:3] == [1, 2, 3]
    assert outcome.final.artifact == driver.call("train", f"{title} 3").result
    plain = MemoryDriver(tmp_path / "x", task=task, scores=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    assert len(run(name, plain, **stop).rounds) < 3


def test_a_budget_is_spent_by_all_languages(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run("st", driver, curriculum="b", budget_epochs=1.0)
    assert len(outcome.rounds) == 3


def test_near_languages_are_found_by_a_step(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run("sl_evi", driver, curriculum="near")
    step = driver.call("derive", "near languages first")
    assert step.result is not None
    order = step.result.info["order"]
    assert sorted(order) == ["a", "b"]
    assert set(outcome.rounds[0].selected) == {order[0]}
    said = driver.call("annotate", "vectors of the targets")
    assert said.annotator == RowVectors()
    assert len(said.pool) == 50, "at most 64 of each"
    assert all(x.startswith("s") for x in driver.call("annotate", "vectors of the source").pool)


def test_the_source_model_gives_the_features(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run("st", driver, curriculum="near")
    said = driver.call("annotate", "vectors of the targets")
    assert said.start is not None
    assert said.start.artifact == driver.call("train", "source").result


def test_labels_play_no_part_in_the_order(tmp_path: Path) -> None:
    """What the models say of the text changes, and nothing of the order does."""
    orders = []
    for n in (0, 1):
        driver = MemoryDriver(tmp_path / str(n), talk=lambda name, size, n=n: torch.full(
            (size, 4), float(n)) + torch.eye(4)[torch.arange(size) % 4])  # fmt: skip
        config = STConfig(curriculum="near")
        orders.append(curriculum_of(driver, config, driver.targets, driver.backbone).order)
    assert orders[0] == orders[1]


def test_every_round_has_all_by_default(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    found = curriculum_of(driver, STConfig(), driver.targets, driver.backbone)
    assert (found.order, found.rounds) == (("a", "b"), 1)
    assert driver.calls == []


def test_unknown_languages_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method\.curriculum: no unlabelled text of q; .* a, b"):
        run("st", MemoryDriver(tmp_path), curriculum="q,a")


@pytest.mark.parametrize("name", LOOPS)
def test_keys_that_lose_languages_are_refused(name: str) -> None:
    config, key = METHODS[name].Config, "iterations" if name in ("st", "conlst") else "rounds"
    given = {**LOOPS[name], "curriculum": "near"}
    assert config.model_validate(given).model_dump()["curriculum"] == "near"
    listed = config.model_validate({**given, "curriculum": "b, a"}).model_dump()
    assert listed["curriculum"] == ("b", "a")
    with pytest.raises(ValidationError, match="would never be learned from"):
        config.model_validate({**given, key: 2})
    with pytest.raises(ValidationError, match="curriculum_rounds is of curriculum"):
        config.model_validate({**LOOPS[name], "curriculum_rounds": 2})


def test_models_of_one_target_have_no_curriculum(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="languages take turns in one model; set joint"):
        METHODS["conlst"].Config.model_validate({"curriculum": "near"})
    driver = MemoryDriver(tmp_path)
    models = {x: driver._model(f"of {x}", {}) for x in "ab"}
    driver.starts["run"] = Start(driver.backbone, models)
    with pytest.raises(ConfigError, match=r"method\.curriculum: languages take turns"):
        run("st", driver, start_from="run", curriculum="near")


def test_what_was_selected_leaves_the_pool_and_nothing_else(tmp_path: Path) -> None:
    """A language that waits keeps its whole pool."""
    driver = MemoryDriver(tmp_path)
    outcome = run("sl_evi", driver, curriculum="b")
    second = set(driver.call("annotate", "round 2").pool)
    assert second == {f"a{i:02d}" for i in range(20)} | {
        f"b{i:02d}" for i in range(30) if f"b{i:02d}" not in ids(outcome.rounds[0].picked)
    }
