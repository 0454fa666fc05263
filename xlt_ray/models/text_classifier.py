"""Classifier of texts and pairs of texts: a stock sequence-classification model.

Its feature is what enters the last linear layer of the family's own head: of XLM-R and BERT the
pooled first token tanh(W h + b), as in the released code of CLTP; that code can also project the
pooled state to a few dimensions before the last layer (there 1024 to 8). A projected head is a
linear layer of low rank, so what is saved is still the stock model, with the product of both
layers in place of one; the two factors, with which training goes on, stand beside it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.stock import stock
from xlt_ray.models.classifier import HeadClassifier, has_other_head, new_head, redraw
from xlt_ray.models.families import check_class, config_for
from xlt_ray.models.heads import Head, check_head, pooled, text_features, text_head
from xlt_ray.models.lora import weights_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROJECTION_FILE = "projection.safetensors"
"""Factors of a projected head."""


class TextClassifier(HeadClassifier):
    """Encoder and the family's head, with or without a projection before its last layer."""

    def __init__(self, model: "PreTrainedModel", dim_reduce: int | None = None):
        super().__init__(model)
        self.projection: nn.Linear | None = None
        self.low_rank: nn.Linear | None = None
        if dim_reduce is not None:
            last = self.stock_head.last
            narrow = last.in_features // dim_reduce
            self.projection = nn.Linear(last.in_features, narrow, bias=False)
            self.low_rank = nn.Linear(narrow, last.out_features, bias=last.bias is not None)
            redraw(self.projection, model.config)
            redraw(self.low_rank, model.config)
            last.requires_grad_(False)  # filled in when the model is saved

    @property
    def stock_head(self) -> Head:
        """The parts of the stock model's head."""
        head = text_head(self.model)
        assert head is not None, "load_text_classifier has looked at it"
        return head

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        return self.low_rank or self.stock_head.last

    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[N, hidden] state of each text, and [N, H] input of the head, projected if it is."""
        head, config = self.stock_head, self.model.config
        if head.pool == "first":
            encoded = self.encode(batch)
            features = head.lift(encoded)
        else:
            found = self.encoder(**self._inputs(batch))
            given = batch.input_ids, batch.attention_mask
            rows = batch.items // batch.input_ids.shape[1]
            encoded = pooled(found.last_hidden_state, *given, head.pool, config)
            encoded = encoded.index_select(0, rows)
            features = text_features(head, found, *given, config).index_select(0, rows)
        if self.projection is not None:
            features = self.projection(head.dropout(features))
        return encoded, features

    def save(self, folder: Path) -> None:
        """Write the stock model, and the factors of a projected head."""
        if self.projection is not None and self.low_rank is not None:
            with torch.no_grad():
                last = self.stock_head.last
                last.weight.copy_(self.low_rank.weight @ self.projection.weight)
                if last.bias is not None:
                    last.bias.copy_(self.low_rank.bias)
        super().save(folder)
        if self.projection is not None and self.low_rank is not None:
            save_file(self._factors(), folder / PROJECTION_FILE)

    def _factors(self) -> dict[str, Tensor]:
        assert self.projection is not None
        assert self.low_rank is not None
        own = {name: value.detach() for name, value in self.low_rank.named_parameters()}
        return {"projection": self.projection.weight.detach(), **own}

    def take_factors(self, path: Path) -> None:
        """Go on with the factors of a saved model; those of another width are left alone."""
        found, own = load_file(path), self._factors()
        if {name: value.shape for name, value in found.items()} != {
            name: value.shape for name, value in own.items()
        }:
            return
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(found[name])


def load_text_classifier(
    folder: str | Path,
    labels: Sequence[str],
    *,
    dropout: float = 0.1,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    dim_reduce: int | None = None,
) -> TextClassifier:
    """Load an encoder or a text classifier in float32.

    A head that the folder lacks, or that is for other labels or has another projection, starts at
    random.

    Args:
        folder: Local folder in the Hugging Face layout.
        labels: Names of the classes.
        dropout: Dropout of the encoder and the head while training.
        seed: Seed of a new head.
        gradient_checkpointing: Recompute activations in the backward pass.
        dim_reduce: Project the pooled state to this fraction of its size; None: no projection.

    Raises:
        ValueError: the encoder's family has no classifier of texts, or one with an unknown head; or
            the encoder is narrower than ``dim_reduce``, or lacks the decoder that the head reads.
    """
    folder = Path(folder)
    other = has_other_head(folder, labels, "ForSequenceClassification")
    config = config_for(folder, labels, dropout)
    check_class(config.to_dict(), f"backbone {folder}", "sentence")
    with new_head(seed):
        model = stock("AutoModelForSequenceClassification").from_pretrained(
            weights_in(folder),
            dtype=torch.float32,
            local_files_only=True,
            config=config,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
        head = check_head(model, text_head(model), f"backbone {folder}", of_texts=True)
        if dim_reduce is not None and dim_reduce > model.config.hidden_size:
            width = model.config.hidden_size
            raise ValueError(f"train.dim_reduce: {dim_reduce} is more than the width {width}")
        classifier = TextClassifier(model, dim_reduce)
        if other:
            redraw(head.last, model.config)
    factors = folder / PROJECTION_FILE
    if dim_reduce is not None and not other and factors.exists():
        classifier.take_factors(factors)
    if gradient_checkpointing:
        model.activation_checkpointing_enable()
    return classifier
