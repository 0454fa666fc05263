"""The loss of the second stage of CoNLST where texts have weights, or labels are smoothed."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from xlt_ray.data.batches.batch import Batch
from xlt_ray.methods.conlst.mixup import MixUp
from xlt_ray.methods.shared.weighted import weights_of
from xlt_ray.models.classifier import Output
from xlt_ray.ops.contrastive import mixed, soft_cross_entropy


@dataclass
class RuledMixUp(MixUp):
    """`MixUp` with the target (1 - s) one-hot + s / C, and weights of the pseudo-labelled texts.

    Attributes:
        smoothing: s.
        is_weighted: Whether the pseudo-labelled texts count by weights.
    """

    smoothing: float = 0.0
    is_weighted: bool = False

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the union of both batches, weighted so that each has its mean."""
        own, logits = ~batch.paired, output.logits
        share = self.step.items / max(self.step.paired, 1)  # the engine divides by the items
        weights = torch.where(own, self.lambda_u, share).to(logits.dtype)
        if self.is_weighted:
            weights = torch.where(own, weights * weights_of(batch), weights)
        target = self.targets(batch.labels, logits)
        if self.alpha is None:
            losses = weights * soft_cross_entropy(logits, target)
        else:
            losses = self._mixtures(output.features, weights[:, None] * target)
        for name, of in (("source", ~own), ("target", own)):
            self.means.add(name, losses[of].sum(), int(of.sum()))
        return {"loss": losses.sum()}

    def targets(self, labels: Tensor, logits: Tensor) -> Tensor:
        """[N, C] smoothed labels."""
        classes = logits.shape[1]
        hard = one_hot(labels, classes).to(logits.dtype)
        return (1 - self.smoothing) * hard + self.smoothing / classes

    def _mixtures(self, x: Tensor, target: Tensor) -> Tensor:
        """[N] losses of mixtures of features, with the mixtures of their weighted targets."""
        assert self.alpha is not None
        other = torch.randperm(len(x), device=x.device)
        m = torch.distributions.Beta(self.alpha, self.alpha).sample((len(x),)).to(x.device)
        logits = self.model.head(self.model.dropout(mixed(x, x[other], m)))
        return soft_cross_entropy(logits, mixed(target, target[other], m))
