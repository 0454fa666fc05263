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

from xlt_ray.data.examples import Examples
from xlt_ray.methods.facts import Facts
from xlt_ray.methods.neighbours import Neighbours, Search
from xlt_ray.ops import mixture, refinement

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
        facts: The task, and the other workers.
        examples: The worker's sentences; ``teacher.q`` stands beside the companion text.
        num_classes: K.
        q: Size of a vector.
        k: Neighbours that are counted.
        search: How they are found.
        device: Where it is kept.

    Attributes:
        p_NK: Soft pseudo-labels of target spans, zeros for others.
        y_N: Gold class of source spans, class of p of target spans, or -100.
        target_N: Whether a span is a target span.
        reliable_N: Whether it is a target span whose label is learnt from.
        score_N: vMF score of a target span for its class when last seen, else NaN.
        score_mean_K: Mean of these by class.
        near_mean_K: Mean number of neighbours of its own class that a target span of a class has.
        index: The stored vectors of the epoch before, once there are any.
    """

    def __init__(
        self,
        facts: Facts,
        examples: Examples,
        *,
        num_classes: int,
        q: int,
        k: int,
        search: Search,
        device: torch.device,
    ):
        self.facts, self.num_classes, self.q = facts, num_classes, q
        self.k, self.device = k, device
        self.search: Search = search
        assert examples.labels is not None
        first = int(examples.item_offsets[examples.num_parts])
        self.p_NK = torch.from_numpy(examples.beside["teacher.q"]).float().to(device)
        self.y_N = torch.from_numpy(examples.labels).to(device)
        self.target_N = torch.arange(len(self.y_N), device=device) >= first
        self.y_N[self.target_N] = self.p_NK[self.target_N].argmax(dim=1)
        self.reliable_N = self.target_N.clone()
        self.score_N = torch.full_like(self.p_NK[:, 0], torch.nan)
        self.score_mean_K = torch.full((num_classes,), torch.inf, device=device).double()
        self.near_mean_K = self.score_mean_K.clone()
        self.index: Neighbours | None = None
        self.forget()
        self._keep(Stored(self._z, self._ids, self._ids, self._ids))

    def forget(self) -> None:
        """Begin an epoch: nothing is stored of it yet."""
        self._ids = torch.zeros(0, dtype=torch.int64, device=self.device)
        self._z = torch.zeros(0, self.q, device=self.device)
        self._more: list[tuple[Tensor, Tensor]] = []

    def note(self, ids_M: Tensor, rho_MK: Tensor) -> None:
        """Take note of the scores of target spans for the classes that they have now."""
        own_M = rho_MK.gather(1, self.y_N[ids_M][:, None])[:, 0]
        self.score_N[ids_M] = own_M.float()

    def store(self, ids_M: Tensor, z_MQ: Tensor, *, outside: float) -> None:
        """Store the vectors of entities, and of a share of the other labelled spans."""
        y_M = self.y_N[ids_M]
        drawn_M = torch.rand(len(ids_M)).to(self.device) < outside
        kept_M = (y_M > 0) | ((y_M == 0) & drawn_M)
        self._more.append((ids_M[kept_M], z_MQ[kept_M].float()))

    def refine(self, ids_M: Tensor, d_c_MK: Tensor, d_n_MK: Tensor, **how: object) -> None:
        """Move the labels of some target spans (M9)."""
        found = refinement.refine(self.p_NK[ids_M], d_c_MK, d_n_MK, **how)  # pyright: ignore[reportArgumentType]
        self.p_NK[ids_M] = found.float()
        self.y_N[ids_M] = self.p_NK[ids_M].argmax(dim=1)

    def near(self, ids_M: Tensor, z_MQ: Tensor) -> Tensor:
        """[M, K] how many of the stored vectors nearest to some spans are of each class."""
        assert self.index is not None
        return self.index.counts(z_MQ, self.place_N[ids_M])

    def prior(self) -> Tensor:
        """[K] mean soft label of the target spans of all workers (M7)."""
        own_K = self.p_NK[self.target_N].double().sum(dim=0)
        count = self.target_N.sum().double()[None]
        total = self.facts.total(torch.cat([own_K, count]))
        return total[:-1] / total[-1].clamp(min=1)

    def filter(self) -> None:
        """Part the target spans of each class into reliable and others by their scores (M8).

        A span that no epoch has come to yet is reliable, as all are in the warm-up.
        """
        known_N = self.target_N & ~self.score_N.isnan()
        self.reliable_N = self.target_N.clone()
        for number in range(self.num_classes):
            ids = (known_N & (self.y_N == number)).nonzero()[:, 0]
            scores, own = self._of_all(self.score_N[ids])
            if len(scores):
                self.score_mean_K[number] = scores.double().mean()
                found = mixture.two_components(scores.cpu().numpy()).reliable_N
                self.reliable_N[ids] = torch.from_numpy(found[own]).to(self.device)

    def share_reliable(self) -> list[float]:
        """Share of the reliable ones among the target spans of each class, of all workers."""
        of_target = [self.y_N[mask] for mask in (self.reliable_N, self.target_N)]
        counts = [torch.bincount(y, minlength=self.num_classes).double() for y in of_target]
        kept, whole = self.facts.total(torch.stack(counts))
        return (kept / whole.clamp(min=1)).tolist()

    def rebuild(self) -> None:
        """Make the vectors stored in the epoch the ones that neighbours are looked for among."""
        ids = torch.cat([self._ids, *(item for item, _ in self._more)])
        z = torch.cat([self._z, *(item for _, item in self._more)])
        # A span that came twice counts as it was the second time.
        slot_N = torch.full_like(self.y_N, -1)
        slot_N[ids] = torch.arange(len(ids), device=self.device)
        ids = (slot_N >= 0).nonzero()[:, 0]
        z_SQ, own = self._of_all(z[slot_N[ids]])
        place_N = torch.full_like(self.y_N, -1)
        place_N[ids] = torch.arange(own.start, own.stop, device=self.device)
        label_S, target_S = (self._of_all(x[ids].long())[0] for x in (self.y_N, self.target_N))
        self._keep(Stored(z_SQ, label_S, target_S, place_N))
        for number in range(self.num_classes):
            there = ((label_S == number) & (target_S > 0)).nonzero()[:, 0]
            if len(there) and self.index is not None:
                ranks = np.linspace(0, len(there) - 1, min(len(there), SAMPLE)).round()
                some = there[torch.from_numpy(ranks.astype(np.int64)).to(self.device)]
                self.near_mean_K[number] = self.index.counts(z_SQ[some], some)[:, number].mean()
        self.forget()

    def _keep(self, stored: Stored) -> None:
        self.stored, self.place_N = stored, stored.place_N
        self.index = None
        if len(stored.z_SQ):
            vectors, labels = stored.z_SQ, stored.label_S
            self.index = Neighbours(vectors, labels, self.num_classes, k=self.k, search=self.search)

    def _of_all(self, values: Tensor) -> tuple[Tensor, slice]:
        """Rows of all workers, and which of them are this one's."""
        counts = self.facts.everyone(torch.tensor([len(values)], device=self.device)).tolist()
        start = sum(counts[: self.facts.worker])
        return self.facts.everyone(values), slice(start, start + len(values))

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that is remembered."""
        ids = torch.cat([self._ids, *(item for item, _ in self._more)])
        z = torch.cat([self._z, *(item for _, item in self._more)])
        return {
            "p": self.p_NK, "y": self.y_N, "reliable": self.reliable_N, "score": self.score_N,
            "score_mean": self.score_mean_K, "near_mean": self.near_mean_K, "ids": ids, "z": z,
            **{f"stored.{name}": value for name, value in self.stored._asdict().items()},
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state_dict` gave."""
        self.p_NK, self.y_N, self.reliable_N, self.score_N = (
            state[name] for name in ("p", "y", "reliable", "score")
        )
        self.score_mean_K, self.near_mean_K = state["score_mean"], state["near_mean"]
        self._ids, self._z, self._more = state["ids"], state["z"], []
        self._keep(Stored(*(state[f"stored.{name}"] for name in Stored._fields)))
