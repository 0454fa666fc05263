"""The classifier for a kind of task."""

from collections.abc import Sequence
from pathlib import Path

from xlt_ray.data.schema import Task
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.span_tagger import SpanHead, load_span_tagger
from xlt_ray.models.tagger import load_tagger
from xlt_ray.models.text_classifier import load_text_classifier


def load_classifier(
    folder: str | Path,
    labels: Sequence[str],
    task: Task,
    *,
    dropout: float = 0.1,
    seed: int = 0,
    gradient_checkpointing: bool = False,
    dim_reduce: int | None = None,
    spans: SpanHead | None = None,
) -> Classifier:
    """Load an encoder, or a classifier trained before, for a task.

    Args:
        folder: Local folder in the Hugging Face layout.
        labels: Names of the classes.
        task: "token", "sentence" or "pair".
        dropout: Dropout while training.
        seed: Seed of a new head.
        gradient_checkpointing: Recompute activations in the backward pass.
        dim_reduce: Fraction of its width that a text classifier's head projects to first.
        spans: Of a token task, the head over spans; None: it is over words.

    Raises:
        ValueError: the encoder's family has no such classifier.
    """
    common = {
        "dropout": dropout,
        "seed": seed,
        "gradient_checkpointing": gradient_checkpointing,
    }
    if task == "token":
        assert dim_reduce is None, "a tagger has no projection"
        if spans is not None:
            return load_span_tagger(folder, labels, spans, **common)
        return load_tagger(folder, labels, **common)
    return load_text_classifier(folder, labels, dim_reduce=dim_reduce, **common)
