"""Which rows a person labels next: those that a model is unsure of, and that are unlike each other.

Zhdanov, "Diverse mini-batch Active Learning" (2019): of the rows that are most uncertain, ten times
as many as are wanted, weighted k-means makes as many clusters as are wanted, and the row nearest to
each centre is taken.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xlt_ray.ops.faiss_products import search_by_products

CANDIDATES = 10
"""Candidates per wanted row (the paper's beta)."""
_ITERATIONS = 25


def of_rows(values_N: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """[R] largest value of each row's items; 0 of a row without any.

    Args:
        values_N: Values of the items, none below 0.
        offsets: [R + 1] where each row's items begin and end.
    """
    if not len(values_N):
        return np.zeros(len(offsets) - 1)
    found = np.maximum.reduceat(np.append(values_N, 0.0), offsets[:-1])
    return np.where(np.diff(offsets) > 0, found, 0.0)


def disagreement(said_N: Sequence[str], others: Sequence[Sequence[str]]) -> np.ndarray:
    """[N] share of other models that say something else of an item; 0 where there are none.

    Args:
        said_N: Labels of the items.
        others: [M][N] what each other model says of them.
    """
    if not others:
        return np.zeros(len(said_N))
    said = np.array(said_N, dtype=object)
    return np.mean([np.array(other, dtype=object) != said for other in others], axis=0)


def shares(wanted: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """How many rows each language gives: equally many, and more where others have too few.

    Args:
        wanted: Rows of all together.
        sizes: Rows that each language has.
    """
    found, left = dict[str, int](), min(wanted, sum(sizes.values()))
    names = sorted(sizes, key=lambda name: (sizes[name], name))
    for number, name in enumerate(names):
        found[name] = min(sizes[name], left // (len(names) - number))
        left -= found[name]
    return {name: found[name] for name in sizes}


def candidates(scores_N: np.ndarray, count: int) -> np.ndarray:
    """[K] the most uncertain rows, in that order, enough to choose ``count`` of them.

    Args:
        scores_N: How uncertain each row is.
        count: How many rows are wanted.
    """
    return np.argsort(-scores_N, kind="stable")[: CANDIDATES * count]


def spread(scores_K: np.ndarray, vectors_KH: np.ndarray, count: int, *, seed: int) -> np.ndarray:
    """[count] candidates, the most uncertain first, of which no two are much alike.

    Args:
        scores_K: How uncertain each candidate is, 0 or more, none more than the one before.
        vectors_KH: A vector of length 1 for each.
        count: How many are wanted, K at most.
        seed: Seed of the clusters.
    """
    every = np.arange(len(scores_K))
    if count in (0, len(every)):
        return every[:count]
    chosen = _nearest(vectors_KH, scores_K, count, seed)
    rest = every[~np.isin(every, chosen)]  # where two centres have the same nearest row
    return np.sort(np.concatenate([chosen, rest[: count - len(chosen)]]))


def _nearest(vectors: np.ndarray, weights: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Numbers of the rows that are nearest to the centres of so many clusters, each once."""
    import faiss as untyped

    faiss: Any = untyped
    search_by_products(faiss, 1)  # one thread sums in the same order each time
    means = faiss.Kmeans(
        vectors.shape[1], count, niter=_ITERATIONS, seed=seed % 2**31, spherical=True,
        min_points_per_centroid=1,
    )  # fmt: skip
    points = np.ascontiguousarray(vectors, np.float32)
    means.train(points, weights=np.ascontiguousarray(weights + 1e-6, np.float32))
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(points)
    _, found = index.search(means.centroids, 1)
    return np.unique(np.asarray(found, np.int64)[:, 0])
