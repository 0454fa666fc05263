"""Token classifier: a stock Hugging Face model whose head is applied to first sub-words only.

The evidential head of CLTP is the same linear layer with another reading of its output, and the
largest evidence belongs to the largest logit; so a trained tagger is saved, loaded and used as the
ordinary token-classification model that it is.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from xlt_ray.data.stock import stock
from xlt_ray.models.classifier import (
    HeadClassifier,
    config_for,
    has_other_head,
    new_head,
    redraw,
)


class Tagger(HeadClassifier):
    """Encoder and linear head over words."""

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        head = self.model.get_submodule("classifier")
        assert isinstance(head, nn.Linear)
        return head

    @property
    def dropout(self) -> nn.Module:
        """The dropout before it."""
        return self.model.get_submodule("dropout")

    def features(self, encoded: Tensor) -> Tensor:
        """[N, H] last hidden state at the first sub-words."""
        return encoded


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
    with new_head(seed):
        model = stock("AutoModelForTokenClassification").from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            config=config_for(folder, labels, dropout),
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
        if has_other_head(folder, labels, "ForTokenClassification"):
            redraw(model.classifier, model.config)
    if not isinstance(getattr(model, "classifier", None), nn.Linear) or not hasattr(
        model, "dropout"
    ):
        raise ValueError(
            f"backbone {folder}: {type(model).__name__} has no dropout and linear head"
        )
    if gradient_checkpointing:
        model.activation_checkpointing_enable()
    return Tagger(model)
