"""How much of a change of predictions importance weights explain.

Shapes: M kinds of predictions, K classes. C [M, K] are joint shares of kinds and true classes on
the source, t [M] the shares of kinds on the target.
"""

import numpy as np


def residual(C_MK: np.ndarray, t_M: np.ndarray, w_K: np.ndarray) -> float:
    """Total variation, in [0, 1], between what weights explain, C w, and what there is, t."""
    return float(0.5 * np.abs(C_MK @ w_K - t_M).sum())


def sampling_noise(s_M: np.ndarray, num_source: int, t_M: np.ndarray, num_target: int) -> float:
    """Total variation that is to be expected between the shares of two samples of one population.

    Args:
        s_M: [M] shares in the first sample.
        num_source: Its size, at least 1.
        t_M: [M] shares in the second.
        num_target: Its size, at least 1.
    """
    variance_M = s_M * (1 - s_M) / num_source + t_M * (1 - t_M) / num_target
    return float(0.5 * np.sqrt(2 / np.pi * variance_M).sum())


def unexplained(C_MK: np.ndarray, t_M: np.ndarray, w_K: np.ndarray, noise: float = 0.0) -> float:
    """Share, in [0, 1], of a change from source to target that weights do not explain.

    That is TV(C w, t) / TV(C 1, t), after what is noise was taken off both: 0 if class priors alone
    explain the change, 1 if they explain nothing of it, or if there is none beyond noise. With as
    many kinds of predictions as classes, a C that can be inverted explains everything, right or
    wrong; there have to be more.

    Args:
        C_MK: [M, K] joint shares of kinds of predictions and true classes on the source.
        t_M: [M] shares of these kinds on the target.
        w_K: [K] weights.
        noise: Total variation that is to be expected of unchanged text.
    """
    whole = residual(C_MK, t_M, np.ones_like(w_K)) - noise
    left = residual(C_MK, t_M, w_K) - noise
    return float(np.clip(left / whole, 0, 1)) if whole > 0 else 1.0
