"""Candidate sets by every measure of uncertainty, for an oracle to compare (CLTP, Figures 3, 4).

No recipe uses this annotator. It sees the model's output alone; what knows gold labels is
`xlt_ray.oracle`, and nothing of it comes back.
"""

from dataclasses import dataclass

import numpy as np

from xlt_ray.methods.base import Annotator, Columns, Facts
from xlt_ray.models.classifier import Output
from xlt_ray.ops import evidential
from xlt_ray.ops.partial_labels import Penalty
from xlt_ray.ops.set_measures import MEASURES, measured_sets


@dataclass(frozen=True)
class MeasuredSets(Annotator):
    """The likeliest class of every item and, for each measure, the set of least penalised u.

    Columns per item: ``labels``, and for each of `MEASURES` the set as a bit mask under the
    measure's name and its u, unpenalised, under ``u_`` and that name.

    Attributes:
        lam: Penalty base lambda, at least 1.
        tau: Penalty base tau, above 1.
        penalty: Form of the penalty, see `measured_sets`.
    """

    lam: float
    tau: float
    penalty: Penalty = "power"

    def annotate(self, output: Output, offsets: np.ndarray, facts: Facts) -> Columns:
        """Columns of some rows; the logits are those of an evidential head."""
        evidence = evidential.evidence(output.logits.double())
        labels = evidence.argmax(dim=1).cpu().numpy()
        items: dict[str, np.ndarray] = {"labels": labels.astype(np.int16)}
        for measure in MEASURES:
            found = measured_sets(
                evidence, measure=measure, lam=self.lam, tau=self.tau, penalty=self.penalty
            )
            items[measure] = found.mask_N.cpu().numpy()
            items[f"u_{measure}"] = found.uncertainty_N.cpu().numpy().astype(np.float32)
        return Columns(items=items)
