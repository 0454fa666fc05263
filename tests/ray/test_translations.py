"""Text translated there and back by a checkpoint on a real Ray, stored once, and learnt from."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.marian import write_marian
from tests.world import SOURCE, TARGETS, World, artifacts, begun_again, computed
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TARGET = TARGETS[0]
CONLST = {
    "name": "conlst", "source_lr": 4e-3, "source_epochs": 2, "lr": 1e-3, "stage1": "none",
    "iterations": 1, "t0": 0.34,
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("translations")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = [" ".join(words) for x in LANGUAGES for words in unlabelled_text(x, size=60)]
    return write_marian(tmp_path_factory.mktemp("marian") / TARGET, text)


def values(world: World, store: Path, name: str, **sections: Any) -> dict[str, Any]:
    found = world.values(store)
    found["benchmark"] = {"name": "toy_pair", "source": [SOURCE], "targets": [TARGET],
                          "max_rows": {"train": 64, "dev": 40, "test": 24}}  # fmt: skip
    return {**found, "method": CONLST, "run": {"name": name}, **sections}


def test_text_is_translated_once_and_learnt_from(
    ray_cluster: str, world: World, store: Path, checkpoint: Path, tmp_path: Path
) -> None:
    model = str(checkpoint.parent / "{language}")  # one folder for each language
    translation = {"model": model, "back": str(checkpoint), "pivot": SOURCE, "max_new_tokens": 8}
    report = run(configure_run(values(world, store, "one", translation=translation)))
    there = artifacts(store)
    steps = {step["title"]: step for step in report["steps"]}
    assert {f"unlabelled into {SOURCE}", "unlabelled there and back"} <= steps.keys()
    assert report["notes"] == []
    folder = store / f"artifacts/translation/{steps['unlabelled there and back']['fingerprint']}"
    files = sorted(folder.glob("text-*.parquet"))
    assert [path.name for path in files] == [f"text-{TARGET}.part-00000{i}.parquet" for i in (0, 1)]
    back = [row for path in files for row in pq.read_table(path).to_pylist()]
    (text,) = (step for step in report["steps"] if step["title"] == "unlabelled text")
    rows = pq.read_table(store / f"artifacts/text/{text['fingerprint']}/text-{TARGET}.parquet")
    assert [row["id"] for row in back] == rows["id"].to_pylist()
    assert [row["text"] for row in back] != rows["text"].to_pylist()
    kinds = {title: step for title, step in steps.items() if step["kind"] == "derived"}
    assert {f"{TARGET} iteration 1 {kind}" for kind in ("kept", "masked", "translated")} <= set(
        kinds
    )
    titles = begun_again(store, report, tmp_path, lambda x: x["title"].endswith("there and back"))
    pool = {"annotators": 1, "train_workers": 0, "train_cpus": 1, "num_cpus": 2}
    actors = values(world, tmp_path, "one", translation=translation, resources=pool)
    assert computed(run(configure_run(actors))) == titles
    assert artifacts(tmp_path) == there, "an actor translates as the driver's process does"
    other = {**CONLST, "name": "flexmatch", "epochs": 1}
    for key in ("stage1", "iterations"):
        del other[key]
    again = run(configure_run(values(world, store, "two", translation=translation, method=other)))
    cached = {step["title"]: step["cached"] for step in again["steps"]}
    assert cached[f"unlabelled into {SOURCE}"]
    assert cached["unlabelled there and back"]
    assert cached["unlabelled there and back tokens"]


@pytest.mark.parametrize("goes_back", [False, True])
def test_targets_can_be_read_in_translation(
    ray_cluster: str, world: World, store: Path, checkpoint: Path, goes_back: bool
) -> None:
    """And what is read so is translated into its own language and once more."""
    translation = {"model": str(checkpoint), "pivot": SOURCE, "replace": True, "max_new_tokens": 8}
    if goes_back:
        translation["back"] = str(checkpoint)
    report = run(
        configure_run(
            values(world, store, f"replaced-{goes_back}", translation=translation,
                   method={**CONLST, "iterations": 1})
        )
    )  # fmt: skip
    titles = {step["title"] for step in report["steps"]}
    assert {f"unlabelled into {SOURCE}", f"test into {SOURCE}"} <= titles
    own = {f"unlabelled back from {SOURCE}", f"unlabelled once more into {SOURCE}",
           "unlabelled there and back tokens"}  # fmt: skip
    assert own & titles == (own if goes_back else set())
    assert report["final"][SOURCE]["support"] == report["final"][TARGET]["support"] == 24
    notes = [note for note in report["notes"] if "masking alone: no translation" in note]
    assert len(notes) == (not goes_back)


def test_what_cannot_be_translated_is_refused(world: World, store: Path) -> None:
    translation = {"model": "x", "replace": True}
    found = values(world, store, "words", translation=translation, method={"name": "bl_direct"})
    with pytest.raises(ConfigError, match="words of a token task"):
        configure_run({**found, "benchmark": world.values(store)["benchmark"]})


@pytest.mark.parametrize(
    ("translation", "message"),
    [
        ({"model": "a/{language}"}, r"translation\.back: needed, since a/\{language\} translates"),
        ({"model": "./no-{language}", "back": "b"},
         rf"translation of {TARGET}: translation: './no-{TARGET}' is no folder and no hub id"),
        ({"ready": "/nowhere"}, r"/nowhere has no <language>\.parquet of"),
    ],
)  # fmt: skip
def test_translators_are_looked_for_before_anything_is_trained(
    ray_cluster: str, world: World, tmp_path: Path, translation: dict[str, Any], message: str
) -> None:
    asked = values(world, tmp_path, "missing", translation={"pivot": SOURCE, **translation})
    with pytest.raises(ConfigError, match=message):
        run(configure_run(asked))
    assert not list(tmp_path.glob("artifacts/model/*"))
