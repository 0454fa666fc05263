"""The objective of IWDA: source cross-entropy, a critic between two domains, importance weights.

Symbols and numbers of equations are those of docs/iwda.md. One backward pass does all: the critic
minimises the weighted gap and its penalty, the encoder maximises the gap through a gradient that is
turned around and scaled by lambda. The weights w follow by themselves, from counts of predictions
that are summed over all workers, so that every worker has the same ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from xlt_ray.data.batches.batch import Batch
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.iwda.settings import CriticSettings
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.models.critic import Critic
from xlt_ray.ops import alignment, importance
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext

TERMS = ("source", "gap", "penalty")
"""Parts of the loss, each divided by the source items."""


class CriticHead(nn.Module):
    """The critic, what it sees of an item, and the running statistics.

    Args:
        num_classes: K.
        width: d, the size of a feature.
        settings: Says what it sees, and how large the critic is.
        projected: Size of a projected outer product.
    """

    w: Tensor
    C: Tensor
    t: Tensor
    of_classes: Tensor
    of_features: Tensor

    def __init__(
        self, num_classes: int, width: int, settings: CriticSettings, projected: int = 1024
    ):
        super().__init__()
        self.view = settings.view(num_classes)
        size = {"outer": num_classes * width, "projected": projected, "plain": width}[self.view]
        self.critic = Critic(size, settings.critic_hidden)
        for name, shape in (("w", (num_classes,)), ("C", (num_classes, num_classes))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("t", torch.zeros(num_classes, dtype=torch.float64))
        is_projected = self.view == "projected"
        for name, rows in (("of_classes", num_classes), ("of_features", width)):
            drawn = torch.randn(rows, projected if is_projected else 0)
            self.register_buffer(name, drawn)

    def seen(self, logits_NK: Tensor, z_ND: Tensor) -> Tensor:
        """[N, size] input of the critic; no gradient goes through the logits."""
        h_NK = logits_NK.detach().softmax(-1)
        if self.view == "plain":
            return z_ND
        if self.view == "projected":  # randomised multilinear map of Long et al. 2018
            product = (h_NK @ self.of_classes) * (z_ND @ self.of_features)
            return product / self.of_classes.shape[1] ** 0.5
        return alignment.outer_product(h_NK, z_ND)


@dataclass
class AlignmentLoss(Objective):
    """Cross-entropy of the source, and domain alignment weighted by class.

    Attributes:
        settings: How critic and weights are trained.
        w0: [K] initial importance weights.
        prior: [K] class prior p of the source.
    """

    settings: CriticSettings
    w0: tuple[float, ...]
    prior: tuple[float, ...]

    @property
    def alternates(self) -> bool:
        """Whether critic and encoder take turns."""
        return self.settings.critic_steps > 0

    def build(self, context: TaskContext, width: int) -> nn.Module:
        """Critic, weights and statistics."""
        return CriticHead(context.num_classes, width, self.settings)

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Start from w0, at which ||C w - t||^2 is least (I6)."""
        assert isinstance(model.own, CriticHead)
        whole = model.encoder.config.hidden_size  # pyrefly: ignore [missing-attribute]
        if self.settings.feature == "raw_cls" and model.width != whole:
            raise ValueError("method.feature: raw_cls does not go with train.dim_reduce")
        self.context, self.critic_head, device = context, model.own, model.own.w.device
        self.w0_K = torch.tensor(self.w0, dtype=torch.float64, device=device)
        self.p_K = torch.tensor(self.prior, dtype=torch.float64, device=device)
        self.critic_head.w.copy_(self.w0_K)
        self.critic_head.C.copy_(self.p_K.diag())
        self.critic_head.t.copy_(self.p_K * self.w0_K)
        self.moved_K = nn.Parameter(torch.zeros_like(self.w0_K))  # w - w0, which decays
        self.optimiser = torch.optim.AdamW(
            [self.moved_K], lr=self.settings.lr_iw, weight_decay=self.settings.lambda_iw
        )
        self._reset_counts()
        self.sums = torch.zeros(4, dtype=torch.float64, device=device)

    def _reset_counts(self) -> None:
        k = len(self.w0)
        self.counts = torch.zeros(k + 1, k, dtype=torch.float64, device=self.w0_K.device)

    def before_step(self, step: OptimiserStep) -> None:
        """Take note of where training stands."""
        self.step = step

    def trains(self, number: int) -> Literal["all", "model", "own"]:
        """All at once, or the critic some times and then the model once."""
        turns = self.settings.critic_steps
        if not turns:
            return "all"
        return "model" if number % (turns + 1) == turns else "own"

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Source cross-entropy + G through the reversal + lambda_gp times the penalty (I10)."""
        settings, turn = self.settings, self.trains(self.step.number)
        source = ~batch.paired & (batch.labels != UNLABELLED)
        labels_N, logits = batch.labels[source], output.logits
        z = output.features if settings.feature == "head" else output.encoded
        assert z is not None
        if turn == "own":
            z = z.detach()
        strength = settings.lambda_da * settings.risen(self.step)
        z = alignment.reverse_gradient(z.float(), strength)
        self._count(logits[source], labels_N, logits[batch.paired])
        # Picked items stand for all of their domain in this pass.
        first, one = self._some(source)
        second, other = self._some(batch.paired)
        a_S, a_T = (self.critic_head.seen(logits[some], z[some]) for some in (first, second))
        share = self.step.items / max(self.step.paired, 1)  # the engine divides by the items
        ramped_K = 1 + settings.risen(self.step) * (self.critic_head.w - 1)
        weights = ramped_K[batch.labels[first]].to(z.dtype)
        gap = one * (weights * self.critic_head.critic(a_S)).sum()
        gap = gap - other * share * self.critic_head.critic(a_T).sum()
        u = torch.rand(min(len(a_S), len(a_T)), device=z.device)
        squares = self.critic_head.critic.squared_slope(alignment.between(a_S, a_T, u))
        penalty = squares.sum() * (len(labels_N) / max(len(u), 1))
        terms = {"gap": gap, "penalty": penalty}
        loss = gap + settings.lambda_gp * penalty
        if turn != "own":
            terms["source"] = cross_entropy(logits[source], labels_N, reduction="sum")
            loss = loss + terms["source"]
        self._note(terms, len(labels_N))
        return {"loss": loss, **terms}

    def _some(self, mask: Tensor) -> tuple[Tensor, float]:
        """Numbers of the items that the critic sees, and how many each of them stands for."""
        found = mask.nonzero()[:, 0]
        most = self.settings.critic_items
        if len(found) <= most:
            return found, 1.0
        picked = torch.randperm(len(found), device=found.device)[:most]
        return found[picked.sort().values], len(found) / most

    def _count(self, source: Tensor, labels: Tensor, target: Tensor) -> None:
        k = len(self.w0)
        said_S, said_T = source.detach().argmax(1), target.detach().argmax(1)
        self.counts[:k] += importance.confusion_counts(said_S, labels, k)
        self.counts[k] += importance.class_counts(said_T, k)

    def _note(self, terms: Mapping[str, Tensor], items: int) -> None:
        for place, name in enumerate(TERMS):
            if name in terms:
                self.sums[place] += terms[name].detach().double()
        self.sums[3] += items

    @torch.no_grad()
    def after_step(self) -> None:
        """Renew the statistics by the counts of all workers, and move the weights (I5, I6)."""
        settings, critic_head, k = self.settings, self.critic_head, len(self.w0)
        counts = self.context.total(self.counts)
        self._reset_counts()
        renew = importance.running if settings.statistics == "shares" else importance.running_counts
        rate = settings.rate(self.step)
        critic_head.C.copy_(renew(critic_head.C, counts[:k], rate))
        critic_head.t.copy_(renew(critic_head.t, counts[k], rate))
        if settings.weighting == "estimated" and self.trains(self.step.number) != "model":
            self._move()

    def _move(self) -> None:
        settings, critic_head, step = self.settings, self.critic_head, self.step
        falling = (step.steps - step.number) / step.steps
        self.optimiser.param_groups[0]["lr"] = settings.lr_iw * (
            falling if settings.w_schedule == "linear" else 1.0
        )
        C, t = importance.share(critic_head.C), importance.share(critic_head.t)
        self.moved_K.grad = importance.gradient(critic_head.w, C, t)
        self.optimiser.step()
        v = self.w0_K + self.moved_K
        if settings.projection == "euclid":
            critic_head.w.copy_(importance.project(v, self.p_K))
        else:
            critic_head.w.copy_(importance.rescale(v, self.p_K, self.w0_K))
        self.moved_K.copy_(critic_head.w - self.w0_K)

    def progress(self) -> dict[str, Any]:
        """The weights, the share of the statistics that is still their start, the total variation
        that the weights leave between explained predictions and t, and means by source item of the
        terms since the last time."""
        sums = self.context.total(self.sums).tolist()
        self.sums.zero_()
        means = [value / max(sums[3], 1.0) for value in sums[:3]]
        terms = {f"loss_{name}": value for name, value in zip(TERMS, means, strict=True)}
        head, w_K = self.critic_head, self.critic_head.w
        C, t = importance.share(head.C), importance.share(head.t)
        begun = (1 - self.settings.rate(self.step)) ** (self.step.number + 1)
        return {
            "w": w_K.tolist(),
            "start_left": begun / float(head.C.sum()),  # a sum of shares is 1
            "residual": float(0.5 * (C @ w_K - t).abs().sum()),
            "moved": float((w_K - self.w0_K).abs().max()),
            **terms,
        }

    def state_dict(self) -> dict[str, Tensor]:
        """What is not in the model: the optimiser of w, and the sums for the record."""
        state = self.optimiser.state_dict()["state"].get(0, {})
        own = {"moved": self.moved_K.detach(), "sums": self.sums}
        return {**own, **{f"optimiser.{name}": value for name, value in state.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the tensors of a checkpoint."""
        with torch.no_grad():
            self.moved_K.copy_(state["moved"])
        self.sums.copy_(state["sums"])
        prefix = "optimiser."
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        saved = self.optimiser.state_dict()
        saved["state"] = {0: own} if own else {}
        self.optimiser.load_state_dict(saved)
