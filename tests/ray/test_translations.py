"""Text translated there and back by a checkpoint on a real Ray, stored once, and learnt from."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.marian import write_marian
from tests.world import SOURCE, TAGS, TARGETS, World, artifacts, begun_again, computed
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.subwords import running_text
from xlt_ray.data.benchmarks.toy import LANGUAGES, make_source, unlabelled_text
from xlt_ray.data.benchmarks.toy_translation import translations
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


REPLACED = {"model": "x", "replace": True}
WORDS = {"name": "bl_direct", "source_lr": 4e-3, "source_epochs": 8}


def write_translated(folder: Path) -> dict[str, Any]:
    """Test text of a target whose sentences are translations of ones of the source, as files of
    ones own, and a table that has the sentences of the source for them."""
    source, pairs = make_source("ner", SOURCE, "test", {"test": 40}), dict[str, str]()
    into = make_source("ner", TARGET, "test", {"knobs": {TARGET: {"loans": 0.0}}})
    lines = list[str]()
    for own, other in translations(source, into):
        pairs[running_text([x.form for x in other]).text] = running_text([x.form for x in own]).text
        lines += [f"{x.form}\t{x.tag}\n" for x in other] + ["\n"]
    (folder / "test.conll").write_text("".join(lines), encoding="utf-8")
    (folder / "raw.txt").write_text("\n".join(pairs) + "\n", encoding="utf-8")
    (folder / "ready").mkdir()
    table = pa.table({"text": list(pairs), "pivot": list(pairs.values())})
    pq.write_table(table, folder / f"ready/{TARGET}.parquet")
    return {"ready": str(folder / "ready"), "pivot": SOURCE, "replace": True}


@pytest.mark.parametrize("annotators", [0, 1])
def test_labels_of_words_that_were_read_in_translation_come_back(
    ray_cluster: str, world: World, tmp_path: Path, annotators: int
) -> None:
    """The test text has the words and the gold of the target, the model reads the source's."""
    translation = write_translated(tmp_path)
    found = world.values(tmp_path / "store")
    corpus = Path(found["benchmark"]["root"]) / SOURCE
    files = {
        "task": "token", "labels": list(TAGS.names),
        "paths": {
            SOURCE: {x: [str(corpus / f"{x}.txt")] for x in ("train", "dev")},
            TARGET: {"test": [str(tmp_path / "test.conll")],
                     "unlabelled": [str(tmp_path / "raw.txt")]},
        },
    }  # fmt: skip
    found |= {"benchmark": {"name": "files", "source": [SOURCE], "targets": [TARGET]},
              "files": files, "method": WORDS}  # fmt: skip
    found["resources"] |= {"annotators": annotators}
    plain = run(configure_run(found))
    asked = {**found, "translation": translation, "run": {"name": "translated"}}
    report = run(configure_run(asked))
    titles = {step["title"] for step in report["steps"]}
    assert {"test running text", f"test into {SOURCE}", f"test words in {SOURCE}",
            "zero-shot test brought back", "final test brought back"} <= titles  # fmt: skip
    (note,) = (x for x in report["notes"] if "read in translation" in x)
    back, given = (int(x) for x in re.findall(r"\d+", note))
    assert 0 < back <= given
    assert note == (f"final test: {TARGET} read in translation; {back} of {given} entities have a "
                    "place in the text itself")  # fmt: skip
    assert report["final"][TARGET]["support"] == plain["final"][TARGET]["support"]
    assert report["final"][TARGET]["f1"] > plain["final"][TARGET]["f1"]
    again = run(configure_run({**asked, "run": {"name": "again"}}))
    assert all(step["cached"] for step in again["steps"])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"translation": {"model": "x"}}, "words of a token task would lose their labels there"),
        ({"translation": {**REPLACED, "back": "y"}}, r"translation\.back of a token task"),
        ({"translation": REPLACED, "benchmark": {"few": 5}}, r"benchmark\.few"),
        ({"translation": REPLACED, "benchmark": {"select_on": "target_dev"}},
         r"benchmark\.select_on of a token task: these labels are of the words of the text"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_refused(
    world: World, store: Path, sections: dict[str, Any], message: str
) -> None:
    found = world.values(store) | {"method": {"name": "bl_direct"}}
    benchmark = found["benchmark"] | sections.pop("benchmark", {})
    with pytest.raises(ConfigError, match=message):
        configure_run({**found, **sections, "benchmark": benchmark})


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
