"""The classifier for a kind of task."""

from collections.abc import Sequence
from pathlib import Path

from xlt_ray.data.schema import Task
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.lora import Lora, adapt
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
    lora: Lora | None = None,
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
        lora: Adapters that are to be trained in place of the encoder; None: those that the folder
            has are merged.

    Raises:
        ValueError: the encoder's family has no such classifier; or adapters that are to be trained
            do not fit those that are there.
    """
    common = {
        "dropout": dropout,
        "seed": seed,
        "gradient_checkpointing": gradient_checkpointing,
    }
    folder = Path(folder)
    found: Classifier
    if task == "token":
        assert dim_reduce is None, "a tagger has no projection"
        if spans is not None:
            found = load_span_tagger(folder, labels, spans, **common)
        else:
            found = load_tagger(folder, labels, **common)
    else:
        found = load_text_classifier(folder, labels, dim_reduce=dim_reduce, **common)
    adapt(found.model, folder, lora, seed)
    found.adapters = lora
    return found
