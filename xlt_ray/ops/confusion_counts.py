"""Confusion matrices in closed form, from expected counts; and probabilities without a prior.

The M-step of EM for the matrices alone. The paper of LVM takes steps along the gradient.

Shapes: N positions, K classes; a matrix holds, at [i, j], how i is said where j is true.
"""

import torch
from torch import Tensor


def without_prior(soft_NK: Tensor, prior_K: Tensor) -> Tensor:
    """[N, K] P(k) / prior(k), scaled to sum to 1: what a source has seen, without its prior.

    A posterior is the likelihood of what was seen times the prior of the source. The product over
    U sources and the model has U + 1 priors in it; this leaves that of the model.

    Args:
        soft_NK: Posteriors of a source; a row of zeros remains one.
        prior_K: Its prior, positive.
    """
    seen_NK = soft_NK / prior_K
    return seen_NK / seen_NK.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(seen_NK.dtype).tiny)


def expected_counts(log_phi_KK: Tensor, said_NK: Tensor, q_NK: Tensor) -> Tensor:
    """[K, K] how often a source is expected to say i where j is true, under Q.

        c[i, j] = sum_n Q_n(j) P_n(i) phi[i, j] / sum_k P_n(k) phi[k, j]

    What is said is hidden too if the source gives probabilities; with all of P on one label, c
    counts Q where that is said, whatever phi is.

    Args:
        log_phi_KK: Logarithm of the matrix that Q was computed with.
        said_NK: Probabilities of the source; a row of zeros counts nothing.
        q_NK: Posterior of the true labels.
    """
    phi_KK = log_phi_KK.exp()
    mixed_NK = (said_NK @ phi_KK).clamp_min(torch.finfo(phi_KK.dtype).tiny)
    return phi_KK * (said_NK.T @ (q_NK / mixed_NK))


def maximising_matrix(counts_KK: Tensor, prior_KK: Tensor, strength: float = 0.0) -> Tensor:
    """[K, K] logarithm of the matrix that the M-step is after, in closed form.

    Column j is (c[:, j] + strength * prior[:, j]) over its sum: the maximum a posteriori under a
    Dirichlet prior, at strength 0 the maximum likelihood. A column without any count is that of
    the prior. No entry is under 1e-6, so that no label becomes impossible.

    Args:
        counts_KK: Expected counts.
        prior_KK: The matrix that is believed in beforehand; columns sum to 1.
        strength: Words of each true label that this belief is worth.
    """
    total_KK = counts_KK + strength * prior_KK
    sums_1K = total_KK.sum(dim=0, keepdim=True)
    sigma_KK = torch.where(sums_1K > 1e-9, total_KK / sums_1K.clamp_min(1e-9), prior_KK)
    sigma_KK = sigma_KK.clamp_min(1e-6)
    return (sigma_KK / sigma_KK.sum(dim=0, keepdim=True)).log()
