"""Token classifier: a stock Hugging Face model whose head is applied to first sub-words only.

The evidential head of CLTP is the same linear layer with another reading of its output, and the
largest evidence belongs to the largest logit; so a trained tagger is saved, loaded and used as the
ordinary token-classification model that it is.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

transformers_logging.disable_progress_bar()


class Tagger(nn.Module):
    """Encoder and linear head over the items of a batch."""

    def __init__(self, model: PreTrainedModel):
        super().__init__()
        self.model = model

    @property
    def encoder(self) -> nn.Module:
        """The encoder under the head."""
        return self.model.base_model

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        head = self.model.get_submodule("classifier")
        assert isinstance(head, nn.Linear)
        return head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, items: Tensor) -> Tensor:
        """Logits of the items.

        Args:
            input_ids: [B, T] sub-words.
            attention_mask: [B, T] 1 on sub-words, 0 on padding.
            items: [N] positions in the flattened input.

        Returns:
            [N, C] float32 logits.
        """
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        chosen = hidden.flatten(0, 1).index_select(0, items)
        with torch.autocast(chosen.device.type, enabled=False):  # logits are too fine for bf16
            return self.head(self.model.get_submodule("dropout")(chosen.float()))

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        self.model.config.name_or_path = ""
        self.model.save_pretrained(folder)


def load_tagger(
    folder: str | Path,
    labels: Sequence[str],
    *,
    dropout: float = 0.1,
    seed: int = 0,
    gradient_checkpointing: bool = False,
) -> Tagger:
    """Load an encoder or a tagger in float32.

    A head that the folder lacks, or that is for other labels, starts at random.

    Args:
        folder: Local folder in the Hugging Face layout.
        labels: Names of the classes.
        dropout: Dropout of the encoder and the head while training.
        seed: Seed of a new head.
        gradient_checkpointing: Recompute activations in the backward pass.

    Raises:
        ValueError: the architecture is not one of encoders like XLM-R and BERT: dropouts of those
            names in its config, a dropout and a linear classifier on top.
    """
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # a new head is what we ask for
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForTokenClassification.from_pretrained(
                folder,
                dtype=torch.float32,
                local_files_only=True,
                config=_config(folder, labels, dropout),
                ignore_mismatched_sizes=True,
            )
            if _has_other_head(folder, labels):
                nn.init.normal_(model.classifier.weight, std=model.config.initializer_range)
                nn.init.zeros_(model.classifier.bias)
    finally:
        transformers_logging.set_verbosity(verbosity)
    if not isinstance(getattr(model, "classifier", None), nn.Linear) or not hasattr(
        model, "dropout"
    ):
        raise ValueError(
            f"backbone {folder}: {type(model).__name__} has no dropout and linear head"
        )
    if gradient_checkpointing:
        model.activation_checkpointing_enable()
    return Tagger(model)


def _has_other_head(folder: str | Path, labels: Sequence[str]) -> bool:
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    names = config.architectures or []
    if any(name.endswith("ForTokenClassification") for name in names):
        return config.id2label != dict(enumerate(labels))
    return any(name.endswith("Classification") for name in names)  # of texts, under the same name


def _config(folder: str | Path, labels: Sequence[str], dropout: float) -> PreTrainedConfig:
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if not hasattr(config, name):
            raise ValueError(f"backbone {folder}: a {config.model_type} encoder has no {name}")
        setattr(config, name, dropout)
    config.classifier_dropout = dropout
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: index for index, name in enumerate(labels)}
    return config
