"""How predicted labels relate to true ones: confusion matrices, posterior, bound and risk.

MRT and LVM, "Risk Minimization for Zero-shot Sequence Labeling". A matrix holds, at [i, j], the
probability that i is predicted where j is true, so its columns sum to 1. psi is fixed, sigma is
learned, phi lies between them. All is in logarithms, in float32 or float64 as the arguments are.

Shapes: U sources, N positions, S sentences, K classes.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from xlt_ray.labels import UNLABELLED

MU_MOST = 1 - 1e-6
"""Largest diagonal: at 1 every label that a source gives would be taken for the truth."""


def mu_of(tau: float, num_classes: int) -> float:
    """Diagonal of the matrix whose columns are softmax(tau I): mu = e^tau / (e^tau + K - 1).

    Raises:
        ValueError: tau is not positive, or there are fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"a confusion matrix needs at least 2 classes, got {num_classes}")
    if tau <= 0:
        raise ValueError(f"tau must be positive, so that mu is above 1/K, got {tau}")
    return 1 / (1 + (num_classes - 1) * math.exp(-tau))


def tau_of(mu: float, num_classes: int) -> float:
    """Scale of the matrix with this diagonal: tau = ln(mu (K - 1) / (1 - mu)).

    Raises:
        ValueError: mu is not in (1/K, 1 - 1e-6], or there are fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"a confusion matrix needs at least 2 classes, got {num_classes}")
    if not 1 / num_classes < mu <= MU_MOST:
        raise ValueError(
            f"mu must be above 1/K = {1 / num_classes:.4g} and at most 1 - 1e-6, got {mu}"
        )
    return math.log(mu * (num_classes - 1) / (1 - mu))


def scaled_identity(tau: float, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[K, K] tau I: the start of sigma, and the logits of psi."""
    return tau * torch.eye(num_classes, dtype=dtype)


def log_columns(raw: Tensor) -> Tensor:
    """Logarithm of the matrices whose columns are the softmax of the columns of [..., K, K]."""
    return log_softmax(raw, dim=-2)


def log_mixture(log_psi_KK: Tensor, log_sigma_UKK: Tensor, lam: float) -> Tensor:
    """log phi, [U, K, K], of phi = lambda psi + (1 - lambda) sigma (V2).

    Args:
        log_psi_KK: Logarithm of the fixed matrix; may hold -inf.
        log_sigma_UKK: Logarithms of the learned ones.
        lam: lambda, in [0, 1]; at its ends the other matrix has no part, nor a gradient.
    """
    if not 0 <= lam <= 1:
        raise ValueError(f"lambda must be in [0, 1], got {lam}")
    if lam == 0:
        return log_sigma_UKK
    if lam == 1:
        return log_psi_KK.expand_as(log_sigma_UKK)
    return torch.logaddexp(math.log(lam) + log_psi_KK, math.log1p(-lam) + log_sigma_UKK)


def lambda_at(step: int, steps: int, first: float = 1.0, last: float = 0.0) -> float:
    """lambda at an update: from ``first`` at update 0 to ``last`` at the last one, in a line.

    Args:
        step: Number of the update, from 0.
        steps: Updates of the whole run; with a single one lambda is ``first``.
        first: lambda of the first update.
        last: lambda of the last one.
    """
    if steps < 2:
        return first
    done = step / (steps - 1)
    return min(max(first * (1 - done) + last * done, 0.0), 1.0)


def log_emission_hard(log_phi_UKK: Tensor, hard_UN: Iterable[Tensor]) -> Tensor:
    """[N, K] sum over the sources of log phi[u][label, y] (V3).

    Args:
        log_phi_UKK: Logarithms of the matrices.
        hard_UN: Label of each source, or -100 where it gives none, which adds nothing. The sources
            are gone through one after the other, so memory does not grow with their number.
    """
    total: Tensor | None = None
    for log_phi_KK, hard_N in zip(log_phi_UKK, hard_UN, strict=True):
        given_N = hard_N != UNLABELLED
        rows_NK = log_phi_KK[hard_N.where(given_N, 0)].where(given_N[:, None], 0.0)
        total = rows_NK if total is None else total + rows_NK
    assert total is not None, "an emission needs a source"
    return total


def log_emission_soft(log_phi_UKK: Tensor, soft_UNK: Iterable[Tensor]) -> Tensor:
    """[N, K] sum over the sources of log sum_k P_u(k) phi[u][k, y] (V3).

    Args:
        log_phi_UKK: Logarithms of the matrices.
        soft_UNK: Probabilities of each source; a row of zeros, where it gives none, adds nothing.
            The sources are gone through one after the other, as in `log_emission_hard`.
    """
    total: Tensor | None = None
    for log_phi_KK, soft_NK in zip(log_phi_UKK, soft_UNK, strict=True):
        mixed_NK = soft_NK @ log_phi_KK.exp()
        given_N1 = soft_NK.sum(dim=-1, keepdim=True) > 0
        floor = torch.finfo(mixed_NK.dtype).tiny
        mixed_NK = mixed_NK.clamp_min(floor).log().where(given_N1, 0.0)
        total = mixed_NK if total is None else total + mixed_NK
    assert total is not None, "an emission needs a source"
    return total


def posterior(log_joint_NK: Tensor) -> Tensor:
    """[N, K] probability of each true label: the softmax of the joint (V5)."""
    return softmax(log_joint_NK, dim=-1)


def one_hot_argmax(q_NK: Tensor) -> Tensor:
    """[N, K] all weight on the likeliest label, the lowest of equals: the E-step of hard EM."""
    return torch.zeros_like(q_NK).scatter_(1, q_NK.argmax(dim=1, keepdim=True), 1.0)


def nll(log_joint_NK: Tensor) -> Tensor:
    """[N] negative log-likelihood of what the sources say at each position (V4); J is its sum."""
    return -log_joint_NK.logsumexp(dim=-1)


def expected_nll(log_joint_NK: Tensor, q_NK: Tensor) -> Tensor:
    """[N] -sum_y Q(y) J(y): the part of the bound that has a gradient; 0 log 0 = 0."""
    return -(q_NK * log_joint_NK.masked_fill(q_NK == 0, 0.0)).sum(dim=-1)


def bound(log_joint_NK: Tensor, q_NK: Tensor) -> Tensor:
    """[N] upper bound of the negative log-likelihood, equal to it if Q is the posterior (V6)."""
    return expected_nll(log_joint_NK, q_NK) + torch.xlogy(q_NK, q_NK).sum(dim=-1)


def log_risk(nll_N: Tensor, sentence_N: Tensor, num_sentences: int) -> Tensor:
    """[S] logarithm of the magnitude of each sentence's risk (V7).

    The risk is -exp of it: minus the product over the positions of sum_y P(y) psi[label, y]. Of a
    long sentence that is 0 in any floating-point number, and so is its gradient; it is never NaN.

    Args:
        nll_N: `nll` of the joint with psi.
        sentence_N: Sentence of each position, in [0, S).
        num_sentences: S; one without positions has the magnitude 1.
    """
    return -nll_N.new_zeros(num_sentences).index_add(0, sentence_N, nll_N)
