"""BL-Direct of spans: a model of spans trained on the source, used on the targets as it is."""

from typing import Literal

from xlt_ray.methods.maral.mechanisms import reach
from xlt_ray.methods.maral.recipe import (
    SpanConfig,
    head_of,
    source_spans,
    train_on_source,
    with_max_len,
)
from xlt_ray.methods.maral.teacher import TagSpans
from xlt_ray.recipe.corpus import Corpus, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.store.artifacts import Artifact


class BLSpansConfig(SpanConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["bl_spans"] = "bl_spans"
    """Name of the method."""


class BLSpans(Method[BLSpansConfig]):
    """The recipe: one model."""

    Config = BLSpansConfig
    tasks = frozenset({"token"})
    needs_bio = True

    def run(self, driver: Driver) -> Outcome:
        """Train on the source."""
        found = source_spans(driver, self.config)
        c = with_max_len(self.config, found)
        text = driver.unlabelled() if c.w_mlm else None
        model = train_on_source(driver, c, "source", text, found.counts)
        annotator = TagSpans(head_of(c))

        def label(driver: Driver, title: str, corpus: Corpus, model: Model) -> Artifact:
            return driver.annotate(title, corpus, model, annotator)

        return Outcome(
            model,
            model,
            labeller=label,
            plain_labeller=label,
            mechanisms=[reach(found)],
            longest=found.max_len,
        )
