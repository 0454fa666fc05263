"""Batches: what the model reads, where its items are, and how rows are cut into batches."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders import TINY, tokenised
from xlt_ray.data.batching import (
    Batch,
    Examples,
    Layout,
    layout_of,
    plan_batches,
    plan_epoch,
    seed_of,
)
from xlt_ray.data.tokenise import load_tokenizer, windows
from xlt_ray.data.toy import LANGUAGES, unlabelled_text
from xlt_ray.models.pretrain import train_tokenizer

LAYOUT = Layout(prefix=1, suffix=2, padding=9, max_length=8)
Sentence = list[list[int]]

words = st.lists(st.integers(10, 99), min_size=1, max_size=9)
sentences = st.lists(words, min_size=1, max_size=12)
corpora = st.lists(sentences, min_size=1, max_size=6)


def slow_rows(sentence: Sentence, layout: Layout) -> list[tuple[list[int], list[int]]]:
    """Input of every window, and where its own words begin in it."""
    rows = []
    room = layout.max_length - 2
    for window in windows([len(word) for word in sentence], room):
        ids, firsts = [layout.prefix], []
        for number in range(window.start, window.end):
            if window.first <= number < window.last:
                firsts.append(len(ids))
            ids += sentence[number][:room]
        rows.append(([*ids, layout.suffix], firsts))
    return rows


def check(batch: Batch, chosen: list[int], corpus: list[Sentence], layout: Layout) -> None:
    rows = [row for index in chosen for row in slow_rows(corpus[index], layout)]
    width = max(len(ids) for ids, _ in rows)
    assert batch.input_ids.shape == batch.attention_mask.shape == (len(rows), width)
    positions = []
    for number, (ids, firsts) in enumerate(rows):
        padding = [layout.padding] * (width - len(ids))
        assert batch.input_ids[number].tolist() == [*ids, *padding]
        assert batch.attention_mask[number].tolist() == [1] * len(ids) + [0] * len(padding)
        positions += [number * width + first for first in firsts]
    assert batch.items.tolist() == positions
    first_pieces = [word[0] for index in chosen for word in corpus[index]]
    assert batch.input_ids.flatten()[batch.items].tolist() == first_pieces


@given(corpora, st.data())
@settings(max_examples=80, deadline=None)
def test_collate_equals_a_slow_reference(corpus: list[Sentence], data: st.DataObject) -> None:
    """Sentences of many windows and words longer than the model takes among them."""
    chosen = data.draw(st.permutations(range(len(corpus))))
    chosen = chosen[: data.draw(st.integers(1, len(corpus)))]
    examples = Examples(tokenised(corpus), LAYOUT)
    check(examples.collate(chosen), chosen, corpus, LAYOUT)
    for index, sentence in enumerate(corpus):
        rows = slow_rows(sentence, LAYOUT)
        assert examples.num_windows[index] == len(rows)
        assert examples.longest[index] == max(len(ids) for ids, _ in rows)
        assert examples.longest[index] <= LAYOUT.max_length


CORPUS: list[Sentence] = [[[10], [11, 12]], [[20, 21, 22]], [[30]] * 9]


def test_labels_sets_and_languages_follow_their_words() -> None:
    labels = [[1, -100], [2], [3] * 9]
    sets = [[2, 0], [6], [8] * 9]
    table = tokenised(CORPUS, labels=labels, candidates=sets, languages=["a", "b", "c"])
    examples = Examples(table, LAYOUT, ("c", "a"))
    batch = examples.collate(np.array([2, 0]))
    assert batch.labels.tolist() == [*labels[2], *labels[0]]
    assert batch.candidates.tolist() == [*sets[2], *sets[0]]
    assert batch.languages.tolist() == [0] * 9 + [1] * 2
    assert batch.item_ids.tolist() == [*range(3, 12), 0, 1]
    assert batch.num_items == 10
    assert examples.collate([1]).languages.tolist() == [-1]


def test_without_labels_nothing_is_labelled() -> None:
    batch = Examples(tokenised(CORPUS), LAYOUT).collate([0])
    assert batch.labels.tolist() == [-100, -100]
    assert batch.candidates.tolist() == [0, 0]
    assert batch.num_items == 0


def test_a_row_with_too_few_labels_is_named() -> None:
    table = tokenised(CORPUS, labels=[[1, 2], [1, 2], [3] * 9])
    with pytest.raises(ValueError, match="s0001: 2 labels for 1 words"):
        Examples(table, LAYOUT)


def test_a_row_without_labels_is_refused() -> None:
    column = pa.array([[1, 2], None, [3] * 9], pa.list_(pa.int16()))
    with pytest.raises(ValueError, match="1 rows have no value"):
        Examples(tokenised(CORPUS).append_column("labels", column), LAYOUT)


def test_rows_may_be_a_slice_in_many_chunks() -> None:
    table = pa.concat_tables([tokenised(CORPUS), tokenised(CORPUS[::-1])]).slice(1, 4)
    shown = [CORPUS[1], CORPUS[2], CORPUS[2], CORPUS[1]]
    check(Examples(table, LAYOUT).collate([0, 1, 2, 3]), [0, 1, 2, 3], shown, LAYOUT)


def test_a_batch_of_nothing() -> None:
    """Another worker's last step: the model still runs, on one empty sentence."""
    for examples in (Examples(tokenised(CORPUS), LAYOUT), Examples(tokenised([]), LAYOUT)):
        batch = examples.collate(np.zeros(0, np.int64))
        assert batch.input_ids.tolist() == [[1, 2, 9]]
        assert batch.attention_mask.tolist() == [[1, 1, 0]]
        for name in ("items", "labels", "candidates", "item_ids", "languages"):
            assert getattr(batch, name).shape == (0,), name
        assert batch.num_items == 0


def test_special_tokens_are_the_tokenizers(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(list(unlabelled_text(LANGUAGES[0], size=40)), settings=TINY)
    encoded: Any = tokenizer("a b")["input_ids"]
    layout = layout_of(tokenizer, 16)
    assert (layout.prefix, layout.suffix) == (encoded[0], encoded[-1])
    assert layout.padding == tokenizer.pad_token_id
    assert layout.room == 14
    tokenizer.save_pretrained(tmp_path)
    assert layout_of(load_tokenizer(str(tmp_path)), 16) == layout


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


def test_batches_of_some_sentences() -> None:
    longest, rows = np.array([5, 3, 9, 3]), np.ones(4, np.int64)
    batches = plan_batches(longest, rows, 12, order=np.array([3, 0, 1]))
    assert [batch.tolist() for batch in batches] == [[3, 1], [0]]
    assert plan_batches(longest, rows, 12, order=np.zeros(0, np.int64)) == []


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
