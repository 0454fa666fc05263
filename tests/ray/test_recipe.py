"""Whole recipes on a real Ray: repetition, pool sizes, target labels, the run folder."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from tests.world import (
    SIZES,
    SOURCE,
    TARGETS,
    World,
    artifacts,
    begun_again,
    computed,
    jsonl,
    without_times,
)
from xlt_ray.engine import derive
from xlt_ray.models.classifier import Classifier
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def first(
    ray_cluster: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict]:
    """A finished run and its report."""
    store = tmp_path_factory.mktemp("first")
    return store, run(world.config(store))


def test_report_has_what_is_promised(first):
    store, report = first
    assert set(report) == {
        "run", "method", "benchmark", "metric", "source", "targets", "zero_shot", "final",
        "zero_shot_average", "average", "rounds", "steps", "config", "versions", "notes",
        "mechanisms", "made_by", "by_class", "few",
        "target_dev",
        "labellers",
    }  # fmt: skip
    assert set(report["final"]) == {SOURCE, *TARGETS}
    assert all(scores["support"] > 0 for scores in report["final"].values())
    mean = sum(report["final"][name]["f1"] for name in TARGETS) / len(TARGETS)
    assert report["average"] == pytest.approx(mean)
    assert [item["round"] for item in report["rounds"]] == [1, 2, 3]
    assert set(report["rounds"][0]["set_sizes"]) == {"1"}
    assert set(report["rounds"][2]["set_sizes"]) > {"1"}
    assert json.loads((store / "runs/test/report.json").read_text()) == report


def test_training_learns(first):
    _, report = first
    assert report["zero_shot"][SOURCE]["f1"] > 0.3


def test_second_run_is_cached_and_equal(first, world: World):
    store, report = first
    before = artifacts(store)
    markdown = (store / "runs/test/report.md").read_text()
    again = run(world.config(store))
    assert all(step["cached"] for step in again["steps"])
    assert [step["seconds"] for step in again["steps"]] == [
        step["seconds"] for step in report["steps"]
    ]
    assert without_times(again) == without_times(report)
    assert artifacts(store) == before
    now = (store / "runs/test/report.md").read_text()
    assert re.sub(r"\| (no|yes) \|$", "| |", now, flags=re.MULTILINE) == re.sub(
        r"\| (no|yes) \|$", "| |", markdown, flags=re.MULTILINE
    )


def test_run_folder_explains_the_run(first):
    store, report = first
    folder = store / "runs/test"
    ledger = list(jsonl(folder / "ledger.jsonl"))
    assert [entry["title"] for entry in ledger] == [step["title"] for step in report["steps"]]
    known = {entry["fingerprint"] for entry in ledger}
    assert all(set(entry["inputs"]) <= known for entry in ledger)
    events = [entry["event"] for entry in jsonl(folder / "events.jsonl")]
    assert events[0] == "session"
    assert "done" in events
    assert json.loads((folder / "config.json").read_text())["method"]["lambda"] == 4.0
    assert not (folder / "lease.json").exists()
    assert not list(store.glob("artifacts/*/*.tmp-*"))
    assert not any((store / "work").iterdir())


def test_every_row_is_accounted_for(first):
    store, _ = first
    expected = {}
    for kind in ("text", "gold", "tokens"):
        for path in store.glob(f"artifacts/{kind}/*/manifest.json"):
            manifest = json.loads(path.read_text())
            info = manifest["info"]
            files = path.parent.glob("*.parquet")
            assert info["rows"] == sum(pq.read_metadata(file).num_rows for file in files)
            if kind == "tokens":
                assert info["rows"] == expected[manifest["inputs"][0]]
                continue
            split = Path(manifest["params"]["sources"][0]["name"]).stem
            for language, rows in info["rows_by_language"].items():
                assert rows + info["quarantined_by_language"][language] == SIZES[split]
            expected[path.parent.name] = info["rows"]
    ledger = list(jsonl(store / "runs/test/ledger.jsonl"))
    taken = 0
    for entry in ledger:
        if re.fullmatch(r"round \d+ annotation", entry["title"]):
            assert entry["info"]["rows"] == 2 * SIZES["dev"] - taken
        if entry["title"].endswith("selection"):
            taken += entry["info"]["rows"]
    assert taken > 0


def test_model_is_a_stock_token_classifier(first):
    store, _ = first
    folder = store / "runs/test/model"
    model = AutoModelForTokenClassification.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tagger = pipeline(
        "token-classification", model=model, tokenizer=tokenizer, trust_remote_code=False
    )
    assert {item["entity"] for item in tagger("a b c")} <= set(model.config.label2id)
    assert not list(folder.glob("*.bin"))
    assert not list(store.rglob("*.pkl"))


def test_actors_give_what_the_driver_gives(
    first, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Annotators, and the actor that derives and scores where there are many rows. What was trained
    is there, and of the annotations all but one of sets."""
    store, report = first
    there = artifacts(store)

    def again(step: Mapping[str, Any]) -> bool:
        return step["title"] == "round 3 annotation" or step["kind"] in ("derived", "scores")

    titles = begun_again(store, report, tmp_path, again)
    monkeypatch.setattr(derive, "SMALL", 0)
    done = run(world.config(tmp_path, "resources.annotators=2"))
    assert computed(done) == titles
    assert artifacts(tmp_path) == there


def unscored(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rounds without what test labels say of them."""
    return [{key: value for key, value in item.items() if key != "scores"} for item in rounds]


def test_attention_is_eager_in_bf16_alone(
    ray_cluster: str, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, attend = list[Classifier](), Classifier.use_eager_attention

    def noted(model: Classifier) -> None:
        asked.append(model)
        attend(model)

    monkeypatch.setattr(Classifier, "use_eager_attention", noted)
    flags = ["method.rounds=0", "method.source_epochs=1"]
    for precision, trainings in (("fp32", 0), ("bf16", 1)):
        report = run(world.config(tmp_path, *flags, f"resources.precision={precision}"))
        assert len(asked) == trainings
        assert report["zero_shot_average"] is not None
    assert asked[0].model.config._attn_implementation == "eager"


def test_score_rounds_changes_nothing_but_the_report(first, world: World):
    store, report = first
    plain = run(world.config(store, "run.score_rounds=false", "run.name=plain"))
    assert plain["final"] == report["final"]
    assert plain["rounds"] == unscored(report["rounds"])
    assert set(report["rounds"][0]["scores"]) == {SOURCE, *TARGETS}


def test_cached_artifacts_are_shared_between_runs(first, world: World):
    store, _ = first
    other = run(world.config(store, "run.name=other", "method.tau=5"))
    titles = computed(other)
    assert "source" not in titles
    assert "round 2" not in titles
    assert "round 3 annotation" in titles


def test_store_verifies(first):
    store, _ = first
    whole = Store(str(store))
    for kind, fingerprint in artifacts(store):
        artifact = whole.find(kind, fingerprint)
        assert artifact is not None
        assert artifact.verify() == []
