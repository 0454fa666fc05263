"""A loaded model that labels texts in memory, and what it says of each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import SpanItems, layout_in
from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.readers.rows import Text
from xlt_ray.data.readers.words import Place
from xlt_ray.data.schema import Task
from xlt_ray.engine.arithmetic import Arithmetic, Precision
from xlt_ray.engine.inference import FeatureOutputs, no_features, predict
from xlt_ray.engine.int8 import stand_in
from xlt_ray.labels import LabelSet, bio_spans
from xlt_ray.models.classifier import Output
from xlt_ray.models.load import load_classifier
from xlt_ray.models.span_tagger import check_head
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact

ROWS = 256
"""Texts that are cut into sub-words and labelled at a time."""


@dataclass(frozen=True)
class Span:
    """An entity of a text.

    Attributes:
        label: Its type.
        start: Where it begins in the text, in characters; of words that were given apart, in the
            words joined by blanks.
        end: Where it ends, the first character behind it.
        text: What stands there.
        confidence: The least of its words, in [0, 1].
    """

    label: str
    start: int
    end: int
    text: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text.

    Attributes:
        text: The text; of a pair the first one; of words that were given apart, joined by blanks.
        label: Class of the text; None in token tasks.
        confidence: Probability of that class; in token tasks the least of all words.
        words: Words of the text, in token tasks.
        labels: Label of each word.
        confidences: Probability of each of these labels.
        spans: Entities, where the labels are BIO tags.
        uncertainty: Of evidential models, ``vacuity`` and ``dissonance`` of each word or of the
            text, in [0, 1].
    """

    text: str
    label: str | None
    confidence: float
    words: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    confidences: tuple[float, ...] = ()
    spans: tuple[Span, ...] = ()
    uncertainty: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class Labeller:
    """A model on its device; one thread at a time may call it."""

    def __init__(
        self,
        folder: Path,
        *,
        labels: Sequence[str],
        task: Task,
        max_length: int,
        dim_reduce: int | None,
        annotator: Annotator,
        arithmetic: Arithmetic,
        batch_tokens: int,
        compiled: bool = False,
        graph: Artifact | None = None,
    ):
        """Load it.

        Args:
            folder: Its weights and tokenizer.
            labels: Names of its classes.
            task: Kind of task.
            max_length: Longest input in sub-words.
            dim_reduce: Fraction of its width that the head of a text classifier projects to first.
            annotator: What is said of text.
            arithmetic: How it computes, in this thread.
            batch_tokens: Token budget of a forward pass.
            compiled: Whether its encoder is compiled.
            graph: Result of an int8 step for the model, if it computes in int8.
        """
        self.task: Task = task
        self.labels = tuple(labels)
        self._annotator, self._budget = annotator, batch_tokens
        self._context = TaskContext(LabelSet(self.labels), ("",), task=task)
        head = annotator.span_head
        check_head(folder, self.labels, head)
        self._tokenizer = load_tokenizer(str(folder))
        items = None if head is None else SpanItems(head.max_len, self._context.labels)
        self._layout = layout_in(folder, max_length, task, items, self._tokenizer)
        self._precision: Precision = arithmetic.precision
        self._device = arithmetic.take()
        model = load_classifier(folder, self.labels, task, dim_reduce=dim_reduce, spans=head)
        if compiled:
            model.compile_encoder()
        if graph is not None:
            model.stand_in = stand_in(graph, model, threads=arithmetic.threads)
        self._model = model.to(self._device).eval()

    def tokens(self, texts: Sequence[Text]) -> pa.Table:
        """Texts as sub-words; a thread of its own may do this while another one labels."""
        return tokenise(texts_as_table(texts, self.task), self._tokenizer, task=self.task)

    def label_all(self, texts: Sequence[Text]) -> Iterator[Prediction]:
        """What the model says of each text, some of them at a time; raises as `label` does."""
        for start in range(0, len(texts), ROWS):
            some = texts[start : start + ROWS]
            yield from self.label(some, self.tokens(some))

    def vectors(self, texts: Sequence[Text]) -> np.ndarray:
        """[N, H] float32 means of the features of each text's items, scaled to length 1.

        Args:
            texts: The texts; all of them are held in memory.

        Raises:
            ValueError: the outputs of the model are not finite.
        """
        parts = (texts[start : start + ROWS] for start in range(0, len(texts), ROWS))
        found = [self._vectors(self.tokens(part)) for part in parts]
        return np.concatenate(found) if found else np.zeros((0, self._model.width), np.float32)

    def _vectors(self, tokens: pa.Table) -> np.ndarray:
        examples, output = self._run(tokens, lambda own, features: features)
        sizes = np.diff(examples.item_offsets)
        means = np.zeros((len(sizes), self._model.width), np.float32)
        if output.feature_outputs is not None:
            rows = np.repeat(np.arange(len(sizes)), sizes)
            np.add.at(means, rows, output.feature_outputs.float().cpu().numpy())
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)

    def label(self, texts: Sequence[Text], tokens: pa.Table) -> list[Prediction]:
        """What the model says of each text; those of similar length share a forward pass.

        Args:
            texts: The texts.
            tokens: Their sub-words, a row each.

        Raises:
            ValueError: the outputs of the model are not finite.
        """
        examples, output = self._run(tokens)
        offsets = examples.item_offsets
        found = self._annotator.annotate(output, offsets, self._context)
        columns, ends = found.items, offsets
        if found.words:
            assert examples.length_offsets is not None
            columns, ends = found.words, examples.length_offsets
        parts = [slice(ends[i], ends[i + 1]) for i in range(len(texts))]
        return [
            self._prediction(text, {name: x[part] for name, x in columns.items()})
            for text, part in zip(texts, parts, strict=True)
        ]

    def _run(
        self, tokens: pa.Table, feature_outputs: FeatureOutputs = no_features
    ) -> tuple[Examples, Output]:
        """Rows as model input, and what the model gives of them."""
        examples = examples_of(tokens, self._layout, self._context.languages)
        output = predict(
            self._model,
            examples,
            budget=self._budget,
            device=self._device,
            precision=self._precision,
            feature_outputs=feature_outputs,
        )
        return examples, output

    def _prediction(self, text: Text, columns: Mapping[str, Any]) -> Prediction:
        labels = tuple(self.labels[label] for label in columns["labels"])
        sure = tuple(float(x) for x in columns["confidence"])
        more = {
            name: tuple(float(x) for x in values)
            for name, values in columns.items()
            if name not in ("labels", "confidence")
        }
        if text.tokens is None:
            return Prediction(text.text or "", labels[0], sure[0], uncertainty=more)
        whole, places = text.whole, text.places
        if whole is None:
            whole, places = joined(text.tokens)
        spans = ()
        if self._context.labels.is_bio:
            spans = tuple(
                _span(whole, places[entity.start : entity.end], entity.type,
                      min(sure[entity.start : entity.end]))
                for entity in bio_spans(labels)
            )  # fmt: skip
        least = min(sure, default=1.0)
        return Prediction(whole, None, least, text.tokens, labels, sure, spans, more)


def texts_as_table(texts: Sequence[Text], task: Task) -> pa.Table:
    """Texts as rows in the text schema of their task, numbered and of no language."""
    columns: dict[str, Any] = {
        "id": [str(number) for number in range(len(texts))],
        "language": [""] * len(texts),
    }
    if task == "token":
        columns["tokens"] = pa.array([text.tokens for text in texts], pa.list_(pa.string()))
    else:
        columns["text"] = [text.text for text in texts]
    if task == "pair":
        columns["text_pair"] = [text.text_pair for text in texts]
    return pa.table(columns)


def joined(words: Sequence[str]) -> tuple[str, tuple[Place, ...]]:
    """Words with blanks between them, and where each is."""
    places, at = list[Place](), 0
    for word in words:
        places.append((at, at + len(word)))
        at += len(word) + 1
    return " ".join(words), tuple(places)


def _span(text: str, places: Sequence[tuple[int, int]], label: str, confidence: float) -> Span:
    start, end = places[0][0], places[-1][1]
    return Span(label, start, end, text[start:end], confidence)
