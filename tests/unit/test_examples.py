"""Examples: what the model reads, and where its items are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.encoders import TINY, tokenised
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import InputLayout, SpanItems, layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer, windows
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.labels import LabelSet, bio_spans_of_ids
from xlt_ray.models.pretrain import train_tokenizer

LAYOUT = InputLayout(prefix=1, suffix=2, padding=9, max_length=8)
Sentence = list[list[int]]

words = st.lists(st.integers(10, 99), min_size=1, max_size=9)
sentences = st.lists(words, min_size=1, max_size=12)
short = st.lists(st.lists(st.integers(10, 99), min_size=1, max_size=2), min_size=1, max_size=3)
corpora = st.lists(sentences, min_size=1, max_size=6) | st.lists(short, min_size=1, max_size=6)


def slow_rows(sentence: Sentence, layout: InputLayout) -> list[tuple[list[int], list[int]]]:
    """Input of every window, and where its own words begin in it."""
    rows = []
    room = layout.max_length - 2
    for window in windows([len(word) for word in sentence], room):
        assert layout.prefix is not None
        assert layout.suffix is not None
        ids, firsts = [layout.prefix], list[int]()
        for number in range(window.start, window.end):
            if window.first <= number < window.last:
                firsts.append(len(ids))
            ids += sentence[number][:room]
        rows.append(([*ids, layout.suffix], firsts))
    return rows


def check(batch: Batch, chosen: list[int], corpus: list[Sentence], layout: InputLayout) -> None:
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


@pytest.mark.slow
@given(corpora, st.data())
@settings(max_examples=80, deadline=None)
def test_collate_equals_a_slow_reference(corpus: list[Sentence], data: st.DataObject) -> None:
    """Sentences of many windows and words longer than the model takes among them."""
    chosen = data.draw(st.permutations(range(len(corpus))))
    chosen = chosen[: data.draw(st.integers(1, len(corpus)))]
    examples = examples_of(tokenised(corpus), LAYOUT)
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
    examples = examples_of(table, LAYOUT, ("c", "a"))
    batch = examples.collate(np.array([2, 0]))
    assert batch.labels.tolist() == [*labels[2], *labels[0]]
    assert batch.candidates.tolist() == [*sets[2], *sets[0]]
    assert batch.languages.tolist() == [0] * 9 + [1] * 2
    assert batch.item_ids.tolist() == [*range(3, 12), 0, 1]
    assert batch.num_items == 10
    assert examples.collate([1]).languages.tolist() == [-1]


def test_without_labels_nothing_is_labelled() -> None:
    batch = examples_of(tokenised(CORPUS), LAYOUT).collate([0])
    assert batch.labels.tolist() == [-100, -100]
    assert batch.candidates.tolist() == [0, 0]
    assert batch.num_items == 0


def test_a_row_with_too_few_labels_is_named() -> None:
    table = tokenised(CORPUS, labels=[[1, 2], [1, 2], [3] * 9])
    with pytest.raises(ValueError, match="s0001: 2 labels for 1 words"):
        examples_of(table, LAYOUT)


def test_a_row_without_labels_is_refused() -> None:
    column = pa.array([[1, 2], None, [3] * 9], pa.list_(pa.int16()))
    with pytest.raises(ValueError, match="1 rows have no value"):
        examples_of(tokenised(CORPUS).append_column("labels", column), LAYOUT)


TAGS = LabelSet(("O", "B-X", "I-X", "B-Y", "I-Y"))


@pytest.mark.slow
@given(corpora, st.integers(1, 4), st.data())
@settings(max_examples=60, deadline=None)
def test_spans_stand_where_their_words_do(
    corpus: list[Sentence], max_len: int, data: st.DataObject
) -> None:
    """Windows and cut words among them: every span has the first piece of its first word and the
    last piece of its last one, and the class of the entity that it is."""
    chosen = data.draw(st.permutations(range(len(corpus))))
    tags = [
        data.draw(st.lists(st.integers(0, 4), min_size=len(x), max_size=len(x))) for x in corpus
    ]
    layout = replace(LAYOUT, spans=SpanItems(max_len, TAGS))
    examples = examples_of(tokenised(corpus, labels=tags), layout)
    batch = examples.collate(chosen)
    assert batch.spans is not None
    room, flat = LAYOUT.max_length - 2, batch.input_ids.flatten()
    firsts, lasts = flat[batch.items], flat[batch.spans.lasts]
    expected, labels, before = [], [], 0
    for index in chosen:
        sentence = [word[:room] for word in corpus[index]]
        entities = {(x.start, x.end): x.type for x in bio_spans_of_ids(tags[index], TAGS)}
        for start in range(len(sentence)):
            for end in range(start + 1, min(start + max_len, len(sentence)) + 1):
                expected.append([before + start, before + end - 1])
                labels.append({None: 0, "X": 1, "Y": 2}[entities.get((start, end))])
        before += len(sentence)
    words = [word[:room] for index in chosen for word in corpus[index]]
    assert firsts.tolist() == [word[0] for word in words]
    assert lasts.tolist() == [word[-1] for word in words]
    assert batch.spans.words.tolist() == expected
    assert batch.labels.tolist() == labels
    assert len(batch.item_ids) == len(batch.paired) == examples.num_items == len(expected)
    whole = [sum(len(corpus_word) for corpus_word in _words(corpus, chosen)[s : e + 1])
             for s, e in expected]  # fmt: skip
    assert batch.spans.widths.tolist() == whole


def _words(corpus: list[Sentence], chosen: list[int]) -> list[list[int]]:
    return [word for index in chosen for word in corpus[index]]


def test_scores_of_spans_make_labels_of_words() -> None:
    """Of a b c the span b c is an X for sure; a b is one, too, and less so."""
    layout = replace(LAYOUT, spans=SpanItems(2, TAGS))
    examples = examples_of(tokenised([[[1]] * 3, [[1]]]), layout)
    logits = torch.zeros(6, 3)  # a, ab, b, bc, c of the first; the one of the second
    logits[:, 0] = 5.0
    logits[1, 1], logits[3, 1], logits[5, 2] = 9.0, 12.0, 6.0
    assert examples.labels_of(logits).tolist() == [0, 1, 2, 3]
    assert examples.labels is None


def test_spans_of_unlabelled_words_and_columns_of_wrong_lengths() -> None:
    layout = replace(LAYOUT, spans=SpanItems(2, TAGS))
    unlabelled = examples_of(tokenised([[[1]] * 2], labels=[[1, -100]]), layout)
    assert unlabelled.labels is not None
    assert unlabelled.labels.tolist() == [1, -100, -100]
    with pytest.raises(ValueError, match="s0000: 1 labels for 2 words"):
        examples_of(tokenised([[[1]] * 2], labels=[[1]]), layout)
    columns = tokenised([[[1]] * 2]).append_column("t.q", pa.array([[1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"s0000: 2 t\.q for 3 spans"):
        examples_of(columns, layout)


def test_rows_may_be_a_slice_in_many_chunks() -> None:
    table = pa.concat_tables([tokenised(CORPUS), tokenised(CORPUS[::-1])]).slice(1, 4)
    shown = [CORPUS[1], CORPUS[2], CORPUS[2], CORPUS[1]]
    check(examples_of(table, LAYOUT).collate([0, 1, 2, 3]), [0, 1, 2, 3], shown, LAYOUT)


def test_a_batch_of_nothing() -> None:
    """Another worker's last step: the model still runs, on one empty sentence."""
    for examples in (examples_of(tokenised(CORPUS), LAYOUT), examples_of(tokenised([]), LAYOUT)):
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


# -- texts and pairs ------------------------------------------------------------------------------

texts = st.lists(st.integers(10, 99), min_size=1, max_size=14)
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=5)


def slow_pair(
    first: list[int], second: list[int], layout: InputLayout
) -> tuple[list[int], list[int]]:
    """Tokens and segments of a pair, sub-words taken one by one off the longer text."""
    first, second = list(first), list(second)
    while len(first) + len(second) > layout.pair_room:
        (first if len(first) > len(second) else second).pop()
    assert layout.prefix is not None
    assert layout.suffix is not None
    joint = [layout.suffix] * layout.joint
    head = [layout.prefix, *first, *joint]
    tail = [*second, layout.suffix]
    return head + tail, [0] * len(head) + [1] * len(tail)


@pytest.mark.slow
@given(pairs, st.integers(1, 2), st.integers(8, 20), st.data())
@settings(max_examples=80, deadline=None)
def test_pairs_equal_a_slow_reference(
    corpus: list[tuple[list[int], list[int]]], joint: int, longest: int, data: st.DataObject
) -> None:
    layout = InputLayout(1, 2, 9, longest, joint, "pair")
    examples = examples_of(tokenised(corpus), layout)
    chosen = data.draw(st.permutations(range(len(corpus))))
    batch = examples.collate(chosen)
    rows = [slow_pair(*corpus[index], layout) for index in chosen]
    width = max(len(ids) for ids, _ in rows)
    assert batch.input_ids.shape == (len(corpus), width)
    for number, (ids, segments) in enumerate(rows):
        padding = [0] * (width - len(ids))
        assert batch.input_ids[number].tolist() == [*ids, *(9 for _ in padding)]
        assert batch.segments[number].tolist() == [*segments, *padding]
        assert batch.attention_mask[number].tolist() == [1] * len(ids) + padding
        assert examples.longest[chosen[number]] == len(ids) <= longest
    assert batch.items.tolist() == [number * width for number in range(len(rows))]
    assert batch.item_ids.tolist() == list(chosen)


def test_single_texts_are_cut_at_their_end() -> None:
    layout = InputLayout(1, 2, 9, 8, 2, "sentence")
    examples = examples_of(
        tokenised([[list(range(10, 20))], [[10, 11]]], labels=[[2], [0]]), layout
    )
    batch = examples.collate([0, 1])
    assert batch.input_ids.tolist() == [[1, *range(10, 16), 2], [1, 10, 11, 2, 9, 9, 9, 9]]
    assert batch.labels.tolist() == [2, 0]
    assert not batch.segments.any()
    assert examples.num_items == 2


def test_pairs_are_what_the_tokenizer_makes_of_them(tmp_path: Path) -> None:
    """With its own joint and truncation, sub-word by sub-word."""
    tokenizer: Any = train_tokenizer(list(unlabelled_text(LANGUAGES[0], size=40)), settings=TINY)
    layout = layout_of(tokenizer, 24, "pair")
    words = [" ".join(x) for x in unlabelled_text(LANGUAGES[0], size=40)]
    for first, second in zip(words[::2], words[1::2], strict=True):
        parts = [tokenizer(x, add_special_tokens=False)["input_ids"] for x in (first, second)]
        batch = examples_of(tokenised([parts]), layout).collate([0])
        wanted = tokenizer(first, second, truncation="longest_first", max_length=24)["input_ids"]
        assert batch.input_ids[0].tolist() == wanted


def test_a_text_has_one_label() -> None:
    layout = InputLayout(1, 2, 9, 8, 2, "pair")
    with pytest.raises(ValueError, match="s0000: 2 labels for 1 texts"):
        examples_of(tokenised([[[10], [11]]], labels=[[1, 2]]), layout)
