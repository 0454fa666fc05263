"""Vectors of words in a layer of an encoder as it is, untrained, and which words they align."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch

from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_in
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.schema import TEXT_SCHEMA
from xlt_ray.engine.arithmetic import Arithmetic, autocast
from xlt_ray.models.load import load_classifier
from xlt_ray.ops.word_alignment import similarities, softmax_intersection
from xlt_ray.store.artifacts import Artifact


class AlignTask(Protocol):
    """What a step says about how it aligns words."""

    @property
    def encoder(self) -> Artifact | None:
        """Whose vectors align words."""

    @property
    def layer(self) -> int:
        """Its layer, from 1."""

    @property
    def max_length(self) -> int:
        """Longest input of the encoder in sub-words."""

    @property
    def batch_tokens(self) -> int:
        """Token budget of a forward pass."""

    @property
    def arithmetic(self) -> Arithmetic:
        """How an actor computes."""


def word_vectors_of(task: AlignTask) -> "WordVectors":
    """What gives the vectors of a step that has an encoder."""
    assert task.encoder is not None
    return WordVectors(
        task.encoder.local(),
        layer=task.layer,
        max_length=task.max_length,
        budget=task.batch_tokens,
        arithmetic=task.arithmetic,
    )


def alignment(own_NH: np.ndarray, other_MH: np.ndarray, threshold: float) -> np.ndarray:
    """[N, M] float64 probabilities of aligned words, of their vectors; 0 for all other pairs."""
    if not len(own_NH) or not len(other_MH):
        return np.zeros((len(own_NH), len(other_MH)))
    similarity_NM = similarities(torch.from_numpy(own_NH), torch.from_numpy(other_MH))
    return softmax_intersection(similarity_NM, threshold).numpy()


class WordVectors:
    """An encoder on its device, under a head that nobody asks.

    Args:
        folder: Its weights and tokenizer.
        layer: The layer whose states are taken, from 1; 0: the embeddings.
        max_length: Longest input in sub-words; longer sentences have windows.
        budget: Token budget of a forward pass.
        arithmetic: How it computes.
    """

    def __init__(
        self, folder: Path, *, layer: int, max_length: int, budget: int, arithmetic: Arithmetic
    ):
        self.layer, self.budget, self.precision = layer, budget, arithmetic.precision
        self.device = arithmetic.take()
        self.tokenizer = load_tokenizer(str(folder))
        self.layout = layout_in(folder, max_length, "token", None, self.tokenizer)
        self.model = load_classifier(folder, ("a", "b"), "token").to(self.device).eval()

    @torch.no_grad()
    def __call__(self, sentences: Sequence[Sequence[str]], language: str) -> list[np.ndarray]:
        """[W, H] float32 of each sentence: means of the states at the first and the last sub-word
        of each word.

        Args:
            sentences: Words of each sentence.
            language: Their language, for encoders that have adapters.

        Raises:
            ValueError: the encoder has no state per sub-word in each layer.
        """
        rows = {"id": [str(number) for number in range(len(sentences))],
                "language": [language] * len(sentences),
                "tokens": [list(words) for words in sentences]}  # fmt: skip
        table = pa.table(rows, schema=TEXT_SCHEMA["token"])
        examples = examples_of(tokenise(table, self.tokenizer, task="token"), self.layout)
        found: list[np.ndarray] = [np.zeros((0, 0), np.float32)] * len(sentences)
        with autocast(self.device, self.precision):
            for chosen in plan_batches(examples.longest, examples.num_windows, self.budget):
                lasts = torch.from_numpy(examples.padded(chosen).lasts).to(self.device)
                batch = examples.collate(chosen).to(self.device)
                first, last = self.model.at_layer(batch, self.layer, batch.items, lasts)
                states = ((first.float() + last.float()) / 2).cpu().numpy()
                ends = np.cumsum(np.diff(examples.item_offsets)[chosen])
                for index, part in zip(chosen, np.split(states, ends[:-1]), strict=True):
                    found[index] = part
        return found
