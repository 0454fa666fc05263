"""Correction of soft pseudo-labels that were found unreliable.

"Large Margin Representation Learning for Robust Cross-lingual Named Entity Recognition", (M9) and
(M10) of docs/maral.md. A span's label moves towards the classes for which its score, or the number
of its neighbours, is above what spans of that class have on average.

Shapes: N spans, K classes; class 0 is O.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

Kind = Literal["paper", "code"]
"""As the paper has it, or as the released code does."""


def alpha(
    epoch: int, *, start: float, end: float, warm: int, epochs: int, kind: Kind = "paper"
) -> float:
    """Correction strength of an epoch (M10): linear from `start` to `end`.

    The released code counts from the last epoch of the warm-up and to the one after the last, so
    that it takes neither end. A single epoch of refinement has `start`.

    Args:
        epoch: From 0, in [warm, epochs).
        start: Strength at the first epoch of refinement.
        end: Strength at the last, at most `start`.
        warm: First epoch of refinement.
        epochs: All epochs.
        kind: Schedule.
    """
    done, steps = epoch - warm, max(epochs - 1 - warm, 1)
    if kind == "code":
        done, steps = done + 1, epochs - warm + 1
    return start + (end - start) * done / steps


def exceeds(values_NK: Tensor, means_K: Tensor) -> Tensor:
    """[N, K] whether a score or a number of neighbours is above the mean of the class (M9).

    The mean itself is not above it.
    """
    return values_NK > means_K


def outside_rule(d_c_NK: Tensor, rho_NK: Tensor) -> Tensor:
    """d_c with O set also where O has the largest score, if need be as one of several (M9).

    In the released code, not in the paper.
    """
    outside_NK = torch.zeros_like(d_c_NK, dtype=torch.bool)
    outside_NK[:, 0] = rho_NK[:, 0] >= rho_NK.amax(dim=1)
    return d_c_NK | outside_NK


def direction(d_c_NK: Tensor, d_n_NK: Tensor, *, kind: Kind = "paper") -> Tensor:
    """[N, K] where to move the labels, in float64 (M9); rows sum to 1, or are 0 if no class is in.

    Args:
        d_c_NK: Classes by the scores.
        d_n_NK: Classes by the neighbours.
        kind: The sum of both, or of both divided by the number of their classes.
    """
    by_score_NK, by_neighbours_NK = d_c_NK.double(), d_n_NK.double()
    if kind == "code":
        by_score_NK, by_neighbours_NK = _shares(by_score_NK), _shares(by_neighbours_NK)
    return _shares(by_score_NK + by_neighbours_NK)


def _shares(values_NK: Tensor) -> Tensor:
    return normalize(values_NK, p=1, dim=1)


def refine(
    p_NK: Tensor, d_c_NK: Tensor, d_n_NK: Tensor, alpha: float, *, kind: Kind = "paper"
) -> Tensor:
    """[N, K] refined soft labels alpha p + (1 - alpha) d in float64, with rows that sum to 1 (M9).

    Where no class is in, the label stays as it is.

    Args:
        p_NK: Soft labels, rows sum to 1.
        d_c_NK: Classes by the scores.
        d_n_NK: Classes by the neighbours.
        alpha: Weight of the old label, in [0, 1].
        kind: Direction.
    """
    p_NK, d_NK = p_NK.double(), direction(d_c_NK, d_n_NK, kind=kind)
    mixed_NK = _shares(alpha * p_NK + (1 - alpha) * d_NK)
    return torch.where(d_NK.any(dim=1, keepdim=True), mixed_NK, p_NK)
