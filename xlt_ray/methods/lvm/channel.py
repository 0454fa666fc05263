"""The noisy channel of MRT and LVM: how the labels of the sources come about from the true one.

Source u has a matrix phi[u] = lambda psi + (1 - lambda) sigma[u] of P(what it says | true label).
psi is the same fixed matrix for all, sigma[u] is learned and saved with the model, and lambda goes
from its first to its last value over the updates of the training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.keyed import items_of
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.multi_source import hard_labels, soft_labels
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.ops import confusion
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact


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
    """

    names: tuple[str, ...]
    soft: bool
    tau_psi: float
    tau_sigma: float | None = None
    first: float = 1.0
    last: float = 0.0

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
            said = soft_labels(columns, self.names, like.shape[1]).to(like.dtype)
            return confusion.log_emission_soft(log_phi, said)
        return confusion.log_emission_hard(log_phi, hard_labels(columns, self.names))

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
    """The bound of J against a stored Q, J itself, or the risk."""

    channel: Channel
    form: Literal["bound", "direct", "risk"]
    hard_em: bool = False

    def build(self, context: TaskContext, width: int) -> nn.Module | None:
        """The learned matrices."""
        return self.channel.build(context)

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Take the matrices from the model."""
        self.own, self.lam = confusions(model.own), self.channel.first

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
            loss = -confusion.log_risk(nll, owner, len(sentences)).exp().sum()
        else:
            loss = confusion.expected_nll(joint, self.q(joint, batch))[known].sum()
        if self.own is not None:  # at lambda 1 too, for workers that wait for its gradient
            loss = loss + 0 * self.own.raw.sum()
        return {"loss": loss}

    def progress(self) -> dict[str, Any]:
        """How far the matrices are from their start, and lambda."""
        if self.own is None:
            return {}
        tau, k = self.channel.tau_sigma, self.own.raw.shape[1]
        assert tau is not None, "what is learned has a start"
        raw = self.own.raw.detach().double()
        start = confusion.scaled_identity(tau, k, raw.dtype).to(raw.device)
        apart = confusion.log_columns(raw).exp() - confusion.log_columns(start).exp()
        moved = apart.abs().sum(dim=1) / 2
        return {"sigma_moved": float(moved.mean()), "lambda": self.lam}

    def q(self, joint: Tensor, batch: Batch) -> Tensor:
        """[N, K] posterior: the stored one, or that of the batch."""
        if self.form == "bound":
            # No rows do not say how long their vectors are.
            return batch.columns["posterior.q"].reshape(-1, joint.shape[1])
        q = confusion.posterior(joint.detach())
        return confusion.one_hot_argmax(q) if self.hard_em else q


@dataclass(frozen=True)
class EStep(Annotator):
    """Posterior of every position.

    Columns: per item ``labels``, the likeliest, and with ``keep`` the posterior ``q`` in float32;
    per row ``nll``, its part of J, ``lam``, the lambda of the matrices, ``moved``, the items whose
    likeliest label is not that of the sources alone, and ``nll_before``, its part of J at another
    lambda.

    Attributes:
        channel: How the labels of the sources come about.
        hard_em: Whether all of Q is on the likeliest label.
        keep: Whether Q is kept.
        before: The other lambda, that of the E-step before; None: there is none.
    """

    channel: Channel
    hard_em: bool = False
    keep: bool = True
    before: float | None = None

    def build(self, context: TaskContext, width: int) -> nn.Module | None:
        """The learned matrices."""
        return self.channel.build(context)

    @torch.no_grad()
    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        logits, own = output.logits.double(), confusions(output.own)
        lam = 1.0 if own is None else float(own.lam)
        emission = self.channel.log_emission(own, lam, logits, output.columns)
        joint = logits.log_softmax(-1) + emission
        q = confusion.posterior(joint)
        labels = q.argmax(dim=1)
        moved = (labels != emission.argmax(dim=1)).double()
        assert (np.diff(offsets) > 0).all(), "a row without items has no part of J"
        rows = {
            "nll": _row_sums(confusion.nll(joint), offsets),
            "lam": np.full(len(offsets) - 1, lam),
            "moved": _row_sums(moved, offsets).astype(np.int32),
        }
        if self.before is not None:
            other = self.channel.log_joint(logits, output.columns, own, self.before)
            rows["nll_before"] = _row_sums(confusion.nll(other), offsets)
        columns = Columns(items={"labels": labels.cpu().numpy().astype(np.int16)}, rows=rows)
        if self.keep:
            q = confusion.one_hot_argmax(q) if self.hard_em else q
            columns.items["q"] = q.float().cpu().numpy()
        return columns


def _row_sums(values: Tensor, offsets: np.ndarray) -> np.ndarray:
    """Sums of the items of each row, none of which is empty."""
    flat = np.append(values.cpu().numpy(), 0.0)
    return np.add.reduceat(flat, offsets[:-1]) if len(offsets) > 1 else flat[:0]


def likelihood(scored: Artifact) -> tuple[pa.Table, dict[str, Any]]:
    """J of an annotated text, at its own lambda and at that of the E-step before.

    Returns:
        J; and ``J``, ``J_before`` (None without a step before), ``lambda``, the rows ``of`` which
        these are sums, their ``items``, and how many of them ``moved``.
    """
    there = [name for name in ("nll", "nll_before", "lam", "moved") if name in scored.columns()]
    table = scored.table([*there, "labels"])
    sums = {name: float(np.sort(table[name].to_numpy()).sum()) for name in there}
    facts = {
        "J": sums["nll"],
        "J_before": sums.get("nll_before"),
        "lambda": float(table["lam"][0].as_py()) if len(table) else None,
        "of": len(table),
        "items": len(items_of(table["labels"])[0]),
        "moved": int(sums["moved"]),
    }
    return pa.table({"J": [facts["J"]]}), facts
