"""Labels that go to the aligned words of a translation.

Legend: N words of the sentence, M words of the translation; ``p_NM`` has the probability of each
aligned pair, and 0 for all others (`xlt_ray.ops.word_alignment`).
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from xlt_ray.data.projection.rejection import Rejected
from xlt_ray.labels import UNLABELLED, Span

NOBODY = -1
"""The partner of a word that is not aligned."""
MOST = 0.5
"""An entity in several places stays in the one with more than this share of its probability."""
ENOUGH = 0.5
"""Least share of the words of a translation that has to be aligned where each word has a label."""


def partners(p_NM: np.ndarray) -> np.ndarray:
    """[M] the likeliest partner of each word of the translation, the first on ties, or `NOBODY`."""
    if not p_NM.size:
        return np.full(p_NM.shape[1], NOBODY)
    return np.where(p_NM.max(axis=0) > 0, p_NM.argmax(axis=0), NOBODY)


def contiguous(own_M: np.ndarray, free_M: np.ndarray, weight_M: np.ndarray) -> tuple[int, int]:
    """The one place where an entity is.

    Words between two of its words belong to it if they are aligned to nothing. Where it is in
    several places still, the one with most of the probability is taken.

    Args:
        own_M: [M] which words are aligned to words of the entity.
        free_M: [M] which words are aligned to nothing.
        weight_M: [M] probability of each word's alignment.

    Returns:
        Its first word, and the one after its last.

    Raises:
        Rejected: none of the words is its, or no place has most of the probability.
    """
    places = list[tuple[int, int]]()
    for at in np.flatnonzero(own_M).tolist():
        if places and bool(free_M[places[-1][1] : at].all()):
            places[-1] = places[-1][0], at + 1
        else:
            places.append((at, at + 1))
    if not places:
        raise Rejected("entity unaligned")
    if len(places) == 1:
        return places[0]
    own = np.where(own_M, weight_M, 0.0)
    weights = [float(own[slice(*place)].sum()) for place in places]
    best = int(np.argmax(weights))
    if weights[best] <= MOST * sum(weights):
        raise Rejected("not contiguous")
    return places[best]


def carried_spans(spans: Sequence[Span], p_NM: np.ndarray) -> tuple[Span, ...]:
    """The entities of a sentence in its translation, in the order in which they stand there.

    Args:
        spans: Entities of the sentence, which do not overlap.
        p_NM: The alignment.

    Raises:
        Rejected: an entity has no words there, or words in several places.
    """
    partner_M, weight_M = partners(p_NM), p_NM.max(axis=0, initial=0.0)
    found = [_placed(span, partner_M, weight_M) for span in spans]
    return tuple(sorted(found, key=lambda span: span.start))


def spans_back(spans: Sequence[Span], p_NM: np.ndarray) -> tuple[Span, ...]:
    """The entities that a model found in a sentence and that have a place in its translation, in
    the order in which they stand there; the others are left out.

    Args:
        spans: Entities of the sentence, which do not overlap.
        p_NM: The alignment.
    """
    partner_M, weight_M = partners(p_NM), p_NM.max(axis=0, initial=0.0)
    found = list[Span]()
    for span in spans:
        with suppress(Rejected):
            found.append(_placed(span, partner_M, weight_M))
    return tuple(sorted(found, key=lambda span: span.start))


def _placed(span: Span, partner_M: np.ndarray, weight_M: np.ndarray) -> Span:
    own_M = (partner_M >= span.start) & (partner_M < span.end)
    return Span(span.type, *contiguous(own_M, partner_M == NOBODY, weight_M))


def carried_labels(labels_N: Sequence[int], p_NM: np.ndarray) -> tuple[int, ...]:
    """Labels of the words of a translation, each that of its partner; without one, `UNLABELLED`.

    Args:
        labels_N: Class ids of the words of the sentence.
        p_NM: The alignment.

    Raises:
        Rejected: most words have no partner.
    """
    partner_M = partners(p_NM)
    if np.mean(partner_M != NOBODY) < ENOUGH:
        raise Rejected("few words aligned")
    known = (*labels_N, UNLABELLED)  # of nobody, the last one
    return tuple(int(known[partner]) for partner in partner_M.tolist())


def labels_back(labels_N: Sequence[int], p_NM: np.ndarray) -> tuple[tuple[int, ...], int]:
    """Labels that a model gave to the words of a sentence, for each word of its translation: that
    of its partner, and without one the sentence's most frequent label.

    Args:
        labels_N: Class ids of the words of the sentence; without words, all others have class 0.
        p_NM: The alignment.

    Returns:
        [M] class ids, and how many of the words have a partner.
    """
    most = Counter(labels_N).most_common(1)
    known = (*labels_N, most[0][0] if most else 0)  # of nobody, the last one
    partner_M = partners(p_NM)
    labels = tuple(int(known[partner]) for partner in partner_M.tolist())
    return labels, int((partner_M != NOBODY).sum())


def score_of(spans: Sequence[Span], others: Sequence[Span], p_NM: np.ndarray) -> float:
    """How well entities of a sentence fit those of its translation, in [0, 1].

    Each word of an entity has the probability of its likeliest pair with a word of an entity of the
    same type on the other side. The score is the mean over the words of the sentence's entities or
    that over those of the translation, whichever is less: entities that are cut short lack the one,
    those that reach too far the other.

    Args:
        spans: Entities of the sentence.
        others: Entities of the translation.
        p_NM: The alignment.

    Returns:
        The score; 1 where there are no entities.
    """
    sides: tuple[list[float], list[float]] = [], []
    for kind in dict.fromkeys(span.type for span in (*spans, *others)):
        pairs = p_NM[np.ix_(*(_words(kind, found) for found in (spans, others)))]
        for axis, side in enumerate(reversed(sides)):
            side += pairs.max(axis=axis, initial=0.0).tolist()
    return min((sum(side) / len(side) for side in sides if side), default=1.0)


def _words(kind: str, spans: Sequence[Span]) -> list[int]:
    return [at for span in spans if span.type == kind for at in range(span.start, span.end)]
