"""How near the text of some languages is to that of another, by vectors of sentences.

Every sentence of a target asks its k nearest among the sentences of all sources; a source's share
is how often it answers. All languages have equally many sentences, and the mean of all vectors is
taken away first: those of an encoder point the same way for the most part.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def neighbour_shares(
    target_NH: Floats, sources: Mapping[str, Floats], *, k: int = 10
) -> dict[str, float]:
    """Share of each source among the k nearest sentences of a target's; they add up to 1.

    Args:
        target_NH: Vectors of the target's sentences, at least one.
        sources: [M, H] vectors of each source's sentences, at least one; the first of as many as
            the smallest source has count.
        k: Neighbours of a sentence, at most as many as a source has sentences.

    Raises:
        ValueError: a language has no sentence, or there is no source.
    """
    sizes = [len(target_NH), *map(len, sources.values())]
    if len(sizes) < 2 or min(sizes) == 0:
        raise ValueError("every language needs a sentence, and there has to be a source")
    least = min(sizes[1:])
    parts = [np.asarray(vectors[:least], np.float64) for vectors in sources.values()]
    target_NH = np.asarray(target_NH, np.float64)
    centre_H = np.mean([part.mean(axis=0) for part in (*parts, target_NH)], axis=0)
    near_NM = _unit(target_NH - centre_H) @ _unit(np.concatenate(parts) - centre_H).T
    owner_M = np.repeat(np.arange(len(parts)), least)
    order_NM = np.argsort(-near_NM, axis=1, kind="stable")[:, : min(k, least)]
    counts = np.bincount(owner_M[order_NM].ravel(), minlength=len(parts))
    return dict(zip(sources, (counts / counts.sum()).tolist(), strict=True))


def _unit(vectors_NH: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors_NH / np.maximum(np.linalg.norm(vectors_NH, axis=1, keepdims=True), 1e-12)
