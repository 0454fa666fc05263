"""The first importance weights of IWDA, and how far they are to be trusted.

The estimate (I3) has as many equations as classes, so that it explains any predictions, also those
that change because the target text is harder. A guard without labels looks at more of them: each
predicted class is split into sure and unsure predictions. If class priors alone change, the weights
explain both shares; if they do not, the weights are taken towards 1. A model that is surer of the
source text because it was trained on it looks like one whose estimate is wrong.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import items_of, of_language, positions
from xlt_ray.labels import UNLABELLED
from xlt_ray.models.classifier import Output
from xlt_ray.ops import alignment, explained, importance
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class Confident(Annotator):
    """The likeliest class of every item, ``labels``, and its probability, ``best``."""

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        labels = output.logits.argmax(dim=1).cpu().numpy()
        best = output.logits.double().softmax(-1).amax(dim=1).cpu().numpy()
        return Columns(items={"labels": labels.astype(np.int16), "best": best})


@dataclass(frozen=True)
class SureLabels:
    """Predictions on the source, split in each class at the median of its probabilities.

    Attributes:
        said_N: [N] predicted class.
        is_sure_N: [N] whether its probability is at the median of its class or above.
        medians_K: [K] medians; that of all items for a class that is not predicted.
    """

    said_N: np.ndarray
    is_sure_N: np.ndarray
    medians_K: np.ndarray

    @classmethod
    def of(cls, said_N: np.ndarray, best_N: np.ndarray, num_classes: int) -> Self:
        """The split of some predictions.

        Args:
            said_N: Predicted class of each item.
            best_N: Its probability.
            num_classes: K.
        """
        own = (best_N[said_N == label] for label in range(num_classes))
        medians = [np.median(best if len(best) else best_N) for best in own]
        medians_K = np.array(medians, dtype=np.float64)
        return cls(said_N, best_N >= medians_K[said_N], medians_K)

    def unexplained(
        self, true_N: np.ndarray, said_M: np.ndarray, best_M: np.ndarray, w_K: np.ndarray
    ) -> float:
        """Share of the change from these predictions to others that weights do not explain.

        Args:
            true_N: True class of each item of the source.
            said_M: Predicted class of each item of the target.
            best_M: Its probability.
            w_K: The weights.
        """
        k = len(w_K)
        kind_N = 2 * self.said_N + self.is_sure_N
        kind_M = 2 * said_M + (best_M >= self.medians_K[said_M])
        C = np.zeros((2 * k, k))
        np.add.at(C, (kind_N, true_N), 1 / len(true_N))
        t = np.bincount(kind_M, minlength=2 * k) / len(kind_M)
        noise = explained.sampling_noise(C.sum(axis=1), len(kind_N), t, len(kind_M))
        return explained.unexplained(C, t, w_K, noise)


def initial(
    said_S: Artifact,
    gold: Artifact,
    said_T: Artifact,
    *,
    language: str,
    num_classes: int,
    rho: float | None,
    is_guarded: bool,
    epochs: float,
    batch_size: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Initial weights, and the steps of a token task, from what the source model says.

    Args:
        said_S: Its labels of the source text.
        gold: Gold labels of the source text.
        said_T: Its labels of the target text.
        language: The target.
        num_classes: K.
        rho: Share of even weights; None: no estimate, all are even.
        is_guarded: That share is at least the one that the weights leave unexplained.
        epochs: Passes over the target text.
        batch_size: Rows of each domain in a step.

    Returns:
        By class ``prior``, ``predicted`` (the target marginal t), ``w`` and ``w0``; as facts the
        same, ``steps``, and of the estimate w the ``residual`` and the share ``unexplained`` of
        how labels and confidences change from source to target.
    """
    rows_S, truth = said_S.table(["id", "labels", "best"]), gold.table(["id", "labels"])
    truth = truth.take(positions(rows_S, truth).combine_chunks())
    said_N, true_N = (items_of(table["labels"])[0].astype(np.int64) for table in (rows_S, truth))
    known = true_N != UNLABELLED
    counts_KK = np.zeros((num_classes, num_classes))
    np.add.at(counts_KK, (said_N[known], true_N[known]), 1)
    rows_T = of_language(said_T.table(["id", "language", "labels", "best"]), language)
    said_M = items_of(rows_T["labels"])[0].astype(np.int64)
    if not known.any() or not len(said_M):
        raise ValueError(f"{language}: no importance weights without words, or texts, on each side")
    t_K = np.bincount(said_M, minlength=num_classes) / len(said_M)
    C_KK = counts_KK / counts_KK.sum()
    p_K = C_KK.sum(axis=0)
    w0_K = w_K = np.ones(num_classes)
    fit = {"residual": 0.0, "unexplained": 0.0}
    if rho is not None:
        w_K = importance.estimate_weights(C_KK, t_K, p_K)
        best_N, best_M = (items_of(rows["best"])[0] for rows in (rows_S, rows_T))
        sure = SureLabels.of(said_N[known], best_N[known], num_classes)
        fit = {
            "residual": explained.residual(C_KK, t_K, w_K),
            "unexplained": sure.unexplained(true_N[known], said_M, best_M, w_K),
        }
        w0_K = importance.initial_weights(w_K, max(rho, fit["unexplained"]) if is_guarded else rho)
    steps = alignment.num_steps(
        epochs=epochs,
        rows=len(rows_T),
        batch=batch_size,
        mean_items=len(said_M) / len(rows_T),
        mean_source_items=len(said_N) / len(rows_S),
    )
    found = {"prior": p_K, "predicted": t_K, "w": w_K, "w0": w0_K}
    context = {name: values.tolist() for name, values in found.items()}
    return pa.table(found), {**context, **fit, "steps": max(1, round(steps))}
