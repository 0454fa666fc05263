"""The mean of several models, as what a training begins with."""

from collections.abc import Sequence
from dataclasses import dataclass

from xlt_ray.recipe.corpus import Model
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class MeanModel(Model):
    """A model whose weights are the mean of those of several.

    A training can begin with it, and nothing else: its driver takes the mean as a step of its own
    before.

    Attributes:
        artifact: The first of the models, whose settings and tokenizer it has.
        others: The others, of the same architecture.
    """

    others: tuple[Artifact, ...] = ()

    @classmethod
    def of(cls, models: Sequence[Model]) -> "MeanModel":
        """The mean of at least one model."""
        first, *others = (model.artifact for model in models)
        return cls(first, tuple(others))
