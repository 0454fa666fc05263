"""What a model is given: some rows as tensors, and what their items are."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from xlt_ray.labels import UNLABELLED


class Moving:
    """A dataclass of tensors that go to a device together."""

    def to(self, device: torch.device) -> Self:
        """The same on another device."""
        return replace(self, **{name: _moved(x, device) for name, x in vars(self).items()})  # pyrefly: ignore [bad-specialization]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        if device.type == "cuda" and value.device.type == "cpu":
            value = value.pin_memory()  # from other memory a copy waits for the GPU's work to end
        return value.to(device, non_blocking=True)
    if isinstance(value, Moving):
        return value.to(device)
    return {k: _moved(v, device) for k, v in value.items()} if isinstance(value, dict) else value


@dataclass
class Spans(Moving):
    """The spans that are the items of a batch.

    Attributes:
        words: [N, 2] first and last word of each span, by their number in the batch.
        lasts: [W] positions in the flattened input of the last sub-word of each word.
        widths: [N] sub-words of each span.
        shapes: [W] how each word is written, of :data:`xlt_ray.data.batches.tokenise.SHAPES`.
    """

    words: Tensor
    lasts: Tensor
    widths: Tensor
    shapes: Tensor


@dataclass
class Hidden(Moving):
    """Tokens that the model has to guess.

    Attributes:
        positions: [M] their positions in the flattened input.
        tokens: [M] what stood there.
    """

    positions: Tensor
    tokens: Tensor


@dataclass
class Batch(Moving):
    """Model input for some rows.

    Attributes:
        input_ids: [B, T] sub-words, one row per window of a sentence, per text or per pair.
        attention_mask: [B, T] 1 on sub-words, 0 on padding.
        segments: [B, T] 1 on the second text of a pair, 0 elsewhere.
        items: [N] positions in the flattened input: the first sub-word of each word, by sentence
            and word, or the first token of each row of a text task. Of spans [W], of the words.
        labels: [N] class of each item, or -100.
        candidates: [N] candidate set of each item as a bit mask; 0: just its label.
        item_ids: [N] number of each item among all that the worker holds.
        languages: [N] number of each item's language.
        sentences: [N] number of each item's row among all that the worker holds.
        paired: [N] whether the item is one of the paired text.
        part: [N] number of the item's corpus in the mix: the parts, the paired text, the pool.
        extra: [N] whether the objective added the item; such ones come last and count nowhere.
        columns: [N] or [N, K] columns of annotations, by name.
        spans: The spans, if these are the items.
        hidden: Tokens that have to be guessed, if there are any.
        adapters: [B] number of each row's language adapter, if the encoder has such.
    """

    input_ids: Tensor
    attention_mask: Tensor
    segments: Tensor
    items: Tensor
    labels: Tensor
    candidates: Tensor
    item_ids: Tensor
    languages: Tensor
    sentences: Tensor
    paired: Tensor
    part: Tensor
    extra: Tensor
    columns: dict[str, Tensor] = field(default_factory=dict)
    spans: Spans | None = None
    hidden: Hidden | None = None
    adapters: Tensor | None = None

    @property
    def num_items(self) -> int:
        """Labelled items of the parts of a mix."""
        return int((self.labels != UNLABELLED)[~self.paired & ~self.extra].sum())

    @property
    def num_paired(self) -> int:
        """Items of the paired text."""
        return int((self.paired & ~self.extra).sum())
