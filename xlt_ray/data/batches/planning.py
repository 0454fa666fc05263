"""Batches under a token budget: planned by length, never padded to a fixed size."""

import math
from hashlib import blake2b

import numpy as np


def pass_cost(budget: int) -> float:
    """What a forward pass costs besides its tokens, in tokens.

    On a CPU some 130 were measured. Budgets beyond 4,096 are for faster devices, on which the time
    between two passes is worth more tokens: a 32nd of the budget.

    Args:
        budget: Tokens of the largest pass.
    """
    return max(budget, 4096) / 32


def plan_batches(
    longest: np.ndarray, rows: np.ndarray, budget: int, *, order: np.ndarray | None = None
) -> list[np.ndarray]:
    """Cut sentences into batches of similar length, as many as make the least work.

    Work is the tokens of a batch, padding included, and a `pass_cost` for each. Of all
    ways to cut the sorted sentences the cheapest is found (dynamic programming).

    Args:
        longest: [N] sub-words of each sentence's longest window, special tokens included.
        rows: [N] windows of each sentence.
        budget: Largest rows x longest of a batch; a sentence that exceeds it alone is a batch.
        order: The sentences to cut, default all; they are sorted by length, ties by position.

    Returns:
        Index arrays that together hold every sentence of ``order`` once.
    """
    chosen = np.arange(len(longest)) if order is None else np.asarray(order)
    chosen = chosen[np.argsort(longest[chosen], kind="stable")]
    height = np.concatenate([[0], np.cumsum(rows[chosen])])
    work, begins = np.zeros(len(chosen) + 1), np.zeros(len(chosen) + 1, np.int64)
    for end, most in enumerate(longest[chosen].tolist(), start=1):
        first = int(np.searchsorted(height, height[end] - budget // most))
        first = min(first, end - 1)  # a sentence that exceeds the budget alone
        costs = work[first:end] + (height[end] - height[first:end]) * most
        begins[end] = first + int(costs.argmin())
        work[end] = costs.min() + pass_cost(budget)
    batches, end = list[np.ndarray](), len(chosen)
    while end:
        batches.append(chosen[begins[end] : end])
        end = int(begins[end])
    return batches[::-1]


def plan_pairs(
    longest: np.ndarray, rows: np.ndarray, budget: int, first: np.ndarray, second: np.ndarray
) -> list[np.ndarray]:
    """Cut two groups of sentences into the forward passes of a step, each with some of both.

    Args:
        longest: [N] sub-words of each sentence's longest window, special tokens included.
        rows: [N] windows of each sentence.
        budget: Largest rows x longest of a pass, unless one of its sentences exceeds it alone.
        first: Sentences of one group.
        second: Sentences of the other; where it has none, `plan_batches` cuts the first.

    Returns:
        Index arrays that together hold every sentence once; at least one, which may be empty. Of
        the equal cuts within the budget that with the least work, as `plan_batches` counts it.
    """
    if not len(second):
        return plan_batches(longest, rows, budget, order=first) or [np.zeros(0, np.int64)]
    groups = [group[np.argsort(longest[group], kind="stable")] for group in (first, second)]
    most = max(len(group) for group in groups)
    best, least = list[np.ndarray](), math.inf
    for count in range(1, most + 1):
        if count * pass_cost(budget) >= least:
            break
        split = zip(*(np.array_split(group, count) for group in groups), strict=True)
        passes = [np.concatenate(pair) for pair in split]
        sizes = [int(rows[part].sum() * longest[part].max(initial=0)) for part in passes]
        work = sum(sizes) + count * pass_cost(budget)
        if (max(sizes) <= budget or count == most) and work < least:
            best, least = passes, work
    return best


def plan_epoch(
    longest: np.ndarray, batch_size: int, *, seed: int, pool: int = 50
) -> list[np.ndarray]:
    """Cut a shuffled epoch into optimiser steps of similar length.

    Sentences are shuffled, sorted by length within pools of ``pool`` batches, cut, and the batches
    shuffled, so that padding is small and the order still random.

    Args:
        longest: [N] length of each sentence.
        batch_size: Sentences per step; the last one may be smaller.
        seed: Seed of the order.
        pool: Batches per pool.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(longest))
    steps = []
    for start in range(0, len(order), batch_size * pool):
        part = order[start : start + batch_size * pool]
        part = part[np.argsort(longest[part], kind="stable")]
        steps += [part[at : at + batch_size] for at in range(0, len(part), batch_size)]
    return [steps[index] for index in generator.permutation(len(steps))]


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from a run's seed and what it is for."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1
