"""What a run will cost, before it begins: passes of the encoder over rows, as operations and time.

It is a rough number from the shape of the encoder, the rows and epochs that are known, and assumed
rates; training counts as three forward passes. What a round selects is not known before.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from xlt_ray.config.schema import RunConfig
from xlt_ray.engine.backbone import TOY
from xlt_ray.engine.pool import CORE, operations_of
from xlt_ray.engine.resources import Plan
from xlt_ray.models.pretrain import PretrainSettings

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
        }
    if folder.is_dir():
        return json.loads((folder / "config.json").read_bytes())
    try:
        found = hf_hub_download(config.backbone, "config.json", revision=config.backbone_revision)
    except Exception:  # offline, or no such model, which the plan says by itself
        return {}
    return json.loads(Path(found).read_bytes())


def cost_lines(config: RunConfig[Any], plan: Plan, *, trained: int, read: int) -> list[str]:
    """The cost of a plan in words.

    Args:
        config: The configuration.
        plan: What the run asks the cluster for.
        trained: Rows that are trained on, once an epoch.
        read: Rows that are annotated.
    """
    total = operations_of(shape_of(config), 3 * trained + read)
    rows = f"{trained:,} rows trained on and {read:,} annotated, every epoch and round counted"
    if total is None:
        return [f"cost: {rows}; the encoder is not at hand, so that no more is known"]
    gpus = plan.most[1]
    devices = gpus or plan.most[0]
    hours = total / ((GPU if gpus else CORE) * devices) / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(60 * hours))} minutes"
    kind = f"{devices:g} {'GPU' if gpus else 'CPU core'}{'s' if devices != 1 else ''}"
    return [f"cost: {rows}; {total:.1e} operations, very roughly {time} on {kind}"]
