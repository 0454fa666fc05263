"""Labellers of a run: who they are, which methods take them, what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.resources import Plan
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.dry_run import DryRun
from xlt_ray.store.artifacts import Store

PLAN = Plan(Pool(0, 0, 1, 0.0), train_workers=0, train_cpus=1, train_gpus=0.0)


def corpus(folder: Path) -> dict[str, Any]:
    """Files of two languages; the votes are about the raw text."""
    (folder / "en.conll").write_text("Ann\tB-PER\nrests\tO\n\nin\tO\nUlm\tB-LOC\n\n" * 6)
    (folder / "sw.jsonl").write_text('{"tokens": ["Juma", "analala"]}\n')
    (folder / "test.conll").write_text("Rehema\tB-PER\nanacheza\tO\n\n")
    rows = [
        {"tokens": ["Juma", "analala"], "labels.anna": ["B-PER", "O"], "labels.ben": ["O", "O"]},
        {"tokens": ["other"], "labels.cy": ["O"]},
    ]
    (folder / "votes.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    paths = {
        "en": {"train": str(folder / "en.conll")},
        "sw": {"unlabelled": str(folder / "sw.jsonl"), "test": str(folder / "test.conll")},
    }
    return {"benchmark": {"name": "files"}, "files": {"paths": paths}, "backbone": "toy"}


def driver_of(folder: Path, name: str = "lvm", **labellers: Any) -> RayDriver:
    values = {**corpus(folder), "method": {"name": name}, "labellers": labellers}
    return DryRun(Store(str(folder / "store")), PLAN).driver(configure_run(values))


def test_labellers_have_names_and_files_perhaps_several(tmp_path: Path) -> None:
    file = str(tmp_path / "votes.jsonl")
    driver = driver_of(tmp_path, crowd={"file": file, "each": True}, rules={"call": "openai"})
    assert driver.labellers == ("anna", "ben", "cy", "rules")
    assert driver_of(tmp_path, anna={"file": file}).labellers == ("anna",)
    assert driver_of(tmp_path).labellers == ()


@pytest.mark.parametrize(
    ("labellers", "message"),
    [
        ({"en": {"file": "votes.jsonl"}}, "labellers.en: 'en' is a language of the run, too"),
        ({"anna": {"file": "votes.jsonl"}, "all": {"file": "votes.jsonl", "each": True}},
         "labellers.all: 'anna' is a labeller of labellers.anna, too"),
        ({"x": {"file": "sw.jsonl", "each": True}}, "labellers.x.each: the files name no labelle"),
        ({"x": {"file": "none.jsonl", "each": True}}, "labellers.x.each: labellers.x.file: "),
    ],
)  # fmt: skip
def test_names_that_do_not_fit(labellers: dict[str, Any], message: str, tmp_path: Path) -> None:
    for section in labellers.values():
        section["file"] = str(tmp_path / section["file"])
    with pytest.raises(ConfigError) as caught:
        driver_of(tmp_path, **labellers)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"file": "none.jsonl"}, "labellers.x.file: "),
        ({"file": "votes.jsonl", "languages": "de"}, "x.languages: 'de' has no unlabelled text"),
        ({"file": "test.conll"}, "x.file: test.conll has the test labels that sw is scored by"),
        ({"call": "nowhere.py:X"}, "labellers.x.call: nowhere.py cannot be read"),
        ({"call": "openai"}, "labellers.x.args: Chat: "),
        ({"call": "openai", "args": {"model": "m", "url": "http://example.org/v1"}},
         "labellers.x.args.url: example.org is another machine"),
    ],
)  # fmt: skip
def test_votes_that_are_refused(section: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Before anything runs: as in a dry run."""
    if "file" in section:
        section["file"] = str(tmp_path / section["file"])
    with pytest.raises(ConfigError) as caught:
        driver_of(tmp_path, x=section).votes("x")
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["st", "iwda", "dt", "bl_direct"])
def test_methods_that_do_not_learn_from_labellers_refuse_them(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{name} does not learn from anna; allowed with them: c"):
        driver_of(tmp_path, name, anna={"file": str(tmp_path / "votes.jsonl")})


def test_names_of_labellers_are_names_of_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the name of a labeller has letters a to z"):
        driver_of(tmp_path, **{"a/b": {"file": "x.jsonl"}})
