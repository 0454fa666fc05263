"""What is known of a student of MARAL at the end of an epoch, for the record of its training."""

from typing import Any

import torch
from torch import Tensor

from xlt_ray.methods.maral.span_memory import SpanMemory
from xlt_ray.ops import vmf
from xlt_ray.recipe.task import TaskContext


def stock_of(
    mean_KQ: Tensor,
    kappa: vmf.Kappa,
    margins: Tensor,
    uses: Tensor,
    memory: SpanMemory,
    context: TaskContext,
) -> dict[str, Any]:
    """Geometry of the classes, and what is known of the target spans (M12).

    Args:
        mean_KQ: Class means.
        kappa: How concentrations follow from them.
        margins: Least and sum of the margins of this worker's spans in the epoch, and their number.
        uses: Target spans of this worker in the losses of the epoch, and those of them whose label
            was no longer the teacher's.
        memory: What the worker remembers of its spans.
        context: Knows how to sum over workers.

    Returns:
        ``R``, ``kappa``, ``cosines``, ``gamma_all``, ``gamma_mean``; ``reliable`` by class, of the
        target spans that the epoch came to; ``scored``, the share of target spans that it came to;
        ``moved``, the share whose label is no longer the teacher's; ``used`` and ``moved_used``,
        target spans in its losses, and such with a moved label; ``recall`` of the search.
    """
    found = vmf.concentration(mean_KQ, kind=kappa)
    least, total, count = context.everyone(margins[None]).unbind(dim=1)
    smallest = float(least.min())
    scored, moved = memory.shares_of_target()
    used, moved_used = context.total(uses).tolist()
    return {
        "R": found.R_K.tolist(),
        "kappa": found.kappa_K.tolist(),
        "cosines": (found.mu_KQ @ found.mu_KQ.T).tolist(),
        "gamma_all": smallest if abs(smallest) != torch.inf else None,
        "gamma_mean": float(total.sum() / count.sum().clamp(min=1)),
        "reliable": memory.share_reliable(),
        "scored": scored,
        "moved": moved,
        "used": used,
        "moved_used": moved_used,
        "recall": memory.index.recall if memory.index else None,
    }
