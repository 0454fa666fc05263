"""FreeMatch for whole passes, against NumPy in float64 and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlt_ray.ops import self_adaptive


def passes(seed: int, sizes: list[int], classes: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed)
    return [draw.dirichlet(np.full(classes, 0.4), size) for size in sizes]


def by_numpy(
    given: list[np.ndarray], classes: int, momentum: float
) -> tuple[float, np.ndarray, np.ndarray]:
    tau, p = 1 / classes, np.full(classes, 1 / classes)
    for q in given:
        tau = momentum * tau + (1 - momentum) * sum(row.max() for row in q) / len(q)
        p = momentum * p + (1 - momentum) * sum(row for row in q) / len(q)
    return tau, p, p / p.max() * tau


@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    classes=st.integers(2, 7),
    momentum=st.sampled_from([0.0, 0.3, 0.5, 0.999]),
)
def test_averages_of_several_passes(
    seed: int, sizes: list[int], classes: int, momentum: float
) -> None:
    found = self_adaptive.untouched(classes, classes)
    given = passes(seed, sizes, classes)
    for q in given:
        q_NC = torch.from_numpy(q)
        found = self_adaptive.after_pass(found, q_NC.amax(dim=1), q_NC, momentum)
    tau, p, thresholds = by_numpy(given, classes, momentum)
    np.testing.assert_allclose(found.tau, tau, rtol=1e-12)
    np.testing.assert_allclose(found.p_K, p, rtol=1e-12)
    np.testing.assert_allclose(self_adaptive.thresholds(found), thresholds, rtol=1e-12)


def test_two_passes_by_hand() -> None:
    """C = 2, momentum 0.5. Pass 1: mean confidence 0.8, mean q (0.5, 0.5): tau = 0.65. Pass 2 has
    one item (0.9, 0.1): tau = (0.65 + 0.9) / 2 = 0.775, p = (0.7, 0.3), T = 0.775 and 3/7 of it."""
    first = torch.tensor([[0.8, 0.2], [0.2, 0.8]], dtype=torch.float64)
    second = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    found = self_adaptive.untouched(2, 2)
    found = self_adaptive.after_pass(found, first.amax(dim=1), first, 0.5)
    assert found.tau.item() == pytest.approx(0.65, abs=1e-15)
    assert self_adaptive.thresholds(found).tolist() == pytest.approx([0.65, 0.65], abs=1e-15)
    found = self_adaptive.after_pass(found, second.amax(dim=1), second, 0.5)
    wanted = [0.775, 0.775 * 3 / 7]
    assert self_adaptive.thresholds(found).tolist() == pytest.approx(wanted, abs=1e-15)


def test_before_any_pass_the_threshold_is_an_even_guess() -> None:
    found = self_adaptive.thresholds(self_adaptive.untouched(3, 5))
    assert found.tolist() == pytest.approx([0.2] * 3)


def test_nothing_changes_no_average() -> None:
    start = self_adaptive.untouched(3, 3)
    nothing = torch.zeros(0, 3, dtype=torch.float64)
    found = self_adaptive.after_pass(start, nothing[:, 0], nothing, 0.5)
    assert found.tau == start.tau
    assert torch.equal(found.p_K, start.p_K)


def test_a_class_that_nobody_predicts_has_a_low_threshold() -> None:
    q_NC = torch.tensor([[1.0, 0.0]] * 4, dtype=torch.float64)
    found = self_adaptive.after_pass(self_adaptive.untouched(2, 2), q_NC[:, 0], q_NC, 0.0)
    assert self_adaptive.thresholds(found).tolist() == [1.0, 0.0]


def test_without_any_mass_the_global_threshold_holds() -> None:
    found = self_adaptive.Adapted(torch.tensor(0.6), torch.zeros(2, dtype=torch.float64))
    assert self_adaptive.thresholds(found).tolist() == pytest.approx([0.6, 0.6])


def test_all_equal_items_reach_their_threshold_from_the_first_pass_on() -> None:
    """tau is below the confidence that all have, and nears it."""
    q_NC = torch.tensor([[0.7, 0.2, 0.1]] * 5, dtype=torch.float64)
    found, taus = self_adaptive.untouched(3, 3), []
    for _ in range(30):
        found = self_adaptive.after_pass(found, q_NC[:, 0], q_NC, 0.5)
        taus.append(found.tau.item())
    assert all(tau < 0.7 for tau in taus[:20])
    assert taus == sorted(taus)
    assert taus[-1] == pytest.approx(0.7, abs=1e-8)
