"""The student of MARAL: a large margin between the classes of spans, from gold and pseudo-labels.

Symbols and numbers of equations are those of docs/maral.md. A step scores its spans with the class
means as they were before it, learns from source gold and from reliable target spans, moves the
labels of the other target spans, and then counts all of its spans into the means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.maral.neighbours import require_faiss
from xlt_ray.methods.maral.span_memory import SpanMemory
from xlt_ray.methods.maral.stock import stock_of
from xlt_ray.methods.maral.student_config import StudentConfig
from xlt_ray.methods.maral.teacher import SpanObjective
from xlt_ray.models.classifier import Classifier, Output
from xlt_ray.models.span_tagger import SpanTagger, unit
from xlt_ray.ops import refinement, vmf
from xlt_ray.ops.supervised_contrastive import supervised_contrastive
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.task import TaskContext


@dataclass
class MaralStudentLoss(SpanObjective):
    """L_mmc of source gold and of reliable target spans (M11).

    Attributes:
        settings: The hyper-parameters.
        source_prior: Class prior of source spans.
        target_prior: Class prior of target spans before the first epoch.
        source_weights: Weight of each class in the source loss; None: all alike.
        temp: Temperature of the supervised contrastive loss.
    """

    settings: StudentConfig
    source_prior: tuple[float, ...]
    target_prior: tuple[float, ...]
    source_weights: tuple[float, ...] | None
    temp: float = 0.07

    @property
    def margin(self) -> bool:
        """Whether it is L_mmc that is minimised."""
        return self.settings.loss == "mmc"

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Take the class means of the model, and start those of the first epoch."""
        super().prepare(context, model)
        assert isinstance(model, SpanTagger)
        assert model.classes is not None
        self.model, self.classes = model, model.classes
        self._put(self.classes.mean, self.classes.count)
        self.next_mean_KQ = torch.zeros_like(self.classes.mean)
        self.next_count_K = torch.zeros_like(self.classes.count)
        self.pi_s_K = torch.tensor(self.source_prior, dtype=torch.float64, device=self.device)
        self.pi_t_K = torch.tensor(self.target_prior, dtype=torch.float64, device=self.device)
        self.epoch, self.is_new = 0, False
        self.found: dict[str, Any] = {}
        self.epoch_labels: list[Tensor] = []
        self.uses = torch.zeros(2, dtype=torch.float64, device=self.device)
        self._begin_step()
        self._begin_epoch()

    def on_examples(self, examples: Examples) -> None:
        """Take up the teacher's labels of the target spans."""
        c = self.settings
        if self.uses_neighbours:
            require_faiss()
        self.memory = SpanMemory(
            self.context,
            examples,
            num_classes=len(self.pi_s_K),
            q=self.head.q,
            k=c.k,
            search=c.search,
            outside=c.outside,
            device=self.device,
        )

    def _begin_step(self) -> None:
        self.sums = torch.zeros(len(self.pi_s_K), self.head.q + 1, dtype=torch.float64)
        self.sums = self.sums.to(self.device)

    def _begin_epoch(self) -> None:
        self.margins = torch.tensor([torch.inf, 0.0, 0.0], dtype=torch.float64, device=self.device)

    @property
    def uses_neighbours(self) -> bool:
        """Whether labels are moved by neighbours."""
        return self.settings.refinement in ("both", "local")

    @property
    def refines(self) -> bool:
        """Whether labels are moved in this epoch."""
        return self.settings.refinement != "none" and self.epoch >= self.settings.warmup

    # -- a step ----------------------------------------------------------------------------------

    def count_target(self, batch: Batch) -> int:
        """Reliable target spans of a batch."""
        if not self.settings.target:
            return 0
        return int(self.memory.reliable_N[batch.item_ids[batch.paired].to(self.device)].sum())

    def _put(self, mean_KQ: Tensor, count_K: Tensor) -> None:
        """Take up class means; one of O only if O is a class like the others."""
        if not self.settings.outside_class:
            mean_KQ = mean_KQ.clone()
            mean_KQ[0] = 0.0
        self.classes.put(mean_KQ, count_K)

    def before_step(self, step: OptimiserStep) -> None:
        """At the first step of an epoch, go on with the means of the epoch before alone."""
        super().before_step(step)
        if self.is_new:
            seen_K = self.next_count_K > 0
            mean_KQ = torch.where(seen_K[:, None], self.next_mean_KQ, self.classes.mean)
            self._put(mean_KQ, torch.where(seen_K, self.next_count_K, self.classes.count))
            self.next_mean_KQ.zero_()
            self.next_count_K.zero_()
            self.is_new = False

    def of_source(self, output: Output, batch: Batch) -> Tensor:
        """Sum of L_mmc over the labelled source spans (M6)."""
        own = ~batch.paired & (batch.labels != UNLABELLED)
        labels = batch.labels[own]
        losses = self._losses(output, own, labels, self.pi_s_K, self.settings.source_exponent)
        if self.source_weights is not None:
            losses = losses * losses.new_tensor(self.source_weights)[labels]
        return losses.sum().float()

    def of_target(self, output: Output, batch: Batch) -> Tensor:
        """Sum over the reliable target spans; then the step is remembered."""
        memory, used = self.memory, batch.paired.clone()
        used[batch.paired] = memory.reliable_N[batch.item_ids[batch.paired]]
        if not self.settings.target:
            used[:] = False
        ids = batch.item_ids[used]
        if self.settings.target_loss == "code":
            prior_K = vmf.log_prior(self.pi_t_K, self.settings.target_exponent)
            q = (output.logits[used].double() + prior_K * self.margin).softmax(dim=1)
            losses = -(memory.p_NK[ids] * q.log_softmax(dim=1)).sum(dim=1)
        else:
            exponent = self.settings.target_exponent
            losses = self._losses(output, used, memory.y_N[ids], self.pi_t_K, exponent)
        self.uses += torch.stack([used.sum(), (memory.y_N[ids] != memory.given_N[ids]).sum()])
        with torch.no_grad():
            self._remember(output, batch)
        return losses.sum().float()

    def _losses(
        self, output: Output, used: Tensor, labels: Tensor, pi_K: Tensor, exponent: float
    ) -> Tensor:
        logits = output.logits[used]
        if self.margin:
            return vmf.max_margin_loss(logits, labels, vmf.log_prior(pi_K, exponent))
        losses = cross_entropy(logits, labels, reduction="none")
        if self.settings.loss == "scl":
            losses = losses + supervised_contrastive(unit(output.features[used]), labels, self.temp)
        return losses

    def _remember(self, output: Output, batch: Batch) -> None:
        """Move labels, take note of scores, and count the spans of a pass."""
        memory, target = self.memory, batch.paired
        z_NQ = unit(output.features.detach())
        rho_NK = output.logits.detach().double() if self.margin else self.classes.scores(z_NQ)
        ids_M = batch.item_ids[target]
        if self.refines:
            every = torch.ones_like(ids_M) > 0
            moved = ~memory.reliable_N[ids_M] if self.settings.filtering else every
            self._refine(ids_M[moved], z_NQ[target][moved], rho_NK[target][moved])
        memory.note(ids_M, rho_NK[target])
        if self.uses_neighbours and self.epoch >= self.settings.warmup - 1:
            memory.store(batch.item_ids, z_NQ)
        y_N = memory.y_N[batch.item_ids]
        sum_KQ, num_K = vmf.class_sums(z_NQ, y_N, len(self.pi_s_K))
        self.sums += torch.cat([sum_KQ, num_K[:, None]], dim=1)
        mu_KQ = vmf.concentration(self.classes.mean).mu_KQ
        found = vmf.margins(mu_KQ, z_NQ[y_N >= 0], y_N[y_N >= 0])
        if len(found):
            sums = found.new_tensor([0.0, float(found.sum()), float(len(found))])
            self.margins += sums
            self.margins[0] = torch.minimum(self.margins[0], found.min())

    def _refine(self, ids_M: Tensor, z_MQ: Tensor, rho_MK: Tensor) -> None:
        """Move the labels of some target spans (M9)."""
        memory = self.memory
        nothing = torch.zeros_like(rho_MK, dtype=torch.bool)
        by_mean, by_near = nothing, nothing
        if self.settings.refinement in ("both", "global"):
            by_mean = refinement.exceeds(rho_MK, memory.score_mean_K)
            if self.settings.outside_rule:
                by_mean = refinement.outside_rule(by_mean, rho_MK)
        if self.uses_neighbours and memory.index is not None:
            by_near = refinement.exceeds(memory.near(ids_M, z_MQ), memory.near_mean_K)
        strength = self._strength(self.epoch)
        memory.refine(ids_M, by_mean, by_near, alpha=strength, kind=self.settings.direction)

    def _strength(self, epoch: int) -> float:
        c = self.settings
        return refinement.alpha(
            epoch,
            start=c.alpha_start,
            end=c.alpha_end,
            warm=c.warmup,
            epochs=c.epochs,
            kind=c.schedule,
        )

    def after_step(self) -> None:
        """Count the step's spans, of all workers, into the class means (M4)."""
        total = self.context.total(self.sums)
        sum_KQ, num_K = total[:, :-1], total[:, -1]
        self._put(*vmf.running_mean(self.classes.mean, self.classes.count, sum_KQ, num_K))
        self.next_mean_KQ, self.next_count_K = vmf.running_mean(
            self.next_mean_KQ, self.next_count_K, sum_KQ, num_K
        )
        self._begin_step()

    # -- an epoch --------------------------------------------------------------------------------

    def after_epoch(self) -> None:
        """Renew prior, reliable spans and stored vectors, and take stock."""
        memory = self.memory
        self.pi_t_K = memory.prior()
        if self.epoch + 1 >= self.settings.warmup:
            if self.settings.filtering or self.settings.refinement in ("both", "global"):
                memory.filter(outside=self.settings.filter_outside)
            if not self.settings.filtering:
                memory.reliable_N = memory.target_N.clone()
            if self.uses_neighbours:
                memory.rebuild()
        target = memory.target_N
        labels = memory.y_N[target] * 2 + memory.reliable_N[target]
        self.epoch_labels.append(labels.to(torch.int16))
        strength = self._strength(self.epoch) if self.refines else None
        self.found = stock_of(
            self.classes.mean, self.head.kappa, self.margins, self.uses, memory, self.context
        )
        self.found |= {"alpha": strength, "pi_t": self.pi_t_K.tolist()}
        self.uses.zero_()
        self._begin_epoch()
        self.epoch, self.is_new = self.epoch + 1, True
        memory.forget(self.epoch)

    def progress(self) -> dict[str, Any]:
        """Means of the loss since the last time and, at the end of an epoch, its stock."""
        found, self.found = self.found, {}
        return {**super().progress(), **found}

    def findings(self, examples: Examples) -> dict[str, pa.Table]:
        """Labels of the target spans at the end of each epoch: twice the class, plus 1 if it is
        reliable."""
        offsets = examples.item_offsets[examples.num_parts :]
        ends = pa.array(offsets - offsets[0], pa.int32())
        table = pa.table({"id": pa.array(examples.ids[examples.num_parts :], pa.string())})
        for number, labels in enumerate(self.epoch_labels):
            values = pa.ListArray.from_arrays(ends, pa.array(labels.cpu().numpy()))
            table = table.append_column(f"epoch-{number}", values)
        return {"labels": table}

    def state_dict(self) -> dict[str, Tensor]:
        """Class means of the epoch, priors, and all that is remembered of spans."""
        device, flags = self.device, [self.epoch, int(self.is_new)]
        labels = self.epoch_labels
        none = torch.zeros(0, int(self.memory.target_N.sum()), dtype=torch.int16, device=device)
        return {
            **super().state_dict(),
            "next_mean": self.next_mean_KQ, "next_count": self.next_count_K,
            "pi_t": self.pi_t_K, "margins": self.margins, "uses": self.uses,
            "epoch": torch.tensor(flags, device=device),
            "epoch_labels": torch.stack(labels) if labels else none,
            **{f"memory.{name}": value for name, value in self.memory.state_dict().items()},
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the tensors of a checkpoint."""
        super().load_state_dict(state)
        self.next_mean_KQ, self.next_count_K = state["next_mean"], state["next_count"]
        self.pi_t_K, self.margins, self.uses = state["pi_t"], state["margins"], state["uses"]
        self.epoch, is_new = state["epoch"].tolist()
        self.is_new = bool(is_new)
        self.epoch_labels = list(state["epoch_labels"])
        memory = {k: v for k, v in state.items() if k.startswith("memory.")}
        self.memory.load_state_dict({k.removeprefix("memory."): v for k, v in memory.items()})
