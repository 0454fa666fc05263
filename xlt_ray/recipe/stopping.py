"""What source dev decides: which of several models is kept, and when there is no more to gain."""

from collections.abc import Sequence
from itertools import pairwise

from xlt_ray.recipe.corpus import Model


def best_on_source_dev(models: Sequence[Model]) -> Model:
    """The highest source-dev score wins, the earliest on ties; planned models count least."""
    return max(models, key=lambda model: -1.0 if model.source_dev is None else model.source_dev)


def stalled(scores: Sequence[float | None], patience: int | None) -> bool:
    """Whether the last ``patience`` scores are no better than the ones before; None: never."""
    known = [score for score in scores if score is not None]
    if patience is None or len(known) <= patience:
        return False
    return max(known[-patience:]) <= max(known[:-patience])


def is_dropping(models: Sequence[Model], times: int) -> bool:
    """Whether each of the last models has a lower source-dev score than the one before it."""
    scores = [model.source_dev for model in models[-times - 1 :]]
    if len(scores) <= times:
        return False
    known = [score for score in scores if score is not None]
    return len(known) > times and all(after < before for before, after in pairwise(known))
