"""Parquet files with columns whose values a library would make: refused before one is made."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.encoders import commit
from xlt_ray.data.benchmarks.registry import BENCHMARKS, sources
from xlt_ray.data.readers.hub import HubSource
from xlt_ray.data.readers.user_files import FilesConfig, UserSource, found_in
from xlt_ray.engine.read import TokeniseTask, tokenise_shard
from xlt_ray.engine.text_shards import TextShard
from xlt_ray.engine.translate import ready_of
from xlt_ray.labels import LabelSet
from xlt_ray.store.artifacts import Store

NAME = "test.made_by_code"
CLASSES = LabelSet(("good", "bad"))
MADE: list[bytes] = []


class MadeScalar(pa.ExtensionScalar):
    """Does what a pickle would: something else than to give the value."""

    def as_py(self, **options: Any) -> None:
        MADE.append(b"made")


class MadeType(pa.ExtensionType):
    """A column whose values run code, as Ray's of pickled objects are."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), NAME)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, data: bytes) -> "MadeType":
        return cls()

    def __arrow_ext_scalar_class__(self) -> type:
        return MadeScalar


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    pa.register_extension_type(MadeType())
    MADE.clear()
    yield
    pa.unregister_extension_type(NAME)
    assert not MADE, "a value was made"


def made(count: int) -> pa.Array:
    return pa.ExtensionArray.from_storage(MadeType(), pa.array([b"x"] * count))


def nested(kind: str) -> pa.Array:
    """Three rows that have such values somewhere."""
    offsets = pa.array([0, 1, 2, 3], pa.int32())
    match kind:
        case "list":
            return pa.ListArray.from_arrays(offsets, made(3))
        case "large list of lists":
            inner = pa.ListArray.from_arrays(offsets, made(3))
            return pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), inner)
        case "struct":
            return pa.StructArray.from_arrays([pa.array([1, 2, 3]), made(3)], ["a", "b"])
        case "map":
            return pa.MapArray.from_arrays(offsets, pa.array(["a", "b", "c"]), made(3))
        case "fixed list":
            return pa.FixedSizeListArray.from_arrays(made(3), 1)
        case _:
            return made(3)


def write(path: Path, kind: str = "", **more: pa.Array) -> Path:
    columns = {"text": ["a", "b", "c"], "label": ["good", "bad", "good"], **more}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({**columns, "deep": nested(kind)}), path)
    return path


def own(path: Path) -> UserSource:
    return UserSource((str(path),), "de", "train", "sentence")


KINDS = ["", "list", "large list of lists", "struct", "map", "fixed list"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_known", [True, False])
def test_a_column_that_is_not_even_read_is_refused(
    tmp_path: Path, kind: str, is_known: bool
) -> None:
    path = write(tmp_path / "a.parquet", kind)
    if not is_known:
        pa.unregister_extension_type(NAME)
    try:
        with pytest.raises(ValueError, match=rf"a\.parquet: column 'deep.*{NAME}.*plain type"):
            list(own(path).examples(CLASSES))
    finally:
        if not is_known:
            pa.register_extension_type(MadeType())


def test_pickles_of_ray_are_refused(tmp_path: Path) -> None:
    """Ray registers the type when ``ray.data`` is imported."""
    from ray.data.extensions import ArrowPythonObjectArray

    marker = tmp_path / "marker"

    class Evil:
        def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[Any]]:
            return Path.touch, (marker,)

    values = ArrowPythonObjectArray.from_objects([Evil()])
    pq.write_table(pa.table({"text": ["a"], "x": values}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"'x' has the extension type 'ray\.data\.arrow_pickled"):
        list(own(tmp_path / "a.parquet").examples(None))
    with pytest.raises(ValueError, match="arrow_pickled"):
        found_in(FilesConfig(paths={"de": {"train": (str(tmp_path / "a.parquet"),)}}), ("de",))
    assert not marker.exists()


def test_folders_of_hub_data_sets(tmp_path: Path) -> None:
    write(tmp_path / "de/train.parquet", "struct")
    source = HubSource("x", "de", "de", "train", "sentence", folder=str(tmp_path))
    with pytest.raises(ValueError, match=rf"train\.parquet: column 'deep\.b'.*{NAME}"):
        list(source.examples(CLASSES))
    (found,) = sources(BENCHMARKS["sentiment"], root=str(tmp_path), languages=["de"], split="train")
    with pytest.raises(ValueError, match=NAME):
        list(found.examples(None))


def test_translations(tmp_path: Path) -> None:
    write(tmp_path / "de.parquet", back=pa.array(["x", "y", "z"]))
    with pytest.raises(
        ValueError, match=rf"translation\.ready: .*de\.parquet: column 'deep'.*{NAME}"
    ):
        ready_of(str(tmp_path), ["de"], "back")


def test_files_of_the_store(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "x": made(1)})
    store = Store(str(tmp_path))
    found = commit(store, "text", "t", {"text-de": table})
    for read in (
        lambda: found.shard("text-de.parquet", ["id"]),
        found.schema,
        lambda: list(found.tables()),
        lambda: tokenise_shard(
            TokeniseTask(text=found, backbone=found, task="token"),
            TextShard(0, "de", 0, "text-de.parquet", 0, 1),
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"text/t/text-de\.parquet: column 'x'.*{NAME}"):
            read()


def test_types_that_arrow_makes_itself_are_let_through(tmp_path: Path) -> None:
    """JSON as `datasets` writes it, UUIDs as pandas does, and classes of pandas."""
    columns = {
        "text": pa.array(["a", "b"]).dictionary_encode(),
        "label": pa.array(["good", "bad"]),
        "more": pa.array(['{"a": 1}', None], pa.json_()),
        "key": pa.array([uuid.UUID(int=1), uuid.UUID(int=2)], pa.uuid()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = list(own(tmp_path / "a.parquet").examples(CLASSES))
    assert [(row.text, row.labels) for row in rows] == [("a", 0), ("b", 1)]  # type: ignore[union-attr]


def test_columns_of_every_plain_type_stand_beside_the_text(tmp_path: Path) -> None:
    """A table has prices, dates and what else; nobody has to drop them."""
    beside = {
        "decimal": pa.array([1, 2], pa.decimal128(5, 2)),
        "wide": pa.array([1, 2], pa.decimal256(50, 2)),
        "when": pa.array([1, 2], pa.timestamp("us", "UTC")),
        "day": pa.array([1, 2], pa.date32()),
        "time": pa.array([1, 2], pa.time64("us")),
        "lasts": pa.array([1, 2], pa.duration("us")),
        "half": pa.array([1.0, 2.0], pa.float16()),
        "flag": pa.array([True, None]),
        "nothing": pa.nulls(2),
        "bytes": pa.array([b"\xff", b""]),
        "view": pa.array(["a", "b"], pa.string_view()),
        "fixed": pa.array([b"ab", b"cd"], pa.binary(2)),
        "lists": pa.array([[[1], []], None], pa.list_(pa.list_(pa.decimal128(5, 2)))),
        "deep": pa.array([{"a": {"b": [1, 2]}}, None]),
        "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64())),
    }
    table = pa.table({"text": ["a", "b"], "label": ["good", "bad"], **beside})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = list(own(tmp_path / "a.parquet").examples(CLASSES))
    assert [(row.text, row.labels) for row in rows] == [("a", 0), ("b", 1)]  # type: ignore[union-attr]
