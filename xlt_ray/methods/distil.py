"""Distilling: a stock tagger of words learns what a tagger of spans says of the target text."""

from collections.abc import Sequence

from xlt_ray.data.corpus import SPAN_SETTINGS, Mix, Model, Start
from xlt_ray.methods.base import Driver
from xlt_ray.methods.facts import Schedule
from xlt_ray.methods.parts import Annotator, PredictLabels
from xlt_ray.methods.softmax import CrossEntropy
from xlt_ray.methods.span_parts import TagSpans
from xlt_ray.models.span_tagger import SpanHead


def head_of(model: Model) -> SpanHead | None:
    """Settings of a trained model's span head; None if it tags words."""
    if SPAN_SETTINGS not in model.artifact.names:
        return None
    settings = model.artifact.json(SPAN_SETTINGS)
    return SpanHead(**{key: value for key, value in settings.items() if key != "labels"})


def labels_by(model: Model) -> Annotator:
    """The BIO labels of a trained model, whichever head it has."""
    head = head_of(model)
    return PredictLabels() if head is None else TagSpans(head)


def distil(
    driver: Driver, teachers: Start, targets: Sequence[str], *, lr: float, epochs: int
) -> Model:
    """Train the encoder as a tagger of words, on source gold and on what teachers say.

    Args:
        driver: The verbs.
        teachers: A model, or one of each target, that labels all unlabelled text.
        targets: Languages of that text.
        lr: Peak learning rate.
        epochs: Epochs over both; the best on source dev is kept.
    """
    text = driver.unlabelled()
    if teachers.by_language:
        pools = [(f"{name} ", text.of(name), teachers.of(name)) for name in targets]
    elif len(targets) < len(driver.pools):
        pools = [(f"{name} ", text.of(name), teachers.model) for name in targets]
    else:
        pools = [("", text, teachers.model)]
    parts = [
        corpus.labelled(driver.annotate(f"{prefix}teacher's", corpus, model, labels_by(model)))
        for prefix, corpus, model in pools
    ]
    mix = Mix(driver.source("train"), *parts)
    schedule = Schedule(lr, epochs)
    return driver.train("distilled", mix, CrossEntropy(), start=driver.backbone, schedule=schedule)
