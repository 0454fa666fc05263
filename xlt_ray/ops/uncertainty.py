"""Uncertainty measures of a predicted distribution, most certain item lowest.

Dissonance after Josang, Cho and Chen, "Uncertainty Characteristics of Subjective Opinions" (2018),
as used by CLTP; the other measures rank the self-learning baselines of Xu et al., "Boosting
Cross-Lingual Transfer via Self-Learning with Uncertainty Estimation" (2021).

Shapes: N items, C classes; any leading shape works in place of N.
"""

import math

import torch
from torch import Tensor

from xlt_ray.ops.evidential import dirichlet


def balance(belief_NC: Tensor) -> Tensor:
    """Relative balance of each pair of belief masses, 1 - |u - v| / (u + v) (CLTP).

    Args:
        belief_NC: Non-negative belief masses.

    Returns:
        Symmetric [N, C, C] in [0, 1] with zero diagonal; 0 where either mass is 0.
    """
    return pair_balance(belief_NC[..., None], others(belief_NC))


def others(belief_NC: Tensor) -> Tensor:
    """Row i of each item's [C, C] holds the masses of the classes other than i, and 0 for i."""
    same_CC = torch.eye(belief_NC.shape[-1], dtype=torch.bool, device=belief_NC.device)
    return torch.where(same_CC, 0.0, belief_NC[..., None, :])


def pair_balance(u: Tensor, v: Tensor) -> Tensor:
    """Relative balance of broadcastable masses, as 2 min(u, v) / (u + v), which cannot cancel."""
    return guarded_ratio(2 * torch.minimum(u, v), u + v)


def guarded_ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient that is 0, with finite gradients, where numerator and denominator are both 0."""
    return numerator / denominator.masked_fill(denominator == 0, 1)


def dissonance(belief_NC: Tensor) -> Tensor:
    """Conflict between belief masses: each mass times the mean balance of the others with it.

    Args:
        belief_NC: Non-negative belief masses, at least one class.

    Returns:
        [N] in [0, 1]. Zero for one class, for a single non-zero mass and without any belief; the
        last means no conflict, not confidence, which only the vacuity tells apart.
    """
    others_NCC = others(belief_NC)
    mean_NC = guarded_ratio((others_NCC * balance(belief_NC)).sum(-1), others_NCC.sum(-1))
    return (belief_NC * mean_NC).sum(-1)


def merged_belief(belief_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """Belief of a set by comultiplication, 1 - prod (1 - b) over its classes; 0 if it is empty."""
    return -torch.where(mask_NC, torch.log1p(-belief_NC), 0.0).sum(-1).expm1()


def merged_dissonance(belief_NC: Tensor, mask_NC: Tensor) -> Tensor:
    """Dissonance once the classes of a set are merged, the gamma of a candidate set (CLTP)."""
    outside_NC = torch.where(mask_NC, 0.0, belief_NC)
    return dissonance(torch.cat([outside_NC, merged_belief(belief_NC, mask_NC)[..., None]], -1))


def vacuity(evidence_NC: Tensor) -> Tensor:
    """Lack of evidence C / S, in (0, 1]; 1 without any evidence."""
    return dirichlet(evidence_NC).vacuity_N


def custom_uncertainty(evidence_NC: Tensor) -> Tensor:
    """Dissonance with a little vacuity, 0.01 C / S + diss (``custom`` in the code of Xu et al.).

    Args:
        evidence_NC: Non-negative evidence.

    Returns:
        [N] in (0, 1), 0.01 without evidence; of items without conflict, less evidence is higher.
    """
    opinion = dirichlet(evidence_NC)
    return 0.01 * opinion.vacuity_N + dissonance(opinion.belief_NC)


def normalised_entropy(p_NC: Tensor) -> Tensor:
    """Entropy over log C, in [0, 1], with 0 log 0 = 0; C is at least 2."""
    assert p_NC.shape[-1] > 1, "the entropy of one class cannot be normalised"
    return -torch.xlogy(p_NC, p_NC).sum(-1) / math.log(p_NC.shape[-1])


def max_probability(p_NC: Tensor) -> Tensor:
    """Largest class probability; confident items are high, so rank by its complement."""
    return p_NC.amax(-1)
