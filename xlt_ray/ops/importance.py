"""Class priors of a target from a classifier's confusions: importance weights and how they move.

"Cross-Lingual Transfer with Class-Weighted Language-Invariant Representations". The confusion
matrix has C[i, j] = P(predicted i, true j) on source text, t the marginal of the predictions on
target text, and p the source's class prior, which is the column sums of C. If source and target
differ in their priors alone, C w = t for the weights w[j] = P_target(j) / p[j], with p . w = 1.
"""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

_RIDGE = 1e-10
_INACTIVE = 1e-6


def confusion_counts(predicted_N: Tensor, true_N: Tensor, num_classes: int) -> Tensor:
    """[K, K] how often each class (row) was predicted where each (column) is true, in float64."""
    pairs = predicted_N * num_classes + true_N
    counts = torch.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).double()


def class_counts(labels_N: Tensor, num_classes: int) -> Tensor:
    """[K] how often each class occurs, in float64."""
    return torch.bincount(labels_N, minlength=num_classes).double()


def share(counts: Tensor) -> Tensor:
    """Counts divided by their sum; zeros stay zeros."""
    return counts / counts.sum().clamp_min(1e-300)


def running(old: Tensor, counts: Tensor, rate: float) -> Tensor:
    """Exponential average of the shares of batches (I6); a batch that is empty changes nothing.

    Args:
        old: The average so far, which sums to 1.
        counts: Counts of the batch, of the same shape.
        rate: s, the weight of the batch, in (0, 1].
    """
    return old if counts.sum() == 0 else (1 - rate) * old + rate * share(counts)


def running_counts(old: Tensor, counts: Tensor, rate: float) -> Tensor:
    """The same sum of raw counts, as the released code has it; `share` of it is what it reads."""
    return (1 - rate) * old + rate * counts


def estimate_weights(C_KK: np.ndarray, t_K: np.ndarray, p_K: np.ndarray) -> np.ndarray:
    """argmin ||C w - t||^2 subject to w >= 0 and p . w = 1 (I3).

    It is solved for the implied prior p w of the target, whose numbers are of one size however rare
    a class is, and made exact on its support. If C is singular a ridge of 1e-10 picks the most even
    prior of those that explain t alike. A class that the source lacks gets 0.

    Args:
        C_KK: [K, K] confusion matrix, entries sum to 1.
        t_K: [K] marginal of the target predictions, sums to 1.
        p_K: [K] class prior of the source, sums to 1.

    Returns:
        [K] weights.

    Raises:
        ValueError: shapes differ, or the prior has no class.
        ArithmeticError: the solver found no solution.
    """
    k = len(p_K)
    if C_KK.shape != (k, k) or t_K.shape != (k,):
        raise ValueError(f"shapes {C_KK.shape}, {t_K.shape} and {p_K.shape} do not fit")
    has = np.flatnonzero(p_K > 0)
    if not len(has):
        raise ValueError("the source prior has no class")
    p = np.asarray(p_K, float)[has]
    said_KK = np.asarray(C_KK, float)[:, has] / p  # P(predicted i | true j)
    is_singular = np.linalg.matrix_rank(said_KK) < len(has)
    P = said_KK.T @ said_KK + (_RIDGE if is_singular else 0.0) * np.eye(len(has))
    q = -said_KK.T @ t_K
    w_K = np.zeros(k)
    w_K[has] = _polished(_interior(P, q), P, q) / p
    return w_K


def _interior(P: np.ndarray, q: np.ndarray) -> np.ndarray:
    """argmin u'Pu / 2 + q'u of u >= 0 that sum to 1, about as exact as the solver's tolerance."""
    from qpsolvers import Problem, solve_problem

    size = len(q)
    problem = Problem(P, q, A=np.ones((1, size)), b=np.ones(1), lb=np.zeros(size))
    exact: dict[str, Any] = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
    with warnings.catch_warnings():
        # Of dense matrices, which are small, and of a solution almost as exact: it is polished.
        warnings.simplefilter("ignore")
        found = solve_problem(problem, solver="clarabel", **exact)
    if found.x is None or not np.isfinite(found.x).all():
        raise ArithmeticError("no importance weights: clarabel found no solution")
    return np.maximum(found.x, 0) / np.maximum(found.x, 0).sum()


def _polished(u: np.ndarray, P: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The exact minimum on the support of a solution, if it is feasible and no worse."""

    def objective(x: np.ndarray) -> float:
        return float(0.5 * x @ P @ x + q @ x)

    on = np.flatnonzero(u > _INACTIVE)
    kkt = np.ones((len(on) + 1, len(on) + 1))
    kkt[:-1, :-1], kkt[-1, -1] = P[np.ix_(on, on)], 0
    exact = np.zeros_like(u)
    exact[on] = np.linalg.lstsq(kkt, np.append(-q[on], 1.0), rcond=None)[0][:-1]
    is_better = objective(exact) <= objective(u) + 1e-12
    return exact if exact.min() >= 0 and is_better and abs(exact.sum() - 1) < 1e-12 else u


def initial_weights(w_K: np.ndarray, rho: float) -> np.ndarray:
    """w0 = (1 - rho) w + rho (I4); it meets the constraints as w does."""
    return (1 - rho) * w_K + rho


def oracle_weights(p_target_K: np.ndarray, p_K: np.ndarray) -> np.ndarray:
    """P_target / p (I2): 0 where the source has no such class, rescaled so that p . w = 1.

    Raises:
        ValueError: source and target have no class in common.
    """
    known = np.asarray(p_K) > 0
    w = np.where(known, p_target_K / np.where(known, p_K, 1.0), 0.0)
    total = float(w @ p_K)
    if total == 0:
        raise ValueError("source and target have no class in common")
    return w / total


def gradient(w_K: Tensor, C_KK: Tensor, t_K: Tensor) -> Tensor:
    """[K] gradient of ||C w - t||^2 in w."""
    return 2 * C_KK.T @ (C_KK @ w_K - t_K)


def ridge_gradient(w_K: Tensor, w0_K: Tensor, xi: float) -> Tensor:
    """[K] gradient of xi ||w - w0||^2 in w."""
    return 2 * xi * (w_K - w0_K)


def project(v_K: Tensor, p_K: Tensor) -> Tensor:
    """Nearest weights with w >= 0 and p . w = 1: w = max(v - theta p, 0) (I5).

    Args:
        v_K: [K] any numbers.
        p_K: [K] class prior of the source, with at least one class.
    """
    return (v_K - threshold(v_K, p_K) * p_K).clamp_min(0)


def threshold(v_K: Tensor, p_K: Tensor) -> Tensor:
    """theta of the projection."""
    has = p_K > 0
    v, p = v_K[has], p_K[has]
    ratio, order = (v / p).sort(descending=True, stable=True)
    v, p = v[order], p[order]
    theta = ((p * v).cumsum(0) - 1) / (p * p).cumsum(0)
    below = torch.cat([ratio[1:], ratio.new_tensor([-torch.inf])])
    return theta[int((theta >= below).int().argmax())]


def rescale(v_K: Tensor, p_K: Tensor, w0_K: Tensor) -> Tensor:
    """Negative numbers set to 0, the rest divided by p . w; w0 if none is left.

    So the released code does it; these are not the nearest weights.
    """
    w = v_K.clamp_min(0)
    total = (w * p_K).sum()
    return torch.where(total > 0, w / total.clamp_min(1e-300), w0_K)


def total_variation(p_K: np.ndarray, q_K: np.ndarray) -> float:
    """Half the sum of absolute differences of two priors, in [0, 1]: the prior shift (I1)."""
    return float(0.5 * np.abs(np.asarray(p_K) - np.asarray(q_K)).sum())


def conditional_shift(
    z_S: np.ndarray, y_S: np.ndarray, z_T: np.ndarray, y_T: np.ndarray
) -> dict[int, float]:
    """Distance of the class means of source and target features in L1, by class (I1).

    Only classes that both have are there; the shift is the mean over them. The labels are gold on
    both sides: a diagnostic, never for training. z: [N, d] features; y: [N] their classes.
    """
    both = sorted(set(y_S.tolist()) & set(y_T.tolist()))
    return {
        label: float(np.abs(z_S[y_S == label].mean(0) - z_T[y_T == label].mean(0)).sum())
        for label in both
    }
