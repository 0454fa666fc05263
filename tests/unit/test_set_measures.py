"""Candidate sets by three measures against a direct search over all subsets."""

import itertools
import math
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt_ray.ops.partial_labels import candidate_sets
from xlt_ray.ops.set_measures import MEASURES, Measure, measured_sets

MASS = st.one_of(st.just(0.0), st.sampled_from([0.5, 3.0, 20.0]), st.floats(1e-6, 1e6))
POOL = st.integers(2, 6).flatmap(
    lambda size: st.lists(st.lists(MASS, min_size=size, max_size=size), min_size=1, max_size=4)
)
OF_PROBABILITY = [name for name in MEASURES if name != "dissonance"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums this small wait longer for a second thread than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def members(mask: int) -> tuple[int, ...]:
    return tuple(c for c in range(64) if mask >> c & 1)


def random_pool(size: int, num_classes: int, *, seed: int) -> torch.Tensor:
    """Evidence over many orders of magnitude, so that sets of all sizes win."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(size, num_classes, generator=generator, dtype=torch.float64)
    return 10 ** (10 * draws - 3)


def frame_by_hand(values: list[float], chosen: tuple[int, ...]) -> list[float]:
    """The merged probability, then those of the classes left out, as (e + 1) / S."""
    strength = math.fsum(values) + len(values)
    rest = [(e + 1) / strength for c, e in enumerate(values) if c not in chosen]
    return [math.fsum(values[c] + 1 for c in chosen) / strength, *rest]


def uncertainty_by_hand(frame: list[float], measure: str, num_classes: int) -> float:
    if measure == "max_probability":
        return 1 - max(frame)
    return -math.fsum(p * math.log(p) for p in frame) / math.log(num_classes)


def search_by_hand(
    values: list[float], measure: str, lam: float, tau: float, penalty: str
) -> dict[tuple[int, ...], tuple[float, float]]:
    """u and penalised u of every proper subset."""
    found: dict[tuple[int, ...], tuple[float, float]] = {}
    for size in range(1, len(values)):
        growth = lam ** (size - 1) if penalty == "power" else lam * (size - 1)
        for chosen in itertools.combinations(range(len(values)), size):
            u = uncertainty_by_hand(frame_by_hand(values, chosen), measure, len(values))
            found[chosen] = (u, (growth + tau) * tau ** (size - 2) * u)
    return found


@pytest.mark.slow
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    POOL,
    st.sampled_from(OF_PROBABILITY),
    st.sampled_from([(4.0, 10.0), (2.0, 5.0), (1.0, 1.5)]),
    st.sampled_from(["power", "linear"]),
)
def test_no_subset_is_better(
    pool: list[list[float]],
    measure: Measure,
    bases: tuple[float, float],
    penalty: Literal["power", "linear"],
) -> None:
    lam, tau = bases
    best = measured_sets(double(pool), measure=measure, lam=lam, tau=tau, penalty=penalty)
    for n, values in enumerate(pool):
        rows = search_by_hand(values, measure, lam, tau, penalty)
        chosen = members(int(best.mask_N[n]))
        u, score = rows[chosen]  # a proper subset, or it would not be there
        assert score <= min(row[1] for row in rows.values()) + 1e-9
        assert best.uncertainty_N[n].item() == pytest.approx(u, rel=1e-9, abs=1e-12)
        # The likeliest classes, the first ones where evidence is equal.
        order = sorted(range(len(values)), key=lambda c: -values[c])
        assert chosen == tuple(sorted(order[: len(chosen)]))


@pytest.mark.parametrize("measure", OF_PROBABILITY)
def test_sets_of_every_size_win_somewhere(measure: Measure) -> None:
    pool = random_pool(3000, 5, seed=0)
    best = measured_sets(pool, measure=measure, lam=4, tau=10)
    sizes = [len(members(mask)) for mask in best.mask_N.tolist()]
    assert set(sizes) == {1, 2, 3, 4}


def test_dissonance_is_the_set_of_the_method() -> None:
    pool = random_pool(500, 7, seed=1)
    best = measured_sets(pool.float(), measure="dissonance", lam=2, tau=5, penalty="linear")
    want = candidate_sets(pool.float(), lam=2, tau=5, penalty="linear")
    assert torch.equal(best.mask_N, want.mask_N)
    assert torch.equal(best.uncertainty_N, want.gamma_N)


@pytest.mark.parametrize(
    ("measure", "values", "want", "u"),
    [
        # p = 7/13, 4/13, 2/13: 1.1 x 6/13 for the first class, 14 x 2/13 for two.
        ("max_probability", [6.0, 3.0, 1.0], (0,), 6 / 13),
        # p = 21, 20 and 1.02 over 42.02: 1.1 x 21.02 against 14 x 1.02.
        ("max_probability", [19.0, 0.02, 20.0], (0, 2), 1.02 / 42.02),
        # The entropies are 0.790 and 0.114 nats: 1.1 x 0.790 is less than 14 x 0.114.
        ("entropy", [19.0, 0.02, 20.0], (2,), 0.719333),
        # With 100 times the evidence the third class has p = 1.02 / 3902.02, and 0.00242 nats are
        # left: 14 x 0.00242 is less than 1.1 x 0.695.
        ("entropy", [1900.0, 0.02, 1999.0], (0, 2), 0.002201),
        # Without evidence p is uniform.
        ("max_probability", [0.0, 0.0, 0.0, 0.0], (0,), 3 / 4),
        ("entropy", [0.0, 0.0, 0.0, 0.0], (0,), 1.0),
        # Two classes: one of them, whatever the evidence.
        ("max_probability", [5.0, 5.0], (0,), 1 / 2),
        ("entropy", [4.0, 5.0], (1,), 0.994030),
    ],
)
def test_by_hand(measure: Measure, values: list[float], want: tuple[int, ...], u: float) -> None:
    best = measured_sets(double([values]), measure=measure, lam=4, tau=10)
    assert members(int(best.mask_N)) == want
    assert best.uncertainty_N.item() == pytest.approx(u, abs=1e-6)


def test_of_three_classes_two_are_kept_when_the_third_is_unlikely() -> None:
    """With lambda 4 and tau 10: the top two if 14 p_3 < 1.1 (p_2 + p_3), else the top one."""
    pool = random_pool(4000, 3, seed=2)
    best = measured_sets(pool, measure="max_probability", lam=4, tau=10)
    ranked = pool.sort(descending=True)
    pair = 14 * (ranked.values[:, 2] + 1) < 1.1 * (ranked.values[:, 1:] + 1).sum(1)
    assert 0.05 < pair.double().mean() < 0.95
    first = 1 << ranked.indices[:, 0]
    assert torch.equal(best.mask_N, torch.where(pair, first | 1 << ranked.indices[:, 1], first))


@pytest.mark.parametrize("measure", OF_PROBABILITY)
def test_ties_go_to_the_smaller_set(measure: Measure) -> None:
    """With lambda = 1 and tau chosen so that one class and two have the same score exactly.

    p = 1/2, 1/4, 1/4 and the penalties are (1 + tau) / tau and 1 + tau. max_probability: u = 1/2
    and 1/4, equal scores at tau = 2. entropy: 3/2 and h = 0.811 bits, equal at tau = (3/2) / h.
    """
    two = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    tau = 2.0 if measure == "max_probability" else 1.5 / two
    values = double([[3.0, 1.0, 1.0], [1.0, 1.0, 3.0]])
    best = measured_sets(values, measure=measure, lam=1, tau=tau)
    assert best.mask_N.tolist() == [0b001, 0b100]
    best = measured_sets(values, measure=measure, lam=1, tau=tau * (1 - 1e-9))
    assert best.mask_N.tolist() == [0b011, 0b101]


@pytest.mark.parametrize("measure", MEASURES)
def test_items_and_classes_may_come_in_any_order(measure: Measure) -> None:
    pool = random_pool(300, 6, seed=3)
    best = measured_sets(pool, measure=measure, lam=4, tau=10)
    items = torch.randperm(300, generator=torch.Generator().manual_seed(4))
    again = measured_sets(pool[items], measure=measure, lam=4, tau=10)
    assert torch.equal(again.mask_N, best.mask_N[items])
    classes = [4, 0, 5, 2, 1, 3]
    again = measured_sets(pool[:, classes], measure=measure, lam=4, tau=10)
    want = [{classes.index(c) for c in members(mask)} for mask in best.mask_N.tolist()]
    assert [set(members(mask)) for mask in again.mask_N.tolist()] == want


@pytest.mark.parametrize("measure", MEASURES)
def test_higher_penalties_give_fewer_sets(measure: Measure) -> None:
    pool = random_pool(2000, 5, seed=5)

    def several(lam: float, tau: float) -> int:
        masks = measured_sets(pool, measure=measure, lam=lam, tau=tau).mask_N.tolist()
        return sum(mask & mask - 1 > 0 for mask in masks)

    assert several(1, 10) > several(8, 10) > several(64, 10) > 0
    assert several(4, 5) > several(4, 20)


@pytest.mark.parametrize("measure", MEASURES)
def test_degenerate_pools(measure: Measure) -> None:
    empty = measured_sets(torch.zeros(0, 4), measure=measure, lam=4, tau=10)
    assert empty.mask_N.tolist() == empty.uncertainty_N.tolist() == []
    assert empty.mask_N.dtype == torch.int64
    assert empty.uncertainty_N.dtype == torch.float64
    huge = double([[1e300, 1e300, 1.0], [1e300, 0.0, 0.0]])
    best = measured_sets(huge, measure=measure, lam=4, tau=10)
    assert best.uncertainty_N.isfinite().all()
    assert (best.uncertainty_N >= 0).all()
    for wrong, reason in ((torch.ones(1, 1), "two classes"), (double([[math.inf, 1]]), "finite")):
        with pytest.raises(ValueError, match=reason):
            measured_sets(wrong, measure=measure, lam=4, tau=10)


@pytest.mark.parametrize("measure", OF_PROBABILITY)
def test_small_remainders_keep_their_digits(measure: Measure) -> None:
    """Of 1e18 and 1e18 against 1: P = 1 in float64, and still u is not 0.

    p_3 = 2 / S with S = 2e18 + 4. The entropy is p_3 (1 - log p_3) to first order.
    """
    best = measured_sets(double([[1e18, 1e18, 1.0]]), measure=measure, lam=4, tau=10)
    third = 2 / (2e18 + 4)
    want = third if measure == "max_probability" else third * (1 - math.log(third)) / math.log(3)
    assert members(int(best.mask_N)) == (0, 1)
    assert best.uncertainty_N.item() == pytest.approx(want, rel=1e-12)


def test_many_classes_are_searched_exactly() -> None:
    """63 classes, 40 of them with evidence 1e9, so that the other 23 have only 23 / S left.

    The score of those 40 is 2.5 x 1.5^38 x 5.75e-10 = 0.007. One class scores 1.67 x 39/40; n of
    the 40 score 2.5 x 1.5^(n-2) (40 - n) / 40, which is 2.4 or more; and n beyond the 40 have
    1.5^(n-40) (63 - n) / 23 times 0.007, which is more than that, too.
    """
    values = torch.zeros(1, 63, dtype=torch.float64)
    values[0, 10:50] = 1e9
    best = measured_sets(values, measure="max_probability", lam=1, tau=1.5)
    assert members(int(best.mask_N)) == tuple(range(10, 50))
    assert best.uncertainty_N.item() == pytest.approx(23 / (40e9 + 63), rel=1e-9)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("size", [1, 2, 6])
def test_sets_of_one_size_are_the_likeliest_classes(measure: Measure, size: int) -> None:
    """u is that of the frame in which they are merged, and the bases play no part."""
    evidence = torch.rand(40, 7, generator=torch.Generator().manual_seed(1)).double() * 20
    found = measured_sets(evidence, measure=measure, lam=4, tau=10, size=size)
    other = measured_sets(evidence, measure=measure, lam=1, tau=2, size=size)
    assert torch.equal(found.mask_N, other.mask_N)
    assert torch.equal(found.uncertainty_N, other.uncertainty_N)
    for row, mask, u in zip(evidence, found.mask_N, found.uncertainty_N, strict=True):
        best = row.argsort(descending=True)[:size]
        assert mask == sum(1 << int(c) for c in best)
        if measure == "max_probability":
            p = (row + 1) / (row + 1).sum()
            rest = [float(x) for c, x in enumerate(p) if c not in best.tolist()]
            frame = [float(p[best].sum()), *rest]
            assert float(u) == pytest.approx(1 - frame[0])
    with pytest.raises(ValueError, match="not proper"):
        measured_sets(evidence, measure=measure, lam=4, tau=10, size=7)
