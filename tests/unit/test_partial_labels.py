"""Candidate sets against a direct search over all subsets, and what must hold for any of them."""

import itertools
import math
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlt_ray.ops.evidential import dirichlet, evidence
from xlt_ray.ops.partial_labels import (
    candidate_sets,
    from_bitmask,
    subset_table,
    to_bitmask,
    top_k_sets,
)

MASS = st.one_of(st.just(0.0), st.sampled_from([0.5, 3.0, 20.0]), st.floats(1e-6, 1e4))
POOL = st.integers(2, 6).flatmap(
    lambda size: st.lists(st.lists(MASS, min_size=size, max_size=size), min_size=1, max_size=4)
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Products this small wait longer for a second thread than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def members(mask: int) -> tuple[int, ...]:
    return tuple(c for c in range(64) if mask >> c & 1)


def dissonance_by_hand(masses: list[float]) -> float:
    total = 0.0
    for i, one in enumerate(masses):
        rest = masses[:i] + masses[i + 1 :]
        if sum(rest) > 0:
            conflict = (b * (1 - abs(one - b) / (one + b)) if one * b != 0 else 0.0 for b in rest)
            total += one * math.fsum(conflict) / math.fsum(rest)
    return total


def rows_by_hand(
    values: list[float], lam: float, tau: float, penalty: str, classes: list[int]
) -> list[tuple[tuple[int, ...], float, float, float]]:
    """Class list, B, gamma and score of each proper subset of ``classes``, straight from eq. 6."""
    masses = [value / (sum(values) + len(values)) for value in values]
    rows: list[tuple[tuple[int, ...], float, float, float]] = []
    for size in range(1, len(values)):
        growth = lam ** (size - 1) if penalty == "power" else lam * (size - 1)
        for chosen in itertools.combinations(classes, size):
            merged = 1 - math.prod(1 - masses[c] for c in chosen)
            rest = [mass for c, mass in enumerate(masses) if c not in chosen]
            gamma = dissonance_by_hand(masses if size == 1 else [merged, *rest])
            rows.append((chosen, merged, gamma, (growth + tau) * tau ** (size - 2) * gamma))
    return rows


@pytest.mark.slow
@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    POOL,
    st.sampled_from([(4.0, 10.0), (2.0, 5.0), (1.0, 1.5)]),
    st.sampled_from(["power", "linear"]),
)
def test_the_table_equals_a_direct_search(
    pool: list[list[float]], bases: tuple[float, float], penalty: Literal["power", "linear"]
) -> None:
    lam, tau = bases
    table = subset_table(double(pool), lam=lam, tau=tau, penalty=penalty)
    best = candidate_sets(double(pool), lam=lam, tau=tau, penalty=penalty)
    for n, values in enumerate(pool):
        rows = rows_by_hand(values, lam, tau, penalty, list(range(len(values))))
        assert [members(mask) for mask in table.mask_NT[n].tolist()] == [row[0] for row in rows]
        assert table.size_T.tolist() == [len(row[0]) for row in rows]
        for got, column in ((table.merged_NT, 1), (table.gamma_NT, 2), (table.score_NT, 3)):
            want = [row[column] for row in rows]
            assert got[n].tolist() == pytest.approx(want, rel=1e-8, abs=1e-10)
        chosen = members(int(best.mask_N[n]))
        row = next(row for row in rows if row[0] == chosen)
        least = min(other[3] for other in rows)
        assert row[3] <= least + 1e-9 * max(1, least)
        assert best.size_N[n] == len(chosen)
        assert best.gamma_N[n].item() == pytest.approx(row[2], rel=1e-8, abs=1e-12)
        assert best.dissonance_N[n].item() == pytest.approx(rows[0][2], rel=1e-8, abs=1e-12)
        if len(chosen) == 1:
            assert chosen[0] == values.index(max(values))


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(POOL)
def test_leaving_one_class_out_gives_twice_the_smaller_mass(pool: list[list[float]]) -> None:
    """gamma = 2 min(B, b_r) for every set of C - 1 > 1 classes, r being the class left out."""
    table = subset_table(double(pool), lam=4, tau=10)
    size = len(pool[0])
    belief = dirichlet(double(pool)).belief_NC
    for t in (table.size_T == size - 1).nonzero()[:, 0].tolist() if size > 2 else []:
        mask = from_bitmask(table.mask_NT[:, t], size)
        left_out = belief[~mask]
        want = 2 * torch.minimum(table.merged_NT[:, t], left_out)
        torch.testing.assert_close(table.gamma_NT[:, t], want, rtol=1e-12, atol=1e-15)


def test_of_three_classes_two_are_kept_when_the_third_is_almost_excluded() -> None:
    """With lambda 4 and tau 10: the top two if 28 b_3 < 1.1 diss(b), else the top one."""
    generator = torch.Generator().manual_seed(0)
    pool = 30 * torch.rand(4000, 3, generator=generator, dtype=torch.float64) ** 4
    best = candidate_sets(pool, lam=4, tau=10)
    belief = dirichlet(pool).belief_NC
    pair = 28 * belief.amin(1) < 1.1 * best.dissonance_N
    assert 0.05 < pair.double().mean() < 0.95
    ranked = pool.argsort(descending=True)
    want = torch.where(pair, (1 << ranked[:, :2]).sum(1), 1 << ranked[:, 0])
    assert torch.equal(best.mask_N, want)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        ([0.0, 0.0, 0.0], (0,)),
        ([5.0, 3.0, 0.0], (0, 1)),
        ([5.0, 0.0, 3.0, 0.0], (0, 2)),
        ([0.0, 7.0, 0.0], (1,)),
        ([2.0, 2.0], (0,)),
        ([2.0, 3.0], (1,)),
        ([5.0, 3.0, 1e-31], (0, 1)),
        ([0.0, 4.0, 4.0, 4.0], (1, 2, 3)),
        ([2.0, 2.0, 2.0, 2.0], (0,)),
    ],
)
def test_degenerate_evidence(values: list[float], want: tuple[int, ...]) -> None:
    """A class without any evidence costs nothing to leave out, whatever the penalty.

    The smallest set that covers all evidence then ties with the larger ones at score 0 and wins.
    """
    best = candidate_sets(double([values]), lam=4, tau=10)
    assert members(int(best.mask_N)) == want


def test_a_singleton_is_the_argmax_to_the_last_bit() -> None:
    first = 1e6
    best = candidate_sets(double([[first, math.nextafter(first, 2e6), 1e6]]), lam=4, tau=10)
    assert members(int(best.mask_N)) == (1,)


def test_underflow_and_saturation_stay_finite() -> None:
    logits = double([[-800.0, -800.0, -800.0], [0.0, -800.0, 5.0], [1e300, 1e300, 1.0]])
    for given_ in (evidence(logits), evidence(torch.tensor([[1e30, -1e4, 2.0], [3e38, 0.0, 1.0]]))):
        best = candidate_sets(given_, lam=4, tau=10)
        assert best.gamma_N.isfinite().all()
        assert (best.gamma_N >= 0).all()
        assert (best.size_N < 3).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_evidence_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        candidate_sets(double([[1.0, bad]]), lam=4, tau=10)


def test_one_class_has_no_candidate_set() -> None:
    with pytest.raises(ValueError, match="two classes"):
        candidate_sets(torch.ones(2, 1), lam=4, tau=10)


@pytest.mark.parametrize("num_classes", [2, 3, 9, 17])
def test_empty_batch(num_classes: int) -> None:
    best = candidate_sets(torch.zeros(0, num_classes), lam=4, tau=10)
    assert best.mask_N.shape == best.gamma_N.shape == best.size_N.shape == (0,)
    assert best.mask_N.dtype == torch.int64


def strong_classes(num_items: int, num_classes: int, seed: int) -> torch.Tensor:
    """One to three strong classes each, the rest weak."""
    generator = torch.Generator().manual_seed(seed)
    weak = torch.rand(num_items, num_classes, generator=generator, dtype=torch.float64) * 0.05
    ranks = torch.rand(num_items, num_classes, generator=generator).argsort(1).argsort(1)
    count = torch.randint(1, 4, (num_items, 1), generator=generator)
    strong = 5 + 25 * torch.rand(num_items, num_classes, generator=generator, dtype=torch.float64)
    return torch.where(ranks < count, strong, weak)


@pytest.mark.slow
def test_a_larger_base_gives_smaller_sets() -> None:
    pool = strong_classes(3000, 7, seed=0)
    sizes = {
        bases: candidate_sets(pool, lam=bases[0], tau=bases[1]).size_N
        for bases in [(2, 10), (4, 10), (8, 10), (4, 5), (4, 20)]
    }
    several = {bases: int((size > 1).sum()) for bases, size in sizes.items()}
    assert several[2, 10] > several[4, 10] > several[8, 10] > 0
    assert several[4, 5] > several[4, 10] > several[4, 20]
    assert (sizes[4, 5] > 2).sum() > (sizes[4, 10] > 2).sum()


def test_blocks_do_not_show() -> None:
    pool = strong_classes(1100, 7, seed=1)
    whole = candidate_sets(pool, lam=4, tau=10)
    parts = [candidate_sets(part, lam=4, tau=10) for part in pool.split(97)]
    assert torch.equal(whole.mask_N, torch.cat([part.mask_N for part in parts]))
    torch.testing.assert_close(
        whole.gamma_N, torch.cat([part.gamma_N for part in parts]), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("num_classes", [7, 12])
def test_sets_follow_a_permutation_of_the_classes(num_classes: int) -> None:
    pool = strong_classes(400, num_classes, seed=2)
    order = torch.randperm(num_classes, generator=torch.Generator().manual_seed(3))
    best = candidate_sets(pool, lam=4, tau=10)
    permuted = candidate_sets(pool[:, order], lam=4, tau=10)
    mask = from_bitmask(best.mask_N, num_classes)
    assert torch.equal(mask[:, order], from_bitmask(permuted.mask_N, num_classes))
    torch.testing.assert_close(best.gamma_N, permuted.gamma_N, rtol=1e-9, atol=0)


def test_nine_classes_are_searched_in_full() -> None:
    pool = strong_classes(3, 9, seed=4)
    best = candidate_sets(pool, lam=4, tau=10)
    assert best.search == "exact"
    assert subset_table(pool, lam=4, tau=10).score_NT.shape == (3, 2**9 - 2)
    for n, values in enumerate(pool.tolist()):
        rows = rows_by_hand(values, 4, 10, "power", list(range(9)))
        assert members(int(best.mask_N[n])) == min(rows, key=lambda row: (row[3], -row[1]))[0]


def test_seventeen_classes_are_searched_among_the_seven_strongest() -> None:
    pool = strong_classes(4, 17, seed=5)
    best = candidate_sets(pool, lam=2, tau=2)
    assert best.search == "top-7"
    for n, values in enumerate(pool.tolist()):
        ranked = sorted(range(17), key=lambda c: -values[c])
        rows = rows_by_hand(values, 2, 2, "power", sorted(ranked[:7]))
        row = min(rows, key=lambda row: (row[3], -row[1]))
        assert members(int(best.mask_N[n])) == row[0]
        assert best.gamma_N[n].item() == pytest.approx(row[2], rel=1e-9)
    assert (best.size_N > 1).any()


def test_the_bounded_search_breaks_ties_as_the_exact_one() -> None:
    pool = torch.zeros(3, 12, dtype=torch.float64)
    pool[1, [11, 4, 2]] = 6.0
    pool[2] = 1.0
    bounded = candidate_sets(pool, lam=4, tau=10)
    exact = candidate_sets(pool, lam=4, tau=10, max_exact=12)
    assert (bounded.search, exact.search) == ("top-7", "exact")
    assert torch.equal(bounded.mask_N, exact.mask_N)
    assert [members(mask) for mask in bounded.mask_N.tolist()] == [(0,), (2, 4, 11), (0,)]


def test_float32_input_is_computed_in_float64() -> None:
    pool = strong_classes(500, 7, seed=6).float()
    best = candidate_sets(pool, lam=4, tau=10)
    assert best.gamma_N.dtype == torch.float64
    assert torch.equal(best.mask_N, candidate_sets(pool.double(), lam=4, tau=10).mask_N)


def test_float32_inside_agrees() -> None:
    pool = strong_classes(500, 7, seed=7)
    narrow = candidate_sets(pool, lam=4, tau=10, dtype=torch.float32)
    wide = candidate_sets(pool, lam=4, tau=10)
    assert narrow.gamma_N.dtype == torch.float32
    same = narrow.mask_N == wide.mask_N
    assert same.double().mean() > 0.99
    torch.testing.assert_close(
        narrow.gamma_N[same], wide.gamma_N[same].float(), rtol=1e-4, atol=1e-6
    )


def test_the_inputs_are_left_alone() -> None:
    pool = strong_classes(20, 5, seed=8)
    before = pool.clone()
    candidate_sets(pool, lam=4, tau=10)
    subset_table(pool, lam=4, tau=10)
    top_k_sets(pool, k=2)
    assert torch.equal(pool, before)


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(POOL, st.data())
def test_top_k_sets_hold_the_strongest_classes(
    pool: list[list[float]], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(pool[0]) - 1))
    best = top_k_sets(double(pool), k=k)
    table = subset_table(double(pool), lam=4, tau=10)
    assert best.search == "fixed"
    for n, values in enumerate(pool):
        chosen = members(int(best.mask_N[n]))
        assert chosen == tuple(sorted(sorted(range(len(values)), key=lambda c: -values[c])[:k]))
        row = table.mask_NT[n].tolist().index(int(best.mask_N[n]))
        assert best.gamma_N[n].item() == pytest.approx(
            table.gamma_NT[n, row].item(), rel=1e-9, abs=1e-14
        )
        assert best.size_N[n] == k


@pytest.mark.parametrize("k", [0, 3])
def test_top_k_must_be_a_proper_subset(k: int) -> None:
    with pytest.raises(ValueError, match="not proper"):
        top_k_sets(torch.ones(1, 3), k=k)


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 63), st.data())
def test_bit_masks_round_trip(num_classes: int, data: st.DataObject) -> None:
    masks = data.draw(st.lists(st.integers(0, 2**num_classes - 1), max_size=5))
    given_ = torch.tensor(masks, dtype=torch.int64)
    wide = from_bitmask(given_, num_classes)
    assert wide.shape == (len(masks), num_classes)
    assert wide.dtype == torch.bool
    assert torch.equal(to_bitmask(wide), given_)
