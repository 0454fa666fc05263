"""Who may read gold labels: what a recipe is given leads to none of a target's."""

import ast
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pages import ROOT
from tests.world import SOURCE, TARGETS
from xlt_ray.config.schema import RunConfig
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.methods import METHODS
from xlt_ray.methods.iwda.upper_bound import UPPER_BOUNDS
from xlt_ray.methods.shared.choice import Choice, Chooser
from xlt_ray.methods.st import STConfig
from xlt_ray.recipe.driver import ALLOWED, Driver
from xlt_ray.recipe.method import Outcome, UpperBound, likeliest
from xlt_ray.run.check import configure_run
from xlt_ray.run.dry_run import DryRun
from xlt_ray.run.gold import ALL, OF_SOURCES, Gold
from xlt_ray.run.scoring import Scorer, all_gold
from xlt_ray.run.session import run_recipe
from xlt_ray.store.artifacts import Store

LINES = "Kari\tB-PER\nsmiler\tO\n\nOslo\tB-LOC\n\n"
PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)
KEPT: list[Driver] = []


class Curious(METHODS["bl_direct"]):  # type: ignore[misc]
    """Keeps what it was given."""

    def run(self, driver: Driver) -> Outcome:
        KEPT.append(driver)
        return super().run(driver)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig[Any]:
    for language in (SOURCE, *TARGETS):
        for split in ("train", "dev", "test"):
            path = tmp_path / "data" / language / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(LINES)
    return configure_run(
        {
            "benchmark": {"name": "wikiann", "root": str(tmp_path / "data"), "source": [SOURCE],
                          "targets": list(TARGETS)},
            "backbone": str(tmp_path / "none"), "method": {"name": "bl_direct"},
            "store": {"root": str(tmp_path / "store")},
        }
    )  # fmt: skip


@pytest.fixture
def given(config: RunConfig[Any], monkeypatch: pytest.MonkeyPatch) -> Driver:
    """What a recipe is given."""
    monkeypatch.setitem(METHODS, "bl_direct", Curious)
    KEPT.clear()
    driver = DryRun(Store(config.store.root), PLAN).driver(config)
    run_recipe(config, driver)
    return KEPT.pop()


def reached(start: object) -> Iterator[object]:
    """Objects of the project that an object refers to, over its own attributes, closures and all
    that the collector knows; modules, classes and functions' globals are not what it holds."""
    seen, pending = set[int](), [start]
    while pending:
        item = pending.pop()
        if id(item) in seen or isinstance(item, type | type(ast)):
            continue
        seen.add(id(item))
        if type(item).__module__.startswith("xlt_ray"):
            yield item
        if callable(item) and hasattr(item, "__globals__"):
            closure: Any = item.__closure__ or ()  # type: ignore[attr-defined]
            pending += [cell.cell_contents for cell in closure]
        else:
            pending += gc.get_referents(item)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["average", "agreement"])
def test_a_recipe_that_chooses_otherwise_is_given_no_more(
    config: RunConfig[Any], rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no right to gold of targets while it chooses: neither do the models it compares."""
    held = list[Chooser]()

    class Kept(Chooser):
        def among(self, models: Any) -> Choice:
            held.append(self)
            return super().among(models)

    monkeypatch.setattr("xlt_ray.methods.st.Chooser", Kept)
    other = config.model_copy(update={"method": STConfig(select=rule, iterations=2)})  # type: ignore[arg-type]
    run_recipe(other, DryRun(Store(config.store.root), PLAN).driver(other))
    (chooser,) = held
    rights = [item for item in reached(chooser) if isinstance(item, Gold)]
    assert rights, "the right to the gold of the sources is there"
    assert all(right.languages == {SOURCE} for right in rights)


@pytest.mark.slow
def test_a_recipe_has_the_verbs_and_nothing_else(given: Driver) -> None:
    assert {name for name in dir(given) if not name.startswith("_")} == ALLOWED
    assert {"train", "annotate", "derive", "source", "unlabelled", "context"} <= ALLOWED
    hidden = (
        "evaluate", "_gold", "_source_gold", "gold", "config", "runner", "plan", "executor",
        "reading", "_read", "text_of", "benchmark", "store", "__self__",
    )  # fmt: skip
    for name in hidden:
        with pytest.raises(AttributeError):
            getattr(given, name)
        with pytest.raises(AttributeError, match=f"a recipe has no {name}"):
            given._member(name)  # type: ignore[attr-defined]


def test_no_right_to_gold_of_targets_is_behind_it(given: Driver) -> None:
    """Wherever what it holds leads to."""
    found = [item for item in reached(given) if isinstance(item, Gold)]
    assert found, "the right to the gold of the sources is there"
    for right in found:
        assert right.languages == {SOURCE}
        assert right.splits == set(OF_SOURCES)
    assert not [item for item in reached(given) if type(item).__name__ in ("Scorer", "Oracle")]


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_gold_of_a_target_is_refused(given: Driver, split: Any) -> None:
    with pytest.raises(PermissionError, match=f"{TARGETS[0]}, split {split}"):
        given.source(split, TARGETS[0])
    with pytest.raises(PermissionError, match=TARGETS[0]):
        given.source(split, SOURCE, TARGETS[0])


def test_test_gold_of_a_source_is_refused(given: Driver) -> None:
    """With a language left out in turn it is that of a target."""
    with pytest.raises(PermissionError, match=f"{SOURCE}, split test"):
        given.source("test")
    assert given.source("dev").labels is not None


def test_a_right_is_to_what_it_says(config: RunConfig[Any]) -> None:
    driver = DryRun(Store(config.store.root), PLAN).driver(config)
    gold = all_gold(driver)
    assert gold.languages == {SOURCE, *TARGETS}
    assert gold.splits == set(ALL)
    assert gold.read("test", TARGETS, "test") is gold.read("test", TARGETS, "test")
    with pytest.raises(PermissionError, match="xx"):
        gold.read("test", ["xx"], "test")


def test_upper_bounds_declare_what_they_see() -> None:
    """And no method is one."""
    assert not [name for name, method in METHODS.items() if issubclass(method, UpperBound)]
    for name, method in UPPER_BOUNDS.items():
        assert issubclass(method, UpperBound)
        assert "gold labels" in method.sees, name


def test_a_labeller_of_a_recipes_own_is_given_no_more(
    given: Driver, config: RunConfig[Any]
) -> None:
    """It is called while models are scored."""
    seen: list[Driver] = []

    def label(driver: Driver, title: str, corpus: Any, model: Any) -> Any:
        seen.append(driver)
        return likeliest(driver, title, corpus, model)

    driver = DryRun(Store(config.store.root), PLAN).driver(config)
    Scorer(driver, all_gold(driver)).evaluate("x", driver.backbone, "test", labeller=label)
    with pytest.raises(AttributeError, match="a recipe has no reading"):
        getattr(seen[0], "reading")  # noqa: B009


ROOMS = ("methods", "models", "ops", "engine", "data")


@pytest.mark.slow
def test_recipes_know_no_module_that_reads_gold() -> None:
    """Neither the rights to gold, nor what scores, nor what looks at gold after a run."""
    for path in [x for room in ROOMS for x in (ROOT / "xlt_ray" / room).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [x.name for x in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                inner = name.removeprefix("xlt_ray.").partition(".")[0]
                assert inner not in ("gold", "reading", "scoring", "oracle"), f"{path}: {name}"
