"""How far several models agree on the labels of the same items. All arrays are NumPy's.

Shapes: M models, N items.
"""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def pair_counts(labels_MN: NDArray[np.integer], outside: int | None) -> tuple[Counts, Counts]:
    """Items that count for a pair of models, and those of them that both give one label.

    Args:
        labels_MN: Class ids.
        outside: Class of words outside of entities. A word that both models of a pair give it does
            not count for the pair: most words are outside, and agreement on them says little.
            None: every item counts.

    Returns:
        [M, M] equal labels, and [M, M] items that count; both symmetric.
    """
    num_models = len(labels_MN)
    same_MM = np.zeros((num_models, num_models), np.int64)
    counted_MM = np.zeros((num_models, num_models), np.int64)
    for number, labels_N in enumerate(labels_MN):
        counts_MN = np.ones(labels_MN.shape, bool)
        if outside is not None:
            counts_MN = (labels_MN != outside) | (labels_N != outside)
        counted_MM[number] = counts_MN.sum(axis=1)
        same_MM[number] = ((labels_MN == labels_N) & counts_MN).sum(axis=1)
    return same_MM, counted_MM


def mean_agreement(same_MM: Counts, counted_MM: Counts) -> NDArray[np.float64]:
    """[M] mean over the other models of the share of the items that both give one label, in [0, 1].

    A pair for which no item counts, such as two models that find no entity, agrees on nothing: 0.
    So does a model without others.

    Args:
        same_MM: Equal labels of each pair.
        counted_MM: Items that count for each pair.
    """
    num_models = len(same_MM)
    share_MM = np.divide(same_MM, counted_MM, out=np.zeros(same_MM.shape), where=counted_MM > 0)
    np.fill_diagonal(share_MM, 0.0)
    return share_MM.sum(axis=1) / max(num_models - 1, 1)
