"""SL-LEU: the noise that each item is given, in the loss and in the ranking."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.recipes import FACTS, WIDTH, batch_of, logits_of, output_of
from tests.unit.test_cltp import TAGGER
from xlt_ray.methods.sl_leu import NoisyAnnotator, NoisyCrossEntropy


def prepared(samples: int, log_std: float) -> NoisyCrossEntropy:
    """An objective whose unit says the same u of every item."""
    objective = NoisyCrossEntropy(samples)
    unit = objective.build(FACTS, WIDTH)
    with torch.no_grad():
        unit.weight.zero_()  # type: ignore[union-attr]
        unit.bias.fill_(log_std)  # type: ignore[union-attr]
    TAGGER.own = unit
    objective.prepare(FACTS, TAGGER)
    return objective


def test_without_noise_it_is_the_cross_entropy_of_labelled_items() -> None:
    logits = logits_of(4)
    found = prepared(5, -80.0).loss(output_of(logits), batch_of([1, -100, 0, 3]))["loss"]
    labels = torch.tensor([1, -100, 0, 3])
    wanted = cross_entropy(logits, labels, reduction="sum", ignore_index=-100)
    torch.testing.assert_close(found, wanted)


def test_the_loss_against_a_loop() -> None:
    """-log of the mean over samples of softmax(f + exp(u) eps)[y], with torch's own noise."""
    logits, labels, u = logits_of(3), [2, 0, 1], 0.3
    torch.manual_seed(11)
    noise = torch.randn(6, 3, 4).tolist()
    expected = 0.0
    for item, label in enumerate(labels):
        chances = []
        for sample in noise:
            f = [
                x + math.exp(u) * e
                for x, e in zip(logits[item].tolist(), sample[item], strict=True)
            ]
            chances.append(math.exp(f[label]) / sum(math.exp(x) for x in f))
        expected -= math.log(sum(chances) / len(chances))
    objective = prepared(6, u)
    torch.manual_seed(11)
    found = objective.loss(output_of(logits), batch_of(labels))["loss"]
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_unit_is_trained() -> None:
    objective = prepared(6, 0.0)
    objective.loss(output_of(logits_of(3)), batch_of([2, 0, 1]))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.unit.parameters())


def test_noisy_items_rank_behind_others_and_keep_their_label() -> None:
    """The same logits with growing u: labels without noise stay, the mean gets flatter."""
    logits = torch.tensor([[4.0, 0.0, 0.0, 0.0]]).repeat(3, 1)
    extra = torch.tensor([[-5.0], [1.0], [3.0]])
    annotator = NoisyAnnotator(200, "entropy", seed=1)
    columns = annotator.annotate(output_of(logits, extra), np.array([0, 1, 2, 3]), FACTS)
    assert columns.items["labels"].tolist() == [0, 0, 0]
    assert (np.diff(columns.items["gamma"]) > 0.05).all()


def test_the_same_seed_gives_the_same_ranking() -> None:
    logits, extra, offsets = logits_of(5), torch.zeros(5, 1), np.array([0, 2, 5])
    one, same, other = (
        NoisyAnnotator(4, "max_probability", seed).annotate(
            output_of(logits, extra), offsets, FACTS
        )
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one.items["gamma"], same.items["gamma"])
    assert not np.array_equal(one.items["gamma"], other.items["gamma"])
