"""Token classifier: a stock Hugging Face model whose head is applied to first sub-words only.

The evidential head of CLTP is the same linear layer with another reading of its output, and the
largest evidence belongs to the largest logit; so a trained tagger is saved, loaded and used as the
ordinary token-classification model that it is.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModelForTokenClassification
from transformers.utils import logging as transformers_logging

transformers_logging.disable_progress_bar()


class Tagger(nn.Module):
    """Encoder and linear head over the items of a batch."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    @property
    def encoder(self) -> nn.Module:
        """The encoder under the head."""
        return getattr(self.model, self.model.base_model_prefix)  # type: ignore[arg-type]

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
            return self.model.classifier(self.model.dropout(chosen.float()))  # type: ignore[operator]

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        self.model.config.name_or_path = ""  # type: ignore[union-attr]
        self.model.save_pretrained(folder)  # type: ignore[operator]


def load_tagger(
    folder: str | Path,
    labels: Sequence[str],
    *,
    dropout: float = 0.1,
    seed: int = 0,
    gradient_checkpointing: bool = False,
) -> Tagger:
    """Load an encoder or a tagger in float32; a head that the folder lacks starts at random.

    Args:
        folder: Local folder in the Hugging Face layout.
        labels: Names of the classes.
        dropout: Dropout of the encoder and the head while training.
        seed: Seed of a new head.
        gradient_checkpointing: Recompute activations in the backward pass.

    Raises:
        ValueError: the architecture is not one with a dropout and a linear classifier on top.
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
                id2label=dict(enumerate(labels)),
                label2id={name: index for index, name in enumerate(labels)},
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
                classifier_dropout=dropout,
            )
    finally:
        transformers_logging.set_verbosity(verbosity)
    if not isinstance(getattr(model, "classifier", None), nn.Linear) or not hasattr(
        model, "dropout"
    ):
        raise ValueError(
            f"backbone {folder}: {type(model).__name__} has no dropout and linear head"
        )
    if gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return Tagger(model)
