"""A trained model, and what it says of text, in this process.

For files, and for more text than fits into memory, `xlt_ray.predict` labels on the cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import pyarrow as pa
import torch

from xlt_ray.commands.trained_models import Finished
from xlt_ray.config.errors import DataError
from xlt_ray.data.batches.examples import SpanItems, examples_of, layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.readers.records import words_in
from xlt_ray.data.readers.rows import RowError, Text, text_of
from xlt_ray.data.readers.words import Cut, Place
from xlt_ray.data.schema import Task
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.inference import predict
from xlt_ray.labels import LabelSet, bio_spans
from xlt_ray.models.load import load_classifier
from xlt_ray.models.span_tagger import check_head
from xlt_ray.recipe.task import TaskContext

_ROWS = 256
"""Rows that are labelled at a time."""
_TOKENS = 4096


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


class Model:
    """A model that labels text; made by `xlt_ray.load`."""

    def __init__(self, finished: Finished, folder: Path):
        self.task: Task = finished.task
        self.labels, self.folder = finished.labels, folder
        self._annotator = finished.annotator
        self._context = TaskContext(LabelSet(finished.labels), ("",), task=finished.task)
        head = self._annotator.span_head
        check_head(folder, finished.labels, head)
        self._tokenizer = load_tokenizer(str(folder))
        items = None if head is None else SpanItems(head.max_len, self._context.labels)
        self._layout = layout_of(self._tokenizer, finished.max_length, finished.task, items)
        kind = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = Arithmetic(kind, "fp32", torch.get_num_threads()).take()
        model = load_classifier(
            folder, finished.labels, finished.task, dim_reduce=finished.dim_reduce, spans=head
        )
        self._model = model.to(self._device).eval()

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, {self.task}, labels: {', '.join(self.labels)})"

    @overload
    def predict(  # pyright: ignore[reportOverlappingOverload]  # a str is no list of texts here
        self, texts: str, *, words: Cut = "marks"
    ) -> Prediction: ...

    @overload
    def predict(self, texts: Sequence[Any], *, words: Cut = "marks") -> list[Prediction]: ...

    def predict(
        self, texts: str | Sequence[Any], *, words: Cut = "marks"
    ) -> Prediction | list[Prediction]:
        """Label one text, or some.

        Args:
            texts: A string; or a list of strings; or of lists of words in token tasks; or of pairs
                of strings, or dicts with ``premise`` and ``hypothesis``, where pairs are labelled.
            words: Where words of strings end, in token tasks: at ``marks``, ``blanks`` or after all
                ``characters``.

        Raises:
            DataError: a text is none that the task has.
        """
        if isinstance(texts, str):
            return self.predict([texts], words=words)[0]
        if isinstance(texts, bytes | Mapping):
            raise DataError(f"texts: a {type(texts).__name__}; give a list of texts")
        read = [self._read(number, row, words) for number, row in enumerate(texts)]
        return [
            found
            for start in range(0, len(read), _ROWS)
            for found in self._label(texts[start : start + _ROWS], read[start : start + _ROWS])
        ]

    def _read(self, number: int, row: Any, words: Any) -> Text:
        try:
            record: dict[str, Any]
            if isinstance(row, Mapping):
                record = dict(row)
            elif self.task == "token":
                if isinstance(row, str):
                    return words_in({"text": row}, words)
                record = {"tokens": list(row)}
            elif self.task == "pair":
                record = dict(zip(("premise", "hypothesis"), row, strict=True))
            else:
                record = {"text": row}
            return text_of(record, self.task)
        except (RowError, TypeError, ValueError) as error:
            raise DataError(f"texts[{number}]: {error}") from None

    def _label(self, rows: Sequence[Any], texts: Sequence[Text]) -> list[Prediction]:
        table = tokenise(_table(texts, self.task), self._tokenizer, task=self.task)
        examples = examples_of(table, self._layout, self._context.languages)
        output = predict(
            self._model,
            examples,
            budget=_TOKENS,
            device=self._device,
            precision="fp32",
        )
        offsets = examples.item_offsets
        found = self._annotator.annotate(output, offsets, self._context)
        columns, ends = found.items, offsets
        if found.words:
            assert examples.length_offsets is not None
            columns, ends = found.words, examples.length_offsets
        parts = [slice(ends[i], ends[i + 1]) for i in range(len(texts))]
        return [
            self._prediction(row, text, {name: x[part] for name, x in columns.items()})
            for row, text, part in zip(rows, texts, parts, strict=True)
        ]

    def _prediction(self, row: Any, text: Text, columns: Mapping[str, Any]) -> Prediction:
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


def _table(texts: Sequence[Text], task: Task) -> pa.Table:
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
