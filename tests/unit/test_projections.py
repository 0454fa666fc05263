"""Source gold in translation: what can be asked for, what a plan and a report say of it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tests.reports import example
from xlt_ray.commands.compare import configure as configure_rows
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig, TranslationConfig
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.labels import LabelSet
from xlt_ray.report.card import _training
from xlt_ray.run.check import configure_run
from xlt_ray.run.dry_run import DryRun, text_of
from xlt_ray.run.gold_steps import Oracle
from xlt_ray.run.projections import (
    brought_notes,
    check_translated,
    languages_of,
    translated_notes,
)
from xlt_ray.run.session import run_recipe
from xlt_ray.store.artifacts import Artifact, Store

PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)
OWN = {"name": "bl_direct", "source_epochs": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """English sentences with entities, text of two targets, and ready translations."""
    rows = [{"tokens": ["Asha", "lives", str(n)], "tags": ["B-PER", "O", "O"]} for n in range(6)]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "raw.jsonl").write_text('{"tokens": ["a", "b"]}\n')
    (tmp_path / "few.jsonl").write_text(json.dumps(rows[0]) + "\n")
    pq.write_table(pa.table({"text": ["Asha lives 0"], "sw": ["Asha anaishi 0"], "ha": ["x"]}),
                   tmp_path / "en.parquet")  # fmt: skip
    return tmp_path


def config_of(
    folder: Path, *, benchmark: Any = (), method: Any = OWN, **translation: Any
) -> RunConfig[Any]:
    paths: dict[str, Any] = {x: {"unlabelled": [f"{folder}/raw.jsonl"]} for x in ("sw", "ha")}
    paths["en"] = {name: [f"{folder}/{name}.jsonl"] for name in ("train", "dev")}
    return configure_run(
        {
            "benchmark": {"name": "files", "source": ["en"], **dict(benchmark)},
            "files": {"paths": paths},
            "backbone": "toy",
            "method": method,
            "translation": {"train": True, "ready": str(folder), **translation},
            "store": {"root": str(folder / "store")},
        }
    )


def dry(config: RunConfig[Any]) -> DryRun:
    found = DryRun(Store(config.store.root), PLAN)
    run_recipe(config, found.driver(config))
    return found


def test_a_dry_run_says_what_will_be_translated(folder: Path) -> None:
    found = dry(config_of(folder, train_weight=2, languages="sw"))
    notes = {step["title"]: step["note"] for step in found.steps}
    into = "at most 6 texts of en into sw by the ready translations"
    assert notes["source train into sw"] == into
    assert notes["source train in brackets into sw"] == into
    assert notes["source train labels in sw"] == "at most 6 rows, labels by markers or alignment"
    assert notes["source train with translations"] == "at most 12 in sw"
    assert not any("ha" in title.split() for title in notes)
    (rows,) = (x["rows"] for x in found.steps if x["title"] == "source train tokens")
    assert rows == 18
    assert "into sw" in text_of(found)
    assert not found.missing


@pytest.mark.parametrize(
    ("way", "titles", "note"),
    [
        ("markers", {"source train in brackets"}, "labels by markers"),
        ("alignment", {"source train running text"}, "labels by alignment"),
        ("auto", {"source train in brackets", "source train running text"},
         "labels by markers or alignment"),
    ],
)  # fmt: skip
def test_what_is_translated_depends_on_the_way(
    folder: Path, way: str, titles: set[str], note: str
) -> None:
    steps = dry(config_of(folder, project=way)).steps
    assert {x["title"] for x in steps if x["kind"] == "marked"} == titles
    assert sum(x["kind"] == "translation" for x in steps) == 2 * len(titles)
    assert all(x["note"].endswith(note) for x in steps if x["kind"] == "projection")


def test_text_of_targets_is_not_translated(folder: Path) -> None:
    """Nor are their few labelled rows: gold of the sources alone is."""
    config = config_of(folder)
    paths = {**config.files.paths["sw"], "few": (f"{folder}/few.jsonl",)}
    files = config.files.model_copy(update={"paths": {**config.files.paths, "sw": paths}})
    found = dry(config.model_copy(update={"files": files}))
    rows = {step["title"]: step["rows"] for step in found.steps}
    assert rows["source train text"] == 7
    assert rows["source train alone text"] == 6
    assert rows["source train into sw"] == rows["source train running text"] == 6
    assert rows["source train with translations"] == 7 + 2 * 6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": True}, "neither model, back nor ready"),
        ({"train": True, "model": "m", "replace": True}, "with replace"),
        ({"train": True, "ready": "r", "back": "b"}, "back and ready"),
        ({"train": True, "ready": "r", "train_weight": 0}, "train_weight"),
        ({"threshold": 1.0}, "threshold"),
        ({"project": "words"}, "project"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TranslationConfig(**values)
    TranslationConfig(train=True, back="b")


def test_words_are_translated_for_their_labels_alone(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"words of a token task .* allowed: translation\.train"):
        config_of(folder, train=False)


def test_a_missing_column_or_file_is_named(folder: Path) -> None:
    pq.write_table(pa.table({"text": ["x"], "sw": ["y"]}), folder / "en.parquet")
    with pytest.raises(ConfigError, match=r"en\.parquet: needs a column 'ha' of strings"):
        dry(config_of(folder))
    (folder / "en.parquet").unlink()
    with pytest.raises(ConfigError, match=r"has no <language>\.parquet of en"):
        dry(config_of(folder))


def test_a_checkpoint_from_the_pivot_is_for_gold_in_the_pivot(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"m/\{language\} translates from the pivot fr, and the"):
        dry(config_of(folder, ready=None, back="m/{language}", pivot="fr"))


def test_there_has_to_be_a_language(folder: Path) -> None:
    config = config_of(folder)
    assert languages_of(config, ["en"], ["en", "sw", "ha"]) == ("sw", "ha")
    with pytest.raises(ConfigError, match=r"targets that are no source: none"):
        languages_of(config, ["en"], ["en"])
    with pytest.raises(ConfigError, match=r"targets that are no source: sw, ha"):
        dry(config_of(folder, languages="tr"))


def test_brackets_need_entities_and_sources_stay(folder: Path) -> None:
    rows = [{"tokens": ["a", "b"], "tags": ["NOUN", "VERB"]}] * 3
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ConfigError, match=r"translation\.project: markers are put around entities"):
        config_of(folder, project="markers")
    steps = dry(config_of(folder)).steps
    assert all(x["note"].endswith("by alignment") for x in steps if x["kind"] == "projection")


def test_translations_that_nobody_learns_from_are_refused(folder: Path) -> None:
    config = config_of(folder)
    check_translated(config, learned=True)
    with pytest.raises(ConfigError, match=r"translation\.train: no training has source gold"):
        check_translated(config, learned=False)


def test_a_report_counts_rows_that_are_left_out(folder: Path) -> None:
    info = {"rows": 90, "given": 100, "ways": {"alignment": 30, "markers": 60},
            "rejected": {"marker lost": 6, "entity unaligned": 3}, "quarantined": 1}  # fmt: skip
    found = {("source train", "sw"): Artifact("", "projection", "f", {"info": info})}
    assert translated_notes(config_of(folder), found) == [
        "learned from source train gold in translation: 90 of 100 rows in sw (30 by alignment, 60 "
        "by markers); left out: marker lost 6, entity unaligned 3, quarantined 1"
    ]
    (note,) = translated_notes(config_of(folder, train_weight=3), found)
    assert "by markers), each counted 3 times; left out" in note
    assert translated_notes(config_of(folder), {}) == []


def test_the_card_of_a_model_says_so() -> None:
    plain = example()
    report = replace(plain, config={**plain.config, "translation": {"train": True}})
    assert "source gold in translation" in _training(report, None)
    assert "translation" not in _training(plain, None)


def test_rows_of_a_comparison_have_translations_of_their_own() -> None:
    rows: dict[str, dict[str, Any]] = {
        "plain": {"name": "bl_direct"},
        "translated": {"name": "bl_direct", "translation": {"train": True, "ready": "r"}},
    }
    found = configure_rows({"benchmark": {"name": "toy"}, "backbone": "toy",
                            "compare": {"methods": rows, "seeds": [0]}})  # fmt: skip
    assert not found.rows["plain"][0].translation.train
    assert found.rows["translated"][0].translation.train
    rows["plain"]["translation"] = {"beams": 2}
    with pytest.raises(ConfigError, match=r"methods\.plain\.translation: .*a row's own are model,"):
        configure_rows({"benchmark": {"name": "toy"}, "backbone": "toy",
                        "compare": {"methods": rows, "seeds": [0]}})  # fmt: skip


def test_words_that_are_read_in_translation_are_not_compared_with_gold() -> None:
    driver: Any = SimpleNamespace(foreign=("sw",), benchmark=SimpleNamespace(task="token"))
    with pytest.raises(ConfigError, match=r"translation\.replace: words of sw are read in transl"):
        Oracle(driver, cast(Any, None)).gold  # noqa: B018


def test_a_note_says_how_many_labels_were_brought_back() -> None:
    def brought(**info: int) -> Artifact:
        return Artifact("", "brought-back", "f", {"info": info})

    found = {"round 1 test": brought(given=9, back=1), "final test": brought(given=9, back=8),
             "final sw test": Artifact("", "brought-back", "planned", {"info": {}})}  # fmt: skip
    said = "9 entities have a place in the text itself"
    names = LabelSet(("O", "B-PER"))
    assert brought_notes(names, ["sw", "ha"], found) == [
        f"final test: sw, ha read in translation; 8 of {said}"
    ]
    assert "9 words have a place" in brought_notes(LabelSet(("NOUN",)), ["sw"], found)[0]
