"""The Python door without a run: rows in memory, keys of calls, errors, lazy imports."""

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import xlt_ray
from xlt_ray.api.inputs import inside, is_paths, places_of
from xlt_ray.api.keys import keys_of, named
from xlt_ray.config.errors import ConfigError, DataError, RunInterrupted, XltError
from xlt_ray.config.schema import MethodConfig
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.run import check
from xlt_ray.run.failures import public_error
from xlt_ray.store.artifacts import Store

ROWS: list[dict[str, Any]] = [
    {"tokens": ["Anna", "lives"], "tags": ["B-PER", "O"]},
    {"tokens": ["in", "Ulm"], "tags": ["O", "B-LOC"]},
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def rows_of(store: Store, data: Any) -> list[dict[str, Any]]:
    (place,) = places_of(data, store, "source['en']")
    return pq.read_table(place).to_pylist()


def tagged() -> datasets.Dataset:
    """The rows, with tags as numbers that the features name."""
    names = ["O", "B-PER", "B-LOC"]
    features = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            "tags": datasets.Sequence(datasets.ClassLabel(names=names)),
        }
    )
    numbers = [{**row, "tags": [names.index(tag) for tag in row["tags"]]} for row in ROWS]
    return datasets.Dataset.from_list(numbers, features=features)


def test_rows_are_the_same_file_whatever_holds_them(store: Store) -> None:
    held = [ROWS, pa.Table.from_pylist(ROWS), pd.DataFrame(ROWS), tagged(), tuple(ROWS)]
    places = {place for data in held for place in places_of(data, store, "x")}
    assert len(places) == 1
    assert rows_of(store, ROWS) == ROWS


def test_other_rows_are_another_file(store: Store) -> None:
    assert places_of(ROWS, store, "x") != places_of(ROWS[:1], store, "x")


def test_texts_and_lists_of_words_are_rows(store: Store) -> None:
    assert rows_of(store, ["one", "two"]) == [{"text": "one"}, {"text": "two"}]
    assert rows_of(store, [["a", "b"], ["c"]]) == [{"tokens": ["a", "b"]}, {"tokens": ["c"]}]
    labels = datasets.Dataset.from_list(
        [{"text": "good", "label": 1}],
        features=datasets.Features(
            {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])}
        ),
    )
    assert rows_of(store, labels) == [{"text": "good", "label": "yes"}]


def test_many_rows_are_written_in_row_groups_of_one_size(store: Store) -> None:
    texts = [f"text {number}" for number in range(9000)]
    (place,) = places_of(texts, store, "x")
    groups = pq.ParquetFile(place).metadata
    assert [groups.row_group(i).num_rows for i in range(3)] == [4096, 4096, 808]


def test_paths_stay_what_they_are(store: Store, tmp_path: Path) -> None:
    assert places_of("a/*.conll, b.jsonl", store, "x") == ["a/*.conll", "b.jsonl"]
    assert places_of(tmp_path, store, "x") == [str(tmp_path)]
    assert places_of(["a.conll", "s3://b/c.jsonl.gz"], store, "x") == [
        "a.conll",
        "s3://b/c.jsonl.gz",
    ]
    assert not is_paths(["One sentence.", "Read it in file.csv"])
    assert not is_paths([])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "x: there are no rows"),
        (3, "x: no rows in a value of type int; allowed: a path or glob"),
        ([{"text": "a"}, "b"], "x: rows are texts, lists of words, or dicts, all of one kind"),
        ([{"text": "a"}, {"text": 3}], "x: the rows do not make columns: "),
    ],
)
def test_what_has_no_rows_is_an_error(store: Store, data: Any, message: str) -> None:
    with pytest.raises(DataError) as raised:
        places_of(data, store, "x")
    assert str(raised.value).startswith(message)


def test_a_file_of_a_bucket_keeps_the_options_of_its_uri() -> None:
    assert inside("s3://b/root?scheme=http", "inputs/x") == "s3://b/root/inputs/x?scheme=http"
    assert inside("/root/", "inputs/x") == "/root/inputs/x"


NOTHING: dict[str, Any] = dict.fromkeys(("source", "dev", "few", "unlabelled", "test"))


def test_arguments_are_keys_of_the_configuration() -> None:
    found = keys_of(
        {"rounds": 5, "train": {"batch_size": 8}, "train.max_length": 64, "benchmark": "toy"},
        data=NOTHING, name="x", store="s", rest="method",
    )  # fmt: skip
    assert found == {
        "method": {"rounds": 5},
        "train": {"batch_size": 8, "max_length": 64},
        "benchmark": {"name": "toy"},
        "run": {"name": "x"},
        "store": {"root": "s"},
    }
    assert found.origin == "the call"


def test_paths_may_be_paths(tmp_path: Path) -> None:
    found = keys_of(
        {"backbone": tmp_path, "translation": {"ready": tmp_path}, "tags": [tmp_path]},
        data=NOTHING, name=None, store=tmp_path / "store", rest="method",
    )  # fmt: skip
    assert found["backbone"] == found["translation"]["ready"] == str(tmp_path)
    assert found["method"]["tags"] == [str(tmp_path)]
    assert found["store"] == {"root": str(tmp_path / "store")}


@pytest.mark.parametrize("call", [xlt_ray.self_train, xlt_ray.load, xlt_ray.predict])
def test_a_store_that_is_no_path_is_named(call: Any) -> None:
    """Of every call, and as an error of the configuration."""
    given = () if call is xlt_ray.self_train else ("x",)
    data = (ROWS,) if call is xlt_ray.predict else ()
    with pytest.raises(
        ConfigError, match=r"store: a folder or URI, such as .*, got \{'root': 's'\}"
    ):
        call(*given, *data, store={"root": "s"})


def test_text_makes_files_the_benchmark(store: Store) -> None:
    found = keys_of(
        {}, data={**NOTHING, "source": {"en": "a.conll"}, "test": {"sw": "b.conll"}},
        name=None, store=store.root, rest="method",
    )  # fmt: skip
    assert found["benchmark"] == {"name": "files"}
    assert found["files"] == {"paths": {"en": {"train": ["a.conll"]}, "sw": {"test": ["b.conll"]}}}
    assert keys_of(
        {"files": {"paths": {"sw": {"unlabelled": ["c.txt"]}}}},
        data={**NOTHING, "few": {"sw": "b.conll"}}, name=None, store=store.root, rest="method",
    )["files"] == {"paths": {"sw": {"unlabelled": ["c.txt"], "few": ["b.conll"]}}}  # fmt: skip
    with pytest.raises(ConfigError, match=r"benchmark.name: toy, but source, dev"):
        keys_of({"benchmark": "toy"}, data={**NOTHING, "source": {"en": "a.conll"}},
                name=None, store=store.root, rest="method")  # fmt: skip
    with pytest.raises(ConfigError, match="source: give text by language"):
        keys_of({}, data={**NOTHING, "source": "a.conll"},  # type: ignore[dict-item]
                name=None, store=store.root, rest="method")  # fmt: skip


def test_a_wrong_key_has_the_message_of_the_command_line() -> None:
    with pytest.raises(xlt_ray.ConfigError) as raised:
        xlt_ray.self_train(method="cltp", benchmark="toy", backbone="toy", roundz=3)
    assert "method.roundz: unknown key; allowed: " in str(raised.value)
    assert "(from the call)" in str(raised.value)


class MineConfig(MethodConfig, frozen=True):
    name: Literal["mine"] = "mine"
    """Name of the method."""


class Mine(Method[MineConfig]):
    Config = MineConfig
    tasks = frozenset({"token"})

    def run(self, driver: Driver) -> Outcome:
        raise AssertionError


class Cltp(Mine):
    class Config(MethodConfig, frozen=True):
        name: Literal["cltp"] = "cltp"
        """Name of the method."""


def test_a_class_is_a_method_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_registered", {})
    assert named("cltp") == "cltp"
    assert named(Mine) == "mine"
    assert check.known_methods()["mine"] is Mine
    monkeypatch.setattr(check, "_registered", {})  # as in another process
    assert check.method_of(MineConfig()) is Mine
    with pytest.raises(ConfigError, match="'cltp', the name of another method"):
        named(Cltp)
    with pytest.raises(ConfigError, match="int is neither a name nor a subclass of Method"):
        named(int)  # type: ignore[arg-type]


def test_a_method_of_a_notebook_is_sent_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code could not be told from older versions of it."""
    monkeypatch.setattr(Mine, "__module__", "no_such_module")
    with pytest.raises(ConfigError, match="put it into a file"):
        named(Mine)


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConfigError("a: b"), ConfigError, "a: b"),
        (ValueError("row 3 is odd"), DataError, "row 3 is odd"),
        (pa.ArrowInvalid("torn"), RunInterrupted, "ArrowInvalid: torn"),
        (OSError("disk full"), RunInterrupted, "OSError: disk full"),
    ],
)
def test_errors_are_of_a_small_family(error: Exception, kind: type, text: str) -> None:
    found = public_error(error)
    assert type(found) is kind
    assert isinstance(found, XltError)
    assert str(found).splitlines()[0] == text


def test_a_cause_without_a_message_says_nothing() -> None:
    """As Ray Data names it for an actor that could not begin; its error says why."""
    error = RuntimeError("the actor died\nDeviceError: no GPU")
    error.__cause__ = type("SystemException", (Exception,), {})()
    assert str(public_error(error)).splitlines()[0] == "RuntimeError: DeviceError: no GPU"


def test_no_result_is_an_error(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"none has no report.json"):
        _ = xlt_ray.Run("none", store.root).scores


def test_public_names_are_there() -> None:
    for name in xlt_ray.__all__:
        assert getattr(xlt_ray, name).__doc__
    assert set(xlt_ray.__all__) <= set(dir(xlt_ray))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xlt_ray.nothing


def test_the_package_is_imported_lazily() -> None:
    heavy = {"torch", "ray", "pyarrow", "pydantic"}
    code = f"import sys, xlt_ray; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
