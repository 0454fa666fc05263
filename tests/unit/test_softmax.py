"""Cross-entropy and ranking by the softmax."""

import numpy as np
import pytest
import torch

from tests.recipes import FACTS, batch_of, logits_of, output_of
from xlt_ray.methods.shared.softmax import CrossEntropy, SoftmaxAnnotator
from xlt_ray.recipe.task import TaskContext


def test_cross_entropy_is_a_sum_over_labelled_items() -> None:
    logits = logits_of(3)
    log_p = logits.double().log_softmax(1)
    found = CrossEntropy().loss(output_of(logits), batch_of([2, -100, 1]))["loss"]
    assert found.item() == pytest.approx(-(log_p[0, 2] + log_p[2, 1]).item(), rel=1e-6)
    assert CrossEntropy().loss(output_of(logits), batch_of([-100] * 3))["loss"].item() == 0


def test_rankings_by_hand() -> None:
    """Uniform over two of four classes: entropy log 2 / log 4, largest probability 1/2."""
    logits = torch.tensor([[50.0, 50.0, -50.0, -50.0], [80.0, 0.0, 0.0, 0.0]])
    context = TaskContext(FACTS.labels, ("a",), task="sentence")
    for rank_by, wanted in (("entropy", [0.5, 0.0]), ("max_probability", [0.5, 0.0])):
        annotator = SoftmaxAnnotator(rank_by)
        columns = annotator.annotate(output_of(logits), np.arange(3), context)
        np.testing.assert_allclose(columns.rows["score"], wanted, atol=1e-12)
        assert columns.items["candidates"].tolist() == [1, 1]
        nan = np.nan
        np.testing.assert_allclose(
            columns.rows["type_scores"],
            [[0.5, nan, nan, nan], [0.0, nan, nan, nan]],
            atol=1e-12,
        )
        assert columns.rows["valid"].all()
