"""What is remembered of spans from epoch to epoch: pseudo-labels, scores, and vectors of some.

A worker remembers its own spans; what follows from the spans of all (means, mixtures, the stored
vectors) is made of all of them and is the same on every worker. Symbols and numbers of equations
are those of docs/maral.md.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from xlt_ray.data.batches.examples import Examples
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.maral.neighbours import Neighbours, Search
from xlt_ray.ops import mixture, refinement, vmf
from xlt_ray.recipe.task import TaskContext

_PARTS = 256
"""Passes whose vectors are put together at a time."""

SAMPLE = 1000
"""Stored target spans of a class whose neighbours give the mean of the class."""


class Stored(NamedTuple):
    """Vectors of an epoch, of all workers.

    Attributes:
        z_SQ: The vectors.
        label_S: Their classes when the epoch was over.
        target_S: Whether they are of target spans.
        place_N: Where the worker's own spans stand among them, or -1.
    """

    z_SQ: Tensor
    label_S: Tensor
    target_S: Tensor
    place_N: Tensor


class SpanMemory:
    """Pseudo-labels and scores of a worker's spans, and the stored vectors of all workers.

    Args:
        context: The task, and the other workers.
        examples: The worker's sentences; ``teacher.q`` stands beside the paired text.
        num_classes: K.
        q: Size of a vector.
        k: Neighbours that are counted.
        search: How they are found.
        outside: Share of O spans whose vectors are stored.
        device: Where it is kept.

    Attributes:
        p_NK: Soft pseudo-labels of target spans, zeros for others.
        y_N: Gold class of source spans, class of p of target spans, or -100.
        given_N: What y_N was at first: of a target span the teacher's label.
        target_N: Whether a span is a target span.
        reliable_N: Whether it is a target span whose label is learnt from.
        score_N: vMF score of a target span for its class, of this epoch, or NaN.
        drawn_N: O spans whose vectors are stored in this epoch.
        score_mean_K: Mean score by class in the epoch before; infinity of a class without spans.
        near_mean_K: Mean number of neighbours of its own class that a target span of a class has.
        index: The stored vectors of the epoch before, once there are any.
    """

    def __init__(
        self,
        context: TaskContext,
        examples: Examples,
        *,
        num_classes: int,
        q: int,
        k: int,
        search: Search,
        outside: float,
        device: torch.device,
    ):
        self.context, self.num_classes, self.q = context, num_classes, q
        self.k, self.outside, self.device = k, outside, device
        self.search: Search = search
        assert examples.labels is not None
        first = int(examples.item_offsets[examples.num_parts])
        self.y_N = torch.tensor(examples.labels, device=device)  # a copy, which changes
        self.p_NK = torch.zeros(len(self.y_N), num_classes, device=device)
        self.target_N = torch.arange(len(self.y_N), device=device) >= first
        if self.target_N.any():
            self.p_NK.copy_(torch.tensor(examples.columns["teacher.q"]))
        self.y_N[self.target_N] = self.p_NK[self.target_N].argmax(dim=1)
        self.given_N = self.y_N.clone()
        self.reliable_N = self.target_N.clone()
        self.score_mean_K = torch.full((num_classes,), torch.inf, device=device).double()
        self.near_mean_K = self.score_mean_K.clone()
        self.index: Neighbours | None = None
        self.forget(0)
        self._keep(Stored(self._z, self._ids, self._ids, self._ids))

    def forget(self, epoch: int) -> None:
        """Begin an epoch: nothing is known of it yet."""
        generator = torch.Generator().manual_seed(seed_of("outside", epoch, self.context.worker))
        drawn_N = torch.rand(len(self.y_N), generator=generator) < self.outside
        self.drawn_N = drawn_N.to(self.device)
        self.score_N = torch.full_like(self.p_NK[:, 0], torch.nan)
        self._ids = torch.zeros(0, dtype=torch.int64, device=self.device)
        self._z = torch.zeros(0, self.q, device=self.device)
        self._more: list[tuple[Tensor, Tensor]] = []

    def note(self, ids_M: Tensor, rho_MK: Tensor) -> None:
        """Take note of the scores of target spans for the classes that they have now."""
        own_M = rho_MK.gather(1, self.y_N[ids_M][:, None])[:, 0]
        self.score_N[ids_M] = own_M.float()

    def store(self, ids_M: Tensor, z_MQ: Tensor) -> None:
        """Store the vectors of entities, and of a share of the other labelled spans."""
        kept_M = self._is_stored(ids_M)
        self._more.append((ids_M[kept_M], z_MQ[kept_M].float()))
        if len(self._more) > _PARTS:
            self._merge()

    def _is_stored(self, ids_M: Tensor) -> Tensor:
        y_M = self.y_N[ids_M]
        return (y_M > 0) | ((y_M == 0) & self.drawn_N[ids_M])

    def _merge(self) -> None:
        """Put what is stored together; of a span that came several times the last counts."""
        ids = torch.cat([self._ids, *(item for item, _ in self._more)])
        z = torch.cat([self._z, *(item for _, item in self._more)])
        at, last_N = torch.arange(len(ids), device=self.device), torch.full_like(self.y_N, -1)
        last_N.scatter_reduce_(0, ids, at, "amax")
        self._ids = (last_N >= 0).nonzero()[:, 0]
        self._z, self._more = z[last_N[self._ids]], []

    def refine(self, ids_M: Tensor, d_c_MK: Tensor, d_n_MK: Tensor, **how: object) -> None:
        """Move the labels of some target spans (M9)."""
        found = refinement.refine(self.p_NK[ids_M], d_c_MK, d_n_MK, **how)  # pyrefly: ignore [bad-argument-type]
        self.p_NK[ids_M] = found.float()
        self.y_N[ids_M] = self.p_NK[ids_M].argmax(dim=1)

    def near(self, ids_M: Tensor, z_MQ: Tensor) -> Tensor:
        """[M, K] how many of the stored vectors nearest to some spans are of each class."""
        assert self.index is not None
        return self.index.counts(z_MQ, self.place_N[ids_M])

    def prior(self) -> Tensor:
        """[K] mean soft label of the target spans of all workers (M7)."""
        return vmf.shares(self.context.total(self.p_NK[self.target_N].double().sum(dim=0)))

    def filter(self, *, outside: bool) -> None:
        """Part the target spans of each class into reliable and others by their scores (M8).

        A span that the epoch did not come to stays what it was; in the warm-up all are reliable.

        Args:
            outside: Whether O is parted, too; if not, all of its spans are reliable.
        """
        known_N = self.target_N & ~self.score_N.isnan()
        self.score_mean_K.fill_(torch.inf)
        for number in range(self.num_classes):
            ids = (known_N & (self.y_N == number)).nonzero()[:, 0]
            scores, own = self._of_all(self.score_N[ids])
            if len(scores):
                self.score_mean_K[number] = scores.double().mean()
            if number == 0 and not outside:
                self.reliable_N[ids] = True
            elif len(scores):
                found = mixture.two_components(scores.cpu().numpy()).reliable_N
                self.reliable_N[ids] = torch.from_numpy(found[own]).to(self.device)

    def share_reliable(self) -> list[float]:
        """Share of the reliable ones among the target spans of each class that the epoch came to,
        of all workers."""
        scored_N = self.target_N & ~self.score_N.isnan()
        masks = (self.reliable_N & scored_N, scored_N)
        counts = [torch.bincount(self.y_N[x], minlength=self.num_classes).double() for x in masks]
        kept, whole = self.context.total(torch.stack(counts))
        return (kept / whole.clamp(min=1)).tolist()

    def shares_of_target(self) -> tuple[float, float]:
        """Share of the target spans that the epoch came to, and of those whose label is no longer
        the teacher's, of all workers."""
        target_N = self.target_N
        scored, moved = ~self.score_N.isnan(), self.y_N != self.given_N
        counts = [(x & target_N).sum() for x in (target_N, scored, moved)]
        whole, *parts = self.context.total(torch.stack(counts).double()).tolist()
        first, second = (part / max(whole, 1.0) for part in parts)
        return first, second

    def rebuild(self) -> None:
        """Make the vectors stored in the epoch the ones that neighbours are looked for among."""
        self._merge()
        kept = self._is_stored(self._ids)  # by the labels as they are now
        ids = self._ids[kept]
        z_SQ, own = self._of_all(self._z[kept])
        place_N = torch.full_like(self.y_N, -1)
        place_N[ids] = torch.arange(own.start, own.stop, device=self.device)
        label_S, target_S = (self._of_all(x[ids].long())[0] for x in (self.y_N, self.target_N))
        self._keep(Stored(z_SQ, label_S, target_S, place_N))
        self.near_mean_K.fill_(torch.inf)
        for number in range(self.num_classes):
            there = ((label_S == number) & (target_S > 0)).nonzero()[:, 0]
            if len(there) and self.index is not None:
                ranks = np.linspace(0, len(there) - 1, min(len(there), SAMPLE)).round()
                some = there[torch.from_numpy(ranks.astype(np.int64)).to(self.device)]
                self.near_mean_K[number] = self.index.counts(z_SQ[some], some)[:, number].mean()

    def _keep(self, stored: Stored) -> None:
        self.stored, self.place_N = stored, stored.place_N
        self.index = None
        if len(stored.z_SQ):
            vectors, labels = stored.z_SQ, stored.label_S
            self.index = Neighbours(vectors, labels, self.num_classes, k=self.k, search=self.search)

    def _of_all(self, values: Tensor) -> tuple[Tensor, slice]:
        """Rows of all workers, and which of them are this one's."""
        counts = self.context.everyone(torch.tensor([len(values)], device=self.device)).tolist()
        start = sum(counts[: self.context.worker])
        return self.context.everyone(values), slice(start, start + len(values))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that is remembered."""
        self._merge()
        return {
            "p": self.p_NK, "y": self.y_N, "reliable": self.reliable_N, "score": self.score_N,
            "drawn": self.drawn_N, "score_mean": self.score_mean_K,
            "near_mean": self.near_mean_K, "ids": self._ids, "z": self._z,
            **{f"stored.{name}": value for name, value in self.stored._asdict().items()},
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state_dict` gave."""
        self.p_NK, self.y_N, self.reliable_N, self.score_N, self.drawn_N = (
            state[name] for name in ("p", "y", "reliable", "score", "drawn")
        )
        self.score_mean_K, self.near_mean_K = state["score_mean"], state["near_mean"]
        self._ids, self._z, self._more = state["ids"], state["z"], []
        self._keep(Stored(*(state[f"stored.{name}"] for name in Stored._fields)))
