"""Pseudo-partial labels: the candidate set of an ambiguous item (CLTP).

A set y merges its classes into one belief mass B = 1 - prod(1 - b_c); gamma(y) is the dissonance of
that mass and the classes left out. The set of an item minimises gamma times a penalty on the size,
(lambda^(|y|-1) + tau) tau^(|y|-2) (CLTP, eq. 6). Departures: the full set, whose gamma is always 0,
is no candidate, and ties go to the smaller set, then the larger B, then the first class list.

Shapes: N items, C classes, T candidate sets. A set is a bool [C] or an int64 with bit c for c.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from xlt_ray.ops.evidential import dirichlet
from xlt_ray.ops.uncertainty import dissonance, guarded_ratio, merged_dissonance, pair_balance

Penalty = Literal["power", "linear"]

_TIE = 1e-12
_BLOCK = 2**16  # elements of one [T, N] temporary, about what stays in the cache
_GPU_BLOCK = 2**23  # the same on a GPU, where launches cost more than memory


class CandidateSets(NamedTuple):
    """One set per item: int64 bit mask, its gamma, its size and the dissonance of the item itself.

    `search` is "exact", "top-k" where only subsets of the k strongest classes were scored, or
    "fixed" where nothing was searched.
    """

    mask_N: Tensor
    gamma_N: Tensor
    size_N: Tensor
    dissonance_N: Tensor
    search: str


class SubsetTable(NamedTuple):
    """Every candidate set by size, then class list: bit mask, size, penalty, B, gamma and score."""

    mask_NT: Tensor
    size_T: Tensor
    multiplier_T: Tensor
    merged_NT: Tensor
    gamma_NT: Tensor
    score_NT: Tensor


def to_bitmask(mask_NC: Tensor) -> Tensor:
    """Bit masks of bool sets of up to 63 classes."""
    assert mask_NC.shape[-1] < 64, "a set of more than 63 classes does not fit an int64"
    return (mask_NC * (1 << torch.arange(mask_NC.shape[-1], device=mask_NC.device))).sum(-1)


def from_bitmask(mask_N: Tensor, num_classes: int) -> Tensor:
    """Bool sets [N, C] of bit masks."""
    return (mask_N[..., None] >> torch.arange(num_classes, device=mask_N.device)) & 1 == 1


def subset_table(
    evidence_NC: Tensor,
    *,
    lam: float,
    tau: float,
    penalty: Penalty = "power",
    max_exact: int = 9,
    top: int = 7,
) -> SubsetTable:
    """Scores of all candidate sets in float64; for a few items, since it keeps N T C numbers.

    Args:
        evidence_NC: Finite non-negative evidence of at least two classes.
        lam: Penalty base lambda, at least 1.
        tau: Penalty base tau, above 1.
        penalty: "linear" replaces lambda^(|y|-1) by lambda (|y|-1).
        max_exact: Up to this many classes all non-empty proper subsets are scored.
        top: Beyond, only subsets of this many classes of largest evidence; the others stay in the
            frame but never enter a set.
    """
    evidence_NC = evidence_NC.double()
    order_NC, inside_TC = _search_space(evidence_NC, max_exact, top)
    merged_TN, gamma_TN = _merge(dirichlet(evidence_NC).belief_NC.gather(1, order_NC), inside_TC)
    size_T = inside_TC.sum(1)
    multiplier_T = size_penalty(size_T, lam=lam, tau=tau, penalty=penalty).to(gamma_TN)
    mask_NT = (inside_TC * (1 << order_NC)[:, None]).sum(-1)
    score_NT = gamma_TN.T * multiplier_T
    return SubsetTable(mask_NT, size_T, multiplier_T, merged_TN.T, gamma_TN.T, score_NT)


def candidate_sets(
    evidence_NC: Tensor,
    *,
    lam: float,
    tau: float,
    penalty: Penalty = "power",
    max_exact: int = 9,
    top: int = 7,
    dtype: torch.dtype = torch.float64,
) -> CandidateSets:
    """The set of least penalised gamma of each item (CLTP, eq. 6); arguments as in `subset_table`.

    A set of one class is always the class of largest evidence, the first of them if several are.
    Without evidence that is class 0 with gamma 0. `dtype` is the precision inside and of gamma.
    """
    if not evidence_NC.isfinite().all():
        raise ValueError("evidence must be finite")
    evidence_NC = evidence_NC.to(dtype)
    order_NC, inside_TC = _search_space(evidence_NC, max_exact, top)
    belief_NC = dirichlet(evidence_NC).belief_NC
    size_T = inside_TC.sum(1)
    penalty_T = size_penalty(size_T, lam=lam, tau=tau, penalty=penalty).to(belief_NC)
    chosen: list[Tensor] = []
    gammas: list[Tensor] = []
    rows = max(1, (_GPU_BLOCK if belief_NC.is_cuda else _BLOCK) // len(inside_TC))
    for start in range(0, max(1, len(belief_NC)), rows):
        block = slice(start, start + rows)
        merged_TN, gamma_TN = _merge(belief_NC[block].gather(1, order_NC[block]), inside_TC)
        score_TN = gamma_TN * penalty_T[:, None]
        best_N = score_TN.amin(0)
        # Sets ascend by size, then class list, and argmax finds the first: both ties resolve so.
        tied_TN = score_TN <= best_N + _TIE * best_N.clamp(min=1)
        tied_TN &= size_T[:, None] == size_T[tied_TN.byte().argmax(0)]
        merged_TN = torch.where(tied_TN, merged_TN, -1.0)
        first_N = (merged_TN >= merged_TN.amax(0) * (1 - _TIE)).byte().argmax(0)
        chosen.append(first_N)
        gammas.append(gamma_TN.gather(0, first_N[None])[0])
    chosen_N = torch.cat(chosen)
    size_N = size_T[chosen_N]
    mask_NC = torch.zeros_like(inside_TC[chosen_N]).scatter(1, order_NC, inside_TC[chosen_N])
    mask_N = torch.where(size_N == 1, 1 << evidence_NC.argmax(1), to_bitmask(mask_NC))
    search = "exact" if evidence_NC.shape[1] <= max_exact else f"top-{top}"
    return CandidateSets(mask_N, torch.cat(gammas), size_N, dissonance(belief_NC), search)


def top_k_sets(evidence_NC: Tensor, *, k: int, dtype: torch.dtype = torch.float64) -> CandidateSets:
    """The k classes of largest evidence, the first ones where evidence is equal; 1 <= k < C."""
    if not 1 <= k < evidence_NC.shape[1]:
        raise ValueError(f"a set of {k} of {evidence_NC.shape[1]} classes is empty or not proper")
    evidence_NC = evidence_NC.to(dtype)
    belief_NC = dirichlet(evidence_NC).belief_NC
    mask_NC = torch.zeros_like(evidence_NC, dtype=torch.bool)
    mask_NC = mask_NC.scatter(1, _ranked(evidence_NC)[:, :k], True)
    mask_N, gamma_N = to_bitmask(mask_NC), merged_dissonance(belief_NC, mask_NC)
    return CandidateSets(mask_N, gamma_N, mask_NC.sum(1), dissonance(belief_NC), "fixed")


def _search_space(evidence_NC: Tensor, max_exact: int, top: int) -> tuple[Tensor, Tensor]:
    """Each item's class order and, over classes in that order, the sets by size and class list."""
    device, num_classes = evidence_NC.device, evidence_NC.shape[1]
    if num_classes < 2:
        raise ValueError("a candidate set needs at least two classes")
    pool = num_classes if num_classes <= max_exact else min(top, num_classes)
    ranked = _ranked(evidence_NC)
    order_NC = torch.cat([ranked[:, :pool].sort(1).values, ranked[:, pool:].sort(1).values], 1)
    # With class 0 as the highest bit, class lists of one size ascend as the codes descend.
    codes_T = torch.arange(2**pool - 1, 0, -1, device=device)
    inside_TC = codes_T[:, None] >> torch.arange(pool - 1, -1, -1, device=device) & 1
    size_T, by_size_T = inside_TC.sum(1).sort(stable=True)
    inside_TC = inside_TC[by_size_T[size_T < num_classes]] == 1
    return order_NC, torch.nn.functional.pad(inside_TC, (0, num_classes - pool))


def size_penalty(size_T: Tensor, *, lam: float, tau: float, penalty: Penalty) -> Tensor:
    """Penalty (lambda^(n-1) + tau) tau^(n-2) on sets of n classes, float64 (CLTP, eq. 6)."""
    more_T = size_T.double() - 1
    growth_T = lam**more_T if penalty == "power" else lam * more_T
    return (growth_T + tau) * tau ** (more_T - 1)


def _merge(belief_NC: Tensor, inside_TC: Tensor) -> tuple[Tensor, Tensor]:
    """Merged belief B and gamma, [T, N], as sums of non-negative terms, so that nothing cancels."""
    outside_TC = (~inside_TC).to(belief_NC.dtype)
    belief_CN = belief_NC.T.contiguous()
    # The clamp keeps log1p(-1) = -inf from turning a zero of the mask into NaN.
    merged_TN = -((1 - outside_TC) @ torch.log1p(-belief_CN).clamp(min=-1e3)).expm1()
    gamma_TN, shared_TN = torch.zeros_like(merged_TN), torch.zeros_like(merged_TN)
    for c, belief_N in enumerate(belief_CN):
        rows = (~inside_TC[:, c]).nonzero()[:, 0]
        others_TC, set_TN = outside_TC[rows], merged_TN[rows]
        others_TC[:, c] = 0
        with_set_TN = pair_balance(belief_N, set_TN)
        with_others_TN = others_TC @ (belief_CN * pair_balance(belief_N, belief_CN))
        mass_TN = others_TC @ belief_CN + set_TN
        conflict_TN = guarded_ratio(with_others_TN + set_TN * with_set_TN, mass_TN)
        gamma_TN[rows] += belief_N * conflict_TN
        shared_TN[rows] += belief_N * with_set_TN
    gamma_TN += merged_TN * guarded_ratio(shared_TN, outside_TC @ belief_CN)
    # A single class merges nothing: one evaluation serves all, equal to the last bit.
    single_T = inside_TC.sum(1) == 1
    merged_TN[single_T] = belief_CN[: int(single_T.sum())]
    gamma_TN[single_T] = dissonance(belief_NC)
    return merged_TN, gamma_TN


def _ranked(evidence_NC: Tensor) -> Tensor:
    return evidence_NC.sort(dim=1, descending=True, stable=True).indices
