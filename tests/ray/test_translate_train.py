"""Whole runs that learn from source gold in translation, with its labels carried over."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.marian import write_marian
from tests.world import SOURCE, TARGETS, World, artifacts, begun_again, computed
from xlt_ray.data.benchmarks.toy import LANGUAGES, make_source, unlabelled_text
from xlt_ray.data.benchmarks.toy_translation import Quality, ready_rows
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROWS = 80
DIRECT = {"name": "bl_direct", "source_lr": 4e-3, "source_epochs": 3}


def write_ready(folder: Path, quality: Quality) -> Path:
    """Translations of the source's first train sentences into both targets."""
    source, found = (
        make_source("ner", SOURCE, "train", {"train": ROWS}),
        dict[str, dict[str, str]](),
    )
    for language in TARGETS:
        for text, other in ready_rows(source, make_source("ner", language, "train"), quality):
            found.setdefault(text, {"text": text})[language] = other
    folder.mkdir()
    schema = pa.schema([(name, pa.string()) for name in ("text", *TARGETS)])
    rows = pa.Table.from_pylist(list(found.values()), schema=schema)
    pq.write_table(rows, folder / f"{SOURCE}.parquet")
    return folder


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A third of the brackets is lost."""
    return write_ready(tmp_path_factory.mktemp("ready") / "tables", Quality(lost=0.3))


def rows_of(store: Path, step: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of a step's result."""
    folder = store / "artifacts" / step["kind"] / step["fingerprint"]
    return [row for path in folder.glob("*.parquet") for row in pq.read_table(path).to_pylist()]


def values(world: World, store: Path, translation: dict[str, Any], **sections: Any) -> Any:
    found = world.values(store)
    found["benchmark"] |= {"max_rows": {"train": ROWS, "dev": 40, "test": 24}}
    whole = {"train": True, "pivot": SOURCE, **translation}
    return {**found, "method": DIRECT, "translation": whole, **sections}


def test_projected_labels_are_learned_from(
    ray_cluster: str, world: World, ready: Path, tmp_path: Path
) -> None:
    """All of it are steps: repeated they are found, by actors they have the same bytes, and few
    labelled rows and weights change nothing of the translations."""
    store, translation = tmp_path / "store", {"ready": str(ready)}
    report = run(configure_run(values(world, store, translation)))
    steps = {step["title"]: step for step in report["steps"]}
    for language in TARGETS:
        assert {f"source train into {language}", f"source train in brackets into {language}",
                f"source train labels in {language}"} <= steps.keys()  # fmt: skip
        (note,) = (x for x in report["notes"] if f"rows in {language}" in x)
        assert note.startswith("learned from source train gold in translation: ")
        assert f" of {ROWS} rows in {language}" in note
        assert " by alignment" in note
        assert " by markers" in note
    projected = {title: step for title, step in steps.items() if step["kind"] == "projection"}
    assert len(projected) == 2
    for step in projected.values():
        assert len(rows_of(store, step)) == ROWS
    joined = steps["source train with translations"]
    (tokens,) = (x for x in report["steps"] if x["title"] == "source train tokens")
    assert joined["kind"] == "labelled"
    assert tokens["kind"] == "tokens"
    rows = rows_of(store, joined)
    assert {x["language"] for x in rows} == {SOURCE, *TARGETS}

    there = artifacts(store)
    kinds = ("projection", "marked", "labelled", "translation")
    titles = begun_again(store, report, tmp_path / "again", lambda x: x["kind"] in kinds)
    pool = {"annotators": 1, "train_workers": 0, "train_cpus": 1, "num_cpus": 2}
    again = run(configure_run(values(world, tmp_path / "again", translation, resources=pool)))
    assert computed(again) == titles
    assert artifacts(tmp_path / "again") == there

    few = values(world, store, {**translation, "train_weight": 2}, run={"name": "few"})
    few["benchmark"] |= {"few": 5, "few_weight": 3}
    other = run(configure_run(few))
    cached = {step["title"] for step in other["steps"] if step["cached"]}
    assert projected.keys() <= cached, "known by the content of the source text"
    assert sum("each counted 2 times" in note for note in other["notes"]) == 2
    assert other["few"] == dict.fromkeys(TARGETS, 5)
    (whole,) = (x for x in other["steps"] if x["title"] == "source train with translations")
    ids = [x["id"] for x in rows_of(store, whole)]
    translated = sum(id.startswith(">") for id in ids)
    assert len(ids) == ROWS + 2 * 5 * 3 + translated
    assert len({id.split()[-1] for id in ids if id.startswith(">")}) == ROWS


def test_a_checkpoint_translates_texts_with_their_labels(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    """A random checkpoint from the source; pairs keep their labels."""
    text = [" ".join(words) for x in LANGUAGES for words in unlabelled_text(x, size=60)]
    for name in TARGETS:
        write_marian(tmp_path / "marian" / name, text)
    asked = values(world, tmp_path / "store", {
        "back": str(tmp_path / "marian/{language}"), "max_new_tokens": 8, "languages": [TARGETS[0]],
    })  # fmt: skip
    asked["benchmark"] = {"name": "toy_pair", "source": [SOURCE], "targets": list(TARGETS),
                          "max_rows": {"train": 32, "dev": 24, "test": 16}}  # fmt: skip
    report = run(configure_run(asked))
    (note,) = (x for x in report["notes"] if "in translation" in x)
    assert f" of 32 rows in {TARGETS[0]}" in note
    assert not any(TARGETS[1] in step["title"] for step in report["steps"])
    (joined,) = (x for x in report["steps"] if x["kind"] == "labelled")
    rows = rows_of(tmp_path / "store", joined)
    own = {x["id"]: x["labels"] for x in rows if x["language"] == SOURCE}
    there = {x["id"]: x["labels"] for x in rows if x["language"] != SOURCE}
    assert there
    assert all(labels == own[id.split()[1]] for id, labels in there.items())
