"""Thresholds by class: fresh and sticky, and what they are before anything is learnt."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlt_ray.ops import thresholds


def test_nothing_confident_lets_everything_in() -> None:
    found = thresholds.of_pass(torch.tensor([0.4, 0.5]), torch.tensor([0, 2]), 3, 0.9, floor=0.0)
    assert found.counts_C.tolist() == [0, 0, 0]
    assert found.threshold_C.tolist() == [0, 0, 0]
    assert found.kept_N.all()
    bare = thresholds.of_pass(torch.tensor([0.4]), torch.tensor([0]), 3, 0.9)
    assert bare.beta_C.tolist() == [0, 0, 0], "the denominator is 1"


def test_a_probability_at_the_threshold_is_kept() -> None:
    found = thresholds.of_pass(
        torch.tensor([0.9, 0.9, 0.89], dtype=torch.float64), torch.tensor([0, 0, 0]), 2, 0.9
    )
    assert found.beta_C.tolist() == [1.0, 0.0]
    assert found.kept_N.tolist() == [True, True, False]


def a_pass(shares: tuple[float, ...], size: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Confidences of three classes of one size, of which shares are at 0.95, others at 0.55."""
    best, said = torch.full((3 * size,), 0.55, dtype=torch.float64), torch.arange(3 * size) % 3
    for label, share in enumerate(shares):
        best[(said == label).nonzero()[: round(share * size), 0]] = 0.95
    return best, said


def test_a_whole_pass_selects_without_the_warm_up() -> None:
    """With it, the denominator is the texts below t0: no T is above 0.55, all is kept."""
    best, said = a_pass((0.5, 0.4, 0.3))
    assert thresholds.of_pass(best, said, 3, 0.9, warmup=True).kept_N.all()
    found = thresholds.of_pass(best, said, 3, 0.9)
    beta = torch.tensor([1, 0.8, 0.6], dtype=torch.float64)
    torch.testing.assert_close(found.threshold_C, 0.9 * beta / (2 - beta))
    kept = [float(found.kept_N[said == label].double().mean()) for label in range(3)]
    assert kept == pytest.approx([0.5, 0.4, 1.0]), "T = 0.9, 0.6 and 0.386"


def test_thresholds_have_a_floor_or_are_fixed() -> None:
    best, said = a_pass((0.5, 0.4, 0.0))
    assert thresholds.of_pass(best, said, 3, 0.9).threshold_C[2] == pytest.approx(1 / 3)
    assert thresholds.of_pass(best, said, 3, 0.9, floor=0.7).threshold_C[2] == 0.7
    fixed = thresholds.of_pass(best, said, 3, 0.9, is_fixed=True)
    assert fixed.threshold_C.tolist() == [0.9] * 3
    assert fixed.kept_N.sum() == 270


@given(
    counts=st.lists(st.integers(0, 50), min_size=2, max_size=6),
    unused=st.integers(0, 100),
    warmup=st.booleans(),
)
def test_thresholds_lie_between_0_and_t0(counts: list[int], unused: int, warmup: bool) -> None:
    beta = thresholds.status(torch.tensor(counts), unused, warmup=warmup)
    found = thresholds.thresholds(beta, 0.95)
    assert ((beta >= 0) & (beta <= 1)).all()
    assert ((found >= 0) & (found <= 0.95 + 1e-12)).all()
    order = torch.tensor(counts).argsort()
    assert (found[order].diff() >= 0).all(), "a class with more has no lower threshold"
    if not warmup and max(counts):
        assert found.max().item() == pytest.approx(0.95)


def test_a_status_stays_until_there_is_another() -> None:
    status = torch.full((3,), thresholds.NO_STATUS)
    steps = [([0.99, 0.2], [1, 0]), ([0.5, 0.97], [0, 2]), ([0.98, 0.3], [0, 1])]
    seen = []
    for confidence, said in steps:
        thresholds.learn_status(
            status, torch.tensor([0, 1]), torch.tensor(confidence), torch.tensor(said), 0.95
        )
        seen.append(status.tolist())
    assert seen == [[1, -1, -1], [1, 2, -1], [0, 2, -1]]
    assert thresholds.count_status(status, 3).tolist() == [1, 0, 1, 1]
