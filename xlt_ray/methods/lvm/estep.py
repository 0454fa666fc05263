"""The E-step of MRT and LVM: posteriors of a whole text, and what they say of J."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from xlt_ray.data.keyed import items_of, of_language
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.lvm.channel import Channel, confusions
from xlt_ray.methods.shared.sources import dense
from xlt_ray.models.classifier import Output
from xlt_ray.ops import confusion
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import shard_names
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class EStep(Annotator):
    """Posterior of every position.

    Columns: per item ``labels``, the likeliest, and with ``keep`` the posterior ``q`` in float32,
    and no label of an item that no source speaks about;
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
        labels, heard = q.argmax(dim=1), self.channel.heard(output.columns)
        moved = ((labels != emission.argmax(dim=1)) & heard).double()
        if self.keep:  # what nobody speaks about has no part of J, and no model is to learn it
            labels = labels.where(heard, UNLABELLED)
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


def mean_of(
    said: Artifact, *, columns: list[str], language: str, num_classes: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Mean probability of each class over the words of a language that the source speaks about, one
    word of each class added.

    Args:
        said: What a source says.
        columns: Columns of its probabilities.
        language: The one language that is wanted.
        num_classes: K.

    Returns:
        The same as a table and as ``prior``, positive and of sum 1.
    """
    total, words = torch.ones(num_classes, dtype=torch.float64), num_classes
    for shard in shard_names(said):
        table = of_language(said.shard(shard, ["id", "language", *columns]), language)
        parts = {name: torch.tensor(items_of(table[name])[0]) for name in columns}
        probs = dense(parts["probs"], parts.get("top"), num_classes)
        total += probs.double().sum(dim=0)
        words += int((probs.sum(dim=1) > 0).sum())
    prior = (total / words).tolist()
    return pa.table({"class": range(num_classes), "prior": prior}), {"prior": prior}


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
        "items": int((items_of(table["labels"])[0] != UNLABELLED).sum()),
        "moved": int(sums["moved"]),
    }
    return pa.table({"J": [facts["J"]]}), facts
