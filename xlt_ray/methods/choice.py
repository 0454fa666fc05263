"""What source dev decides: which of several models is kept, and when there is no more to gain."""

from collections.abc import Sequence

from xlt_ray.data.corpus import Model


def best_on_source_dev(models: Sequence[Model]) -> Model:
    """The highest source-dev score wins, the earliest on ties; planned models count least."""
    return max(models, key=lambda model: -1.0 if model.source_dev is None else model.source_dev)


def stalled(scores: Sequence[float | None], patience: int | None) -> bool:
    """Whether the last ``patience`` scores are no better than the ones before; None: never."""
    known = [score for score in scores if score is not None]
    if patience is None or len(known) <= patience:
        return False
    return max(known[-patience:]) <= max(known[:-patience])
