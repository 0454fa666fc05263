"""Training of adapters: their settings, and what stands beside them in an artifact."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xlt_ray.config.schema import TrainConfig
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.files import ADAPTER_SETTINGS, SPAN_SETTINGS
from xlt_ray.models.lora import Lora
from xlt_ray.store.artifacts import BASE, Artifact

_OTHERS = {
    "config.json", "generation_config.json", "manifest.json", SPAN_SETTINGS, ADAPTER_SETTINGS,
}  # fmt: skip


def lora_of(train: TrainConfig) -> Lora | None:
    """Settings of the adapters that a step trains; None: it trains the encoder."""
    asked = train.lora
    if not asked.rank:
        return None
    alpha = 2.0 * asked.rank if asked.alpha is None else asked.alpha
    return Lora(asked.rank, alpha, asked.dropout, asked.targets)


def base_of(model: Classifier, start: Artifact) -> Mapping[str, Any]:
    """What the manifest of a model says of the encoder that its adapters adapt: nothing where it
    has none, else the encoder of the model that training began with, or that model itself."""
    if model.adapters is None:
        return {}
    own = {"kind": start.kind, "fingerprint": start.fingerprint}
    return {BASE: start.info.get(BASE, own)}


def files_beside(model: Classifier, start: Artifact) -> Iterator[Path]:
    """Files of the tokenizer, which a model has from the one that it began with; adapters have them
    beside the encoder that they adapt."""
    if model.adapters is not None:
        return
    for path in sorted(start.local().iterdir()):
        name = path.name
        is_weights = name.endswith((".safetensors", ".safetensors.index.json"))
        if path.is_file() and name not in _OTHERS and not is_weights:
            yield path
