"""The forward pass of prediction, shared by annotators and by source-dev scores while training."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xlt_ray.data.batching import Examples, plan_batches
from xlt_ray.models.tagger import Tagger

Precision = Literal["auto", "fp32", "bf16"]


def choose_device() -> torch.device:
    """The GPU that this process may use, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Arithmetic of the encoder: bf16 where asked for, or on GPUs that have it."""
    wanted = precision == "bf16"
    if precision == "auto" and device.type == "cuda":
        wanted = torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else nullcontext()


@torch.inference_mode()
def predict_logits(
    model: Tagger, examples: Examples, *, budget: int, device: torch.device, precision: Precision
) -> Tensor:
    """Logits of every item, in the order of the sentences.

    The batches are a function of the sentences and the budget alone, so the result does not depend
    on who computes it.

    Args:
        model: A tagger on ``device``, in evaluation mode.
        examples: The sentences.
        budget: Token budget of a batch.
        device: Where to compute.
        precision: Arithmetic of the encoder.

    Returns:
        [N, C] float32 logits on ``device``.
    """
    parts, owners = [], []
    for chosen in plan_batches(examples.longest, examples.num_windows, budget):
        batch = examples.collate(chosen).to(device)
        with autocast(device, precision):
            parts.append(model(batch.input_ids, batch.attention_mask, batch.items))
        owners.append(batch.item_ids)
    if not parts:
        return torch.zeros((0, model.head.out_features), device=device)
    logits = torch.cat(parts)
    ordered = torch.empty_like(logits)
    ordered[torch.cat(owners)] = logits
    return ordered


def predict_labels(
    model: Tagger, examples: Examples, *, budget: int, device: torch.device, precision: Precision
) -> np.ndarray:
    """[N] class of every item, lowest index on ties."""
    was_training = model.training
    model.eval()
    logits = predict_logits(model, examples, budget=budget, device=device, precision=precision)
    model.train(was_training)
    return logits.argmax(dim=1).cpu().numpy()
