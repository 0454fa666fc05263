"""What the training loop decides without training: shares of rows, and stopping."""

import numpy as np
import pyarrow as pa
import pytest

from xlt_ray.engine.train.batches import steps_of_epoch
from xlt_ray.engine.train.loop import Position, WorkerShare
from xlt_ray.recipe.stopping import stalled


def position(*scores: tuple[int, float]) -> Position:
    """Scores with the epochs they were taken in."""
    found = Position()
    found.history = [{"epoch": epoch, "source_dev": score} for epoch, score in scores]
    return found


def test_patience_counts_epochs_not_scores() -> None:
    middling = position((1, 0.5), (1, 0.4), (2, 0.3), (2, 0.6), (3, 0.1), (3, 0.2))
    assert middling.by_epoch() == [0.5, 0.6, 0.2]
    assert not stalled(middling.by_epoch()[:2], 1)
    assert stalled(middling.by_epoch(), 1)
    assert not stalled(middling.by_epoch(), 2)
    assert not stalled(middling.by_epoch(), None)


def test_the_best_score_is_the_earliest_of_equals() -> None:
    assert position((1, 0.2), (2, 0.7), (3, 0.7)).best() == 1
    assert position().best() is None


def test_an_epoch_that_is_longer_than_the_rows_goes_through_them_again() -> None:
    """Ten rows, four a step: three steps, and then from the start in another order."""
    longest = np.arange(1, 11)
    once = steps_of_epoch(longest, 4, steps=3, again=True, seed=5)
    assert sorted(np.concatenate(once)) == list(range(10))
    long = steps_of_epoch(longest, 4, steps=8, again=True, seed=5)
    assert [step.tolist() for step in long[:3]] == [step.tolist() for step in once]
    assert sorted(np.concatenate(long[3:6])) == list(range(10))
    assert [x.tolist() for x in long[3:6]] != [x.tolist() for x in once]
    assert len(long) == 8
    assert all(len(step) for step in long)
    short = steps_of_epoch(longest, 4, steps=5, again=False, seed=5)
    assert [len(step) for step in short] == [*map(len, once), 0, 0]
    nothing = steps_of_epoch(longest[:0], 4, steps=2, again=True, seed=5)
    assert [len(step) for step in nothing] == [0, 0]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_row_has_one_owner_and_all_are_counted(world: int) -> None:
    tables = [pa.table({"id": [f"x-{i}" for i in range(n, n + 40)]}) for n in (0, 40)]
    seen: list[str] = []
    counts = []
    for rank in range(world):
        share = WorkerShare(rank, world)
        rows = [item for table in tables for item in share.own(table)["id"].to_pylist()]
        assert len(rows) == share.counts[rank]
        counts.append(share.counts.tolist())
        seen += rows
    assert sorted(seen) == sorted(item for table in tables for item in table["id"].to_pylist())
    assert all(count == counts[0] for count in counts)
