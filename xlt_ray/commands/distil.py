"""Distilling: a stock tagger of words learns what a tagger of spans says of the target text."""

from collections.abc import Sequence

from xlt_ray.methods.maral.teacher import TagSpans
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.models.files import SPAN_SETTINGS
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.corpus import Mix, Model, Start
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.schedule import Schedule


def head_of(model: Model) -> SpanHead:
    """Settings of a trained tagger of spans."""
    settings = model.artifact.json(SPAN_SETTINGS)
    return SpanHead(**{key: value for key, value in settings.items() if key != "labels"})


def distil(
    driver: Driver, teachers: Start, targets: Sequence[str], *, lr: float, epochs: int
) -> Model:
    """Train the encoder as a tagger of words, on source gold and on what teachers say.

    Args:
        driver: The verbs.
        teachers: A tagger of spans, or one of each target.
        targets: Languages whose unlabelled text is learnt from.
        lr: Peak learning rate.
        epochs: Epochs over both; the best on source dev is kept.
    """
    parts = []
    for name in targets:
        text, teacher = driver.unlabelled().of(name), teachers.of(name)
        tags = TagSpans(head_of(teacher))
        parts.append(text.labelled(driver.annotate(f"{name} teacher's", text, teacher, tags)))
    mix = Mix(driver.source("train"), *parts)
    schedule = Schedule(lr, epochs)
    return driver.train("distilled", mix, CrossEntropy(), start=driver.backbone, schedule=schedule)
