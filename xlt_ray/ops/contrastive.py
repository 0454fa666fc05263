"""Contrastive negative learning: what a text is not, and how far it should be from what that is.

"Improving Cross-lingual Transfer with Contrastive Negative Learning and Self-training". The numbers
of equations are those of docs/conlst.md. Shapes: N items, C classes, D features, M negatives.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import log_softmax

Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]
Similarity = Literal["neg_sq_l2", "neg_l2"]
"""-||a - b||^2, or -||a - b||."""

_NEAR_ZERO = 1e-12
"""Added under the root of a distance, which has no gradient at 0."""


def negative_learning(logits_NC: Tensor, classes_N: Tensor) -> Tensor:
    """[N] loss -log(1 - p_k) of a complementary class k each (N1).

    As logsumexp of all logits minus that of those without k: finite for p_k = 1, too. Its gradient
    is p - r, with r the softmax over the other classes and 0 at k.

    Args:
        logits_NC: Logits f, p = softmax(f).
        classes_N: Class k that the item is said not to have.
    """
    is_it_NC = torch.zeros_like(logits_NC, dtype=torch.bool).scatter_(1, classes_N[:, None], True)
    others_NC = logits_NC.masked_fill(is_it_NC, -torch.inf)
    return logits_NC.logsumexp(dim=1) - others_NC.logsumexp(dim=1)


class Complement(NamedTuple):
    """What a classifier says that items are, and are not.

    Attributes:
        said_N: Pseudo-label: class of the largest probability, the lowest on ties.
        certain_N: Whether that probability is at least gamma.
        not_NC: Complementary classes, at least one of each item.
    """

    said_N: Tensor
    certain_N: Tensor
    not_NC: Tensor


def complementary(q_NC: Tensor, gamma: float | Tensor) -> Complement:
    """Complementary labels (N2): all classes but the likeliest of an item that is certain, and the
    unlikeliest alone of one that is not.

    Args:
        q_NC: Class probabilities.
        gamma: Confidence from which an item is certain, in [1/C, 1]; one, or [N] of the items.
    """
    best_N, least_N = q_NC.amax(dim=1), q_NC.amin(dim=1)
    said_N, unlikeliest_N = _first(q_NC == best_N[:, None]), _first(q_NC == least_N[:, None])
    certain_N = best_N >= gamma
    classes_C = torch.arange(q_NC.shape[1], device=q_NC.device)
    others_NC = classes_C != said_N[:, None]
    lowest_NC = classes_C == unlikeliest_N[:, None]
    return Complement(said_N, certain_N, torch.where(certain_N[:, None], others_NC, lowest_NC))


def _first(is_it_NC: Tensor) -> Tensor:
    """[N] first class that is true."""
    return is_it_NC.to(torch.uint8).argmax(dim=1)


def negative_pool(found: Complement) -> Tensor:
    """[N, N] whether item j may be a negative of item i: certain, of a class that i is not (N3)."""
    fits_NN = found.not_NC[:, found.said_N] & found.certain_N
    return fits_NN & ~torch.eye(len(fits_NN), dtype=torch.bool, device=fits_NN.device)


def random_others(labels_N: Tensor, num_classes: int) -> Tensor:
    """[N] class drawn evenly from those other than the label, for each item (N6)."""
    shift_N = torch.randint(1, num_classes, labels_N.shape, device=labels_N.device)
    return (labels_N + shift_N) % num_classes


def similarities(a_ND: Tensor, b_MD: Tensor, kind: Similarity = "neg_sq_l2") -> Tensor:
    """[N, M] similarity of each a to each b (N4), by ||a||^2 + ||b||^2 - 2 a b and without an
    [N, M, D] tensor."""
    squares_NM = a_ND.square().sum(1)[:, None] + b_MD.square().sum(1) - 2 * a_ND @ b_MD.T
    return _similarity(squares_NM.clamp(min=0), kind)


def similarity(a_ND: Tensor, b_ND: Tensor, kind: Similarity = "neg_sq_l2") -> Tensor:
    """[N] similarity of pairs (N4)."""
    return _similarity((a_ND - b_ND).square().sum(1), kind)


def _similarity(squares: Tensor, kind: Similarity) -> Tensor:
    return -squares if kind == "neg_sq_l2" else -(squares + _NEAR_ZERO).sqrt()


def contrastive(positive_N: Tensor, negative_NM: Tensor, mask_NM: Tensor) -> Tensor:
    """[N] contrastive loss logsumexp(l_0, l_j...) - l_0 (N5); 0 where there are no negatives.

    Args:
        positive_N: l_0, similarity to the positive, divided by the temperature.
        negative_NM: l_j, similarity to negatives, divided by the temperature.
        mask_NM: Which of them are negatives of the item.
    """
    negative_NM = negative_NM.masked_fill(~mask_NM, -torch.inf)
    whole = torch.cat([positive_N[:, None], negative_NM], dim=1)
    return -log_softmax(whole, dim=1)[:, 0]


def draw_shared(sizes_C: Ints, number: int, rng: np.random.Generator) -> list[Ints]:
    """Candidates that a step draws for all of its anchors: of each class K_neg, or all if there
    are fewer, as positions within the candidates of the class."""
    return [rng.permutation(int(size))[:number] for size in sizes_C]


def draw_negatives(
    allowed_NC: Bools, sizes_C: Ints, number: int, rng: np.random.Generator
) -> Bools:
    """Which of the shared candidates each anchor takes as its negatives (N3).

    An anchor takes as many of each class as K_neg even draws without replacement from all
    candidates of its complementary classes would have given, and draws these among the shared ones.
    So each anchor, seen by itself, has even draws from the whole pool.

    Args:
        allowed_NC: Complementary classes of the anchors.
        sizes_C: Candidates of each class in the whole pool.
        number: K_neg.
        rng: Source of the draws.

    Returns:
        [N, M] mask over what `draw_shared` gives, class after class.
    """
    shared_C = np.minimum(sizes_C, number)
    starts_C = np.cumsum(shared_C) - shared_C
    taken_NM = np.zeros((len(allowed_NC), int(shared_C.sum())), np.bool_)
    for row, allowed_C in enumerate(allowed_NC):
        of_C = np.where(allowed_C, sizes_C, 0)
        wanted = min(number, int(of_C.sum()))
        counts_C = rng.multivariate_hypergeometric(of_C, wanted, method="marginals")
        for start, shared, count in zip(starts_C, shared_C, counts_C, strict=True):
            taken_NM[row, start + rng.permutation(shared)[:count]] = True
    return taken_NM


def mixed(a: Tensor, b: Tensor, m: Tensor) -> Tensor:
    """m a + (1 - m) b, row by row, with m of shape [N] (N9)."""
    m = m.to(a.dtype).reshape(-1, *[1] * (a.dim() - 1))
    return m * a + (1 - m) * b


def soft_cross_entropy(logits_NC: Tensor, target_NC: Tensor) -> Tensor:
    """[N] cross-entropy of class probabilities (N9)."""
    return -(target_NC * log_softmax(logits_NC, dim=1)).sum(dim=1)


def masked_mean(loss_N: Tensor, mask_N: Tensor) -> Tensor:
    """Sum of the losses that are not masked, divided by the number of all (N10)."""
    return (loss_N * mask_N).sum() / max(len(loss_N), 1)
