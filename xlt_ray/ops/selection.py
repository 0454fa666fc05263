"""Which items of one language's pool are taken, lowest score or highest confidence first.

All rules are pure functions of NumPy arrays. `order_N` breaks ties between equal scores: the rank
of the item's id, so that the outcome does not depend on the order of the rows. `valid_N` masks the
items that may be selected; the others count nowhere.

Shapes: N items or sentences, T entity types, E entities, W words.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def quota(ratio: float, initial_pool: int, *, num_classes: int = 1) -> int:
    """Items to take per class, max(1, floor(ratio * initial pool / C)), exact in the decimal ratio.

    Args:
        ratio: Share of the pool.
        initial_pool: Items of the pool before any was taken.
        num_classes: C where the share is that of all classes together; by default it is that of
            each class.
    """
    return max(1, math.floor(Fraction(str(ratio)) * initial_pool / num_classes))


def lowest(
    scores_N: Floats, *, order_N: Ints, k: int, valid_N: Bools | None = None
) -> NDArray[np.int64]:
    """Positions of the k lowest valid scores, best first; all of them where there are fewer.

    Args:
        scores_N: Scores without NaN among the valid ones.
        order_N: Distinct tie-breakers, lower first.
        k: How many, at least 0.
        valid_N: Items to choose from; None for all.
    """
    valid = np.arange(len(scores_N)) if valid_N is None else np.flatnonzero(valid_N)
    if np.isnan(scores_N[valid]).any():
        raise ValueError("a valid item has the score NaN")
    return valid[np.lexsort((order_N[valid], scores_N[valid]))][:k]


def top_n(scores_N: Floats, *, order_N: Ints, n: int, valid_N: Bools | None = None) -> Bools:
    """The n lowest scores whatever their class (CLTP, Algorithm 1 as printed)."""
    return _as_mask(lowest(scores_N, order_N=order_N, k=n, valid_N=valid_N), len(scores_N))


def per_class(
    scores_N: Floats, *, classes_N: Ints, order_N: Ints, k: int, valid_N: Bools | None = None
) -> Bools:
    """The k lowest scores of each predicted class; a class with fewer gives all it has."""
    taken_N = np.zeros(len(scores_N), dtype=np.bool_)
    for members_N in _by_class(classes_N, valid_N):
        taken_N[lowest(scores_N, order_N=order_N, k=k, valid_N=members_N)] = True
    return taken_N


def repo_tail(
    scores_N: Floats, *, classes_N: Ints, order_N: Ints, k: int, valid_N: Bools | None = None
) -> Bools:
    """All but the 2k lowest scores of each predicted class (the released CLTP code)."""
    taken_N = np.zeros(len(scores_N), dtype=np.bool_)
    for members_N in _by_class(classes_N, valid_N):
        ranked = lowest(scores_N, order_N=order_N, k=len(scores_N), valid_N=members_N)
        taken_N[ranked[2 * k :]] = True
    return taken_N


def balanced_top(
    confidence_N: Floats,
    *,
    classes_N: Ints,
    order_N: Ints,
    k: int,
    balanced: bool,
    valid_N: Bools | None = None,
) -> Bools:
    """The k most confident items of each predicted class (ST of Dong and de Melo, 2019).

    A class that nothing is predicted as is no class here.

    Args:
        confidence_N: Largest class probabilities, without NaN among the valid items.
        classes_N: Predicted class of each item.
        order_N: Distinct tie-breakers, lower first.
        k: Items per class, from `quota` of the initial pool.
        balanced: Take equally many of every class: k, or as many as the smallest class has.
        valid_N: Items to choose from; None for all.
    """
    sizes = [int(members_N.sum()) for members_N in _by_class(classes_N, valid_N)]
    k = min([k, *sizes]) if balanced else k
    return per_class(-confidence_N, classes_N=classes_N, order_N=order_N, k=k, valid_N=valid_N)


def sentence_type_scores(
    scores_W: Floats,
    *,
    entity_W: Ints,
    sentence_E: Ints,
    type_E: Ints,
    num_sentences: int,
    num_types: int,
) -> NDArray[np.float64]:
    """Score of each sentence for each entity type: mean over its entities of their word means.

    Args:
        scores_W: Scores of the words inside entities.
        entity_W: Entity of each word, in [0, E); every entity has a word.
        sentence_E: Sentence of each entity.
        type_E: Type of each entity.
        num_sentences: N.
        num_types: T.

    Returns:
        [N, T], NaN where the sentence has no entity of the type.
    """
    words_E = np.bincount(entity_W, minlength=len(sentence_E))
    assert len(words_E) == len(sentence_E), "a word names an entity that is not there"
    assert (words_E > 0).all(), "an entity without words has no score"
    means_E = np.bincount(entity_W, weights=scores_W, minlength=len(sentence_E)) / words_E
    cells = num_sentences * num_types
    cell_E = np.asarray(sentence_E, np.int64) * num_types + type_E
    count = np.bincount(cell_E, minlength=cells)
    total = np.bincount(cell_E, weights=means_E, minlength=cells)
    scores = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return scores.reshape(num_sentences, num_types)


def select_sentences(
    scores_NT: Floats, *, order_N: Ints, k: int | Ints, valid_N: Bools | None = None
) -> Bools:
    """Sentences among the k lowest of every entity type they contain; never one without an entity.

    Args:
        scores_NT: From `sentence_type_scores`, NaN where a type is absent.
        order_N: Distinct tie-breakers, lower first.
        k: Sentences per type, of all or [T] of each.
        valid_N: Sentences to choose from, for instance those without an orphan ``I-``.
    """
    present_NT = ~np.isnan(scores_NT)
    if valid_N is not None:
        present_NT &= valid_N[:, None]
    taken_NT = np.stack(
        [
            top_n(scores_N, order_N=order_N, n=n, valid_N=present_N)
            for scores_N, present_N, n in zip(
                scores_NT.T, present_NT.T, np.broadcast_to(k, scores_NT.shape[1]), strict=True
            )
        ],
        axis=1,
    )
    return present_NT.any(axis=1) & (taken_NT == present_NT).all(axis=1)


def _by_class(classes_N: Ints, valid_N: Bools | None) -> list[Bools]:
    valid = np.ones(len(classes_N), dtype=np.bool_) if valid_N is None else valid_N
    return [valid & (classes_N == name) for name in np.unique(classes_N[valid])]


def _as_mask(positions: Ints, length: int) -> Bools:
    mask_N = np.zeros(length, dtype=np.bool_)
    mask_N[positions] = True
    return mask_N
