"""The first stage of CoNLST: texts are moved away from what they almost certainly are not.

Symbols and numbers of equations are those of docs/conlst.md. The rows learnt from are the target
texts (anchors), labelled with what the model said of them before, and with a candidate set that
here holds the classes that they are not; the paired text is the source gold. The pool of the mix
is the texts that the model was certain about, from which every worker draws negatives.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples
from xlt_ray.data.keyed import items_of, of_language, sorted_by_id
from xlt_ray.methods.shared.records import ratio_of_norms, squared_gradient
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import contrastive
from xlt_ray.recipe.loss_means import RecordedObjective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact

Consistency = Literal["complementary", "literal"]
"""-log(1 - p_k) of a random wrong class k, or log(1 - p_gold), not below -20, as printed."""

LITERAL_FLOOR = -20.0
PERCENTILE = 70
"""Of the confidences of a language that is nowhere certain."""
ACTIVE = 1e-3
"""Loss above which a text still moves the model."""
_SQUARES = ("gradient_target", "gradient_clcs")

Scale = Literal["median", "unit_norm", "raw"]
"""Distances in units of their median between texts of different classes, as the first step finds
it; distances of vectors of length 1; or of the vectors as they are."""


def cross_space(logits: Tensor, labels: Tensor, kind: Consistency) -> Tensor:
    """[N] terms of the cross-space consistency L_CLCS of source items (N6)."""
    if kind == "literal":
        return (-contrastive.negative_learning(logits, labels)).clamp(min=LITERAL_FLOOR)
    others = contrastive.random_others(labels, logits.shape[1])
    return contrastive.negative_learning(logits, others)


@dataclass
class WithConsistency(RecordedObjective):
    """A loss of the target texts, and the cross-space consistency of the source beside it.

    Attributes:
        lambda_clcs: Weight of L_CLCS.
        clcs: How L_CLCS is read.
    """

    lambda_clcs: float
    clcs: Consistency
    terms: ClassVar[tuple[str, ...]] = ("target", "clcs", "active", *_SQUARES)

    def before_step(self, step: OptimiserStep) -> None:
        """Take note of the items of the step."""
        self.step = step

    def with_source(self, target_N: Tensor, output: Output, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch, given that of each of its target texts (N7)."""
        source, target = batch.paired & ~batch.extra, target_N.sum()
        clcs = cross_space(output.logits[source], batch.labels[source], self.clcs).sum()
        self.means.add("target", target, batch.num_items)
        self.means.add("active", (target_N > ACTIVE).sum(), batch.num_items)
        self.means.add("clcs", clcs, batch.num_paired)
        share = self.step.items / max(self.step.paired, 1)  # the engine divides by the items
        weighted = self.lambda_clcs * share * clcs
        for name, term in zip(_SQUARES, (target, weighted), strict=True):
            self.means.add(name, squared_gradient(term, output.features), 1)
        return {"loss": target + weighted, "target": target, "clcs": clcs}

    def progress(self) -> dict[str, Any]:
        """Mean of each term since the last time, the share of active texts, and the ratio of the
        norms of the gradients of both terms at the pooled texts, if the second has one."""
        found = self.means.take()
        return found | ratio_of_norms(*(found.pop(name) for name in _SQUARES))


@dataclass
class NegativeLearning(WithConsistency):
    """-log(1 - p_k) of a class drawn from those that are not the pseudo-label (vanilla NL)."""

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the target texts, and L_CLCS."""
        own = ~batch.paired
        logits, labels = output.logits[own], batch.labels[own]
        others = contrastive.random_others(labels, logits.shape[1])
        return self.with_source(contrastive.negative_learning(logits, others), output, batch)


@dataclass
class ContrastNegatives(WithConsistency):
    """Contrastive negative loss L_CL in the space of a head of its own, and L_CLCS.

    Attributes:
        k_neg: Negatives of an anchor at most.
        temp: Temperature.
        similarity: How near two representations are.
        scale: Unit of their distances.
    """

    k_neg: int
    temp: float
    similarity: contrastive.Similarity
    scale: Scale
    terms: ClassVar[tuple[str, ...]] = (*WithConsistency.terms, "without_negatives")

    def build(self, context: TaskContext, width: int) -> nn.Module:
        """The contrastive head, one linear layer."""
        return nn.Linear(width, width)

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Take the head; the pool is looked up with the first batch."""
        super().prepare(context, model)
        assert model.own is not None
        self.context, self.head, self.classes = context, model.own, context.num_classes
        self.pool: list[np.ndarray] | None = None
        self.unit, self.is_settled = (0.0, False) if self.scale == "median" else (1.0, True)

    def extra_rows(self, chosen: np.ndarray, examples: Examples) -> np.ndarray:
        """The anchors once more, which get another dropout mask, and negatives for all of them."""
        if self.pool is None:
            assert examples.labels is not None
            said = examples.labels[examples.first_pool :]  # a text is one item
            members = [np.flatnonzero(said == label) for label in range(self.classes)]
            self.pool = [examples.first_pool + rows for rows in members]
        anchors = chosen[chosen < examples.num_parts]
        if not len(anchors):
            return anchors
        drawn = contrastive.draw_shared(self._sizes(), self.k_neg, _generator())
        negatives = [rows[place] for rows, place in zip(self.pool, drawn, strict=True)]
        return np.concatenate([anchors, *negatives])

    def _sizes(self) -> np.ndarray:
        assert self.pool is not None
        return np.array([len(rows) for rows in self.pool], np.int64)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """L_CL summed over the anchors, and L_CLCS."""
        own = ~batch.paired & ~batch.extra
        h, added = self.head(output.features), batch.extra.nonzero()[:, 0]
        count = int(own.sum())
        if not count:  # of the paired text alone, or of nothing
            return self.with_source(h[own].sum(1) + 0 * h.sum(), output, batch)
        if self.scale == "unit_norm":
            h = normalize(h, dim=1)
        anchors, positives, negatives = h[own], h[added[:count]], h[added[count:]]
        classes = torch.arange(self.classes, device=h.device)
        allowed = (batch.candidates[own][:, None] >> classes) & 1
        mask = contrastive.draw_negatives(
            allowed.bool().cpu().numpy(), self._sizes(), self.k_neg, _generator()
        )
        is_negative = torch.from_numpy(mask).to(h.device)
        near = contrastive.similarity(anchors, positives, self.similarity)
        far = contrastive.similarities(anchors, negatives, self.similarity)
        if not self.unit and is_negative.any():
            self.unit = float(-far.detach()[is_negative].median())
        temp = self.temp * (self.unit or 1.0)  # without negatives the loss is 0 in any unit
        self.means.add("without_negatives", (~is_negative.any(dim=1)).sum(), count)
        target = contrastive.contrastive(near / temp, far / temp, is_negative)
        return self.with_source(target, output, batch)

    def after_step(self) -> None:
        """Take the mean of the units of all workers in the first step that has one."""
        if self.is_settled:
            return
        found = torch.tensor([self.unit, self.unit > 0], dtype=torch.float64)
        total, count = self.context.total(found.to(self.means.sums.device)).tolist()
        self.unit, self.is_settled = total / max(count, 1.0), count > 0

    def progress(self) -> dict[str, Any]:
        """The same, and the unit of distances."""
        return {**super().progress(), "unit": self.unit}

    def state_dict(self) -> dict[str, Tensor]:
        """The sums for the record, and the unit."""
        unit = torch.tensor([self.unit, self.is_settled], dtype=torch.float64)
        return {**super().state_dict(), "unit": unit}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the tensors of a checkpoint."""
        super().load_state_dict(state)
        self.unit, self.is_settled = float(state["unit"][0]), bool(state["unit"][1])


def probabilities(
    said: Artifact, language: str | None, num_classes: int
) -> tuple[pa.Table, np.ndarray]:
    """Texts of a language, or of all, by id, and their [N, C] class probabilities.

    Args:
        said: Annotation by `xlt_ray.methods.shared.softmax.Probabilities`.
        language: The language; None: all.
        num_classes: C.
    """
    table = sorted_by_id(said.table(["id", "language", "labels", "q"]))
    table = table if language is None else of_language(table, language)
    return table, np.array(items_of(table["q"])[0]).reshape(-1, num_classes)  # may be written to


def complements(
    said: Artifact, *, language: str | None, num_classes: int, gamma: float, certain: bool
) -> tuple[pa.Table, dict[str, Any]]:
    """What texts are said to be, and what they are not (N2, N3).

    Args:
        said: Class probabilities ``q`` of the texts.
        language: The language of the texts; None: all of them.
        num_classes: C.
        gamma: Confidence from which a text is certain. In a language that has no such text it is
            the 70th percentile of the confidences.
        certain: Only the texts that are, from which negatives are drawn.

    Returns:
        By text ``labels``, its pseudo-label, and ``candidates``, its complementary classes; as
        facts gamma by language, and the certain texts of each class.
    """
    table, q_NC = probabilities(said, language, num_classes)
    languages_N = np.array(table["language"].to_pylist(), dtype=object)
    gammas_N, lowered = np.full(len(table), gamma), dict[str, float]()
    for name in sorted(set(languages_N)):
        best = q_NC[languages_N == name].max(axis=1)
        if best.max() < gamma:
            lowered[name] = float(np.percentile(best, PERCENTILE))
            gammas_N[languages_N == name] = lowered[name]
    found = contrastive.complementary(torch.from_numpy(q_NC), torch.from_numpy(gammas_N))
    said_N, certain_N = found.said_N.numpy(), found.certain_N.numpy()
    sets_N = (found.not_NC.long() << torch.arange(num_classes)).sum(dim=1).numpy()
    ends = pa.array(np.arange(len(table) + 1, dtype=np.int32))
    rows = table.select(["id", "language"])
    rows = rows.append_column("labels", pa.ListArray.from_arrays(ends, said_N.astype(np.int16)))
    rows = rows.append_column("candidates", pa.ListArray.from_arrays(ends, sets_N))
    counts = np.bincount(said_N[certain_N], minlength=num_classes).tolist()
    facts = {"gamma": gamma, "gamma_lowered": lowered, "certain": counts}
    return (rows.filter(pa.array(certain_N)) if certain else rows), facts


def _generator() -> np.random.Generator:
    """A NumPy generator that follows torch's, which is seeded before each step."""
    return np.random.default_rng(int(torch.randint(2**62, ())))
