"""What methods of spans share: cross-entropy, guessing hidden words, and what is said of spans.

Symbols and numbers of equations are those of docs/maral.md. The rows learnt from are source gold,
the paired text is that of the targets; items are spans.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.data.batches.batch import Batch, Hidden
from xlt_ray.data.keyed import items_of, of_language
from xlt_ray.labels import UNLABELLED
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.ops import entities, spans
from xlt_ray.ops.masking import masked_tokens
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.loss_means import RecordedObjective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact


@dataclass
class SpanObjective(RecordedObjective):
    """A loss of spans, and that of guessing hidden tokens of the paired text beside it.

    Attributes:
        head: The span head.
        w_mlm: Weight of the mean cross-entropy of hidden tokens.
        mask_rate: Probability of a token to be hidden.
        mlm_every: Tokens are hidden in each so-manieth step, the first one included, with so many
            times the weight: on average over steps the gradient is that of every step.
    """

    head: SpanHead
    w_mlm: float
    mask_rate: float
    mlm_every: int
    terms = ("source", "target", "mlm")

    @property
    def span_head(self) -> SpanHead:
        """The span head."""
        return self.head

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Start the counts of a step and the sums for the record."""
        super().prepare(context, model)
        self.context, self.device = context, next(model.parameters()).device
        self.counts = torch.zeros(2, dtype=torch.float64, device=self.device)
        self.begun = 0  # steps: how many came before the one whose batches are made

    def transform_batch(self, batch: Batch) -> Batch:
        """The batch and, if hidden tokens count, a masked copy of each row of paired text.

        In a step without them no token is hidden, and the masked-LM head has a gradient of zeros:
        workers average the gradients of all parameters.
        """
        self.counts[0] += self.count_target(batch)
        if not self.w_mlm:
            return batch
        if self.begun % self.mlm_every:
            none = torch.zeros(0, dtype=torch.int64)
            return replace(batch, hidden=Hidden(none, none))
        batch = with_masked_rows(batch, self.context, self.mask_rate)
        assert batch.hidden is not None
        self.counts[1] += len(batch.hidden.tokens)
        return batch

    def count_target(self, batch: Batch) -> int:
        """Spans of the paired text that take part in the loss of the batch."""
        return 0

    def before_step(self, step: OptimiserStep) -> None:
        """Take note of what the step has on all workers.

        Raises:
            ValueError: the training has too few steps to hide tokens in some of them.
        """
        if self.w_mlm and self.mlm_every > step.steps:
            raise ValueError(
                f"method.mlm_every: {self.mlm_every}, but this training has {step.steps} optimiser "
                "steps; at most so many are allowed"
            )
        self.step, self.begun = step, self.begun + 1
        self.num_target, self.num_hidden = self.context.total(self.counts).tolist()
        self.counts.zero_()

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over source spans of what is to be divided by their number (M11)."""
        found = {"source": self.of_source(output, batch), "target": self.of_target(output, batch)}
        found["mlm"] = torch.zeros_like(found["source"])
        if output.guessed is not None:
            assert batch.hidden is not None
            found["mlm"] = cross_entropy(output.guessed, batch.hidden.tokens, reduction="sum")
        self.means.add("source", found["source"], batch.num_items)
        self.means.add("target", found["target"], self.count_target(batch))
        self.means.add("mlm", found["mlm"], len(batch.hidden.tokens) if batch.hidden else 0)
        items = self.step.items  # the engine divides by them
        target = found["target"] * (items / max(self.num_target, 1.0))
        weight = self.w_mlm * self.mlm_every
        guessed = weight * found["mlm"] * (items / max(self.num_hidden, 1.0))
        return {"loss": found["source"] + target + guessed, **found}

    def state_dict(self) -> dict[str, Tensor]:
        """The sums for the record, and the steps that began."""
        return {**super().state_dict(), "begun": torch.tensor(self.begun)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the tensors of a checkpoint."""
        super().load_state_dict(state)
        self.begun = int(state["begun"])

    @abstractmethod
    def of_source(self, output: Output, batch: Batch) -> Tensor:
        """Sum over the labelled source spans."""

    def of_target(self, output: Output, batch: Batch) -> Tensor:
        """Sum over the target spans that take part."""
        return output.logits.new_zeros(())


def with_masked_rows(batch: Batch, context: TaskContext, rate: float) -> Batch:
    """A batch with a copy of every row of paired text, in which tokens are hidden.

    Raises:
        ValueError: the tokenizer has no mask symbol.
    """
    layout = context.layout
    assert layout is not None
    assert batch.spans is not None
    if layout.mask is None:
        raise ValueError("backbone: its tokenizer has no mask symbol, and method.w_mlm needs one")
    width = batch.input_ids.shape[1]
    of_words = torch.zeros(len(batch.items), dtype=torch.bool)
    of_words[batch.spans.words[batch.paired & ~batch.extra, 0]] = True
    rows = (batch.items[of_words] // width).unique()
    ids, mask, segments = (x[rows] for x in (batch.input_ids, batch.attention_mask, batch.segments))
    everyone = torch.ones(len(rows), dtype=torch.bool)
    shown = masked_tokens(ids, everyone, rate=rate, mask=layout.mask, special=layout.specials)
    inside = ((shown == layout.mask) & (ids != layout.mask)).flatten().nonzero()[:, 0]
    return replace(
        batch,
        input_ids=torch.cat([batch.input_ids, shown]),
        attention_mask=torch.cat([batch.attention_mask, mask]),
        segments=torch.cat([batch.segments, segments]),
        adapters=None
        if batch.adapters is None
        else torch.cat([batch.adapters, batch.adapters[rows]]),
        hidden=Hidden(inside + batch.input_ids.numel(), ids.flatten()[inside]),
    )


@dataclass
class SpanCrossEntropy(SpanObjective):
    """Cross-entropy of source spans over a linear head: the teacher.

    Attributes:
        weights: Weight of each class; None: all alike.
    """

    weights: tuple[float, ...] | None = None

    def of_source(self, output: Output, batch: Batch) -> Tensor:
        """Sum over the labelled spans."""
        weights = None if self.weights is None else output.logits.new_tensor(self.weights)
        own, labels = ~batch.paired & (batch.labels != UNLABELLED), batch.labels
        return cross_entropy(output.logits[own], labels[own], weights, reduction="sum")


@dataclass(frozen=True)
class SpanProbabilities(Annotator):
    """Class probabilities of every span.

    Attributes:
        head: The span head that the model was trained with.
        prune: Whether a span that overlaps a likelier entity is certain to be none.
    """

    head: SpanHead
    prune: bool = False

    @property
    def span_head(self) -> SpanHead:
        """The span head."""
        return self.head

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """One column, ``q``."""
        q_NK = output.logits.softmax(dim=1)
        if self.prune:
            counts = spans.num_words(np.diff(offsets), self.head.max_len)
            kept_M = entities.kept_entities(output.logits, counts, self.head.max_len)[0]
            losing_N = q_NK.argmax(dim=1) > 0
            losing_N[torch.from_numpy(kept_M).to(losing_N.device)] = False
            q_NK[losing_N] = torch.eye(q_NK.shape[1], device=q_NK.device)[0]
        return Columns(items={"q": q_NK.cpu().numpy()})


@dataclass(frozen=True)
class TagSpans(Annotator):
    """BIO labels of the words: the likeliest spans that do not overlap."""

    head: SpanHead

    @property
    def span_head(self) -> SpanHead:
        """The span head."""
        return self.head

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """One column, ``labels``."""
        counts = spans.num_words(np.diff(offsets), self.head.max_len)
        labels = entities.tags_of_scores(output.logits, counts, self.head.max_len, context.labels)
        return Columns(words={"labels": labels.astype(np.int16)})


def mean_of(said: Artifact, *, language: str | None) -> tuple[pa.Table, dict[str, Any]]:
    """Mean class probabilities of all spans of a language, or of all (M7)."""
    total_K, count = np.zeros(0), 0
    for table in said.tables(["language", "q"]):
        table = table if language is None else of_language(table, language)
        q_NK = items_of(table["q"])[0]
        if len(q_NK):
            total_K = q_NK.sum(axis=0, dtype=np.float64) + (total_K if count else 0)
            count += len(q_NK)
    mean_K = total_K / max(count, 1)
    return pa.table({"share": mean_K}), {"prior": mean_K.tolist()}


def even_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """Weights in proportion to 1 / log(count), with a mean of 1 over the classes that occur; 1 for
    others."""
    raw = [1 / math.log(max(count, 2)) for count in counts if count]
    mean = sum(raw) / max(len(raw), 1)
    return tuple(1 / math.log(max(count, 2)) / mean if count else 1.0 for count in counts)
