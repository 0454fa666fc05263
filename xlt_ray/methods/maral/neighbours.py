"""Labels of a span's nearest neighbours among the spans of an earlier epoch: counts, nothing else.

The search is by inner product, through faiss: exact, or approximate with a recall that is measured
and has to be high. It runs on the GPU where faiss was built for one and the vectors lie there.
"""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from xlt_ray.config.errors import ConfigError
from xlt_ray.ops.faiss_products import search_by_products

Search = Literal["exact", "approximate"]

CHUNK = 8192
"""Queries at a time: their neighbours are counted and forgotten."""
LEAST_RECALL = 0.95
_SCRATCH = 256 << 20
_PROBES = 500
"""Stored vectors that measure the recall."""


class Neighbours:
    """Labelled vectors, and counts of labels among the nearest of them.

    Args:
        vectors_SQ: The stored vectors.
        labels_S: Their classes.
        num_classes: K.
        k: Neighbours that are counted.
        search: "exact", or "approximate": over some of the cells of a coarse quantiser, as many as
            it takes for a recall of `LEAST_RECALL`.

    Attributes:
        recall: Share of the true neighbours that are found.
    """

    def __init__(
        self,
        vectors_SQ: Tensor,
        labels_S: Tensor,
        num_classes: int,
        *,
        k: int,
        search: Search = "exact",
    ):
        self.faiss: Any = require_faiss()
        self.labels_S = labels_S.cpu().numpy()
        self.num_classes, self.k, self.recall = num_classes, k, 1.0
        stored = _array(vectors_SQ)
        self.size = len(stored)
        search_by_products(self.faiss, torch.get_num_threads())
        exact = self.faiss.IndexFlatIP(vectors_SQ.shape[1])
        self.index = self._placed(exact, vectors_SQ.device)
        self.index.add(stored)
        if search == "approximate" and self.size > 40 * k:
            self._make_approximate(stored, vectors_SQ.device)

    def _placed(self, index: Any, device: torch.device) -> Any:
        if device.type != "cuda" or not hasattr(self.faiss, "StandardGpuResources"):
            return index
        self.resources = self.faiss.StandardGpuResources()
        self.resources.setTempMemory(_SCRATCH)  # beside what training holds
        return self.faiss.index_cpu_to_gpu(self.resources, device.index or 0, index)

    def _make_approximate(self, stored: np.ndarray, device: torch.device) -> None:
        """Replace the exact index by one of cells, of which as many are read as it takes."""
        cells = max(1, int(np.sqrt(self.size)))
        quantiser = self.faiss.IndexFlatIP(stored.shape[1])
        inner = self.faiss.METRIC_INNER_PRODUCT
        rough = self._placed(
            self.faiss.IndexIVFFlat(quantiser, stored.shape[1], cells, inner), device
        )
        rough.train(stored)
        rough.add(stored)
        probes = stored[np.linspace(0, self.size - 1, _PROBES).astype(np.int64)]
        wanted = self.index.search(probes, min(self.k, self.size))[1]
        rough.nprobe = max(1, cells // 16)
        while True:
            found = rough.search(probes, wanted.shape[1])[1]
            common = [len(np.intersect1d(a, b)) for a, b in zip(found, wanted, strict=True)]
            self.recall = float(np.sum(common) / wanted.size)
            if self.recall > LEAST_RECALL or rough.nprobe == cells:
                break
            rough.nprobe = min(2 * rough.nprobe, cells)
        self.index = rough

    def counts(self, queries_NQ: Tensor, own_N: Tensor) -> Tensor:
        """[N, K] float32 how many of the k nearest stored vectors have each label.

        Args:
            queries_NQ: Vectors.
            own_N: Place of the query itself among the stored vectors, which is not counted, or -1.
        """
        search_by_products(self.faiss, torch.get_num_threads())
        queries, own = _array(queries_NQ), own_N.cpu().numpy()
        counts = np.zeros((len(queries), self.num_classes), np.float32)
        for at in range(0, len(queries) if self.size else 0, CHUNK):
            part = slice(at, at + CHUNK)
            counts[part] = self._count(queries[part], own[part])
        return torch.from_numpy(counts).to(queries_NQ.device)

    def _count(self, queries: np.ndarray, own: np.ndarray) -> np.ndarray:
        found = self.index.search(queries, min(self.k + 1, self.size))[1]
        valid = (found >= 0) & (found != own[:, None])
        valid &= valid.cumsum(axis=1) <= self.k
        row = np.broadcast_to(np.arange(len(queries))[:, None], found.shape)
        flat = row[valid] * self.num_classes + self.labels_S[found[valid]]
        size = len(queries) * self.num_classes
        return np.bincount(flat, minlength=size).reshape(len(queries), self.num_classes)


def _array(vectors: Tensor) -> np.ndarray:
    return np.ascontiguousarray(vectors.detach().float().cpu().numpy())


def require_faiss() -> Any:
    """The library; raises ConfigError, which says what to install, if it is missing."""
    try:
        import faiss
    except ModuleNotFoundError:
        raise ConfigError(
            "neighbours are looked for with faiss, which is not installed: pip install faiss-cpu "
            "(or in its place faiss-gpu, on machines with GPUs)"
        ) from None
    return faiss
