"""Span classes as von Mises-Fisher distributions: scores, class statistics, priors and margins.

"Large Margin Representation Learning for Robust Cross-lingual Named Entity Recognition". Numbers of
equations are those of docs/maral.md. Class c has a mean direction mu_c and a concentration kappa_c;
how well an embedding z fits it is

    rho(z, c) = log E_{v ~ vMF(mu_c, kappa_c)} exp(z . v / temp).

All is in float64: rho is a small difference of numbers of the size of kappa, up to 1e5.

Shapes: N spans, K classes, Q features of an embedding.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.ops import bessel

Kappa = Literal["paper", "code"]
"""R (q - R^2) / (1 - R^2), or R q / (1 - R^2) as in the released code."""

LargeKappa = Literal["paper", "second_order"]
"""The approximation of the score that is printed, or the one that is right to second order."""

MOST_KAPPA = 1e5
_MOST_LENGTH = 1 - 1e-9
_FIRST_LENGTH = 0.9
_LEAST_PRIOR = 1e-12


def scores(z_NQ: Tensor, mu_KQ: Tensor, kappa_K: Tensor, temp: float) -> Tensor:
    """[N, K] vMF scores rho = log C_q(kappa) - log C_q(kappa') in float64 (M3).

    The gradient A_q(kappa') (kappa mu + z / temp) / (temp kappa') reaches z alone, along z as well
    as across it, and is 0 where kappa' is. A class with kappa 0 scores every z alike. Memory is
    that of [N, K] and of z in float64.

    Args:
        z_NQ: Embeddings, of unit norm up to the rounding of their type.
        mu_KQ: Mean directions, of unit norm in float64; anything finite where kappa is 0.
        kappa_K: Concentrations, at least 0.
        temp: Temperature, above 0.
    """
    q, kappa_K = z_NQ.shape[1], kappa_K.detach().double()
    square_NK = _kappa_prime_square(z_NQ, mu_KQ, kappa_K, temp)
    return bessel.log_c(kappa_K, q) - bessel.log_c_of_square(square_NK, q)


def kappa_prime(z_NQ: Tensor, mu_KQ: Tensor, kappa_K: Tensor, temp: float) -> Tensor:
    """[N, K] kappa' = ||kappa mu + z / temp|| in float64 (M3), without a gradient."""
    return _kappa_prime_square(z_NQ.detach(), mu_KQ, kappa_K.detach().double(), temp).sqrt()


def _kappa_prime_square(z_NQ: Tensor, mu_KQ: Tensor, kappa_K: Tensor, temp: float) -> Tensor:
    # Multiplied out, the square is exact to a rounding of (kappa + 1 / temp)^2. The score divides
    # what is lost of it by 2 kappa' or by 2 q, whichever is more: never more than the last digits
    # of kappa, also where z is opposite to mu.
    z_NQ = z_NQ.double()
    along_NK = z_NQ @ mu_KQ.detach().double().T
    own_N1 = z_NQ.square().sum(dim=1, keepdim=True) / temp**2
    return (kappa_K.square() + 2 / temp * kappa_K * along_NK + own_N1).clamp(min=0)


def large_kappa(
    z_NQ: Tensor, mu_KQ: Tensor, kappa_K: Tensor, temp: float, *, kind: LargeKappa = "second_order"
) -> Tensor:
    """[N, K] what rho tends to for large kappa: mu.z / temp + (1 - (mu.z)^2) / (2 temp^2 kappa).

    The paper's equation 33 prints 1 for 1 - (mu.z)^2. Of unit z and positive kappa.
    """
    along_NK = z_NQ.double() @ mu_KQ.double().T
    across_NK = 1 - along_NK.square() if kind == "second_order" else torch.ones_like(along_NK)
    return along_NK / temp + across_NK / (2 * temp**2 * kappa_K.double())


class VonMisesFisher(NamedTuple):
    """Distributions of the classes.

    Attributes:
        R_K: Lengths of the class means.
        mu_KQ: Mean directions; zeros for a mean of length 0.
        kappa_K: Concentrations, in [0, 1e5].
    """

    R_K: Tensor
    mu_KQ: Tensor
    kappa_K: Tensor


def concentration(mean_KQ: Tensor, *, kind: Kappa = "paper") -> VonMisesFisher:
    """Distributions with the given means, in float64 (M5).

    A mean of length 0 gives kappa 0, one of length 1 or, by rounding, more gives 1e5.

    Args:
        mean_KQ: Class means, of length at most 1 but for rounding; at least 2 features.
        kind: Estimate of kappa.
    """
    mean_KQ = mean_KQ.detach().double()
    R_K, q = mean_KQ.square().sum(dim=1).sqrt(), mean_KQ.shape[1]
    mu_KQ = mean_KQ / R_K.where(R_K > 0, 1)[:, None]
    length_K = R_K.clamp(max=_MOST_LENGTH)  # from there on kappa is beyond its bound
    square_K = length_K.square()
    taken_K = square_K if kind == "paper" else 0
    kappa_K = length_K * (q - taken_K) / (1 - square_K)
    return VonMisesFisher(R_K, mu_KQ, kappa_K.clamp(max=MOST_KAPPA))


def class_sums(z_NQ: Tensor, y_N: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """[K, Q] sum of the embeddings of each class and [K] their number, in float64.

    A span with a label below 0 counts nowhere. It is a product with one-hot labels because a
    scattered sum has no fixed order of additions on a GPU.
    """
    classes_K1 = torch.arange(num_classes, device=y_N.device)[:, None]
    is_it_KN = (y_N == classes_K1).double()
    return is_it_KN @ z_NQ.detach().double(), is_it_KN.sum(dim=1)


def running_mean(
    mean_KQ: Tensor, count_K: Tensor, sum_KQ: Tensor, num_K: Tensor
) -> tuple[Tensor, Tensor]:
    """[K, Q] means and [K] counts after a batch (M4): the plain mean of all that was counted.

    Args:
        mean_KQ: Means so far.
        count_K: Spans counted into them; a mean with count 0 is forgotten at the first span.
        sum_KQ: Sum of the batch's embeddings by class.
        num_K: Spans of the batch by class; a class with 0 keeps its mean bit for bit.
    """
    total_K = count_K + num_K
    least_K = total_K.clamp(min=1)
    kept_K = 1 - num_K / least_K
    return kept_K[:, None] * mean_KQ + sum_KQ / least_K[:, None], total_K


def first_means(num_classes: int, q: int, generator: torch.Generator) -> Tensor:
    """[K, Q] means of classes of which nothing was seen: even directions, length 0.9, float64."""
    on = generator.device
    normal_KQ = torch.randn(num_classes, q, dtype=torch.float64, generator=generator, device=on)
    return _FIRST_LENGTH * normal_KQ / normal_KQ.square().sum(dim=1, keepdim=True).sqrt()


def soft_prior(p_NK: Tensor) -> Tensor:
    """[K] mean of soft labels in float64 (M7, target); even for no spans."""
    return shares(p_NK.double().sum(dim=0))


def hard_prior(y_N: Tensor, num_classes: int) -> Tensor:
    """[K] share of each class in float64 (M7, source), of the labels from 0; even for no spans."""
    return shares(torch.bincount(y_N[y_N >= 0], minlength=num_classes).double())


def shares(total_K: Tensor) -> Tensor:
    """[K] class prior in float64 from the sum of each class (M7); even if all are 0."""
    whole = total_K.double().sum()
    return torch.where(whole > 0, total_K / whole.clamp(min=1e-300), 1 / len(total_K))


def log_prior(pi_K: Tensor, exponent: float = 1.0) -> Tensor:
    """[K] exponent log pi in float64 (M6), pi at least 1e-12: a class that never occurs is finite.

    Args:
        pi_K: Class prior, sums to 1.
        exponent: 1 in the paper; the released code has 0.1 for the target.
    """
    return exponent * pi_K.double().clamp(min=_LEAST_PRIOR).log()


def max_margin_loss(rho_NK: Tensor, y_N: Tensor, log_prior_K: Tensor) -> Tensor:
    """[N] L_mmc = -log softmax(log pi + rho)[y] in float64 (M6); empty for no spans.

    Args:
        rho_NK: vMF scores.
        y_N: Classes; the loss of a span with -100 is 0.
        log_prior_K: Logarithm of the class prior.
    """
    return cross_entropy(rho_NK.double() + log_prior_K, y_N, reduction="none")


def margins(mu_KQ: Tensor, z_NQ: Tensor, y_N: Tensor) -> Tensor:
    """[N] gamma(z, y) = mu_y.z - max_{j != y} mu_j.z in float64, in [-2, 2] (M12).

    The minimum over all spans is gamma_all. With a single class there is no other: infinity.
    """
    along_NK = z_NQ.double() @ mu_KQ.double().T
    own_N1 = along_NK.gather(1, y_N[:, None])
    others_NK = along_NK.scatter(1, y_N[:, None], -torch.inf)
    return own_N1[:, 0] - others_NK.amax(dim=1)


def best_margin(num_classes: int) -> float:
    """The largest gamma_all that K >= 2 centres can have, K / (K - 1) (M12).

    Reached with pairwise cosines -1 / (K - 1), for which K <= q + 1 is needed.
    """
    return num_classes / (num_classes - 1)
