"""The forward pass of prediction, shared by annotators and by source-dev scores while training."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from xlt_ray.data.batches.examples import Examples
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.engine import memory
from xlt_ray.engine.arithmetic import Precision, autocast
from xlt_ray.models.classifier import Classifier, Output, full_precision

NO_NUMBERS = (
    "the model's outputs are not finite: its training has diverged, or its weights need a wider "
    "arithmetic than resources.precision"
)
FeatureOutputs = Callable[[nn.Module | None, Tensor], Tensor | None]
"""Values [n, K] of the own module and the features of n items, or None."""


def no_features(own: nn.Module | None, features: Tensor) -> Tensor | None:
    """Nothing is made of features."""


@torch.no_grad()  # in inference mode no weight that was rounded is kept for the next batch
def predict(
    model: Classifier,
    examples: Examples,
    *,
    budget: int,
    device: torch.device,
    precision: Precision,
    feature_outputs: FeatureOutputs = no_features,
    in_step: Callable[[int], int] | None = None,
) -> Output:
    """Logits of every item, in the order of the rows, and what is made of their features.

    The batches are a function of the rows and the budget alone, so the result does not depend on
    who computes it. Features are not kept.

    Args:
        model: A classifier on ``device``, in evaluation mode.
        examples: The rows.
        budget: Token budget of a batch.
        device: Where to compute.
        precision: Arithmetic of the encoder.
        feature_outputs: Makes [n, K] values of the own module and the features of a batch, or
            None.
        in_step: Of a model that lies in parts on several workers, which have to call it equally
            often: says how often, of how often this one needs it.

    Returns:
        [N, C] float32 logits and, if any were made, the [N, K] values, on ``device``.

    Raises:
        ValueError: a logit is not finite.
    """
    logits = [torch.zeros((0, model.num_outputs), device=device)]
    made, owners = [], [torch.zeros(0, dtype=torch.int64, device=device)]
    batches = plan_batches(examples.longest, examples.num_windows, budget)
    model.pass_tokens = budget
    if in_step is not None:
        batches += [np.zeros(0, np.int64)] * (in_step(len(batches)) - len(batches))
        model.pass_tokens = None  # a batch is one call
    with autocast(device, precision):  # around all, so that weights are rounded once
        for chosen in batches:
            batch = examples.collate(chosen).to(device)
            output = model(batch)
            logits.append(output.logits)
            owners.append(batch.item_ids)
            with full_precision(output.features):
                values = feature_outputs(model.own, output.features)
            if values is not None:
                made.append(values)
    if not batches:  # values of no items have a width, too
        values = feature_outputs(model.own, torch.zeros((0, model.width), device=device))
        made += [] if values is None else [values]
    memory.hand_back_at_times()
    order = torch.cat(owners)
    found = torch.cat(logits)
    if not bool(found.isfinite().all()):
        raise ValueError(NO_NUMBERS)
    nothing = torch.zeros((len(order), 0), device=device)
    return Output(
        _ordered(found, order),
        nothing,
        _ordered(torch.cat(made), order) if made else None,
        model.own,
    )


def _ordered(values: Tensor, order: Tensor) -> Tensor:
    placed = torch.empty_like(values)
    placed[order] = values
    return placed


def predict_labels(
    model: Classifier,
    examples: Examples,
    *,
    budget: int,
    device: torch.device,
    precision: Precision,
    in_step: Callable[[int], int] | None = None,
) -> np.ndarray:
    """Label of every item, or of every word of spans, lowest index on ties; see `predict`."""
    was_training = model.training
    model.eval()
    output = predict(
        model, examples, budget=budget, device=device, precision=precision, in_step=in_step
    )
    model.train(was_training)
    return examples.labels_of(output.logits)
