"""Classifier of texts and pairs of texts: a stock sequence-classification model, read at its pooled
first token.

The head is linear over the pooled state tanh(W h + b), as in the released code of CLTP; that code
can also project the pooled state to a few dimensions before it (there 1024 to 8). A projected head
is a linear layer of low rank, so what is saved is still the stock model, with the product of both
layers in place of one; the two factors, with which training goes on, stand beside it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xlt_ray.data.stock import stock
from xlt_ray.models.classifier import (
    HeadClassifier,
    config_for,
    has_other_head,
    new_head,
    redraw,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROJECTION_FILE = "projection.safetensors"
"""Factors of a projected head."""


class TextClassifier(HeadClassifier):
    """Encoder, pooled first token and linear head, with or without a projection before it."""

    def __init__(self, model: "PreTrainedModel", dim_reduce: int | None = None):
        super().__init__(model)
        self.projection: nn.Linear | None = None
        self.low_rank: nn.Linear | None = None
        if dim_reduce is not None:
            narrow = self.stock_head.in_features // dim_reduce
            self.projection = nn.Linear(self.stock_head.in_features, narrow, bias=False)
            self.low_rank = nn.Linear(narrow, self.stock_head.out_features)
            redraw(self.projection, model.config)
            redraw(self.low_rank, model.config)
            self.stock_head.requires_grad_(False)  # filled in when the model is saved

    @property
    def stock_head(self) -> nn.Linear:
        """The last linear layer of the stock model."""
        top = self.model.get_submodule("classifier")
        head = top if isinstance(top, nn.Linear) else top.get_submodule("out_proj")
        assert isinstance(head, nn.Linear)
        return head

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        return self.low_rank or self.stock_head

    @property
    def dropout(self) -> nn.Module:
        """The dropout before it, and before the projection."""
        top = self.model.get_submodule("classifier")
        return (self.model if isinstance(top, nn.Linear) else top).get_submodule("dropout")

    def features(self, encoded: Tensor) -> Tensor:
        """[N, H] pooled state, projected if the head is."""
        top = self.model.get_submodule("classifier")
        if isinstance(top, nn.Linear):
            pooled = self.encoder.get_submodule("pooler")(encoded[:, None])
        else:
            pooled = torch.tanh(top.get_submodule("dense")(self.dropout(encoded)))
        return pooled if self.projection is None else self.projection(self.dropout(pooled))

    def save(self, folder: Path) -> None:
        """Write the stock model, and the factors of a projected head."""
        if self.projection is not None and self.low_rank is not None:
            with torch.no_grad():
                self.stock_head.weight.copy_(self.low_rank.weight @ self.projection.weight)
                self.stock_head.bias.copy_(self.low_rank.bias)
        super().save(folder)
        if self.projection is not None and self.low_rank is not None:
            save_file(self._factors(), folder / PROJECTION_FILE)

    def _factors(self) -> dict[str, Tensor]:
        assert self.projection is not None
        assert self.low_rank is not None
        return {
            "projection": self.projection.weight.detach(),
            "weight": self.low_rank.weight.detach(),
            "bias": self.low_rank.bias.detach(),
        }

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
        ValueError: the architecture is not one of encoders like XLM-R and BERT: dropouts of those
            names in its config, a pooled first token and a linear layer on top; or the encoder is
            narrower than ``dim_reduce``.
    """
    folder = Path(folder)
    other = has_other_head(folder, labels, "ForSequenceClassification")
    with new_head(seed):
        model = stock("AutoModelForSequenceClassification").from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            config=config_for(folder, labels, dropout),
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
        )
        check_head(model, folder)
        if dim_reduce is not None and dim_reduce > model.config.hidden_size:
            width = model.config.hidden_size
            raise ValueError(f"train.dim_reduce: {dim_reduce} is more than the width {width}")
        classifier = TextClassifier(model, dim_reduce)
        if other:
            redraw(classifier.stock_head, model.config)
    factors = folder / PROJECTION_FILE
    if dim_reduce is not None and not other and factors.exists():
        classifier.take_factors(factors)
    if gradient_checkpointing:
        model.activation_checkpointing_enable()
    return classifier


def check_head(model: "PreTrainedModel", folder: Path) -> None:
    """Raise ValueError unless the head is a linear layer over a pooled first token.

    A head of its own (``dense``, ``out_proj``) must agree with tanh between the two, as in XLM-R;
    some families have another activation there.
    """
    top = getattr(model, "classifier", None)
    if isinstance(top, nn.Linear):
        fits = hasattr(model, "dropout") and getattr(model.base_model, "pooler", None) is not None
    elif all(hasattr(top, name) for name in ("dense", "dropout", "out_proj")):
        assert isinstance(top, nn.Module)
        dense, out = top.get_submodule("dense"), top.get_submodule("out_proj")
        assert isinstance(dense, nn.Linear)
        state = torch.linspace(-2, 2, dense.in_features)[None]
        with torch.inference_mode():
            fits = torch.allclose(top.eval()(state[None]), out(torch.tanh(dense(state))), atol=1e-5)
    else:
        fits = False
    if not fits:
        name = type(model).__name__
        raise ValueError(f"backbone {folder}: {name} has no linear head over a pooled first token")
