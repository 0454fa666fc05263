"""``--dry-run``: what a run would do, without doing it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.encoders import write_encoder
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.files import FileSource
from xlt_ray.data.schema import Example
from xlt_ray.engine.annotate import Pool
from xlt_ray.engine.backbone import backbone_of
from xlt_ray.engine.resources import Plan
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.methods import METHODS
from xlt_ray.methods.shared.evidential import EvidentialLoss
from xlt_ray.recipe.corpus import Mix
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.dry_run import DryRun, PlanRunner, Unknown, planned, text_of
from xlt_ray.run.scoring import Scorer, all_gold
from xlt_ray.run.steps import PLANNED, Step
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.step_task import StepTask

PLAN = Plan(Pool(1, 3, 2, 0.0), train_workers=2, train_cpus=4, train_gpus=0.0)
TOY = {
    "benchmark": {"name": "toy", "max_rows": {"train": 12, "dev": 8, "test": 6}},
    "backbone": "toy",
    "method": {"name": "cltp", "rounds": 2, "one_hot_rounds": 1},
}
LINES = "Kari\tB-PER\nsmiler\tO\n\nOslo\tB-LOC\n\n"


def follow(config: RunConfig[Any]) -> tuple[RayDriver, DryRun]:
    """The whole recipe and its evaluation, which are only planned."""
    dry = DryRun(Store(config.store.root), PLAN)
    driver = dry.driver(config)
    outcome = METHODS[config.method.name](config.method).run(driver)
    Scorer(driver, all_gold(driver)).evaluate("final", outcome.final, "test")
    return driver, dry


def toy(folder: Path, *flags: str) -> RunConfig[Any]:
    return configure_run({**TOY, "store": {"root": str(folder / "store")}}, flags=flags)


def wikiann(folder: Path, *flags: str, backbone: Path | None = None) -> RunConfig[Any]:
    """Two languages in a folder; one of them is Norwegian."""
    for language in ("en", "no"):
        for split in ("train", "dev", "test"):
            path = folder / "data" / language / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(LINES)
    values = {
        "benchmark": {"name": "wikiann", "root": str(folder / "data"), "targets": ["no"]},
        "backbone": str(backbone or folder / "nowhere"),
        "method": {"name": "cltp", "rounds": 1},
        "store": {"root": str(folder / "store")},
    }
    return configure_run(values, flags=flags)


def test_every_step_is_listed_in_order(tmp_path: Path) -> None:
    _, dry = follow(toy(tmp_path))
    assert [step["title"] for step in dry.steps] == [
        "source train text",
        "backbone",
        "source train tokens",
        "source train gold",
        "unlabelled text",
        "unlabelled tokens",
        "source dev text",
        "source dev tokens",
        "source dev gold",
        "source",
        "round 1 annotation",
        "round 1 selection",
        "round 1",
        "round 2 annotation",
        "round 2 selection",
        "round 2 earlier",
        "round 2",
        "all selections",
        "final",
        "test text",
        "test tokens",
        "final test annotation",
        "test gold",
        "final test scores",
    ]
    assert not any(step["cached"] for step in dry.steps)
    assert dry.missing == []


def test_rows_are_counted_and_notes_made(tmp_path: Path) -> None:
    driver, dry = follow(toy(tmp_path))
    steps = {step["title"]: step for step in dry.steps}
    targets = len(driver.targets)
    assert targets == 6
    assert steps["source train text"]["rows"] == steps["source train gold"]["rows"] == 12
    assert steps["unlabelled tokens"]["rows"] == 8 * targets
    assert steps["test tokens"]["rows"] == 6 * (targets + 1)
    assert steps["source"]["note"] == "12 sentences, up to 10 epochs, batch 32, lr 2e-05"
    assert steps["round 1 annotation"]["note"] == f"{8 * targets} sentences"
    assert steps["round 2 annotation"]["note"] == f"at most {8 * targets} sentences"
    assert steps["round 1"]["note"].startswith("7 sentences and what is selected")
    assert steps["round 1 selection"]["rows"] is None


def test_each_language_has_the_split_that_it_is_given(tmp_path: Path) -> None:
    flag = 'benchmark.unlabelled_split={"nolu": "train", "teska": "test"}'
    driver, dry = follow(toy(tmp_path, "benchmark.targets=teska,pavri,nolu", flag))
    steps = {step["title"]: step for step in dry.steps}
    by_language = driver.unlabelled().tokens.info["rows_by_language"]
    assert by_language == {"teska": 6, "pavri": 8, "nolu": 12}
    assert steps["unlabelled text"]["rows"] == 26
    assert driver.config.benchmark.unlabelled_splits == "nolu train, teska test"


def test_unlabelled_text_has_a_cap_of_its_own(tmp_path: Path) -> None:
    """The source has 20 rows of dev gold; the pools of the same split have five rows each."""
    caps = ("benchmark.max_rows.dev=20", "benchmark.max_rows.unlabelled=5")
    driver, _ = follow(toy(tmp_path, "benchmark.targets=nolu,teska", *caps))
    pools = driver.unlabelled().tokens.info["rows_by_language"]
    assert pools == {"nolu": 5, "teska": 5}
    assert driver.dev().tokens.info["rows"] == 20
    both = toy(tmp_path, "benchmark.unlabelled_split=dev,test", *caps, "benchmark.targets=nolu")
    assert follow(both)[0].unlabelled().tokens.info["rows_by_language"] == {"nolu": 5}


def ids_of(source: Source) -> list[str]:
    return [row.id for row in source.examples(None) if isinstance(row, Example)]


@pytest.mark.parametrize("flag", ["dev,test", '["dev", "test"]', '{"nolu": ["dev", "test"]}'])
def test_several_splits_are_one_text(tmp_path: Path, flag: str) -> None:
    split = f"benchmark.unlabelled_split={flag}"
    driver, dry = follow(toy(tmp_path, "benchmark.targets=nolu", split))
    (source,) = driver.reading.sources(("nolu",), "unlabelled")
    assert source.source.split == "dev+test"
    steps = {step["title"]: step for step in dry.steps}
    assert steps["unlabelled text"]["rows"] == 8 + 6
    rows = ids_of(source.source)
    dev, test = (
        ids_of(driver.reading.sources(("nolu",), split)[0].source) for split in ("dev", "test")
    )
    assert rows == [*dev[:8], *test[:6]], "each with its own limit"
    assert driver.config.benchmark.unlabelled_splits.removeprefix("nolu ") == "dev and test"


def test_a_step_with_a_batch_of_its_own_says_so(tmp_path: Path) -> None:
    values = {**TOY, "method": {"name": "st", "iterations": 1, "batch_size": 16}}
    config = configure_run({**values, "store": {"root": str(tmp_path / "store")}})
    notes = {step["title"]: step["note"] for step in follow(config)[1].steps}
    assert "batch 32" in notes["source"]
    assert "batch 16" in notes["iteration 1"]


@pytest.mark.parametrize("flags", [(), ("method.mixup=false",), ("method.iterations=0",)])
def test_a_method_that_calls_parts_of_the_model_needs_it_whole(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    values = {
        "benchmark": {"name": "toy_pair", "max_rows": {"train": 12, "dev": 8, "test": 6}},
        "backbone": "toy", "method": {"name": "conlst"}, "train": {"shard": True},
        "store": {"root": str(tmp_path)},
    }  # fmt: skip
    config = configure_run(values, flags=flags)
    if flags:
        follow(config)
    else:
        with pytest.raises(
            ConfigError, match=r"train\.shard: conlst calls the head of a model by itself"
        ):
            follow(config)


def test_nothing_is_computed(tmp_path: Path) -> None:
    follow(toy(tmp_path))
    assert [path.name for path in (tmp_path / "store").rglob("*")] == []


def test_the_text_names_steps_resources_and_store(tmp_path: Path) -> None:
    _, dry = follow(toy(tmp_path))
    text = text_of(dry)
    assert text.splitlines()[1].split() == [
        "1",
        "source",
        "train",
        "text",
        "text",
        "to",
        "run",
        "12",
    ]
    assert "annotators: 1-3, each 2 CPUs and 0 GPUs" in text
    assert "training: 2 workers, each 4 CPUs and 0 GPUs" in text
    assert "at most at a time: 8 CPUs and 0 GPUs" in text
    assert f"store: {tmp_path}/store" in text
    assert text.splitlines()[-1] == "missing: nothing"


def test_what_is_in_the_store_is_cached(tmp_path: Path) -> None:
    config = wikiann(tmp_path, "train.max_length=64", backbone=write_encoder(tmp_path / "encoder"))
    _, before = follow(config)
    assert before.missing == []
    assert not any(step["cached"] for step in before.steps)
    found, store = backbone_of(config), before.runner.store
    step = Step("backbone", found)
    attempt = store.attempt("backbone", step.fingerprint())
    info = found.write(attempt)
    store.commit(attempt, {"info": info, "seconds": 0.0})
    cached = [step["title"] for step in follow(config)[1].steps if step["cached"]]
    assert cached == ["backbone"]


def test_norwegian_is_a_language(tmp_path: Path) -> None:
    path = tmp_path / "norwegian.yaml"
    path.write_text("benchmark:\n  targets: [no]\n")
    for config in (wikiann(tmp_path), wikiann(tmp_path, "benchmark.targets=no")):
        assert follow(config)[0].targets == ("no",)
    values = {"benchmark": {"name": "wikiann"}, "backbone": "x", "method": {"name": "cltp"}}
    assert configure_run(values, [str(path)]).benchmark.targets == ("no",)


def test_a_missing_backbone_and_split_are_named_and_the_rest_is_planned(tmp_path: Path) -> None:
    config = wikiann(tmp_path)
    (tmp_path / "data" / "no" / "dev.txt").unlink()
    _, dry = follow(config)
    assert len(dry.missing) == 2
    assert any("nowhere" in text and text.startswith("backbone") for text in dry.missing)
    assert any(text.startswith("unlabelled text: ") and "dev" in text for text in dry.missing)
    assert "final test scores" in [step["title"] for step in dry.steps]
    lines = text_of(dry).splitlines()
    assert [line for line in lines if line.startswith("missing: ")] == lines[-2:]


def test_bad_rows_are_counted(tmp_path: Path) -> None:
    config = wikiann(tmp_path, "data.max_bad_fraction=0.5")
    (tmp_path / "data" / "en" / "train.txt").write_text(LINES + "Bergen\tB-CITY\n\n")
    steps = {step["title"]: step for step in follow(config)[1].steps}
    assert (steps["source train gold"]["rows"], steps["source train gold"]["note"]) == (
        2,
        "1 to quarantine",
    )
    assert (steps["source train text"]["rows"], steps["source train text"]["note"]) == (3, "")


def test_too_many_bad_rows_are_missing_data(tmp_path: Path) -> None:
    config = wikiann(tmp_path)
    (tmp_path / "data" / "en" / "train.txt").write_text(LINES + "Bergen\tB-CITY\n\n")
    _, dry = follow(config)
    assert any(text.startswith("source train gold: 1 of 3 rows") for text in dry.missing)


def test_a_source_language_is_no_target_of_self_training(tmp_path: Path) -> None:
    driver, dry = follow(wikiann(tmp_path, "benchmark.targets=en,no"))
    steps = {step["title"]: step for step in dry.steps}
    assert steps["unlabelled text"]["rows"] == 2
    assert steps["test text"]["rows"] == 4
    assert driver.context.languages == ("en", "no")


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_a_share_of_known_rows_is_known(tmp_path: Path, fraction: float) -> None:
    driver, dry = follow(toy(tmp_path))
    gold = driver.source("train").sample(fraction, seed=0)
    schedule = Schedule(1e-3, 1)
    driver.train("x", Mix(gold), EvidentialLoss(), start=driver.backbone, schedule=schedule)
    assert dry.steps[-1]["note"].startswith(f"{int(12 * fraction)} sentences")


def test_unknown_facts_are_none() -> None:
    artifact = planned("model", {"rows": 3})
    assert artifact.fingerprint == PLANNED
    assert artifact.info["rows"] == 3
    assert artifact.info["anything"] is None
    assert Unknown()["x"] is None


@dataclass(frozen=True, kw_only=True)
class Made(StepTask):
    kind = "model"

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        return ()

    @property
    def modules(self) -> tuple[str, ...]:
        return ("xlt_ray.labels",)


def test_a_plan_leaves_checkpoints_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    step = Step("source", Made())
    checkpoints = Checkpoints(store.root, step.fingerprint())
    checkpoints.complete(5, {"world": 1})
    PlanRunner(store).run(step, lambda _: {}, afterwards=checkpoints.drop)
    assert checkpoints.steps() == [5]


def test_the_source_model_does_not_depend_on_the_targets(tmp_path: Path) -> None:
    one, both = (
        DryRun(Store(str(tmp_path)), PLAN).driver(toy(tmp_path, f"benchmark.targets={targets}"))
        for targets in ("nolu", "nolu,teska")
    )
    assert one._context_for(EvidentialLoss()) == both._context_for(EvidentialLoss())


def test_the_rows_of_a_comparison_read_a_text_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And again where a file has changed."""
    config, opened = wikiann(tmp_path), list[str]()
    plain = FileSource.examples

    def counted(self: FileSource, labels: Any, limit: Any = None) -> Any:
        opened.append(f"{self.language}/{self.split}")
        return plain(self, labels, limit)

    monkeypatch.setattr(FileSource, "examples", counted)
    follow(config)
    assert len(opened) == len(set(opened)) * 2, "text, and labels"
    before = len(opened)
    _, again = follow(config)
    assert len(opened) == before
    assert again.runner.sample
    path = tmp_path / "data/en/train.txt"
    path.write_text(LINES * 2)
    _, other = follow(config)
    assert opened[before:] == ["en/train"] * 2
    rows = {step["title"]: step["rows"] for step in other.steps}
    assert rows["source train text"] == 4
