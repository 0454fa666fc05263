"""How much memory a training takes on a GPU, before it begins: from the shape of the encoder."""

from collections.abc import Mapping
from typing import Any

from xlt_ray.config.schema import TrainConfig
from xlt_ray.engine.cost import parameters_of

GPUS = (24, 80, 141)
"""GB of the GPUs that are looked at: those of desks, and of data centres."""
FREE = 0.9
"""Share of a GPU that is left beside its context and what the allocator cannot use."""
_KEPT = {"bf16": (32, 4), "fp32": (44, 8)}
"""Bytes that a layer keeps of a sub-word for the backward pass, over its width and its inner width:
in bfloat16 norms and residuals are float32. Measured on layers of BERT with an attention that keeps
no scores; gated layers keep up to half as much again."""
_ENTRY = 4
"""Bytes over the width that a layer keeps of a sub-word where the rest is computed again."""


def footprint(
    shape: Mapping[str, Any], train: TrainConfig, precision: str, workers: int = 1
) -> tuple[float, float, float]:
    """Bytes of weights, of gradients and AdamW's two moments, and of what the largest forward pass
    keeps for its backward pass.

    Weights, gradients and moments are float32. bfloat16 has a copy of the weights. What is cut up
    over workers has the embeddings and two layers whole besides, while it computes with them.

    Args:
        shape: The encoder's ``hidden_size``, ``intermediate_size``, ``num_hidden_layers`` and
            ``vocab_size``.
        train: How it is trained.
        precision: "bf16" or "fp32".
        workers: Workers that weights are cut up over.
    """
    width, inner, layers = (
        shape[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    whole = parameters_of(shape, frozen=False)
    trained = parameters_of(shape, train.freeze_embeddings, train.lora.rank)
    if train.lora.rank:
        whole += trained
    embeddings = shape.get("vocab_size", 0) * width
    copies = 2 * (whole - embeddings) if precision == "bf16" else 0
    of_width, of_inner = _KEPT[precision]
    layer = of_width * width + of_inner * inner
    kept = layers * layer
    if train.gradient_checkpointing:
        kept = layers * _ENTRY * width + layer
    if workers == 1:
        return 4 * whole + copies, 12 * trained, kept * train.max_tokens
    at_work = embeddings + 2 * (whole - embeddings) / layers
    gradients = at_work if trained > at_work else 0
    weights = 4 * (whole / workers + at_work) + copies / layers
    return weights, 12 * trained / workers + 4 * gradients, kept * train.max_tokens


def memory_line(
    shape: Mapping[str, Any], train: TrainConfig, precision: str, workers: int = 1
) -> str:
    """The memory of a training in words: what it is made of, and on which GPUs it fits.

    Args:
        shape: As of `footprint`.
        train: How it is trained.
        precision: "bf16" or "fp32".
        workers: Workers that weights are cut up over.
    """
    parts = [size / 1e9 for size in footprint(shape, train, precision, workers)]
    fits = [f"{size}" for size in GPUS if sum(parts) <= FREE * size]
    where = f"fits GPUs of {', '.join(fits)} GB" if fits else f"fits none of {GPUS[-1]} GB"
    weights, optimiser, kept, whole = (_size(part) for part in (*parts, sum(parts)))
    whose = "a" if workers == 1 else "each"
    return (
        f"memory: training takes about {whole} of {whose} GPU (weights {weights}, "
        f"gradients and optimiser {optimiser}, a pass of {train.max_tokens:,} sub-words "
        f"{kept}); {where}"
    )


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{round(1000 * gigabytes)} MB"
