"""How a text artifact is cut: row group n is shard n, of whatever is made of it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlt_ray.engine.text_shards import shards_of
from xlt_ray.store.artifacts import Artifact, Store


def text_in(root: Path, files: dict[str, list[int]]) -> Artifact:
    """A text artifact of files with row groups of so many rows; rows are numbered throughout."""
    store = Store(str(root))
    attempt, at = store.attempt("text", "t"), 0
    for name, groups in files.items():
        sink = pa.BufferOutputStream()
        schema = pa.schema([("id", pa.string()), ("language", pa.string())])
        with pq.ParquetWriter(sink, schema) as writer:
            for size in groups:
                ids = [str(number) for number in range(at, at + size)]
                writer.write_table(pa.table({"id": ids, "language": ["x"] * size}), size)
                at += size
        attempt.write(f"{name}.parquet", sink.getvalue().to_pybytes())
    attempt.write("quarantine-a.jsonl", b"")
    return store.commit(attempt, {"info": {"rows": at}, "seconds": 0.0})


@pytest.fixture
def text(tmp_path: Path) -> Artifact:
    return text_in(tmp_path, {"text-a": [2, 2, 1], "text-b": [3], "text-zh-TW": [1, 1]})


def test_row_groups_are_numbered_over_all_files(text: Artifact) -> None:
    shards = shards_of(text)
    assert [(x.language, x.part, x.group) for x in shards] == [
        ("a", 0, 0), ("a", 1, 1), ("a", 2, 2), ("b", 0, 0), ("zh-TW", 0, 0), ("zh-TW", 1, 1)
    ]  # fmt: skip
    assert [x.name for x in shards] == [f"part-{number:06d}.parquet" for number in range(6)]
    assert all(x.size > 0 for x in shards)


def test_the_rows_of_all_shards_are_those_of_the_text(text: Artifact) -> None:
    rows = [shard.rows(text)["id"].to_pylist() for shard in shards_of(text)]
    assert rows == [["0", "1"], ["2", "3"], ["4"], ["5", "6", "7"], ["8"], ["9"]]


def test_a_translated_text_is_cut_alike(text: Artifact, tmp_path: Path) -> None:
    """Its files are named by the shards of the original, and are one shard each."""
    names = [shard.text_name.removesuffix(".parquet") for shard in shards_of(text)]
    assert names[:3] == [f"text-a.part-00000{n}" for n in range(3)]
    again = text_in(tmp_path / "other", {name: [1] for name in names})
    assert [(x.language, x.part, x.name) for x in shards_of(again)] == [
        (x.language, x.part, x.name) for x in shards_of(text)
    ]
    assert [x.text_name for x in shards_of(again)] == [x.text_name for x in shards_of(text)]
