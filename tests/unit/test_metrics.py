"""Scores against seqeval, scikit-learn and hand counts."""

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import precision_score, recall_score
from sklearn.metrics import accuracy_score, f1_score

from xlt_ray import metrics as evaluate
from xlt_ray.labels import LabelSet
from xlt_ray.metrics import (
    EntityCounts,
    Ragged,
    by_class,
    entity_counts,
    micro_f1,
    reachable,
    score,
    seqeval_f1,
)

NER = LabelSet(("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"))
FLAT = LabelSet(("ADJ", "NOUN", "VERB"))
tag = st.integers(min_value=0, max_value=len(NER) - 1)
sentence = st.lists(st.tuples(tag, tag), max_size=12)


def sides(sentences: list[list[tuple[int, int]]]) -> tuple[list[list[int]], list[list[int]]]:
    gold = [[pair[0] for pair in words] for words in sentences]
    return gold, [[pair[1] for pair in words] for words in sentences]


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(sentence, max_size=6))
def test_counts_equal_seqeval(sentences: list[list[tuple[int, int]]]) -> None:
    """Random tags are full of orphan I- tags, type changes and empty sentences."""
    gold, pred = sides(sentences)
    counts = entity_counts(Ragged.of(gold), Ragged.of(pred), NER)
    assert micro_f1(counts) == seqeval_f1(gold, pred, NER)
    gold_tags = [[NER.names[i] for i in words] for words in gold]
    pred_tags = [[NER.names[i] for i in words] for words in pred]
    if gold_tags:
        precision = precision_score(gold_tags, pred_tags, zero_division=0)  # pyrefly: ignore [bad-argument-type]
        recall = recall_score(gold_tags, pred_tags, zero_division=0)  # pyrefly: ignore [bad-argument-type]
        assert evaluate.precision(counts) == precision
        assert evaluate.recall(counts) == recall


def test_counts_by_hand() -> None:
    """Two sentences, worked out on paper.

    Gold: [PER 0-2) [LOC 3-4) | orphan I-ORG: [ORG 0-2). Predicted: [PER 0-2), B-LOC I-PER: a type
    change, so [LOC 3-4) ends before an orphan [PER 4-5) | [ORG 0-1). Correct: PER and LOC.
    """
    gold = [[1, 2, 0, 5, 0], [4, 4]]
    pred = [[1, 2, 0, 5, 2], [3, 0]]
    counts = entity_counts(gold, pred, NER)
    assert counts.types == ("PER", "ORG", "LOC")
    assert counts.gold.tolist() == [1, 1, 1]
    assert counts.predicted.tolist() == [2, 1, 1]
    assert counts.correct.tolist() == [1, 0, 1]
    assert evaluate.precision(counts) == 0.5
    assert evaluate.recall(counts) == 2 / 3
    assert micro_f1(counts) == pytest.approx(4 / 7, abs=1e-15)
    assert counts.support == 3


def test_entities_end_with_their_sentence() -> None:
    joined = entity_counts([[1, 2, 2]], [[1, 2, 2]], NER)
    split = entity_counts([[1, 2], [2]], [[1, 2], [2]], NER)
    assert joined.support == 1
    assert split.support == 2


def test_ignored_positions_are_taken_out_of_both_sides() -> None:
    """B-PER [ignored: O] I-PER is one entity of two words on both sides."""
    counts = entity_counts([[1, -100, 2], [-100]], [[1, 0, 2], [5]], NER)
    assert counts == entity_counts([[1, 2], []], [[1, 2], []], NER)
    assert counts.predicted.tolist() == [1, 0, 0]
    assert seqeval_f1([[1, -100, 2], [-100]], [[1, 0, 2], [5]], NER) == 1.0


@pytest.mark.parametrize(
    ("gold", "pred"),
    [([], []), ([[]], [[]]), ([[0, 0]], [[0, 0]]), ([[1]], [[0]]), ([[0]], [[1]])],
)
def test_nothing_to_count_is_zero(gold: list[list[int]], pred: list[list[int]]) -> None:
    assert micro_f1(entity_counts(gold, pred, NER)) == 0.0
    assert seqeval_f1(gold, pred, NER) == 0.0
    assert score("accuracy", [], [], FLAT) == {"accuracy": 0.0, "support": 0}
    assert score("macro_f1", [], [], FLAT) == {"macro_f1": 0.0, "support": 0}


def test_counts_add_up_and_survive_json() -> None:
    rng = np.random.default_rng(0)
    gold = [rng.integers(0, 7, size=n) for n in (5, 0, 9, 3)]
    pred = [rng.integers(0, 7, size=n) for n in (5, 0, 9, 3)]
    whole = entity_counts(gold, pred, NER)
    parts = [entity_counts(gold[i : i + 2], pred[i : i + 2], NER) for i in (0, 2)]
    assert sum(parts, EntityCounts.zero(whole.types)) == whole
    assert EntityCounts.from_json(whole.to_json()) == whole
    assert hash(EntityCounts.from_json(whole.to_json())) == hash(whole)
    with pytest.raises(ValueError, match="different types"):
        _ = whole + EntityCounts.zero(("PER",))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_item_metrics_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels = LabelSet(("1", "2", "3", "4", "5"))
    gold, pred = np.array(pairs).T
    macro = f1_score(gold, pred, average="macro", zero_division=0)
    assert score("macro_f1", gold, pred, labels)["macro_f1"] == pytest.approx(macro, abs=1e-15)
    assert score("accuracy", gold, pred, labels) == {
        "accuracy": accuracy_score(gold, pred),
        "support": len(pairs),
    }


def test_item_metrics_take_rows_of_one_item() -> None:
    assert score("accuracy", [[0], [1], [2]], [[0], [2], [2]], FLAT) == {
        "accuracy": 2 / 3,
        "support": 3,
    }
    assert score("accuracy", [0, 1, -100], [0, 2, 1], FLAT)["support"] == 2


def test_ragged_from_arrow() -> None:
    rows = [[1, 2], [], [3]]
    column = pa.chunked_array([pa.array(rows[:1], pa.list_(pa.int16())), rows[1:]])
    whole = pa.array([[9], *rows], pa.list_(pa.int16()))
    for taken in (column, whole.slice(1)):
        ragged = Ragged.from_arrow(taken)
        assert ragged.lists() == rows
        assert ragged.offsets.tolist() == [0, 2, 2, 3]
    assert Ragged.of([]).lists() == []
    with pytest.raises(ValueError, match="no nulls"):
        Ragged.from_arrow(pa.array([[1], None]))


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="same lengths"):
        entity_counts([[1, 2]], [[1], [2]], NER)
    with pytest.raises(ValueError, match="predicted id 7 is not one of the 7 classes"):
        entity_counts([[1]], [[7]], NER)
    with pytest.raises(ValueError, match="gold id -1 "):
        entity_counts([[-1]], [[1]], NER)
    with pytest.raises(ValueError, match="entity scores need BIO labels"):
        score("f1", [[1]], [[1]], FLAT)
    with pytest.raises(ValueError, match="unknown metric 'bleu', allowed: f1, accuracy, macro_f1"):
        score("bleu", [[1]], [[1]], NER)
    with pytest.raises(ValueError, match="offsets must rise"):
        Ragged(np.array([1, 2]), np.array([0, 3]))
    with pytest.raises(ValueError, match="one array per sentence"):
        score("accuracy", np.zeros((2, 2), int), np.zeros((2, 2), int), FLAT)


def test_fast_scorer_is_much_faster_than_seqeval() -> None:
    rng = np.random.default_rng(1)
    offsets = np.arange(0, 20_001, 20)
    gold = Ragged(rng.integers(0, 7, size=20_000), offsets)
    pred = Ragged(np.where(rng.random(20_000) < 0.9, gold.flat, 0), offsets)
    seqeval_f1(gold, pred, NER)  # the first call imports
    start = time.perf_counter()
    reference = seqeval_f1(gold, pred, NER)
    middle = time.perf_counter()
    fast = min(_timed(gold, pred) for _ in range(3))
    assert score("f1", gold, pred, NER)["f1"] == reference
    assert fast * 5 < middle - start


def _timed(gold: Ragged, pred: Ragged) -> float:
    start = time.perf_counter()
    score("f1", gold, pred, NER)
    return time.perf_counter() - start


def test_scores_by_class() -> None:
    """X: 1 of 2 predicted and of 1 gold; Y: none of 1 and of 2."""
    labels = LabelSet(("O", "B-X", "I-X", "B-Y", "I-Y"))
    gold = [[1, 2, 0, 3], [3, 4, 0, 0]]
    pred = [[1, 2, 0, 1], [3, 0, 0, 0]]
    found = by_class("f1", gold, pred, labels)
    assert found["X"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert found["Y"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2}
    texts = by_class("accuracy", [[0], [1], [1]], [[0], [0], [1]], LabelSet(("a", "b")))
    assert texts["a"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert texts["b"]["support"] == 2


def test_gold_that_spans_of_a_length_can_reach() -> None:
    """Of three entities, of one, two and three words, two have at most two; a word without a label
    is as if it were not there."""
    labels = LabelSet(("O", "B-X", "I-X"))
    gold = [[1, 0, 1, -100, 2], [1, 2, 2]]
    near, share = reachable(gold, labels, 2)
    assert near.lists() == [[1, 0, 1, -100, 2], [0, 0, 0]]
    assert share == pytest.approx(2 / 3)
    assert reachable(gold, labels, 3)[0].lists() == gold
    assert reachable([[0, 0]], labels, 2)[1] == 0.0
