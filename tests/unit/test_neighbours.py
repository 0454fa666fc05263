"""Counts of labels among nearest neighbours, against a plain loop."""

import sys

import numpy as np
import pytest
import torch

from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.maral import neighbours
from xlt_ray.methods.maral.neighbours import LEAST_RECALL, Neighbours
from xlt_ray.ops.faiss_products import LEAST_PRODUCT

K = 3


def vectors(count: int, seed: int, q: int = 8) -> torch.Tensor:
    drawn = torch.randn(count, q, generator=torch.Generator().manual_seed(seed))
    return drawn / drawn.norm(dim=1, keepdim=True)


def slow_counts(
    stored: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor, own: list[int], k: int
) -> list[list[float]]:
    found = []
    for query, place in zip(queries, own, strict=True):
        order = np.argsort(-(stored @ query).numpy(), kind="stable").tolist()
        nearest = [index for index in order if index != place][:k]
        found.append(np.bincount(labels[nearest].numpy(), minlength=K).astype(float).tolist())
    return found


@pytest.mark.parametrize("k", [1, 7, 40])
def test_counts_are_those_of_a_plain_loop(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries in chunks; some are stored themselves; k beyond what is stored counts all others."""
    monkeypatch.setattr(neighbours, "CHUNK", 4)
    stored, labels = vectors(30, 0), torch.arange(30) % K
    queries, own = torch.cat([stored[:5], vectors(6, 1)]), [*range(5), *[-1] * 6]
    found = Neighbours(stored, labels, K, k=k).counts(queries, torch.tensor(own))
    assert found.tolist() == slow_counts(stored, labels, queries, own, k)
    assert found.sum(dim=1).tolist() == [min(k, 29)] * 5 + [min(k, 30)] * 6


def test_nothing_stored_and_nothing_asked() -> None:
    empty = Neighbours(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), K, k=2)
    assert empty.counts(vectors(2, 0, 4), torch.tensor([-1, -1])).tolist() == [[0.0] * K] * 2
    some = Neighbours(vectors(5, 0), torch.zeros(5, dtype=torch.int64), K, k=2)
    assert some.counts(torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64)).shape == (0, K)


def test_an_approximate_search_has_a_measured_recall() -> None:
    stored, labels = vectors(4000, 2, 16), torch.arange(4000) % K
    rough = Neighbours(stored, labels, K, k=20, search="approximate")
    assert LEAST_RECALL < rough.recall <= 1
    assert rough.index.nprobe >= 1
    exact = Neighbours(stored, labels, K, k=20)
    assert exact.recall == 1
    own = torch.arange(200)
    one, other = (x.counts(stored[:200], own) for x in (rough, exact))
    assert (one - other).abs().sum(dim=1).mean() < 4


def test_a_few_vectors_are_searched_exactly_anyway() -> None:
    found = Neighbours(vectors(50, 0), torch.zeros(50).long(), K, k=20, search="approximate")
    assert found.recall == 1
    assert not hasattr(found.index, "nprobe")


@pytest.mark.parametrize("threads", [1, 2])
def test_few_queries_are_searched_by_matrix_products(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step has some hundreds of queries; faiss takes products from 128,000 numbers on."""
    import faiss

    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    faiss.cvar.distance_compute_blas_threshold = 128_000
    found = Neighbours(vectors(9, 0), torch.zeros(9).long(), K, k=2)
    found.counts(vectors(3, 1), torch.full((3,), -1))
    assert faiss.cvar.distance_compute_blas_threshold == LEAST_PRODUCT * threads
    faiss.cvar.distance_compute_blas_threshold = 20  # as older versions have it: by queries
    found.counts(vectors(3, 1), torch.full((3,), -1))
    assert faiss.cvar.distance_compute_blas_threshold == 20


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 100, 1000])
def test_calls_of_any_size_find_the_same_neighbours(size: int) -> None:
    """One call with all queries, and calls with some of them as passes of a training have."""
    stored, queries = vectors(6000, 0, 64), vectors(3000, 1, 64)
    search = Neighbours(stored, torch.arange(6000), 6000, k=20)
    nobody = torch.full((3000,), -1)
    whole = search.counts(queries, nobody)
    parts = [search.counts(*x) for x in zip(queries.split(size), nobody.split(size), strict=True)]
    assert torch.equal(torch.cat(parts), whole)


def test_faiss_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ConfigError, match="pip install faiss-cpu "):
        Neighbours(vectors(3, 0), torch.zeros(3).long(), K, k=1)
