"""The noisy channel of MRT and LVM: how the labels of the sources come about from the true one.

Source u has a matrix phi[u] = lambda psi + (1 - lambda) sigma[u] of P(what it says | true label).
psi is the same fixed matrix for all, sigma[u] is learned and saved with the model, and lambda goes
from its first to its last value over the updates of the training.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.sources import soft_labels
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import confusion
from xlt_ray.ops.confusion_counts import expected_counts, maximising_matrix, without_prior
from xlt_ray.recipe.loss_means import LossMeans
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext

CHUNK = 16384
"""Words whose counts are taken at once."""


LEAST_RISK = 1e-3
"""Magnitude of a sentence's risk, and of its gradient, under which it teaches nothing."""


class Confusions(nn.Module):
    """What is learned: ``raw`` [U, K, K], whose columns' softmax is sigma, and the last lambda."""

    lam: Tensor

    def __init__(self, num_sources: int, num_classes: int, tau: float, lam: float):
        super().__init__()
        start = confusion.scaled_identity(tau, num_classes)
        self.raw = nn.Parameter(start.repeat(num_sources, 1, 1))
        self.register_buffer("lam", torch.tensor(lam))


@dataclass(frozen=True)
class Channel:
    """The fixed part of a channel, and how its learned part begins.

    Attributes:
        names: Source languages, U of them.
        soft: Whether the sources speak in probabilities or in labels.
        tau_psi: Scale of psi.
        tau_sigma: Scale of sigma at the start; None: nothing is learned, and lambda is 1 (MRT).
        first: lambda at the first update.
        last: lambda at the last one.
        priors: [U][K] prior of each source, which its probabilities are divided by; None: they are
            taken as they are.
    """

    names: tuple[str, ...]
    soft: bool
    tau_psi: float
    tau_sigma: float | None = None
    first: float = 1.0
    last: float = 0.0
    priors: tuple[tuple[float, ...], ...] | None = None

    def build(self, context: TaskContext) -> Confusions | None:
        """The learned part."""
        if self.tau_sigma is None:
            return None
        return Confusions(len(self.names), context.num_classes, self.tau_sigma, self.first)

    def lambda_at(self, step: int, steps: int) -> float:
        """lambda at an update."""
        if self.tau_sigma is None:
            return 1.0
        return confusion.lambda_at(step, steps, self.first, self.last)

    def log_phi(self, own: Confusions | None, lam: float, like: Tensor) -> Tensor:
        """[U, K, K] logarithms of the matrices, on the device of [N, K] logits."""
        num_classes = like.shape[1]
        raw = confusion.scaled_identity(self.tau_psi, num_classes, like.dtype).to(like.device)
        log_psi = confusion.log_columns(raw)
        if own is None:
            return log_psi.expand(len(self.names), -1, -1)
        return confusion.log_mixture(log_psi, confusion.log_columns(own.raw.to(like.dtype)), lam)

    def log_start(self, num_classes: int) -> Tensor:
        """[K, K] logarithm of every source's matrix before the first update."""
        like = torch.zeros(1, num_classes, dtype=torch.float64)
        own = None if self.tau_sigma is None else Confusions(1, num_classes, self.tau_sigma, 1.0)
        return self.log_phi(own, self.first, like).detach()[0]

    def log_emission(
        self, own: Confusions | None, lam: float, like: Tensor, columns: Mapping[str, Tensor]
    ) -> Tensor:
        """[N, K] sum_u log P(what source u says | y) (V3).

        Args:
            own: The learned part.
            lam: lambda.
            like: [N, K] logits of the target model.
            columns: What the sources say.
        """
        log_phi = self.log_phi(own, lam, like)
        if self.soft:
            return confusion.log_emission_soft(log_phi, self.said(columns, like))
        hard = (columns[f"{name}.labels"].long() for name in self.names)
        return confusion.log_emission_hard(log_phi, hard)

    def said(self, columns: Mapping[str, Tensor], like: Tensor) -> Iterator[Tensor]:
        """[N, K] probabilities of each source in turn, in the precision of the logits; zeros where
        it gives none."""
        for number, name in enumerate(self.names):
            if self.soft:
                (soft,) = soft_labels(columns, [name], like.shape[1])
                soft = soft.to(like.dtype)
                if self.priors is not None:
                    prior = torch.tensor(self.priors[number], dtype=like.dtype, device=soft.device)
                    soft = without_prior(soft, prior)
                yield soft
            else:
                said = columns[f"{name}.labels"].long()
                given = said != UNLABELLED
                hard = one_hot(said.where(given, 0), like.shape[1])
                yield (hard * given[:, None]).to(like.dtype)

    def heard(self, columns: Mapping[str, Tensor]) -> Tensor:
        """[N] whether any source says something about an item."""
        labels = torch.stack([columns[f"{name}.{self.column}"] for name in self.names])
        said = labels != UNLABELLED if labels.ndim == 2 else labels.sum(dim=-1) > 0
        return said.any(dim=0)

    @property
    def column(self) -> str:
        """What is read of a source."""
        return "probs" if self.soft else "labels"

    def log_joint(
        self, logits: Tensor, columns: Mapping[str, Tensor], own: Confusions | None, lam: float
    ) -> Tensor:
        """[N, K] log P(y | x) + `log_emission` (V4)."""
        return logits.log_softmax(-1) + self.log_emission(own, lam, logits, columns)


def confusions(own: nn.Module | None) -> Confusions | None:
    """The learned part of a channel that a model has attached, if it has one."""
    assert own is None or isinstance(own, Confusions)
    return own


@dataclass
class ChannelLoss(Objective):
    """The bound of J against a stored Q, J itself, or the risk.

    Attributes:
        channel: How the labels of the sources come about.
        form: Which of the three it is. The risk is summed over the sentences and, as every loss,
            divided by the words of the update: a sentence counts the same whatever its length, and
            the gradient is that of the mean over sentences divided by their mean length, which
            AdamW's steps do not depend on.
        hard_em: Whether all of a batch's Q is on the likeliest label.
        strength: Words of each true label that the start of the matrices is worth, where these are
            set in closed form before the first update; None: they are trained.
    """

    channel: Channel
    form: Literal["bound", "direct", "risk"]
    hard_em: bool = False
    strength: float | None = None

    def build(self, context: TaskContext, width: int) -> nn.Module | None:
        """The learned matrices."""
        return self.channel.build(context)

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Take the matrices from the model."""
        self.own, self.lam = confusions(model.own), self.channel.first
        self.total = context.total
        if self.form == "risk":
            device = next(model.parameters()).device
            self.means = LossMeans(["teaching"], context, device)
        if self.strength is not None and self.own is not None:
            self.own.raw.requires_grad_(False)

    @torch.no_grad()
    def on_examples(self, examples: Examples) -> None:
        """Set the matrices to those that the stored Q makes likeliest."""
        if self.strength is None or self.own is None or "posterior.q" not in examples.columns:
            return
        raw, channel = self.own.raw, self.channel
        k, lam = raw.shape[1], float(self.own.lam)
        counts = torch.zeros(raw.shape, dtype=torch.float64, device=raw.device)
        for at in range(0, examples.num_items, CHUNK):
            columns = examples.columns_of(slice(at, at + CHUNK), raw.device)
            q = columns["posterior.q"].double()
            log_phi = channel.log_phi(self.own, lam, q)
            for number, said in enumerate(channel.said(columns, q)):
                counts[number] += expected_counts(log_phi[number], said, q)
        assert channel.tau_sigma is not None, "what is learned has a start"
        start = confusion.scaled_identity(channel.tau_sigma, k, torch.float64).to(raw.device)
        prior = confusion.log_columns(start).exp()
        for number, own in enumerate(self.total(counts)):
            raw[number] = maximising_matrix(own, prior, self.strength).to(raw.dtype)

    def before_step(self, step: OptimiserStep) -> None:
        """Move lambda on."""
        self.lam = self.channel.lambda_at(step.number, step.steps)
        if self.own is not None:
            self.own.lam.fill_(self.lam)

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Sum over the positions, or over the sentences."""
        joint = self.channel.log_joint(output.logits, batch.columns, self.own, self.lam)
        known = batch.labels != UNLABELLED
        if self.form == "risk":
            nll = confusion.nll(joint)[known]
            sentences, owner = torch.unique(batch.sentences[known], return_inverse=True)
            risk = confusion.log_risk(nll, owner, len(sentences)).exp()
            loss = -risk.sum()
            self.means.add("teaching", (risk > LEAST_RISK).sum(), len(sentences))
        else:
            loss = confusion.expected_nll(joint, self.q(joint, batch))[known].sum()
        if self.own is not None:  # at lambda 1 too, for workers that wait for its gradient
            loss = loss + 0 * self.own.raw.sum()
        return {"loss": loss}

    def progress(self) -> dict[str, Any]:
        """How far the matrices are from their start, and lambda."""
        if self.form == "risk":
            return self.means.take()
        if self.own is None:
            return {}
        tau, k = self.channel.tau_sigma, self.own.raw.shape[1]
        assert tau is not None, "what is learned has a start"
        raw = self.own.raw.detach().double()
        start = confusion.scaled_identity(tau, k, raw.dtype).to(raw.device)
        apart = confusion.log_columns(raw).exp() - confusion.log_columns(start).exp()
        moved = apart.abs().sum(dim=1) / 2
        return {"sigma_moved": float(moved.mean()), "lambda": self.lam}

    def state_dict(self) -> dict[str, Tensor]:
        """What is counted since the last score."""
        return {"means": self.means.sums} if self.form == "risk" else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on counting."""
        if self.form == "risk":
            self.means.sums.copy_(state["means"])

    def q(self, joint: Tensor, batch: Batch) -> Tensor:
        """[N, K] posterior: the stored one, or that of the batch."""
        if self.form == "bound":
            # No rows do not say how long their vectors are.
            return batch.columns["posterior.q"].reshape(-1, joint.shape[1])
        q = confusion.posterior(joint.detach())
        return confusion.one_hot_argmax(q) if self.hard_em else q
