"""Batches: how rows are cut into batches and epochs."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlt_ray.data.batches.planning import pass_cost, plan_batches, plan_epoch, plan_pairs, seed_of
from xlt_ray.engine.resources import (
    CPU_BATCH_TOKENS,
    CPU_SHARD_ROWS,
    GPU_BATCH_TOKENS,
    GPU_SHARD_ROWS,
)

lengths = st.lists(st.tuples(st.integers(3, 40), st.integers(1, 4)), max_size=40)


@given(lengths, st.integers(8, 200))
def test_batches_hold_every_sentence_once_within_the_budget(
    shapes: list[tuple[int, int]], budget: int
) -> None:
    longest = np.array([length for length, _ in shapes], np.int64)
    rows = np.array([count for _, count in shapes], np.int64)
    batches = plan_batches(longest, rows, budget)
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(shapes)))
    for batch in batches:
        assert len(batch) == 1 or rows[batch].sum() * longest[batch].max() <= budget
    heights = [longest[batch] for batch in batches]
    assert (np.diff(np.concatenate([[0], *heights])) >= 0).all(), "not by length"


@pytest.mark.slow
@given(lengths, st.integers(8, 200))
def test_no_other_cut_of_the_lengths_makes_less_work(
    shapes: list[tuple[int, int]], budget: int
) -> None:
    """Against all cuts of up to nine sentences."""
    longest = np.array([length for length, _ in shapes[:9]], np.int64)
    rows = np.array([count for _, count in shapes[:9]], np.int64)

    def work(batches: list[np.ndarray]) -> float:
        tokens = sum(int(rows[batch].sum() * longest[batch].max()) for batch in batches)
        return tokens + len(batches) * pass_cost(budget)

    order = np.argsort(longest, kind="stable")
    ways = []
    for cuts in range(2 ** max(0, len(order) - 1)):
        at = [i + 1 for i in range(len(order) - 1) if cuts >> i & 1]
        parts = [part for part in np.split(order, at) if len(part)]
        if all(
            len(part) == 1 or rows[part].sum() * longest[part].max() <= budget for part in parts
        ):
            ways.append(work(parts))
    assert work(plan_batches(longest, rows, budget)) <= min(ways) + 1e-9


def test_batches_of_some_sentences() -> None:
    longest, rows = np.array([5, 3, 9, 3]), np.ones(4, np.int64)
    batches = plan_batches(longest, rows, 12, order=np.array([3, 0, 1]))
    assert [batch.tolist() for batch in batches] == [[3, 1], [0]]
    assert plan_batches(longest, rows, 12, order=np.zeros(0, np.int64)) == []


def test_padding_is_small_whatever_the_budget() -> None:
    """Lengths as those of short texts, some thousands of tokens in all."""
    longest = np.random.default_rng(0).gamma(2.0, 10.0, 512).astype(np.int64) + 3
    for budget in (1024, 4096, 16384):
        batches = plan_batches(longest, np.ones_like(longest), budget)
        tokens = sum(len(batch) * int(longest[batch].max()) for batch in batches)
        assert longest.sum() / tokens > 0.75
    assert len(plan_batches(np.full(10, 7), np.ones(10, np.int64), 1024)) == 1


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 4), st.integers(0, 5))
def test_an_epoch_is_a_permutation(count: int, batch_size: int, pool: int, seed: int) -> None:
    longest = np.random.default_rng(seed).integers(3, 30, count)
    steps = plan_epoch(longest, batch_size, seed=seed, pool=pool)
    assert sorted(i for step in steps for i in step.tolist()) == list(range(count))
    assert all(1 <= len(step) <= batch_size for step in steps)
    again = plan_epoch(longest, batch_size, seed=seed, pool=pool)
    assert [step.tolist() for step in steps] == [step.tolist() for step in again]


def test_the_steps_of_an_epoch_are_of_similar_length() -> None:
    """Within one pool the lengths of two steps do not interleave."""
    longest = np.random.default_rng(0).integers(3, 500, 200)
    ranges = sorted((longest[s].min(), longest[s].max()) for s in plan_epoch(longest, 8, seed=1))
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))


def test_epochs_differ() -> None:
    longest = np.full(40, 5)
    orders = [
        [i for step in plan_epoch(longest, 8, seed=seed) for i in step.tolist()]
        for seed in range(3)
    ]
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] != list(range(40))


def test_seeds_depend_on_every_part() -> None:
    seeds = {seed_of(1, "a", 2), seed_of(1, "a", 3), seed_of(2, "a", 2), seed_of(1, "b", 2)}
    assert len(seeds | {seed_of(1, "a2"), seed_of(1, "a", 2, 0)}) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(1, "a", 2) == seed_of(1, "a", 2)


@given(st.integers(0, 9), st.integers(1, 9), st.integers(8, 200), st.integers(0, 1000))
def test_every_pass_of_a_step_has_some_of_both_groups(
    first: int, second: int, budget: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    longest, rows = rng.integers(3, 20, first + second), rng.integers(1, 3, first + second)
    order = rng.permutation(first + second)
    one, other = order[:first], order[first:]
    passes = plan_pairs(longest, rows, budget, one, other)
    assert sorted(np.concatenate(passes).tolist()) == list(range(first + second))
    for part in passes:
        size = int(rows[part].sum() * longest[part].max())
        assert size <= budget or len(passes) == max(first, second)
        if len(passes) <= min(first, second):
            assert set(part.tolist()) & set(one.tolist())
            assert set(part.tolist()) & set(other.tolist())


def test_without_a_second_group_a_step_is_cut_as_ever() -> None:
    longest, rows, order = np.array([5, 3, 9, 4]), np.ones(4, np.int64), np.array([2, 0, 3])
    nothing = np.zeros(0, np.int64)
    passes = plan_pairs(longest, rows, 10, order, nothing)
    expected = plan_batches(longest, rows, 10, order=order)
    assert [part.tolist() for part in passes] == [part.tolist() for part in expected]
    assert [part.tolist() for part in plan_pairs(longest, rows, 10, nothing, nothing)] == [[]]


def test_a_step_is_cut_where_that_saves_padding() -> None:
    """Ten short sentences of each group and one long one of each: two passes, far below budget."""
    longest, rows = np.array([5] * 20 + [90, 90]), np.ones(22, np.int64)
    first, second = np.array([*range(10), 20]), np.array([*range(10, 20), 21])
    passes = plan_pairs(longest, rows, 4096, first, second)
    assert len(passes) > 1
    sizes = [len(part) * int(longest[part].max()) for part in passes]
    assert sum(sizes) < 22 * 90 / 2


@pytest.mark.slow
def test_shards_of_the_default_size_have_batches_of_like_lengths() -> None:
    """Lengths as of WikiANN: 17 sub-words in the middle, a few of 80 and more."""
    drawn = np.random.default_rng(0).lognormal(np.log(17), 0.6, 4 * GPU_SHARD_ROWS)
    lengths = np.clip(np.rint(drawn), 4, 128).astype(np.int64)

    def real_over_processed(shard: int, budget: int) -> float:
        processed = 0
        for start in range(0, len(lengths), shard):
            some = lengths[start : start + shard]
            ones = np.ones(len(some), np.int64)
            batches = plan_batches(some, ones, budget)
            processed += sum(len(batch) * int(some[batch].max()) for batch in batches)
        return float(lengths.sum() / processed)

    assert real_over_processed(GPU_SHARD_ROWS, GPU_BATCH_TOKENS) > 0.97
    assert real_over_processed(CPU_SHARD_ROWS, GPU_BATCH_TOKENS) < 0.9
    assert real_over_processed(CPU_SHARD_ROWS, CPU_BATCH_TOKENS) > 0.95
