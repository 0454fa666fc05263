"""What the training loop decides without training: shares of rows, stopping, the schedule."""

import pyarrow as pa
import pytest
import torch
from torch import nn

from xlt_ray.engine.train_loop import (
    Position,
    Share,
    _flatten,
    _optimiser,
    _unflatten,
    _warmup,
)
from xlt_ray.methods.base import stalled


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


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_row_has_one_owner_and_all_are_counted(world: int) -> None:
    tables = [pa.table({"id": [f"x-{i}" for i in range(n, n + 40)]}) for n in (0, 40)]
    seen: list[str] = []
    counts = []
    for rank in range(world):
        share = Share(rank, world)
        rows = [item for table in tables for item in share.own(table)["id"].to_pylist()]
        assert len(rows) == share.counts[rank]
        counts.append(share.counts.tolist())
        seen += rows
    assert sorted(seen) == sorted(item for table in tables for item in table["id"].to_pylist())
    assert all(count == counts[0] for count in counts)


def test_the_rate_rises_and_falls_linearly() -> None:
    rates = [_warmup(step, 20, 0.1) for step in range(20)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[-1] == pytest.approx(1 / 18)
    assert [_warmup(step, 4, 0.0) for step in range(4)] == pytest.approx([1, 0.75, 0.5, 0.25])


def test_an_optimiser_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    second.load_state_dict(first.state_dict())
    inputs = torch.randn(4, 5, 3)
    one, two = _optimiser(first, 0.1, 0.01), _optimiser(second, 0.1, 0.01)

    def train(model: nn.Module, optimiser: torch.optim.Optimizer, batch: torch.Tensor) -> None:
        model(batch).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()

    for batch in inputs[:2]:
        train(first, one, batch)
    second.load_state_dict(first.state_dict())
    saved = {name: value.clone() for name, value in _flatten(one.state_dict()).items()}
    _unflatten(two, saved, torch.device("cpu"))
    for batch in inputs[2:]:
        train(first, one, batch)
        train(second, two, batch)
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
