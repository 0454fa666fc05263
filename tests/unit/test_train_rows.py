"""The rows of a worker: parts, companion and pool, and what an objective joins to a pass."""

import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.encoders import commit, tokenised
from xlt_ray.data.batches.layout import InputLayout
from xlt_ray.engine.train.batches import PairedRows, WorkerShare, own_examples, plan_passes
from xlt_ray.labels import UNLABELLED
from xlt_ray.recipe.corpus import Corpus, Mix
from xlt_ray.store.artifacts import Store

LAYOUT = InputLayout(prefix=0, suffix=2, padding=1, max_length=32, task="sentence")


def corpus(store: Store, name: str, count: int, label: int | None, length: int = 3) -> Corpus:
    names = [f"{name}{i:02d}" for i in range(count)]
    table = tokenised([[[7] * length]] * count, ids=names)
    found = Corpus(commit(store, "tokens", name, {"p0": table}))
    if label is None:
        return found
    labels = pa.array([[label]] * count, pa.list_(pa.int16()))
    gold = pa.table({"id": names, "labels": labels})
    return found.labelled(commit(store, "gold", name, {"p0": gold}))


@pytest.fixture
def mix(tmp_path: Path) -> Mix:
    store = Store(str(tmp_path))
    return Mix(
        corpus(store, "a", 9, 0),
        corpus(store, "b", 6, 1),
        paired=corpus(store, "c", 11, None),
        pool=corpus(store, "d", 5, 2),
    )


@pytest.mark.parametrize("world", [1, 3])
def test_every_worker_has_its_share_and_all_of_the_pool(mix: Mix, world: int) -> None:
    seen: list[str] = []
    for rank in range(world):
        share = WorkerShare(rank, world)
        examples = own_examples(mix, share, LAYOUT, ("xx",))
        first, pool = examples.num_parts, examples.first_pool
        assert all(zlib.crc32(x.encode()) % world == rank for x in examples.ids[:pool])
        assert [x[0] for x in examples.ids[first:pool]] == ["c"] * (pool - first)
        assert examples.ids[pool:] == [f"d{i:02d}" for i in range(5)]
        assert [x[0] for x in examples.ids] == ["abcd"[part] for part in examples.part]
        assert examples.labels is not None
        assert examples.labels.tolist() == [[0, 1, UNLABELLED, 2][part] for part in examples.part]
        assert examples.before_pool == (pool, pool)
        assert share.counts.sum() == 15, "the labelled parts alone make the steps"
        seen += examples.ids[:pool]
    assert sorted(seen) == sorted([f"{x}{i:02d}" for x, n in (("a", 9), ("b", 6), ("c", 11))
                                   for i in range(n)])  # fmt: skip


def test_rows_of_the_paired_text_are_counted_by_worker(mix: Mix) -> None:
    counts = []
    for rank in range(2):
        share = WorkerShare(rank, 2)
        own_examples(mix, share, LAYOUT, ("xx",))
        counts.append(share.paired.tolist())
    assert counts[0] == counts[1]
    assert mix.paired is not None
    assert sum(counts[0]) == len(mix.paired.rows())


def test_the_companion_text_ends_before_the_pool(mix: Mix) -> None:
    examples = own_examples(mix, WorkerShare(0, 1), LAYOUT, ("xx",))
    paired = PairedRows(examples, 4, seed=1)
    drawn = np.concatenate([paired.of(number) for number in range(3)])
    assert sorted(drawn) == list(range(15, 26))


@pytest.mark.parametrize("length", [3, 4, 5, 7])
def test_an_epoch_of_the_paired_text_comes_to_all_of_it(mix: Mix, length: int) -> None:
    """Eleven rows, four a step, three steps; a longer epoch begins with all of them again."""
    examples = own_examples(mix, WorkerShare(0, 1), LAYOUT, ("xx",))
    paired = PairedRows(examples, 4, seed=1, epoch=length)
    drawn = [paired.of(number).tolist() for number in range(3 * length)]
    epochs = [drawn[at : at + length] for at in range(0, len(drawn), length)]
    for epoch in epochs:
        assert sorted(row for step in epoch[:3] for row in step) == list(range(15, 26))
    assert epochs[0] != epochs[1]
    assert paired.of(0).tolist() == drawn[0], "in whatever order they are asked for"


def test_what_is_joined_counts_nowhere(mix: Mix) -> None:
    examples = own_examples(mix, WorkerShare(0, 1), LAYOUT, ("xx",))
    own, extra = np.array([0, 10, 16]), np.array([0, 27, 28])
    batch = examples.collate(np.concatenate([own, extra]), extra=3)
    assert batch.extra.tolist() == [False] * 3 + [True] * 3
    assert batch.paired.tolist() == [False, False, True, False, False, False]
    assert batch.part.tolist() == [0, 1, 2, 0, 3, 3]
    assert batch.labels.tolist() == [0, 1, UNLABELLED, 0, 2, 2]
    assert (batch.num_items, batch.num_paired) == (2, 1)


def test_passes_are_cut_until_they_fit_with_what_is_joined(mix: Mix) -> None:
    examples = own_examples(mix, WorkerShare(0, 1), LAYOUT, ("xx",))
    groups = np.arange(8), np.arange(15, 23)
    asked: list[int] = []

    def join(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return np.concatenate([rows[rows < 15], np.arange(26, 29)])

    passes = plan_passes(examples, 60, groups, join)  # rows of five tokens, twelve of them
    assert max(part.size(examples) for part in passes) <= 60
    assert len(passes) == 3
    assert asked[0] > max(len(part.own) for part in passes), "the first plan was too large"
    assert sorted(np.concatenate([part.own for part in passes])) == [*range(8), *range(15, 23)]
    for part in passes:
        assert part.extra.tolist()[-3:] == [26, 27, 28]
    # below three negatives and two texts there is no pass: cut as far as that makes it smaller
    tight = plan_passes(examples, 5, groups, join)
    assert [len(part.own) for part in tight] == [2] * 8


def test_what_is_joined_may_be_larger_than_the_budget(mix: Mix) -> None:
    examples = own_examples(mix, WorkerShare(0, 1), LAYOUT, ("xx",))
    many = np.tile(np.arange(26, 31), 40)
    groups = np.arange(8), np.zeros(0, np.int64)
    passes = plan_passes(examples, 60, groups, lambda rows: many)
    assert len(passes) == 1, "finer cuts would have repeated it for nothing"


def test_without_anything_joined_the_plan_is_asked_for_once(mix: Mix) -> None:
    examples = own_examples(mix, WorkerShare(0, 1), LAYOUT, ("xx",))
    asked: list[int] = []

    def join(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return np.zeros(0, np.int64)

    passes = plan_passes(examples, 5, (np.arange(4), np.zeros(0, np.int64)), join)
    assert len(asked) == len(passes) == 4
