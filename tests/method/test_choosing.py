"""Whole runs of CLTP whose result is chosen by each rule, without Ray."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForTokenClassification, AutoTokenizer

from tests.world import SOURCE, TARGETS, World, artifacts, begun_again, computed
from xlt_ray.commands.compare import configure
from xlt_ray.models.classifier import OWN_FILE
from xlt_ray.oracle.choosing import find
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.slow]

RULES = ("source_dev", "average", "agreement")
SHORT = ("method.source_epochs=4",)


@pytest.fixture(scope="module")
def runs(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run of each rule in one store, whose rounds they share, by rule."""
    store = tmp_path_factory.mktemp("choosing")
    reports = {}
    for rule in RULES:
        flags = (*SHORT, f"method.select={rule}", f"run.name={rule}")
        reports[rule] = run(world.config(store, *flags))
    return store, reports


def steps(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["title"]: step for step in report["steps"]}


def info(store: Path, step: dict[str, Any]) -> dict[str, Any]:
    found = Store(str(store)).find(step["kind"], step["fingerprint"])
    assert found is not None
    return dict(found.info)


def chosen(store: Path, rule: str) -> str:
    return json.loads((store / f"runs/{rule}/models.json").read_text())["final"]["fingerprint"]


def test_rules_share_the_rounds(runs: Any) -> None:
    """Only what a rule adds is computed: the trainings of the rounds are those of the first run."""
    _, reports = runs
    for rule in ("average", "agreement"):
        for number in (1, 2, 3):
            first, again = (steps(reports[x])[f"round {number}"] for x in ("source_dev", rule))
            assert again["cached"]
            assert again["fingerprint"] == first["fingerprint"]
    assert not {"mean", "agreement"} & {title.split()[0] for title in steps(reports["source_dev"])}


def test_source_dev_is_the_default(runs: Any, world: World) -> None:
    store, reports = runs
    again = run(world.config(store, *SHORT, "run.name=default"))
    assert computed(again) == set()
    assert [x["fingerprint"] for x in again["steps"]] == [
        x["fingerprint"] for x in reports["source_dev"]["steps"]
    ]
    assert again["final"] == reports["source_dev"]["final"]
    assert not any("method.select" in note for note in again["notes"])


def test_the_mean_is_that_of_the_last_models(runs: Any) -> None:
    """In float64, stored in the type of the models; and the layout is a stock model's."""
    store, reports = runs
    known = steps(reports["average"])
    names = ("round 2", "round 3", "final")
    files = [
        load_file(store / "artifacts/model" / known[name]["fingerprint"] / "model.safetensors")
        for name in names
    ]
    result = known["mean of round 2 to final pass"]
    assert chosen(store, "average") == result["fingerprint"]
    found = load_file(store / "artifacts/model" / result["fingerprint"] / "model.safetensors")
    assert found.keys() == files[0].keys()
    for name, value in found.items():
        mean = np.mean([file[name].numpy().astype(np.float64) for file in files], axis=0)
        np.testing.assert_array_equal(value.numpy(), mean.astype(np.float32), err_msg=name)
    folder = store / "runs/average/model"
    stock = AutoModelForTokenClassification.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False
    )
    AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert torch.equal(stock.classifier.weight, found["classifier.weight"])
    facts = info(store, result)
    assert facts["steps"] == 0
    assert 0 <= facts["source_dev"] <= 1
    assert info(store, known["mean of round 1 to round 3, weights"])["models"] == 3


def test_agreement_is_that_of_the_annotations(runs: Any) -> None:
    """Counted again, row by row; the result is the first of the largest."""
    store, reports = runs
    known, names = steps(reports["agreement"]), ("round 1", "round 2", "round 3", "final pass")
    said = []
    for name in names:
        step = known[f"{name} whole pool annotation"]
        artifact = Store(str(store)).find("annotation", step["fingerprint"])
        assert artifact is not None
        rows = {x["id"]: x["labels"] for x in artifact.table(["id", "labels"]).to_pylist()}
        said.append([label for name in sorted(rows) for label in rows[name]])
    shares = []
    for one in said:
        own = []
        for other in said:
            if other is not one:
                pairs = [(a, b) for a, b in zip(one, other, strict=True) if a or b]
                own.append(sum(a == b for a, b in pairs) / len(pairs) if pairs else 0.0)
        shares.append(sum(own) / len(own))
    found = info(store, known["agreement of 4"])
    assert found["agreement"] == pytest.approx(shares, abs=1e-15)
    best = names[int(np.argmax(shares))]
    title = "final" if best == "final pass" else best
    assert chosen(store, "agreement") == known[title]["fingerprint"]
    (line,) = (x for x in reports["agreement"]["mechanisms"] if x["part"].startswith("agreement"))
    assert list(line["figures"]) == list(names)


def test_the_mean_has_the_part_of_the_objective(world: World, tmp_path: Path) -> None:
    """SL-LEU predicts the spread of its logits by a unit beside the head, in a file of its own."""
    values = world.values(tmp_path)
    values["method"] = {"name": "sl_leu", "source_lr": 4e-3, "source_epochs": 4, "round_lr": 1e-3,
                        "round_epochs": 1, "rounds": 2, "final_epochs": 0, "ratio": 0.2,
                        "samples": 4, "select": "average"}  # fmt: skip
    known = steps(run(configure_run(values)))
    result = known["mean of round 1 to round 2"]
    assert chosen(tmp_path, "test") == result["fingerprint"]
    names = (known["round 1"], known["round 2"], result)
    folders = [tmp_path / "artifacts/model" / step["fingerprint"] for step in names]
    one, two, found = (load_file(folder / OWN_FILE) for folder in folders)
    assert set(found) == {"weight", "bias"}
    for name, value in found.items():
        assert torch.equal(value, ((one[name].double() + two[name].double()) / 2).float())
        assert not torch.equal(one[name], two[name])


@pytest.mark.parametrize("rule", ["average", "agreement"])
def test_the_rule_is_named(runs: Any, rule: str) -> None:
    store, reports = runs
    report = reports[rule]
    assert report["config"]["method"]["select"] == rule
    assert any(f"method.select={rule}" in note for note in report["notes"])
    page = (store / f"runs/{rule}/report.html").read_text()
    assert "by which the final one is chosen" not in page
    assert "The final one was chosen as the m" in page
    (line,) = (x for x in report["mechanisms"] if x["part"].startswith("model of the loop"))
    assert line["figures"]["models"] == 4


def test_a_mean_that_is_taken_again_has_the_same_bytes(
    runs: Any, world: World, tmp_path: Path
) -> None:
    store, reports = runs
    titles = begun_again(
        store, reports["average"], tmp_path, lambda step: step["title"].startswith("mean of")
    )
    flags = (*SHORT, "method.select=average", "run.name=average")
    assert computed(run(world.config(tmp_path, *flags))) == titles
    assert artifacts(tmp_path) == artifacts(store)


def test_noise_in_place_of_target_labels_changes_no_choice(
    runs: Any, world: World, tmp_path: Path
) -> None:
    store, reports = runs
    for rule in ("average", "agreement"):
        flags = (*SHORT, f"method.select={rule}", f"run.name={rule}")
        noisy = run(world.config(tmp_path, *flags, noisy=True))
        kept = [
            [(x["title"], x["fingerprint"]) for x in report["steps"] if x["kind"] not in OF_GOLD]
            for report in (reports[rule], noisy)
        ]
        assert kept[0] == kept[1]
        assert chosen(tmp_path, rule) == chosen(store, rule)
        assert noisy["final"] != reports[rule]["final"], "the noise is there"


OF_GOLD = ("gold", "scores", "text")


def test_the_oracle_says_the_regret_of_each_rule(runs: Any, world: World) -> None:
    """Of finished runs, from what they have; a second time too."""
    store, reports = runs
    values = world.values(store)
    shared = {**values.pop("method"), "source_epochs": 4}
    del shared["name"]
    rows = {rule: {"name": "cltp", "select": rule} for rule in RULES}
    values["compare"] = {"seeds": [0], "shared": shared, "methods": rows}
    values["run"] = {"name": "regrets"}
    found = find(configure(values))
    assert json.loads((store / "runs/regrets/choosing.json").read_text()) == found
    page = (store / "runs/regrets/choosing.md").read_text()
    assert page.startswith("# regrets: regret of rules")
    for rule in RULES:
        (folder,) = (store / "runs").glob(f"regrets-{rule.replace('_', '?')}*")
        report = json.loads((folder / "report.json").read_text())
        assert all(step["cached"] for step in report["steps"])
        assert report["final"] == reports[rule]["final"]
        own = [x for x in found["records"] if x["row"] == rule]
        assert {x["target"] for x in own} == {*TARGETS, "average"}
        for target in TARGETS:
            scores = [item["scores"][target]["f1"] for item in report["rounds"]]
            of_target = {x["rule"]: x for x in own if x["target"] == target}
            assert of_target["last"]["score"] == scores[-1]
            assert of_target["last"]["regret"] == max(scores) - scores[-1]
            result = of_target[f"result ({rule})"]
            assert result["score"] == report["final"][target]["f1"]
            assert ("agreement" in of_target) == (rule == "agreement")
            assert all(x["best_score"] == max(scores) for x in of_target.values())


def test_the_oracle_scores_rounds_that_each_target_has_of_its_own(
    world: World, tmp_path: Path
) -> None:
    values = world.values(tmp_path)
    sizes = {"train": 60, "dev": 30, "test": 24}
    values["benchmark"] = {"name": "toy_pair", "source": [SOURCE], "targets": list(TARGETS),
                           "unlabelled_split": "train", "max_rows": sizes}  # fmt: skip
    del values["method"]
    keys = {"name": "conlst", "source_epochs": 1, "stage1": "none", "iterations": 2, "t0": 0.4,
            "floor": 0.0, "lr": 1e-3, "least_change": 0.0, "select": "agreement"}  # fmt: skip
    values["compare"] = {"seeds": [0], "methods": {"conlst": keys}}
    values["run"] = {"name": "regrets"}
    records = find(configure(values))["records"]
    for target in TARGETS:
        own = {x["rule"]: x for x in records if x["target"] == target}
        assert list(own) == ["source_dev", "last", "agreement", "result (agreement)"]
        assert own["agreement"]["score"] == own["result (agreement)"]["score"]
        assert own["last"]["chosen"] == 2
        assert own["last"]["regret"] >= 0
