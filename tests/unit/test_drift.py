"""How many labels change from one round to the next."""

from pathlib import Path

import pyarrow as pa

from tests.encoders import commit
from xlt_ray.run.label_drift import label_drift
from xlt_ray.store.artifacts import Store


def shard(rows: dict[str, tuple[str, list[int]]]) -> pa.Table:
    """An annotation of rows: language and labels by id."""
    return pa.table(
        {
            "id": pa.array(list(rows), pa.string()),
            "language": pa.array([language for language, _ in rows.values()], pa.string()),
            "labels": pa.array([x for _, x in rows.values()], pa.list_(pa.int16())),
        }
    )


def test_only_rows_of_both_rounds_are_compared(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    before = {
        "a": shard({"1": ("de", [0, 1]), "2": ("nl", [0]), "3": ("de", [2, 2, 2])}),
        "b": shard({"4": ("de", [1])}),
    }
    after = {"a": shard({"3": ("de", [2, 0, 0]), "1": ("de", [0, 1])}), "b": shard({})}
    table, facts = label_drift(
        commit(store, "annotation", "before", before), commit(store, "annotation", "after", after)
    )
    assert facts == {"items": 5, "changed": 2}
    assert table.to_pylist() == [{"language": "de", "items": 5, "changed": 2}]


def test_languages_are_counted_apart(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    before = {"a": shard({"1": ("de", [0, 1]), "2": ("nl", [0, 0])})}
    after = {"a": shard({"1": ("de", [1, 1]), "2": ("nl", [0, 0])})}
    table, facts = label_drift(
        commit(store, "annotation", "before", before), commit(store, "annotation", "after", after)
    )
    assert facts == {"items": 4, "changed": 1}
    assert table["changed"].to_pylist() == [1, 0]


def test_nothing_in_common_is_no_drift(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    before, after = {"a": shard({"1": ("de", [0])})}, {"a": shard({})}
    table, facts = label_drift(
        commit(store, "annotation", "before", before), commit(store, "annotation", "after", after)
    )
    assert facts == {"items": 0, "changed": 0}
    assert table.num_rows == 0
