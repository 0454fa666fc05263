"""A few labelled rows of a target on a real Ray: their labels reach every training with gold."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import xlt_ray
from tests.world import SOURCE, TARGETS, World, jsonl
from xlt_ray.data.readers.user_files import UserSource
from xlt_ray.data.schema import Example
from xlt_ray.labels import LabelSet
from xlt_ray.recipe.corpus import Model
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.scoring import Scorer, all_gold
from xlt_ray.run.session import open_run, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

NEAR, FAR = TARGETS
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
ROWS, WEIGHT, SOURCE_ROWS = 8, 3, 300
SHORT: dict[str, dict[str, Any]] = {
    "cltp": {
        "name": "cltp", "source_lr": 4e-3, "source_epochs": 2, "round_lr": 1e-3, "rounds": 2,
        "round_epochs": 1, "one_hot_rounds": 1, "final_epochs": 1, "ratio": 0.2, "src_ratio": 0.5,
    },
    "hard_vote": {"name": "hard_vote", "source_lr": 4e-3, "source_epochs": 2, "lr": 1e-3,
                  "epochs": 1},
    "lvm": {"name": "lvm", "source_lr": 4e-3, "source_epochs": 2, "lr": 1e-3, "matrix_lr": 1e-2,
            "epochs": 1},
    "maral": {"name": "maral", "source_lr": 1e-3, "source_epochs": 1, "lr": 1e-3, "epochs": 2,
              "warmup": 1, "k": 20, "q": 16},
}  # fmt: skip


def labelled(world: World, count: int, shift: int = 0) -> list[dict[str, Any]]:
    """Rows of the far target's train text; their entities perhaps of other types than they are."""
    source = UserSource((str(world.corpus / FAR / "train.txt"),), FAR, "train", "token")
    rows = [x for x in source.examples(LabelSet(TAGS), count) if isinstance(x, Example)]
    others = [0, *((label - 1 + 2 * shift) % 6 + 1 for label in range(1, 7))]
    return [
        {"tokens": list(row.tokens or ()), "tags": [TAGS[others[x]] for x in row.labels or ()]}  # type: ignore[union-attr]
        for row in rows
    ]


def trained(
    world: World, store: Path, name: str, few: Sequence[dict[str, Any]], title: str, **keys: Any
) -> dict[str, Any]:
    """The ledger's entries of the models of a run, by title, and under "" its report."""
    files = {
        SOURCE: {x: str(world.corpus / SOURCE / f"{x}.txt") for x in ("train", "dev")},
        FAR: {"unlabelled": str(world.corpus / FAR / "dev.txt"),
              "test": str(world.corpus / FAR / "test.txt")},
    }  # fmt: skip
    values = world.values(store)
    values["benchmark"] = {"few_weight": WEIGHT, **keys.pop("benchmark", {})}
    values["files"] = {"paths": files, "words": "blanks", **keys}
    del values["method"], values["run"], values["store"]
    method = dict(SHORT[name])
    done = xlt_ray.self_train(
        method=method.pop("name"), few={FAR: few}, name=title, store=str(store), **values, **method
    )
    ledger = jsonl(store / f"runs/{title}/ledger.jsonl")
    return {x["title"]: x for x in ledger if x["kind"] == "model"} | {"": done}


def first_loss(store: Path, model: str) -> float:
    """The loss of the first epoch of a training."""
    manifest = json.loads((store / f"artifacts/model/{model}/manifest.json").read_text())
    return manifest["info"]["history"][0]["loss"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("few")


def test_labelled_rows_are_in_every_training_of_cltp(
    ray_cluster: str, world: World, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, as often as they count; of the source a round has its share."""
    found = trained(world, store, "cltp", labelled(world, ROWS), "cltp")
    done = found.pop("")
    assert f"{ROWS} of {FAR}, each counted {WEIGHT} times" in capsys.readouterr().out
    assert done.notes[-1].startswith("not zero-shot: labelled rows of targets")
    assert "few-shot" in Path(done.report).read_text()
    assert list(found) == ["source", "round 1", "round 2", "final"]
    rows = {title: entry["info"]["rows"] for title, entry in found.items()}
    assert rows["source"] == SOURCE_ROWS + ROWS * WEIGHT
    ledger = list(jsonl(store / "runs/cltp/ledger.jsonl"))
    (picked,) = (x["info"]["rows"] for x in ledger if x["title"] == "round 1 selection")
    assert rows["round 1"] == SOURCE_ROWS // 2 + ROWS * WEIGHT + picked


@pytest.mark.parametrize(
    "name", [pytest.param(x, marks=[pytest.mark.long] * (x == "maral")) for x in sorted(SHORT)]
)
def test_their_labels_make_the_models(
    ray_cluster: str, world: World, store: Path, name: str
) -> None:
    """With other labels of the same text every model is another one, and all text is the same."""
    first, second = (
        trained(world, store, name, labelled(world, ROWS, shift), f"{name}-{shift}")
        for shift in (0, 1)
    )
    assert first.keys() == second.keys()
    for title in first.keys() - {""}:
        assert first[title]["fingerprint"] != second[title]["fingerprint"], title
    learners = [title for title in first if title.startswith(("source", "round", "final"))]
    learners += [title for title in first if title.endswith(("teacher", "student"))]
    assert learners
    for title in learners:
        assert first[title]["info"]["rows"] >= ROWS * WEIGHT
        losses = [first_loss(store, found[title]["fingerprint"]) for found in (first, second)]
        assert losses[0] != losses[1], title
    for found in (first, second):
        assert found[""].scores[FAR]["support"] > 0


def test_dev_rows_of_targets_choose(ray_cluster: str, world: World, store: Path) -> None:
    """The score that chooses is the mean over their languages, of models of sources too."""
    values = world.values(store)
    values["benchmark"] |= {"select_on": "target_dev", "few": 5}
    values["method"], values["run"] = SHORT["hard_vote"], {"name": "chosen"}
    config = configure_run(values)
    report = run(config)
    ledger = list(jsonl(store / "runs/chosen/ledger.jsonl"))
    models = {x["title"]: x for x in ledger if x["kind"] == "model"}
    judged_by = {f"source {SOURCE}": TARGETS, NEAR: (NEAR,), FAR: (FAR,)}
    assert models.keys() == judged_by.keys()
    with open_run(config) as begun:
        driver = RayDriver(config, begun.runner, begun.plan)
        scorer = Scorer(driver, all_gold(driver))
        for title, languages in judged_by.items():
            artifact = begun.runner.store.find("model", models[title]["fingerprint"])
            assert artifact is not None
            scores = scorer.evaluate(title, Model(artifact), "dev")
            mean = statistics.fmean(scores[name]["f1"] for name in languages)
            assert models[title]["info"]["source_dev"] == pytest.approx(mean)
    assert any("chosen on labelled dev rows" in note for note in report["notes"])
    assert report["few"] == {NEAR: 5, FAR: 5}
    texts = {x["title"] for x in ledger if x["kind"] == "gold"}
    assert f"target {NEAR} {FAR} dev gold" in texts
    assert "source dev gold" not in texts
