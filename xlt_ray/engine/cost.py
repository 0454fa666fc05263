"""What a run will cost, before it begins: passes of the encoder over rows, as operations and time.

It is a rough number from the shape of the encoder, the length of some rows, the rows and epochs
that are known, and how fast this machine computes; of GPUs the speed is assumed. Training counts as
three forward passes. What a round selects is not known before; a part of its text is assumed.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from xlt_ray.config.schema import RunConfig
from xlt_ray.data.schema import Example
from xlt_ray.engine.backbone import TOY
from xlt_ray.engine.calibrate import speed_here
from xlt_ray.engine.pool import TOKENS, operations_of
from xlt_ray.engine.resources import Plan
from xlt_ray.models.pretrain import PretrainSettings

INT8 = 1.6
"""Passes in int8 in the time of one in float32, measured on CPUs with AVX-512 VNNI."""
GPU = 1e14
"""Operations a second of a data-centre GPU in bfloat16, assumed."""


def shape_of(config: RunConfig[Any]) -> Mapping[str, Any]:
    """The content of the encoder's config.json; nothing where it cannot be had."""
    folder = Path(config.backbone).expanduser()
    if config.backbone == TOY:
        settings = PretrainSettings()
        return {
            "hidden_size": settings.hidden,
            "intermediate_size": settings.feed_forward,
            "num_hidden_layers": settings.layers,
            "num_attention_heads": settings.heads,
            "vocab_size": settings.vocab_size,
        }
    if folder.is_dir():
        return json.loads((folder / "config.json").read_bytes())
    try:
        found = hf_hub_download(config.backbone, "config.json", revision=config.backbone_revision)
    except Exception:  # offline, or no such model, which the plan says by itself
        return {}
    return json.loads(Path(found).read_bytes())


def parameters_of(shape: Mapping[str, Any], frozen: bool, rank: int = 0) -> float:
    """Parameters of an encoder that a training changes, about.

    Args:
        shape: What `operations_of` takes, and ``vocab_size``.
        frozen: Whether the embeddings stay as they are.
        rank: Of adapters that are trained in its place; 0: it is trained itself.
    """
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    if rank:
        return shape["num_hidden_layers"] * rank * (8 * width + 2 * (width + inner))
    layers = shape["num_hidden_layers"] * (4 * width**2 + 2 * width * inner)
    return layers + (0 if frozen else shape.get("vocab_size", 0) * width)


def subwords_of(config: RunConfig[Any], sample: Sequence[Example]) -> float | None:
    """Sub-words of a row on average, with those at both ends; None where it cannot be known here.

    Args:
        config: The configuration.
        sample: Some rows.
    """
    from xlt_ray.data.batches.tokenise import load_tokenizer

    folder = Path(config.backbone).expanduser()
    if not sample or not folder.is_dir():
        return None
    texts = [" ".join(row.tokens or (row.text or "", row.text_pair or "")) for row in sample]
    try:
        found = load_tokenizer(str(folder))(texts, verbose=False)["input_ids"]
    except (ValueError, OSError):  # no tokenizer that can be used, which the plan says by itself
        return None
    return sum(min(len(row), config.train.max_length) for row in found) / len(found)


def cost_lines(
    config: RunConfig[Any],
    plan: Plan,
    *,
    trained: int,
    read: int,
    sample: Sequence[Example] = (),
) -> list[str]:
    """The cost of a plan in words.

    On CPUs a layer of the encoder's shape is timed here, for a moment.

    Args:
        config: The configuration.
        plan: What the run asks the cluster for.
        trained: Rows that are trained on, once an epoch.
        read: Rows that are annotated.
        sample: Some of the rows.
    """
    shape, tokens = shape_of(config), subwords_of(config, sample)
    longer = (tokens or TOKENS) / TOKENS
    forward, back = (operations_of(shape, longer * rows) for rows in (read, 3 * trained))
    rows = f"{trained:,} rows trained on and {read:,} annotated, every epoch and round counted"
    if forward is None or back is None:
        return [f"cost: {rows}; the encoder is not at hand, so that no more is known"]
    cpus, gpus = plan.most
    if gpus:
        hours, how = (forward + back) / (GPU * gpus) / 3600, f"on {gpus:g} GPUs"
    else:
        pool = plan.annotators
        speed = speed_here(shape, plan.train_cpus)
        if plan.annotation.precision == "int8":
            forward /= INT8
        annotators = max(1.0, pool.smallest * pool.cpus / plan.train_cpus)
        trainings = max(1, plan.train_workers)
        updates = trained / config.train.batch_size
        rank = config.train.lora.rank
        changed = updates * parameters_of(shape, config.train.freeze_embeddings, rank)
        passes = forward / (speed.forward * annotators) + back / (speed.training * trainings)
        hours = (passes + changed / speed.update) / 3600
        how = f"on {cpus:g} CPU cores, as fast as this machine's"
    time = f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(60 * hours))} minutes"
    size = f", {tokens:.0f} sub-words each" if tokens else ""
    return [f"cost: {rows}{size}; {forward + back:.1e} operations, about {time} {how}"]
