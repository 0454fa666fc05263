"""Evidential classification: logits as evidence for a Dirichlet distribution.

Sensoy et al., "Evidential Deep Learning to Quantify Classification Uncertainty" (2018), in the form
of CLTP, "Uncertainty-Aware Cross-Lingual Transfer with Pseudo Partial Labels".

Shapes: N items, C classes. Half-precision inputs are computed in float32, wider ones as they are.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from xlt_ray.ops.precision import wide

NO_EVIDENCE = 1e-30
"""Evidence below this is an underflowed exponential and supports no belief."""

_LARGE = 1e6


class Dirichlet(NamedTuple):
    """Quantities of the distribution with parameters evidence + 1.

    Attributes:
        strength_N: S, the sum of the parameters, at least C.
        p_NC: Expected class probabilities, (e + 1) / S.
        belief_NC: Belief masses e / S; with the vacuity they add up to 1.
        vacuity_N: C / S, in (0, 1]; 1 without any evidence.
    """

    strength_N: Tensor
    p_NC: Tensor
    belief_NC: Tensor
    vacuity_N: Tensor


class EvidentialMSE(NamedTuple):
    """Squared-error loss of each item: mse_N + variance_N, [N] each."""

    loss_N: Tensor
    mse_N: Tensor
    variance_N: Tensor


def evidence(logits_NC: Tensor) -> Tensor:
    """Evidence ELU(f) + 1 (CLTP): f + 1 for positive f, exp(f) otherwise.

    The exponential is taken directly, since ELU(f) + 1 loses all digits for large negative f.

    Args:
        logits_NC: Raw outputs of the linear head, any leading shape.

    Returns:
        Non-negative evidence of the same shape, in the order of the logits.
    """
    logits_NC = wide(logits_NC)
    return torch.where(logits_NC > 0, logits_NC + 1, logits_NC.clamp(max=0).exp())


def strength(evidence_NC: Tensor) -> Tensor:
    """Dirichlet strength S, the sum of the evidence plus C."""
    evidence_NC = wide(evidence_NC)
    return evidence_NC.sum(-1) + evidence_NC.shape[-1]


def dirichlet(evidence_NC: Tensor) -> Dirichlet:
    """Strength, probabilities, belief and vacuity of evidence (CLTP).

    Evidence below `NO_EVIDENCE` gets belief exactly 0, so that the conflict measures of
    `xlt_ray.ops.uncertainty` see an absent class and not the rounding of an underflow.

    Args:
        evidence_NC: Non-negative evidence, any leading shape.

    Returns:
        All four quantities; without evidence p is uniform, belief 0 and vacuity 1.
    """
    evidence_NC = wide(evidence_NC)
    strength_N = strength(evidence_NC)
    belief_NC = torch.where(evidence_NC < NO_EVIDENCE, 0.0, evidence_NC) / strength_N[..., None]
    p_NC = (evidence_NC + 1) / strength_N[..., None]
    return Dirichlet(strength_N, p_NC, belief_NC, evidence_NC.shape[-1] / strength_N)


def evidential_nll(evidence_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Expected cross-entropy under the Dirichlet, digamma(S) - digamma(e_y + 1) (CLTP, L_EVI).

    Args:
        evidence_NC: Non-negative evidence.
        labels_N: Class ids, int64, all in [0, C).

    Returns:
        Loss of each item, [N]. It tends to 0 as the label's evidence outgrows the rest; without
        evidence it is the harmonic number H_{C-1}.
    """
    evidence_NC = wide(evidence_NC)
    label_N = evidence_NC.gather(-1, labels_N[..., None]).squeeze(-1) + 1
    return _digamma(strength(evidence_NC)) - _digamma(label_N)


def evidential_nll_of_sets(evidence_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """Expected cross-entropy of a candidate set as one class, digamma(S) - digamma(sum of alpha).

    Classes of a Dirichlet merge by adding their parameters, so this is `evidential_nll` of the
    merged class, and equal to it for a set of one.

    Args:
        evidence_NC: Non-negative evidence.
        mask_NC: Bool sets of at least one class.

    Returns:
        Loss of each item, [N]; 0 for the set of all classes. Its slope is the same for every member
        of the set, so none of them is preferred.
    """
    evidence_NC = wide(evidence_NC)
    merged_N = torch.where(mask_NC, evidence_NC + 1, 0.0).sum(-1)
    return _digamma(strength(evidence_NC)) - _digamma(merged_N)


def evidential_nll_of_each(evidence_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """L_EVI with a multi-hot y: the sum of `evidential_nll` over the classes of the set.

    Args:
        evidence_NC: Non-negative evidence.
        mask_NC: Bool sets of at least one class.

    Returns:
        Loss of each item, [N]. For several classes it has a least value above 0, where the evidence
        of all of them is equal.
    """
    evidence_NC = wide(evidence_NC)
    each_NC = _digamma(strength(evidence_NC))[..., None] - _digamma(evidence_NC + 1)
    return torch.where(mask_NC, each_NC, 0.0).sum(-1)


def evidential_mse(evidence_NC: Tensor, labels_N: Tensor) -> EvidentialMSE:
    """Expected squared error under the Dirichlet (Sensoy et al., eq. 5; SL-EVI of Xu et al., 2021).

    sum_c (y_c - p_c)^2 + p_c (1 - p_c) / (S + 1): the error of the mean p and the variance around
    it. The regulariser that Sensoy et al. add to it is not part of SL-EVI.

    Args:
        evidence_NC: Non-negative evidence.
        labels_N: Class ids, int64, all in [0, C).

    Returns:
        Loss below 2 and its two terms. It tends to 0 as the label's evidence outgrows the rest;
        without evidence it is (1 - 1/C) (1 + 1/(C + 1)).
    """
    strength_N, p_NC, _, _ = dirichlet(evidence_NC)
    label_NC = torch.zeros_like(p_NC).scatter(-1, labels_N[..., None], 1.0)
    mse_N = (label_NC - p_NC).square().sum(-1)
    variance_N = (p_NC * (1 - p_NC)).sum(-1) / (strength_N + 1)
    return EvidentialMSE(mse_N + variance_N, mse_N, variance_N)


def _digamma(x: Tensor) -> Tensor:
    """Digamma for x >= 1, with its asymptotic form for large x where library series lose digits."""
    series = x.clamp(max=_LARGE).digamma()
    return torch.where(x > _LARGE, x.log() - 0.5 / x, series)
