"""How long a train step runs, and which of its models it keeps."""

from dataclasses import dataclass
from typing import Literal, NamedTuple


@dataclass(frozen=True)
class OwnRate:
    """How the objective's own parameters are trained, apart from the model's.

    Attributes:
        lr: Peak learning rate.
        weight_decay: Weight decay of its matrices.
        constant: Whether the learning rate stays as it is, without warm-up and decay.
        clipped: Whether the norm that is clipped has their gradients in it.
    """

    lr: float
    weight_decay: float = 0.0
    constant: bool = False
    clipped: bool = True


@dataclass(frozen=True)
class Schedule:
    """How long a train step runs and which of its models it keeps.

    Attributes:
        lr: Peak learning rate.
        epochs: Epochs at most; 0: the model with a head of its own, as training would begin.
        keep: "best": the model with the best source-dev score; "last": the one at the end.
        patience: Epochs without a better source-dev score after which training stops; None: never.
        batch_size: Rows per optimiser step; None: ``train.batch_size``.
        steps: Optimiser steps, in place of epochs, which are 0 then.
        own: How the objective's own parameters are trained; None: as all others.
        frozen_layers: Lowest layers of the encoder that stay as they are, and the embeddings with
            them; None: all are trained.
        part: Epochs that training has behind it and epochs that it has in all, if this step is one
            part of it: the optimiser and the learning rate go on where the part before left them.
            Of such a step the last model is kept.
        epoch_of: What an epoch goes through at least once: the parts; or the parts and the paired
            text, so that the parts come again where that is longer.
    """

    lr: float
    epochs: int
    keep: Literal["best", "last"] = "best"
    patience: int | None = None
    batch_size: int | None = None
    steps: int | None = None
    own: OwnRate | None = None
    frozen_layers: int | None = None
    part: tuple[int, int] | None = None
    epoch_of: Literal["parts", "paired"] = "parts"

    def __post_init__(self) -> None:
        assert self.steps is None or (self.epochs == 0 and self.part is None)
        if self.part is not None:
            before, whole = self.part
            assert self.keep == "last"
            assert before >= 0
            assert before + self.epochs <= whole

    @property
    def before(self) -> int:
        """Epochs that earlier parts had."""
        return self.part[0] if self.part else 0

    @property
    def whole(self) -> int:
        """Epochs of all parts together."""
        return self.part[1] if self.part else self.epochs


class OptimiserStep(NamedTuple):
    """An optimiser step, as an objective sees it.

    Attributes:
        number: Its number, from 0, counted over all parts of the training.
        steps: Optimiser steps of all parts.
        items: Labelled items of the step's parts, on all workers.
        paired: Items of the paired text, on all workers.
    """

    number: int
    steps: int
    items: int = 0
    paired: int = 0
