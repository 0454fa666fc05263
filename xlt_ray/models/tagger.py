"""Token classifier: a stock Hugging Face model whose head is applied to one sub-word of each word.

The evidential head of CLTP is the same linear layer with another reading of its output, and the
largest evidence belongs to the largest logit; so a trained tagger is saved, loaded and used as the
ordinary token-classification model that it is.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.stock import stock
from xlt_ray.models.classifier import HeadClassifier, has_other_head, new_head, redraw
from xlt_ray.models.families import check_class, config_for
from xlt_ray.models.heads import Head, check_head, token_head
from xlt_ray.models.lora import weights_in


class Tagger(HeadClassifier):
    """Encoder and linear head over words."""

    @property
    def stock_head(self) -> Head:
        """The parts of the stock model's head."""
        head = token_head(self.model)
        assert head is not None, "load_tagger has looked at it"
        return head

    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[N, hidden] last hidden state at the words, and [N, H] input of the head."""
        encoded = self.encode(batch)
        return encoded, self.stock_head.lift(encoded)


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
        ValueError: the encoder's family has no token classifier, or one with an unknown head.
    """
    config = config_for(folder, labels, dropout)
    check_class(config.to_dict(), f"backbone {folder}", "token")
    with new_head(seed):
        model = stock("AutoModelForTokenClassification").from_pretrained(
            weights_in(folder),
            dtype=torch.float32,
            local_files_only=True,
            config=config,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
        head = check_head(model, token_head(model), f"backbone {folder}", of_texts=False)
        if has_other_head(folder, labels, "ForTokenClassification"):
            redraw(head.last, model.config)
    if gradient_checkpointing:
        model.activation_checkpointing_enable()
    return Tagger(model)
