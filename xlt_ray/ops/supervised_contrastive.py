"""Supervised contrastive loss of unit vectors.

Khosla et al., "Supervised Contrastive Learning" (2020), with the sum outside the logarithm:

    L_i = -1 / |P(i)| sum_{p in P(i)} log softmax_{a != i}(z_i . z_a / temp)[p]

where P(i) are the other items of the class of i.

Shapes: N items, Q features.
"""

import torch
from torch import Tensor


def supervised_contrastive(z_NQ: Tensor, y_N: Tensor, temp: float) -> Tensor:
    """[N] loss of each item; 0 of an item that is alone in its class.

    Args:
        z_NQ: Vectors of unit norm.
        y_N: Classes.
        temp: Temperature, above 0.
    """
    if len(z_NQ) < 2:
        return z_NQ.sum(dim=1) * 0.0
    near_NN = z_NQ @ z_NQ.T / temp
    own_NN = torch.eye(len(z_NQ), dtype=torch.bool, device=z_NQ.device)
    log_p_NN = near_NN - near_NN.masked_fill(own_NN, -torch.inf).logsumexp(dim=1, keepdim=True)
    same_NN = (y_N[:, None] == y_N) & ~own_NN
    count_N = same_NN.sum(dim=1)
    return -torch.where(same_NN, log_p_NN, 0.0).sum(dim=1) / count_N.clamp(min=1)
