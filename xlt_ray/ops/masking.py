"""Hiding words, and noise in their embeddings: the simplest augmentations of a text."""

from collections.abc import Collection

import torch
from torch import Tensor


def masked_tokens(
    input_ids: Tensor, rows: Tensor, *, rate: float, mask: int, special: Collection[int]
) -> Tensor:
    """Input in which tokens of some rows are replaced by the mask symbol, at random.

    Args:
        input_ids: [B, T] sub-words.
        rows: [B] whether a row is masked.
        rate: Probability of each of its tokens, in [0, 1].
        mask: The mask symbol.
        special: Tokens that are left as they are, padding among them.
    """
    fixed = torch.isin(input_ids, torch.tensor(sorted(special), device=input_ids.device))
    hidden = torch.rand(input_ids.shape, device=input_ids.device) < rate
    return torch.where(hidden & ~fixed & rows[:, None], mask, input_ids)


def shaken(embeddings: Tensor, radius: float) -> Tensor:
    """Embeddings plus a random vector each, drawn evenly from a ball around it.

    Args:
        embeddings: [..., H] of words.
        radius: Radius of the ball, as a share of the norm of the embedding, 0 or more.
    """
    width = embeddings.shape[-1]
    drawn = torch.randn_like(embeddings)
    directions = drawn / drawn.square().sum(dim=-1, keepdim=True).sqrt().clamp(min=1e-12)
    lengths = torch.rand(embeddings.shape[:-1], device=embeddings.device) ** (1 / width)
    norms = embeddings.detach().square().sum(dim=-1, keepdim=True).sqrt()
    return embeddings + radius * norms * lengths[..., None].to(embeddings.dtype) * directions
