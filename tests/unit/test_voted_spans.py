"""Classes of spans from labellers: shares of votes by hand, and the recipe."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.encoders import commit
from tests.recipes import MemoryDriver
from tests.recipes import run_method as run
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.maral.voted import voted_spans
from xlt_ray.store.artifacts import Artifact, Store

LABELS = ["O", "B-X", "I-X", "B-Y", "I-Y"]


def votes_of(store: Store, name: str, labels: list[list[int]]) -> Artifact:
    table = {"id": ["r0", "r1"], "labels": pa.array(labels, pa.list_(pa.int16()))}
    return commit(store, "annotation", name, {"part-000000": pa.table(table)})


def test_shares_of_the_votes_by_hand(tmp_path: Path) -> None:
    """Spans of two words by their first and last: (0, 0), (0, 1), (1, 1). One labeller says that
    both words are one X, the other that the first is a Y; the second row has one labelled word."""
    store = Store(str(tmp_path))
    q = [[0.2, 0.3, 0.5]] * 3
    table = {"id": ["r0", "r1"], "language": ["a", "a"], "q": [q, q]}
    said = commit(store, "annotation", "said", {"part-000000": pa.table(table)})
    anna = votes_of(store, "anna", [[1, 2], [3, -100]])
    ben = votes_of(store, "ben", [[3, 0], [-100, -100]])
    found, facts = voted_spans(said, anna, ben, labels=LABELS, max_len=2)
    one, two = (np.array(row) for row in found["q"].to_pylist())
    assert one.tolist() == [[0.5, 0, 0.5], [0.5, 0.5, 0], [1, 0, 0]]
    assert two[0].tolist() == [0, 0, 1]
    assert two[1:] == pytest.approx(np.array(q[1:]))
    assert facts == {"spans": 6, "voted": 4}


class Labelled(MemoryDriver):
    labellers = ("anna", "ben")


@pytest.mark.slow
def test_labellers_are_the_teacher(tmp_path: Path) -> None:
    driver = Labelled(tmp_path)
    run("maral", driver, teacher="labellers", refinement="global")
    assert set(driver.titles("votes")) == {"anna", "ben"}
    columns = driver.call("train", "a student").paired
    assert columns is not None
    assert [item.name for item in columns.columns] == ["teacher", "model"]
    assert columns.columns[0].artifact == driver.call("derive", "a voted spans").result


def test_labellers_teach_where_they_are_asked_to(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="teacher: model, so anna, ben would label nothing"):
        run("maral", Labelled(tmp_path), refinement="global")
    with pytest.raises(ConfigError, match="teacher: labellers, and there are none"):
        run("maral", MemoryDriver(tmp_path), teacher="labellers", refinement="global")
