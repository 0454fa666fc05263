"""Translation: a tiny MarianMT checkpoint, ready translations, and what is wrong with either."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from tests.marian import write_marian
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import TranslationConfig
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.translate import Route, TranslateTask, offering, ready_of, run_translate
from xlt_ray.models.translator import Translator, _code
from xlt_ray.store.artifacts import Artifact, Store

HERE = Pool(0, 0, 1, 0.0)
SENTENCES = [" ".join(words) for x in LANGUAGES for words in unlabelled_text(x, size=60)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_marian(tmp_path_factory.mktemp("marian"), SENTENCES)


def translator(folder: Path, target: str = "en", **options: Any) -> Translator:
    values: dict[str, Any] = {"beams": 1, "max_new_tokens": 12, "budget": 256,
              "device": torch.device("cpu"), "arithmetic": nullcontext, **options}  # fmt: skip
    return Translator(folder, "xx", target, **values)


@pytest.mark.slow
def test_translations_keep_the_order_whatever_the_budget(checkpoint: Path) -> None:
    found = translator(checkpoint)(SENTENCES[:40])
    assert len(found) == 40
    assert len(set(found)) > 1
    assert translator(checkpoint, budget=1)(SENTENCES[:40]) == found
    again = translator(checkpoint)(SENTENCES[39::-1])
    assert again[::-1] == found
    assert translator(checkpoint)([]) == []


@pytest.mark.slow
def test_too_long_a_text_is_cut(checkpoint: Path) -> None:
    (found,) = translator(checkpoint)([" ".join(SENTENCES)])
    assert len(found) > 0


def test_marian_of_many_languages_is_told_which(tmp_path: Path) -> None:
    folder = write_marian(tmp_path / "many", SENTENCES, languages="fr pt_br de")
    found = translator(folder, codes={"en": "fr"})
    assert found.prefix == ">>fr<< "
    assert translator(folder, target="pt", beams=2).prefix == ">>pt_br<< "
    with pytest.raises(ValueError, match=r"translation\.codes\.en"):
        translator(folder)


def test_names_of_languages_are_told_where_there_is_one() -> None:
    names = {"de_DE", "zh_CN", "zh_TW", "en"}
    assert _code("en", names, {}) == "en"
    assert _code("de", names, {}) == "de_DE"
    assert _code("zh", names, {"zh": "zh_TW"}) == "zh_TW"
    with pytest.raises(ValueError, match=r"several languages named 'zh': zh_CN, zh_TW; give one"):
        _code("zh", names, {})
    with pytest.raises(ValueError, match=r"no languages named 'ur': de_DE, en"):
        _code("ur", names, {})


# -- steps ---------------------------------------------------------------------------------------


def text_of(store: Store) -> Artifact:
    attempt = store.attempt("text", "pairs")
    for language, count in (("a", 5), ("b", 3)):
        rows = pa.table(
            {
                "id": [f"{language}{i}" for i in range(count)],
                "language": [language] * count,
                "text": [f"{language} premise {i // 2}" for i in range(count)],
                "text_pair": [f"{language} claim {i}" for i in range(count)],
            }
        )
        with attempt.stream(f"text-{language}.parquet") as stream:
            pq.write_table(rows, stream, row_group_size=2)
    info = {"rows": 8, "rows_by_language": {"a": 5, "b": 3}}
    return store.commit(attempt, {"info": info, "seconds": 0.0})


def ready_in(store: Store, rows: dict[str, str], name: str = "ready") -> Artifact:
    table = pa.table({"text": list(rows), "back": list(rows.values())})
    attempt = store.attempt("backbone", name)
    attempt.write_table("a.parquet", table)
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


def task_of(
    store: Store, text: Artifact, routes: dict[str, Route], **options: Any
) -> TranslateTask:
    values: dict[str, Any] = {
        "whole": False, "codes": {}, "beams": 1, "max_new_tokens": 8, "batch_tokens": 256,
        "arithmetic": Arithmetic(), **options
    }  # fmt: skip
    attempt = store.attempt("translation", "t")
    return TranslateTask(attempt=attempt, text=text, task="pair", routes=routes, **values)


def rows_of(task: TranslateTask, facts: dict[str, Any]) -> list[dict[str, Any]]:
    store = Store(task.out.root)
    made = store.commit(task.out, {"info": facts, "seconds": 0.0})
    return made.table().to_pylist()


def test_ready_translations_are_looked_up_text_by_text(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    text = text_of(store)
    known = {f"a premise {i}": f"PREMISE {i}" for i in range(3)}
    known |= {f"a claim {i}": f"CLAIM {i}" for i in (0, 1, 4)} | {"a claim 2": "  "}
    task = task_of(store, text, {"a": Route("a", "a", ready=ready_in(store, known))})
    facts = run_translate(task, HERE, limit=0)
    assert facts == {"rows": 4, "rows_by_language": {"a": 4}, "shards": 3}
    found = rows_of(task, facts)
    assert [(x["id"], x["text"], x["text_pair"]) for x in found] == [
        ("a0", "PREMISE 0", "CLAIM 0"),
        ("a1", "PREMISE 0", "CLAIM 1"),
        ("a2", "PREMISE 1", "a claim 2"),  # what is blank stays as it was
        ("a4", "PREMISE 2", "CLAIM 4"),
    ]


def test_text_of_other_languages_stays_where_the_whole_is_wanted(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    text = text_of(store)
    known = {f"a premise {i}": f"P{i}" for i in range(3)} | {f"a claim {i}": "C" for i in range(5)}
    route = Route("a", "en", ready=ready_in(store, known), must=True)
    task = task_of(store, text, {"a": route}, whole=True)
    facts = run_translate(task, HERE, limit=0)
    assert facts["rows_by_language"] == {"a": 5, "b": 3}
    assert [x["text"] for x in rows_of(task, facts) if x["language"] == "b"] == [
        "b premise 0", "b premise 0", "b premise 1",
    ]  # fmt: skip
    del known["a claim 3"]
    route = replace(route, ready=ready_in(store, known, "less"))
    with pytest.raises(ValueError, match=r"1 rows of a have no back translation, such as a3"):
        run_translate(task_of(store, text, {"a": route}, whole=True), HERE, limit=0)


def test_a_killed_step_takes_over_the_shards_that_are_there(
    tmp_path: Path, checkpoint: Path
) -> None:
    store = Store(str(tmp_path))
    attempt = store.attempt("backbone", "marian")
    for path in checkpoint.iterdir():
        attempt.copy(path.name, path)
    model = store.commit(attempt, {"info": {}, "seconds": 0.0})
    task = task_of(store, text_of(store), {"a": Route("a", "en", model=model)})
    mark = pa.table({"id": ["a0"], "language": ["a"], "text": ["kept"], "text_pair": ["kept"]})
    task.out.write_table("text-a.part-000000.parquet", mark)
    found = rows_of(task, run_translate(task, HERE, limit=0))
    assert [x["id"] for x in found] == ["a0", "a2", "a3", "a4"]
    assert found[0]["text"] == "kept"
    assert found[1]["text"] == found[2]["text"] != "a premise 1", "one premise, one translation"


def test_files_of_ready_translations_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no <language>\.parquet of a, b"):
        ready_of(str(tmp_path), ["a", "b"], "back")
    pq.write_table(pa.table({"text": ["x"], "pivot": ["y"]}), tmp_path / "a.parquet")
    found, there = ready_of(str(tmp_path), ["a", "b"], "pivot")
    assert there == ["a"]
    assert len(found.identity["ready"]["a"]) == 64
    with pytest.raises(ConfigError, match=r"a\.parquet: needs a column 'back' of strings, there"):
        ready_of(str(tmp_path), ["a"], "back")
    pq.write_table(pa.table({"text": ["x"], "back": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"back \(int64\)"):
        ready_of(str(tmp_path), ["a"], "back")
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(ConfigError, match=r"a\.parquet: no Parquet file"):
        ready_of(str(tmp_path), ["a"], "back")


def test_each_column_of_ready_translations_is_an_artifact_of_its_own(tmp_path: Path) -> None:
    table = pa.table({"text": ["x"], "pivot": ["y"], "back": ["z"]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = [ready_of(str(tmp_path), ["a"], column)[0] for column in ("pivot", "back")]
    assert found[0].identity != found[1].identity


def test_ready_translations_may_go_around_once_more(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"], "pivot_back": ["y"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["x"], "pivot": ["y"]}), tmp_path / "b.parquet")
    assert offering(str(tmp_path), ["a", "b", "c"], "pivot_back") == ["a"]
    _, there = ready_of(str(tmp_path), ["a"], "pivot_back")
    assert there == ["a"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "m", "ready": "r"}, "model and ready"),
        ({"back": "b"}, "no model that gets there"),
        ({"replace": True}, "neither model nor ready"),
    ],
)
def test_what_contradicts_itself_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TranslationConfig(**values)


def test_ready_translations_are_those_that_were_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x"], "back": ["old"]}), path)
    found, _ = ready_of(str(tmp_path), ["a"], "back")
    pq.write_table(pa.table({"text": ["x"], "back": ["new"]}), path)
    store = Store(str(tmp_path / "store"))
    attempt = store.attempt("backbone", "b")
    info = found.write(attempt)
    kept = store.commit(attempt, {"info": info, "seconds": 0.0}).table()
    assert kept["back"].to_pylist() == ["old"]
