"""SL-LOU: one learned noise per language."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.recipes import FACTS, WIDTH, batch_of, logits_of, output_of
from tests.unit.test_cltp import TAGGER
from xlt_ray.methods.sl_lou import LogVariances, ScaledCrossEntropy


def prepared(*s: float) -> ScaledCrossEntropy:
    objective = ScaledCrossEntropy()
    own = objective.build(FACTS, WIDTH)
    assert isinstance(own, LogVariances)
    assert own.s.tolist() == [0.0, 0.0]
    with torch.no_grad():
        own.s.copy_(torch.tensor(s))
    TAGGER.own = own
    objective.prepare(FACTS, TAGGER)
    return objective


def test_each_item_has_the_noise_of_its_language() -> None:
    """CE exp(-s_l) + s_l / 2, item by item; unlabelled ones count nowhere."""
    logits, labels, languages, s = logits_of(4), [1, 0, -100, 3], [0, 1, 1, 1], (0.4, -0.7)
    ce = cross_entropy(logits, torch.tensor(labels), reduction="none", ignore_index=-100).tolist()
    expected = sum(ce[i] * math.exp(-s[languages[i]]) + s[languages[i]] / 2 for i in (0, 1, 3))
    objective = prepared(*s)
    found = objective.loss(output_of(logits), batch_of(labels, languages=languages))
    assert found["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert found["ce"].item() == pytest.approx(ce[0] + ce[1] + ce[3], rel=1e-5)


def test_a_language_learns_from_its_own_items() -> None:
    """d/ds = 1/2 - CE exp(-s) per item."""
    objective = prepared(0.0, 0.0)
    logits = logits_of(2)
    objective.loss(output_of(logits), batch_of([1, 2], languages=[1, 1]))["loss"].backward()
    ce = cross_entropy(logits, torch.tensor([1, 2]), reduction="sum").item()
    assert objective.variances.s.grad is not None
    assert objective.variances.s.grad.tolist() == pytest.approx([0.0, 1 - ce], rel=1e-5)


def test_it_is_told_the_languages() -> None:
    assert ScaledCrossEntropy.uses_languages
