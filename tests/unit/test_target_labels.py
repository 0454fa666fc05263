"""Runs that start from models that know labels of targets: what they say of it themselves."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.encoders import commit, write_encoder
from tests.reports import example
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.method import Outcome
from xlt_ray.report import Report
from xlt_ray.report.card import card
from xlt_ray.report.tables import markdown
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.dry_run import DryRun
from xlt_ray.run.results import labelling_of, publish, report_of
from xlt_ray.run.scoring import Scorer
from xlt_ray.run.target_labels import TargetLabels, labels_known
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)
SCORES = {"sw": {"accuracy": 0.5, "support": 5}}


def config_of(
    folder: Path, name: str, *, method: Any = None, labellers: Any = None, **benchmark: Any
) -> RunConfig[Any]:
    """English, and a target with 30 labelled rows, 10 of dev and 5 of test."""
    paths: dict[str, dict[str, str]] = {}
    rows_of = {
        "en": {"train": 40, "dev": 10},
        "sw": {"train": 30, "dev": 10, "test": 5, "unlabelled": 30},
    }
    for language, splits in rows_of.items():
        for split, count in splits.items():
            path = folder / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = [{"text": f"{language} {split} {n}", "label": ("bad", "good")[n % 2]}
                    for n in range(count)]  # fmt: skip
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            paths.setdefault(language, {})[split] = str(path)
    return configure_run(
        {
            "benchmark": {"name": "files", "source": ["en"], **benchmark},
            "files": {"paths": paths},
            "backbone": "toy",
            "method": method or {"name": "bl_direct"},
            "labellers": labellers or {},
            "store": {"root": str(folder / "store")},
            "run": {"name": name},
        }
    )


def finished(config: RunConfig[Any]) -> Report:
    """The report of a run whose models are published as those of a run are, without its steps."""
    store = Store(config.store.root)
    driver = DryRun(store, PLAN).driver(config)
    begin(driver, config.method)
    driver.source("train")
    model = Model(commit(store, "model", config.run_name, {}))
    outcome = Outcome(model, model)
    found = SimpleNamespace(
        driver=driver, by_class={}, zero_shot=lambda _: SCORES, final=lambda _: SCORES
    )
    report = report_of(config, cast(Scorer, found), outcome, [])
    publish(RunFolder(store, config.run_name), report, outcome, labelling_of(config))
    return report


def begin(driver: RayDriver, method: Any) -> None:
    given = getattr(method, "given", None) or {}
    for reference in (getattr(method, "start_from", None), *given.values()):
        if reference is not None:
            driver.start_from(reference)


def from_run(name: str) -> dict[str, Any]:
    return {"name": "st", "start_from": name}


def card_of(config: RunConfig[Any], report: Report) -> str:
    record: Mapping[str, Any] = {"run": report.run}
    return card(config, benchmark_of(config), report, record, {}, encoder={}, licence=None)


def test_a_run_from_a_few_shot_run_is_none_of_zero_shot(tmp_path: Path) -> None:
    finished(config_of(tmp_path, "A", few=7))
    config = config_of(tmp_path, "B", method=from_run("A"))
    report = finished(config)
    assert report.few == {"sw": 7}
    assert report.before == "few-shot"
    assert "zero-shot" not in markdown(report).replace("not zero-shot", "")
    assert (
        "not zero-shot: 'A', which it started from, learned labelled rows of targets: 7 of sw"
        in report.notes
    )
    shown = card_of(config, report)
    assert "Labels of target languages that it learned from: 7 rows of sw." in shown
    assert "were not used" not in shown


def test_it_goes_on_from_run_to_run(tmp_path: Path) -> None:
    finished(config_of(tmp_path, "A", few=7, select_on="target_dev"))
    finished(config_of(tmp_path, "B", method=from_run("A")))
    report = finished(config_of(tmp_path, "C", method=from_run("B")))
    assert (report.few, list(report.target_dev)) == ({"sw": 7}, ["sw"])
    written = RunFolder(Store(str(tmp_path / "store")), "C").read_json("models.json")
    assert written["target_labels"] == {"few": {"sw": 7}, "dev": ["sw"], "labellers": []}


def test_a_run_from_one_that_target_dev_chose_says_so(tmp_path: Path) -> None:
    finished(config_of(tmp_path, "A", select_on="target_dev"))
    config = config_of(tmp_path, "B", method=from_run("A"))
    report = finished(config)
    assert "'A', which it started from, was chosen on labelled dev rows of targets: sw" in (
        report.notes
    )
    shown = card_of(config, report)
    assert "were not used" not in shown
    assert "What it started from was chosen on labelled dev text of sw." in shown
    assert "chosen by accuracy on labelled text of en." in shown, "its own dev text"


def test_a_run_from_one_with_labellers_says_so(tmp_path: Path) -> None:
    method = {"name": "cltp", "labelled_rounds": 1}
    votes = {"anna": {"file": "votes.jsonl"}, "ben": {"file": "votes.jsonl"}}
    report = finished(config_of(tmp_path, "A", method=method, labellers=votes))
    given = "labels of the unlabelled text were learned from, given by anna, ben"
    assert f"not zero-shot: {given}" in report.notes
    config = config_of(tmp_path, "B", method=from_run("A"))
    report = finished(config)
    assert list(report.labellers) == ["anna", "ben"]
    begun = "'A', which it started from, learned labels of target text, given by anna, ben"
    assert f"not zero-shot: {begun}" in report.notes
    shown = card_of(config, report)
    assert "Labels of target languages that it learned from: those by anna, those by ben." in shown
    again = finished(config_of(tmp_path, "C", method=from_run("B")))
    assert list(again.labellers) == ["anna", "ben"]


def test_models_of_sources_that_are_given_count_too(tmp_path: Path) -> None:
    finished(config_of(tmp_path, "A", few=7))
    report = finished(config_of(tmp_path, "B", method={"name": "dt", "given": {"en": "A"}}))
    assert report.few == {"sw": 7}


def test_its_own_rows_and_those_of_its_start_are_told_apart(tmp_path: Path) -> None:
    finished(config_of(tmp_path, "A", few=7))
    report = finished(config_of(tmp_path, "B", method=from_run("A"), few=3))
    assert report.few == {"sw": 7}, "the 3 are among the 7"
    assert sum("7 of sw" in note for note in report.notes) == 1
    assert sum("3 of sw" in note for note in report.notes) == 1


def test_a_run_from_one_without_labels_of_targets_has_no_note(tmp_path: Path) -> None:
    finished(config_of(tmp_path, "A"))
    config = config_of(tmp_path, "B", method=from_run("A"))
    report = finished(config)
    assert (report.few, report.notes, report.before) == ({}, [], "zero-shot")
    assert "Labels of target languages were not used." in card_of(config, report)


def test_folders_of_a_model_say_it_as_the_run_does(tmp_path: Path) -> None:
    finished(config_of(tmp_path, "A", few=7))
    store, exported = Store(str(tmp_path / "store")), tmp_path / "exported"
    exported.mkdir()
    (exported / "xlt_ray.json").write_text(json.dumps({"target_labels": {"few": {"sw": 9}}}))
    known = labels_known(store, f"{store.base}/runs/A/model")
    assert known == TargetLabels({"sw": 7})
    assert labels_known(store, str(exported)) == TargetLabels({"sw": 9})
    assert labels_known(store, str(tmp_path / "nobody")) == TargetLabels()
    (exported / "xlt_ray.json").write_text(json.dumps({"target_labels": {"few": 9}}))
    with pytest.raises(ConfigError, match=r"method.start_from: '.*exported': target_labels: "):
        labels_known(store, str(exported))
    (exported / "xlt_ray.json").write_text("{")
    with pytest.raises(ConfigError, match=r"exported/xlt_ray.json is no JSON"):
        labels_known(store, str(exported))


def test_an_encoder_that_is_such_a_model_says_it_too(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "exported")
    record = {"target_labels": {"few": {"sw": 9}, "dev": []}}
    (folder / "xlt_ray.json").write_text(json.dumps(record))
    config = config_of(tmp_path, "B")
    config = config.model_copy(update={"backbone": str(folder)})
    driver = DryRun(Store(config.store.root), PLAN).driver(config)
    assert driver.target_labels == TargetLabels()
    assert driver.backbone
    assert driver.target_labels == TargetLabels({"sw": 9})


@pytest.mark.parametrize(
    "config",
    [
        {"benchmark": {"few": 3}},
        {"benchmark": {"select_on": "target_dev"}},
        {"files": {"paths": {"sw": {"few": ["a.conll"]}}}},
        {"method": {"name": "st", "start_from": "other"}},
        {"method": {"name": "dt", "given": {"en": "other"}}},
    ],
)
def test_an_older_run_that_may_know_labels_has_to_run_again(tmp_path: Path, config: Any) -> None:
    finished(config_of(tmp_path, "A"))
    store = Store(str(tmp_path / "store"))
    folder = RunFolder(store, "A")
    written = folder.read_json("models.json")
    del written["target_labels"]
    folder.write_json("models.json", written)
    assert labels_known(store, "A") == TargetLabels()
    folder.write_json("models.json", {**written, "config": {**written["config"], **config}})
    with pytest.raises(ConfigError, match=r"run 'A' is of an older version, .*; run it again"):
        labels_known(store, "A")


def test_reports_keep_them() -> None:
    report = example(few={"nl": 3}, target_dev=["nl", "de"])
    assert Report.from_json(report.to_json()) == report
