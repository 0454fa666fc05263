"""Labels by aligned words: where an entity is, and how well it fits."""

from collections.abc import Sequence

import numpy as np
import pytest

from xlt_ray.data.projection.aligned import (
    NOBODY,
    carried_labels,
    carried_spans,
    contiguous,
    labels_back,
    partners,
    score_of,
    spans_back,
)
from xlt_ray.data.projection.rejection import Rejected
from xlt_ray.labels import UNLABELLED, Span


def place(own: str, weights: Sequence[float] | None = None) -> tuple[int, int]:
    """The place of an entity: x are its words, - words of nobody, o words of others."""
    own_M = np.array([letter == "x" for letter in own])
    weight_M = np.ones(len(own)) if weights is None else np.array(weights)
    return contiguous(own_M, np.array([letter == "-" for letter in own]), weight_M)


@pytest.mark.parametrize(
    ("own", "found"),
    [
        ("x", (0, 1)),
        ("oxxo", (1, 3)),
        ("-xx-", (1, 3)),
        ("ox-xo", (1, 4)),
        ("x--x", (0, 4)),
        ("xx-xox", (0, 4)),
    ],
)
def test_words_of_nobody_close_a_gap(own: str, found: tuple[int, int]) -> None:
    assert place(own) == found


def test_the_place_with_most_of_the_probability_is_taken() -> None:
    assert place("xoxx", [0.9, 1.0, 0.5, 0.5]) == (2, 4)
    assert place("xoxx", [0.9, 1.0, 0.4, 0.4]) == (0, 1)


@pytest.mark.parametrize(
    ("own", "weights", "reason"),
    [
        ("oo-", None, "entity unaligned"),
        ("", None, "entity unaligned"),
        ("xox", None, "not contiguous"),
        ("xoxox", [0.4, 1.0, 0.3, 1.0, 0.3], "not contiguous"),
    ],
)
def test_what_has_no_place_is_rejected(
    own: str, weights: Sequence[float] | None, reason: str
) -> None:
    with pytest.raises(Rejected, match=f"^{reason}$"):
        place(own, weights)


P = np.array(
    [
        # Mombasa: in -> ni, there the order is another one
        [0.0, 0.0, 0.9, 0.0],  # Asha
        [0.0, 0.7, 0.0, 0.1],  # lives
        [0.0, 0.0, 0.0, 0.0],  # in
        [0.8, 0.0, 0.3, 0.0],  # Mombasa
    ]
)
SPANS = [Span("PER", 0, 1), Span("LOC", 3, 4)]


def test_partners_are_the_likeliest() -> None:
    assert partners(P).tolist() == [3, 1, 0, 1]
    assert partners(np.zeros((2, 3))).tolist() == [NOBODY] * 3
    assert partners(np.zeros((0, 2))).tolist() == [NOBODY] * 2


def test_entities_go_where_their_words_are() -> None:
    assert carried_spans(SPANS, P) == (Span("LOC", 0, 1), Span("PER", 2, 3))
    assert carried_spans([], P) == ()
    with pytest.raises(Rejected, match="entity unaligned"):
        carried_spans([Span("LOC", 2, 3)], P)


def test_of_labels_that_a_model_gave_those_without_a_place_are_left_out() -> None:
    """Nothing else becomes of them: the other entities of the row are brought back."""
    assert spans_back(SPANS, P) == carried_spans(SPANS, P)
    assert spans_back([Span("LOC", 2, 3), *SPANS[:1]], P) == (Span("PER", 2, 3),)
    assert spans_back(SPANS, np.zeros((4, 0))) == ()


def test_words_without_a_partner_have_the_most_frequent_label() -> None:
    p = P.copy()
    p[:, 3] = 0
    assert labels_back([5, 6, 7, 7], p) == ((7, 6, 5, 7), 3)
    assert labels_back([5, 6, 7, 8], np.zeros((4, 2))) == ((5, 5), 0)
    assert labels_back([], np.zeros((0, 2))) == ((0, 0), 0)


def test_names_that_are_there_twice_go_to_their_likelier_places() -> None:
    p = np.array([[0.6, 0.0, 0.4], [0.0, 0.9, 0.0], [0.4, 0.0, 0.6]])
    spans = [Span("PER", 0, 1), Span("PER", 2, 3)]
    assert carried_spans(spans, p) == tuple(spans)


def test_every_word_has_the_label_of_its_partner() -> None:
    assert carried_labels([5, 6, 7, 8], P) == (8, 6, 5, 6)
    p = P.copy()
    p[:, 3] = 0
    assert carried_labels([5, 6, 7, 8], p) == (8, 6, 5, UNLABELLED)
    p[:, 1:3] = 0
    with pytest.raises(Rejected, match="few words aligned"):
        carried_labels([5, 6, 7, 8], p)


def test_a_score_is_the_worse_mean_over_the_words_of_entities_of_a_side() -> None:
    """PER has 0.9 both ways, LOC 0.8. A word too many for LOC, without a pair, counts in the
    translation: (0.9 + 0.8 + 0) / 3 beside (0.9 + 0.8) / 2. A LOC that is not there counts in the
    sentence: (0.9 + 0) / 2 beside 0.9."""
    right = [Span("PER", 2, 3), Span("LOC", 0, 1)]
    assert score_of(SPANS, right, P) == pytest.approx(0.85)
    assert score_of(SPANS, [Span("PER", 2, 3), Span("LOC", 0, 2)], P) == pytest.approx(1.7 / 3)
    assert score_of(SPANS, [Span("PER", 2, 3), Span("LOC", 3, 4)], P) == pytest.approx(0.45)
    assert score_of(SPANS, [Span("PER", 2, 3)], P) == pytest.approx(0.45)
    assert score_of([], [], P) == 1.0
