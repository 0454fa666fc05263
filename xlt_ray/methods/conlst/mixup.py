"""The second stage of CoNLST: self-training on texts that were changed, and mixtures of features.

Symbols and numbers of equations are those of docs/conlst.md. The first part of the mix is
pseudo-labelled target texts whose words are masked here; any other part has been changed already,
as translations there and back have. The paired text is the source gold.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from xlt_ray.data.batches.batch import Batch
from xlt_ray.models.classifier import Classifier, HeadClassifier, Output
from xlt_ray.ops.contrastive import mixed, soft_cross_entropy
from xlt_ray.ops.masking import masked_tokens
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.loss_means import RecordedObjective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext

MASKED = 0
"""Part of the mix whose words are masked."""


def hide_words(batch: Batch, rows: Tensor, context: TaskContext, rate: float) -> Batch:
    """A batch of texts in which words of some rows are masked.

    Raises:
        ValueError: the tokenizer has no mask symbol.
    """
    layout = context.layout
    assert layout is not None
    if not rows.any():
        return batch
    if layout.mask is None:
        raise ValueError("backbone: its tokenizer has no mask symbol, and masking needs one")
    special, mask = layout.specials, layout.mask
    ids = masked_tokens(batch.input_ids, rows, rate=rate, mask=mask, special=special)
    return replace(batch, input_ids=ids)


def masked_only(driver: Driver, translated: float) -> tuple[str, ...]:
    """A note for the report where texts that should be translated are masked."""
    if not translated:
        return ()
    back = driver.back_translated()
    if back is None:
        return (
            "texts are changed by masking alone: no translation of them there and back is given",
        )
    there = back.tokens.info.get("rows_by_language")
    missing = [name for name in driver.pools if there is not None and not there.get(name)]
    text = f"texts of {', '.join(missing)} are changed by masking alone: they have no translation"
    return (text,) if missing else ()


@dataclass
class MixUp(RecordedObjective):
    """Cross-entropy of source gold and of pseudo-labels, on mixtures of both (N9, N10).

    It records the mean weighted loss of the items of either text.

    Attributes:
        lambda_u: Weight of the pseudo-labelled texts.
        alpha: Parameter of Beta(alpha, alpha); None: no mixtures.
        mask_rate: Probability of a word to be masked.
    """

    lambda_u: float
    alpha: float | None
    mask_rate: float
    terms: ClassVar[tuple[str, ...]] = ("source", "target")

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Take the head, which is given mixtures of features."""
        super().prepare(context, model)
        self.context = context
        self.model = cast(HeadClassifier, model)  # a model of texts is nothing else

    def before_step(self, step: OptimiserStep) -> None:
        """Take note of the items of the step."""
        self.step = step

    def transform_batch(self, batch: Batch) -> Batch:
        """Mask words of the first part."""
        return hide_words(batch, batch.part == MASKED, self.context, self.mask_rate)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the union of both batches, weighted so that each has its mean."""
        own, labels, logits = ~batch.paired, batch.labels, output.logits
        share = self.step.items / max(self.step.paired, 1)  # the engine divides by the items
        weights = torch.where(own, self.lambda_u, share).to(logits.dtype)
        if self.alpha is None:
            losses = weights * cross_entropy(logits, labels, reduction="none")
        else:
            losses = self._mixed(output, labels, weights)
        for name, of in (("source", ~own), ("target", own)):
            self.means.add(name, losses[of].sum(), int(of.sum()))
        return {"loss": losses.sum()}

    def _mixed(self, output: Output, labels: Tensor, weights: Tensor) -> Tensor:
        assert self.alpha is not None
        x, count = output.features, len(labels)
        other = torch.randperm(count, device=x.device)
        beta = torch.distributions.Beta(self.alpha, self.alpha)
        m = beta.sample((count,)).to(x.device)
        logits = self.model.head(self.model.dropout(mixed(x, x[other], m)))
        weighted = weights[:, None] * one_hot(labels, logits.shape[1])
        return soft_cross_entropy(logits, mixed(weighted, weighted[other], m))
