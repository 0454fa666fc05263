"""Candidate sets by every measure of uncertainty, for an oracle to compare (CLTP, Figures 3, 4).

Beside them stands what rounds with one class per item go by: the likeliest class, in the order of
the dissonance of all classes.

No recipe uses this annotator. It sees the model's output alone; what knows gold labels is
`xlt_ray.oracle`, and nothing of it comes back.
"""

from dataclasses import dataclass

import numpy as np
import torch

from xlt_ray.models.classifier import Output
from xlt_ray.ops import evidential
from xlt_ray.ops.partial_labels import Penalty
from xlt_ray.ops.set_measures import MEASURES, measured_sets
from xlt_ray.ops.uncertainty import dissonance
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.task import TaskContext

COMPARED = ("one_class", *MEASURES)
"""What a `MeasuredSets` annotation has sets and an order for."""


@dataclass(frozen=True)
class MeasuredSets(Annotator):
    """The likeliest class of every item and, for each measure, the set of least penalised u.

    Columns per item: ``labels``, and for each of `COMPARED` the set as a bit mask under its name
    and its u, unpenalised, under ``u_`` and that name.

    Attributes:
        lam: Penalty base lambda, at least 1.
        tau: Penalty base tau, above 1.
        penalty: Form of the penalty, see `measured_sets`.
        size: Classes of every set; None: by the penalty.
    """

    lam: float
    tau: float
    penalty: Penalty = "power"
    size: int | None = None

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows; the logits are those of an evidential head."""
        evidence = evidential.evidence(output.logits.double())
        labels_N = evidence.argmax(dim=1)
        u_N = dissonance(evidential.dirichlet(evidence).belief_NC)
        items: dict[str, np.ndarray] = {
            "labels": labels_N.cpu().numpy().astype(np.int16),
            "one_class": (torch.ones_like(labels_N) << labels_N).cpu().numpy(),
            "u_one_class": u_N.cpu().numpy().astype(np.float32),
        }
        for measure in MEASURES:
            found = measured_sets(
                evidence,
                measure=measure,
                lam=self.lam,
                tau=self.tau,
                penalty=self.penalty,
                size=self.size,
            )
            items[measure] = found.mask_N.cpu().numpy()
            items[f"u_{measure}"] = found.uncertainty_N.cpu().numpy().astype(np.float32)
        return Columns(items=items)
