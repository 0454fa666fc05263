"""Candidate sets by other measures of uncertainty than dissonance, to compare it with (CLTP).

The set y of an item minimises u(y) times the penalty of eq. 6 on its size. Dissonance takes for u
the gamma of `xlt_ray.ops.partial_labels`. The two other measures look at probabilities instead of
beliefs: with p = (e + 1) / S, the classes of y become one of probability P = sum of their p, and

    max_probability   u = 1 - the largest probability of that frame
    entropy           u = entropy of that frame / log C

As for dissonance, the set of all classes, whose u is always 0, is no candidate, and ties go to the
smaller set, then the larger P, then the first class list.

Among sets of one size the likeliest classes have the least u, and the largest P. That is plain for
the largest probability. Merging takes sum_{c in y} p_c log(P / p_c) off the entropy, which rises
with every p_c: its derivative is log(P / p_c). So C - 1 sets are scored, and the search is exact
for any number of classes.

Shapes: N items, C classes, K = C - 1 sizes. A set is an int64 with bit c for class c.
"""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from xlt_ray.ops.evidential import dirichlet
from xlt_ray.ops.partial_labels import Penalty, candidate_sets, size_penalty, top_k_sets

Measure = Literal["dissonance", "max_probability", "entropy"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

_TIE = 1e-12


class ChosenSets(NamedTuple):
    """One set per item: int64 bit mask and its u, float64, not negative."""

    mask_N: Tensor
    uncertainty_N: Tensor


def measured_sets(
    evidence_NC: Tensor,
    *,
    measure: Measure,
    lam: float,
    tau: float,
    penalty: Penalty = "power",
    size: int | None = None,
) -> ChosenSets:
    """The set of least penalised uncertainty of each item, computed in float64.

    Args:
        evidence_NC: Finite non-negative evidence of 2 to 63 classes.
        measure: What u is.
        lam: Penalty base lambda, at least 1.
        tau: Penalty base tau, above 1.
        penalty: "linear" replaces lambda^(|y|-1) by lambda (|y|-1).
        size: Classes of every set, 1 to C - 1, which are then the likeliest ones; None: by the
            penalty.

    Returns:
        Sets of 1 to C - 1 classes; a set of one is the class of largest evidence, the first of
        them if several are. Without evidence that is class 0.

    Raises:
        ValueError: evidence is not finite, or of fewer than two classes.
    """
    evidence_NC = evidence_NC.double()
    if measure == "dissonance":
        if size is None:
            found = candidate_sets(evidence_NC, lam=lam, tau=tau, penalty=penalty)
        else:
            found = top_k_sets(evidence_NC, k=size)
        return ChosenSets(found.mask_N, found.gamma_N)
    num_classes = evidence_NC.shape[1]
    if not evidence_NC.isfinite().all():
        raise ValueError("evidence must be finite")
    if num_classes < 2:
        raise ValueError("a candidate set needs at least two classes")
    assert num_classes < 64, "a set of more than 63 classes does not fit an int64"
    # Sorted by evidence, since different evidence may round to one probability.
    ranked = evidence_NC.sort(dim=1, descending=True, stable=True)
    p_NC = dirichlet(ranked.values).p_NC
    uncertainty_NK = _by_size(p_NC, measure)
    size_K = torch.arange(1, num_classes, device=p_NC.device)
    score_NK = uncertainty_NK * size_penalty(size_K, lam=lam, tau=tau, penalty=penalty)
    best_N1 = score_NK.amin(1, keepdim=True)
    tied_NK = score_NK <= best_N1 + _TIE * best_N1.clamp(min=1)
    chosen_N1 = tied_NK.byte().argmax(1, keepdim=True)  # the first, which is the smallest
    if size is not None:
        if not 1 <= size < num_classes:
            raise ValueError(f"a set of {size} of {num_classes} classes is empty or not proper")
        chosen_N1 = torch.full_like(chosen_N1, size - 1)
    mask_NC = (torch.ones_like(ranked.indices) << ranked.indices).cumsum(1)
    mask_N, uncertainty_N = mask_NC.gather(1, chosen_N1), uncertainty_NK.gather(1, chosen_N1)
    return ChosenSets(mask_N[:, 0], uncertainty_N[:, 0])


def _by_size(p_NC: Tensor, measure: Measure) -> Tensor:
    """u of the 1, ..., C - 1 likeliest classes, [N, K]; the classes descend.

    What is left out is added up from its small end, so that no digits go to 1 - P.
    """
    outside_NK = _tail_sums(p_NC)
    if measure == "max_probability":
        return outside_NK
    inside_NK = p_NC.cumsum(1)[:, :-1]
    merged_NK = -inside_NK * torch.log1p(-outside_NK)
    rest_NK = _tail_sums(-torch.xlogy(p_NC, p_NC))
    return (merged_NK + rest_NK) / math.log(p_NC.shape[1])


def _tail_sums(values_NC: Tensor) -> Tensor:
    """Sums over the classes from 1, 2, ..., C - 1 on."""
    return values_NC.flip(1).cumsum(1).flip(1)[:, 1:]
