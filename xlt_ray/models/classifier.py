"""What every classifier is: an encoder, a head over the items of a batch, and its files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.stock import stock
from xlt_ray.models import lora
from xlt_ray.models.families import frozen_parts, inputs_of
from xlt_ray.models.heads import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OWN_FILE = "objective.safetensors"
"""Parameters that belong to the objective a model was trained with."""


class Output(NamedTuple):
    """What a model says about the items of a batch.

    Attributes:
        logits: [N, C] float32 output of the head.
        features: [N, H] float32 input of the head, before its dropout.
        feature_outputs: [N, K] float32 values that an annotator made of the features, if any.
        own: Trainable part of the objective, if the model has one attached.
        columns: Columns of annotations that stand beside the items, when annotating.
        encoded: [N, hidden] last hidden state of the encoder at the items, when training.
        guessed: [M, V] logits over the vocabulary of the hidden tokens of the batch, if it has any.
    """

    logits: Tensor
    features: Tensor
    feature_outputs: Tensor | None = None
    own: nn.Module | None = None
    columns: Mapping[str, Tensor] = MappingProxyType({})
    encoded: Tensor | None = None
    guessed: Tensor | None = None


class Classifier(nn.Module, ABC):
    """Encoder and head; the encoder is saved as an ordinary Hugging Face model.

    Attributes:
        model: The stock model.
        own: Trainable part of the objective, if it has one; saved beside the model.
        adapters: Settings of the adapters that are trained in place of the encoder, if there are.
        pass_tokens: Tokens, padding included, that the encoder takes at a time where no gradient is
            wanted; None: all of a batch. One row of a file may have a thousand windows.
        stand_in: What computes the encoder in its place, where nothing is trained.
    """

    def __init__(self, model: "PreTrainedModel"):
        super().__init__()
        self.model = model
        self.own: nn.Module | None = None
        self.adapters: lora.Lora | None = None
        self.pass_tokens: int | None = None
        self.stand_in: nn.Module | None = None

    @property
    def encoder(self) -> nn.Module:
        """The encoder under the head, or what computes it in its place."""
        return self.model.base_model if self.stand_in is None else self.stand_in

    @property
    @abstractmethod
    def width(self) -> int:
        """H, the size of a feature."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """C, how many logits an item has."""

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Logits and features of the batch's items."""

    def encode(self, batch: Batch) -> Tensor:
        """[N, hidden] last hidden state of the encoder at the items."""
        (found,) = self.states(batch, batch.items)
        return found

    def states(self, batch: Batch, *places: Tensor) -> list[Tensor]:
        """[n, hidden] last hidden states of the encoder, for each of some places.

        Without gradients the rows of a batch that is over `pass_tokens`, as the windows of one long
        sentence may be, are encoded in several passes; of each only these states are kept.

        Args:
            batch: The batch.
            places: [n] positions in the flattened input.
        """
        inputs, (rows, width) = self._inputs(batch), batch.input_ids.shape
        most = rows if self.pass_tokens is None else max(1, self.pass_tokens // width)
        if rows <= most or torch.is_grad_enabled():
            states = self.encoder(**inputs)["last_hidden_state"].flatten(0, 1)
            return [states.index_select(0, at) for at in places]
        parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in places]
        for number, start in enumerate(range(0, rows, most)):
            some = {
                name: x[start : start + most] if isinstance(x, Tensor) else x
                for name, x in inputs.items()
            }
            states = self.encoder(**some)["last_hidden_state"].flatten(0, 1)
            for at, kept in zip(places, parts, strict=True):
                own = (at // (width * most) == number).nonzero()[:, 0]
                kept.append((own, states.index_select(0, at[own] - start * width)))
        return [_in_order(kept) for kept in parts]

    def layers(self, batch: Batch) -> list[Tensor]:
        """[N, hidden] states at the items: of the embeddings, and of each layer.

        Raises:
            ValueError: the layers have states of parts of a text other than its tokens.
        """
        return [state.index_select(0, batch.items) for state in self._hidden(batch)]

    def at_layer(self, batch: Batch, number: int, *places: Tensor) -> list[Tensor]:
        """[n, hidden] states of a layer, for each of some places; of layer 0 the embeddings.

        Args:
            batch: The batch.
            number: The layer.
            places: [n] positions in the flattened input.

        Raises:
            ValueError: as `layers` does.
        """
        state = self._hidden(batch)[number]
        return [state.index_select(0, at) for at in places]

    def _hidden(self, batch: Batch) -> list[Tensor]:
        """States of all tokens, in the flattened input, layer by layer."""
        found = self.encoder(**self._inputs(batch), output_hidden_states=True)
        states = found.get("hidden_states", found.get("decoder_hidden_states"))
        if any(state.shape[1] != batch.input_ids.shape[1] for state in states):
            raise ValueError(f"{type(self.encoder).__name__} has no state per token in each layer")
        return [state.flatten(0, 1) for state in states]

    def _inputs(self, batch: Batch) -> dict[str, Tensor | bool]:
        return inputs_of(self.model, batch)

    def compile_encoder(self) -> None:
        """Let PyTorch compile the encoder, for rows of any number and length, when it first runs.

        Weights, their names and files stay as they are.
        """
        self.encoder.compile(dynamic=True)

    def use_eager_attention(self) -> None:
        """Compute attention by plain products where PyTorch's fused kernel would.

        Results differ by rounding, and by which weights dropout leaves out; files stay as they are.
        """
        if self.model.config._attn_implementation == "sdpa":
            self.model.set_attn_implementation("eager")

    def freeze(self, layers: int) -> None:
        """Keep the embeddings and the lowest layers of the encoder as they are.

        Raises:
            ValueError: the encoder has fewer layers, or none that can be told apart.
        """
        for part in frozen_parts(self.encoder, layers):
            part.requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors or adapters, and the objective's part, if any."""
        self.model.config.name_or_path = ""
        if self.adapters is None:
            self.model.save_pretrained(folder)
        else:
            lora.save(self.model, self.adapters, folder)
        if self.own is not None:
            save_file(self.own.state_dict(), folder / OWN_FILE)

    def weights(self) -> dict[str, Tensor]:
        """Parameters and buffers by name; of several names for the same one the first.

        Of a model with adapters those that are trained: the others are as they were loaded.
        """
        found: dict[str, Tensor] = {}
        seen: set[int] = set()
        for name, value in self.state_dict(keep_vars=True).items():
            stays = name.startswith("model.") and not value.requires_grad
            if id(value) not in seen and not (self.adapters and stays):
                found[name] = value.detach()
            seen.add(id(value))
        return found

    def take_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take up what `weights` gave."""
        assert weights.keys() == self.weights().keys()
        self.load_state_dict(weights, strict=False)  # other names for the same are not in there

    def attach(self, own: nn.Module | None, folder: Path) -> bool:
        """Take up an objective's part, with the parameters of a folder if it has such ones.

        Returns:
            Whether the folder had them.
        """
        self.own = own
        path = folder / OWN_FILE
        if own is None or not path.exists():
            return False
        found, wanted = load_file(path), own.state_dict()
        if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in wanted.items()}:
            return False
        own.load_state_dict(found)
        return True


def _in_order(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Rows of several parts, each with the numbers of its rows, in the order of these."""
    numbers, rows = (torch.cat(found) for found in zip(*parts, strict=True))
    return rows.index_select(0, numbers.argsort())


class HeadClassifier(Classifier):
    """A classifier with a linear head, which is saved whole as an ordinary Hugging Face model."""

    @property
    @abstractmethod
    def stock_head(self) -> Head:
        """The parts of the stock model's head."""

    @property
    def head(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        return self.stock_head.last

    @property
    def dropout(self) -> nn.Module:
        """The dropout before it."""
        return self.stock_head.dropout

    @property
    def width(self) -> int:
        """H, the size of the head's input."""
        return self.head.in_features

    @property
    def num_outputs(self) -> int:
        """C, the size of its output."""
        return self.head.out_features

    @abstractmethod
    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[N, hidden] states of the encoder at the items, and [N, H] input of the head."""

    def forward(self, batch: Batch) -> Output:
        """Logits and features of the batch's items."""
        encoded, features = self.read(batch)
        with full_precision(features):
            features = features.float()
            return Output(self.head(self.dropout(features)), features, encoded=encoded)


def full_precision(like: Tensor) -> torch.autocast:
    """Arithmetic of heads and losses: differences between classes are too fine for bf16."""
    return torch.autocast(like.device.type, enabled=False)


@contextmanager
def new_head(seed: int) -> Iterator[None]:
    """Load a model whose head may be new: drawn from the seed, and without warnings."""
    logging = stock("logging")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        logging.set_verbosity(verbosity)


def has_other_head(folder: str | Path, labels: Sequence[str], ending: str) -> bool:
    """Whether a folder's classifier is not one for these labels, of the class with that ending."""
    config = stock("AutoConfig").from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    names = config.architectures or []
    if any(name.endswith(ending) for name in names):
        return config.id2label != dict(enumerate(labels))
    return any(name.endswith("Classification") for name in names)


def redraw(linear: nn.Linear, config: Any) -> None:
    """Start a linear layer anew, as the encoder's family does."""
    nn.init.normal_(linear.weight, std=getattr(config, "initializer_range", 0.02))
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
