"""Vanilla negative learning: what is left of CoNLST's first stage without contrasts.

For every target text a class k is drawn evenly from those other than its pseudo-label, and
-log(1 - p_k) is minimised. There is no source text beside it unless ``lambda_clcs`` is above 0, and
no second stage.
"""

from typing import Literal

from pydantic import Field

from xlt_ray.methods.conlst.mechanisms import Adapted
from xlt_ray.methods.conlst.negative_learning import NegativeLearning
from xlt_ray.methods.conlst.recipe import adapt_all, learn_negatives
from xlt_ray.methods.conlst.settings import NegativesConfig
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.store.artifacts import Artifact


class NLConfig(NegativesConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["nl"] = "nl"
    """Name of the method."""
    lambda_clcs: float = Field(default=0.0, ge=0)
    """Weight of the cross-space consistency on source gold."""


class NL(Method[NLConfig]):
    """The recipe: source model, and negative learning on every target."""

    Config = NLConfig
    tasks = frozenset({"sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Adapt the source model to every target, or to all of them together."""
        return adapt_all(driver, self.config, self.adapt)

    def adapt(self, driver: Driver, target: str | None, model: Model, said: Artifact) -> Adapted:
        """The model of a target, or of all."""
        loss = NegativeLearning(self.config.lambda_clcs, self.config.clcs)
        model = learn_negatives(driver, self.config, target, model, said, loss)
        return Adapted(model, stage1=model)
