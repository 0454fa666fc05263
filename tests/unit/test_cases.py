"""Odd files that people have: each is read rightly, or refused by its name."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xlt_ray.commands import self_train
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.user_files import source_of
from xlt_ray.data.schema import Example
from xlt_ray.labels import LabelSet

ENTITIES = ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER")
Check = Callable[[Path, Path], str]
"""Sees to a case, given its folder and an encoder; says what came of it."""


def configured(
    paths: dict[str, dict[str, str]], encoder: Path, method: str | None = None, **files: Any
) -> Any:
    return self_train.configure(
        {"benchmark": {"name": "files"}, "backbone": str(encoder)},
        flags=[
            *(f"files.paths.{name}.{split}={place}" for name, splits in paths.items()
              for split, place in splits.items()),
            *(f"files.{key}={value}" for key, value in files.items()),
            *([f"method.name={method}"] if method else []),
        ],
    )  # fmt: skip


def usual(folder: Path) -> dict[str, dict[str, str]]:
    (train,) = folder.glob("train.*")
    return {"en": {"train": str(train)}, "xx": {"unlabelled": str(folder / "raw.txt")}}


def read(
    task: str,
    labels: tuple[str, ...],
    rows: int,
    *,
    bad: int = 0,
    scheme: str = "bio",
    given: str = "",
) -> Check:
    """Reads so many rows with these labels, and every word but numbers."""

    def check(folder: Path, encoder: Path) -> str:
        keys = dict([given.split("=")]) if given else {}
        config = configured(usual(folder), encoder, **keys)
        found = config.files
        assert (found.task, found.labels) == (task, labels)
        if task == "token":
            assert found.scheme == scheme
        splits = ("train", "dev")
        items = [x for split in splits for x in source_of(found, "en", split).examples(None)]
        labelled = [
            x for split in splits
            for x in source_of(found, "en", split).examples(LabelSet(labels))
        ]  # fmt: skip
        good = [x for x in labelled if isinstance(x, Example)]
        assert (len(good), len(labelled) - len(good)) == (rows, bad)
        assert len(items) == len(labelled)
        words = {word for x in good for word in x.tokens or (x.text or "").split()}
        assert words
        if task == "token":
            assert not any(word.isdigit() or word.startswith("#") for word in words)
        return f"{rows} rows: {', '.join(labels)}"

    return check


def refused(reason: str) -> Check:
    """Is refused before anything is trained, by these words."""

    def check(folder: Path, encoder: Path) -> str:
        with pytest.raises((ConfigError, ValueError), match=reason) as found:
            configured(usual(folder), encoder)
        return f"refused: {str(found.value).replace(str(folder), '')}"

    return check


def shown(
    text: str,
    paths: Callable[[Path], dict[str, dict[str, str]]] = usual,
    method: str | None = None,
) -> Check:
    """A dry run that finds nothing missing, of a method or the recommended one, and says this."""

    def check(folder: Path, encoder: Path) -> str:
        config = configured(paths(folder), encoder, method)
        store = config.store.model_copy(update={"root": str(Path(encoder).parent / "no-store")})
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = self_train.dry_run(config.model_copy(update={"store": store}))
        assert code == 0, printed.getvalue()
        assert text in printed.getvalue()
        (line,) = [x for x in printed.getvalue().splitlines() if text in x][:1]
        return f"dry run: {line.strip()}"

    return check


def _two_sources(folder: Path) -> dict[str, dict[str, str]]:
    found = {name: {"train": f"{folder}/{name}.conll"} for name in ("en", "de")}
    return {**found, "xx": {"unlabelled": f"{folder}/raw.txt"}}


CASES: dict[str, Check] = {
    "baseline": read("token", ENTITIES, 60),
    "blank-tab": read("token", ENTITIES, 60),
    "bmes": read("token", ENTITIES, 60, scheme="bmes"),
    "comments-id": read("token", ENTITIES, 60),
    "csv-empty-label": read("sentence", ("bad", "good", "mixed"), 80, bad=10),
    "csv-gz-plain-name": refused("is a gzip file, its name has to end with .gz"),
    "csv-label-spaces": read("sentence", ("bad", "good", "mixed"), 90),
    "csv-single-class": refused("one class, 'good', needed: two or more"),
    "csv-utf16": refused("is not UTF-8 but UTF-16"),
    "doccano-label": read("token", ENTITIES, 60),
    "doccano-token": read("token", ENTITIES, 60, given="task=token"),
    "double-space": read("token", ENTITIES, 60),
    "empty-token-json": refused("empty token ''"),
    "germeval": read("token", ENTITIES, 60),
    "index-col-big": read("token", ENTITIES, 300),
    "jsonarray-in-jsonl": refused("is a JSON array, one object per line is needed"),
    "jsonl-bool": read("sentence", ("false", "true"), 90),
    "jsonl-multilabel": refused("several labels, which are not supported"),
    "jsonl-numeric": read("sentence", ("1", "2", "3", "4", "5"), 90),
    "long-entities": shown("of the entities have more than method.max_len=4 words", method="maral"),
    "no-prefix": read("token", ENTITIES, 60, scheme="bare"),
    "one-type-two-sources": shown("missing: nothing", _two_sources),
    "only-o": refused("no entity in the training files"),
    "parquet-classlabel": read("token", ENTITIES, 60),
    "trailing-tab": read("token", ENTITIES, 60),
    "two-class": shown("missing: nothing"),
    "uner-iob2": read("token", ENTITIES, 60),
}
"""Cases of files; those that take a model are in `tests.ray.test_model_cases`."""


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", CASES)
def test_a_case_has_its_outcome(name: str, shared: Path, shared_model: Path) -> None:
    assert CASES[name](shared / "cases" / name, shared_model)
