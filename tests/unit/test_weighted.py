"""Weighted and smoothed losses, item by item, against plain ones and NumPy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from tests.encoders import commit, tokenised
from tests.recipes import FACTS, C, MemoryDriver, batch_of, logits_of, output_of, run_method
from xlt_ray.data.batches.batch import Batch
from xlt_ray.methods import METHODS
from xlt_ray.methods.conlst.mixup import MixUp
from xlt_ray.methods.conlst.robust import NoisyAndSmooth
from xlt_ray.methods.conlst.ruled import RuledMixUp
from xlt_ray.methods.conlst.smoothing import Smoothed
from xlt_ray.methods.shared.evidential import EvidentialLoss
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.weighted import (
    SmoothCrossEntropy,
    WeightedEvidentialLoss,
    cross_entropy_of,
    weighted,
)
from xlt_ray.methods.sl_leu import NoisyCrossEntropy
from xlt_ray.methods.sl_lou import LogVariances, ScaledCrossEntropy
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.store.artifacts import Store

LABELS = [1, 0, 3, -100, 2]
WEIGHTS = torch.tensor([0.0, 0.0, 0.5, 0.7, 0.25])
"""Of two items of the gold, which has none, and of three others."""


class Model(torch.nn.Module):
    """What objectives look at of a model."""

    def __init__(self, own: torch.nn.Module | None = None):
        super().__init__()
        self.own, self.layer = own, torch.nn.Linear(3, C)


def batch(labels: list[int] = LABELS, **changes: Any) -> Batch:
    found = batch_of(labels, languages=[0, 0, 1, 1, 1], columns={"rule.weight": WEIGHTS})
    return replace(found, part=torch.tensor([0, 0, 1, 1, 1]), **changes)


def evidential_loss(kind: Any) -> Callable[..., Objective]:
    def make(**options: Any) -> Objective:
        loss = WeightedEvidentialLoss(kind) if options else EvidentialLoss(kind)
        loss.prepare(FACTS, Model())  # type: ignore[arg-type]
        return loss

    return make


def noisy(**options: Any) -> Objective:
    torch.manual_seed(0)
    loss = NoisyCrossEntropy(1, **options)
    loss.unit = torch.nn.Linear(3, 1)
    return loss


def scaled(**options: Any) -> Objective:
    loss = ScaledCrossEntropy(**options)
    own = LogVariances(2)
    own.s.data = torch.tensor([0.3, -0.2])
    loss.prepare(FACTS, Model(own))  # type: ignore[arg-type]
    return loss


LOSSES = {
    "cross-entropy": lambda **x: SmoothCrossEntropy(**x) if x else CrossEntropy(),
    "squared": evidential_loss("squared"),
    "digamma": evidential_loss("digamma"),
    "scaled": scaled,
}


def alone(loss: Objective, logits: torch.Tensor, index: int) -> float:
    """Loss of one item, the others without labels."""
    labels = [label if i == index else -100 for i, label in enumerate(LABELS)]
    return float(loss.loss(output_of(logits), batch(labels))["loss"].detach())


@pytest.mark.parametrize("name", LOSSES)
def test_each_item_counts_by_its_weight_and_gold_fully(name: str) -> None:
    logits = logits_of(5).double()
    make = LOSSES[name]
    wanted = sum(
        weight * alone(make(), logits, index)
        for index, weight in enumerate([1.0, 1.0, 0.5, 0.0, 0.25])
    )
    got = make(is_weighted=True).loss(output_of(logits), batch())["loss"]
    assert float(got.detach()) == pytest.approx(wanted, rel=1e-6)


def test_noisy_items_count_by_their_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one sample of no noise SL-LEU's loss is the cross-entropy."""
    logits = logits_of(5)
    monkeypatch.setattr(torch, "randn", lambda shape, device: torch.zeros(shape, device=device))
    got = noisy(is_weighted=True).loss(output_of(logits), batch())["loss"]
    wanted = SmoothCrossEntropy(is_weighted=True).loss(output_of(logits), batch())["loss"]
    torch.testing.assert_close(got, wanted)
    plain = noisy().loss(output_of(logits), batch())["loss"]
    torch.testing.assert_close(plain, CrossEntropy().loss(output_of(logits), batch())["loss"])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothed_labels_in_float64(smoothing: float) -> None:
    logits = logits_of(5).double()
    log_p = logits.log_softmax(1).numpy()
    wanted = 0.0
    for row, label in zip(log_p, LABELS, strict=True):
        if label >= 0:
            target = np.full(C, smoothing / C)
            target[label] += 1 - smoothing
            wanted -= target @ row
    got = SmoothCrossEntropy(smoothing).loss(output_of(logits), batch())["loss"]
    assert float(got) == pytest.approx(wanted, rel=1e-12)
    loss = scaled(smoothing=smoothing)
    loss.variances.s.data.zero_()  # type: ignore[attr-defined]
    got = loss.loss(output_of(logits), batch())["loss"].detach()
    assert float(got) == pytest.approx(wanted, rel=1e-6)


def test_the_default_is_the_plain_loss() -> None:
    """Of the same class, so that fingerprints and bytes stay."""
    assert type(cross_entropy_of(0.0)) is CrossEntropy
    assert cross_entropy_of(0.1) == SmoothCrossEntropy(0.1, False)
    assert cross_entropy_of(0.0, is_weighted=True) == SmoothCrossEntropy(0.0, True)


class Mixed(torch.nn.Module):
    """What mixtures look at of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.dropout = torch.nn.Linear(3, C), torch.nn.Identity()


def mixing(loss: MixUp) -> MixUp:
    torch.manual_seed(1)
    loss.prepare(replace(FACTS, task="pair"), Mixed())  # type: ignore[arg-type]
    loss.before_step(OptimiserStep(0, 1, 2, 3))
    return loss


def mixed_loss(loss: MixUp, given: Batch, logits: torch.Tensor) -> torch.Tensor:
    mixing(loss)
    torch.manual_seed(7)
    return loss.loss(output_of(logits), given)["loss"]


PAIRED = torch.tensor([True, True, True, False, False])


@pytest.mark.parametrize("alpha", [None, 4.0])
def test_mixtures_without_weights_and_smoothing_are_those_of_the_paper(
    alpha: float | None,
) -> None:
    given, logits = batch([1, 0, 3, 2, 2], paired=PAIRED), logits_of(5)
    plain = mixed_loss(MixUp(0.7, alpha, 0.15), given, logits)
    ruled = mixed_loss(RuledMixUp(0.7, alpha, 0.15), given, logits)
    torch.testing.assert_close(plain, ruled)


def test_pseudo_labelled_texts_count_by_their_weight() -> None:
    labels, logits = [1, 0, 3, 2, 2], logits_of(5)
    log_p = logits.log_softmax(1).numpy()
    given = batch(labels, paired=PAIRED)
    got = mixed_loss(RuledMixUp(0.7, None, 0.15, 0.0, True), given, logits)
    weights = [2 / 3, 2 / 3, 2 / 3, 0.7 * 0.7, 0.7 * 0.25]
    wanted = -sum(w * row[y] for w, row, y in zip(weights, log_p, labels, strict=True))
    assert float(got) == pytest.approx(wanted, rel=1e-5)
    smooth = mixed_loss(RuledMixUp(0.7, None, 0.15, 0.2, True), given, logits)
    wanted = -sum(
        w * (0.8 * row[y] + 0.05 * row.sum())
        for w, row, y in zip(weights, log_p, labels, strict=True)
    )
    assert float(smooth) == pytest.approx(wanted, rel=1e-5)


def test_weighted_mixtures_keep_the_weights_of_their_texts() -> None:
    given, logits = batch([1, 0, 3, 2, 2], paired=PAIRED), logits_of(5)
    ones = replace(given, columns={"rule.weight": torch.ones(5)})
    plain = mixed_loss(MixUp(0.7, 4.0, 0.15), given, logits)
    torch.testing.assert_close(
        mixed_loss(RuledMixUp(0.7, 4.0, 0.15, 0.0, True), ones, logits), plain
    )
    assert mixed_loss(RuledMixUp(0.7, 4.0, 0.15, 0.0, True), given, logits) < plain


def test_weights_travel_by_id(tmp_path: Path) -> None:
    """Of another order, and of rows that are not all chosen."""
    store = Store(str(tmp_path))
    table = tokenised([[[1]], [[1], [1]], [[1]]], ids=["x", "y", "z"], languages=["a"] * 3)
    text = Corpus(commit(store, "tokens", "t", {"p0": table}))
    picked = pa.table({
        "id": ["z", "y"],
        "labels": pa.array([[0], [1, 2]], pa.list_(pa.int16())),
        "weight": pa.array([[0.5], [0.25, 0.25]], pa.list_(pa.float32())),
    })  # fmt: skip
    artifact = commit(store, "derived", "d", {"p0": picked})
    rows = weighted(text.labelled(artifact), artifact).rows()
    assert rows["id"].to_pylist() == ["y", "z"]
    assert rows["rule.weight"].to_pylist() == [[0.25, 0.25], [0.5]]


SMOOTH = ("st", "conlst", "nl", "bl_direct", "bl_single", "bl_joint", "sl_lou")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_with_cross_entropy_alone_have_the_key(name: str) -> None:
    config = METHODS[name].Config
    if name in SMOOTH:
        for wrong in (-0.1, 1.0):
            with pytest.raises(ValidationError, match="label_smoothing"):
                config.model_validate({"label_smoothing": wrong})
    else:
        with pytest.raises(ValidationError, match="label_smoothing"):
            config.model_validate({"label_smoothing": 0.1})


@pytest.mark.parametrize("name", SMOOTH)
def test_every_training_by_cross_entropy_has_smoothed_labels(tmp_path: Path, name: str) -> None:
    driver = MemoryDriver(tmp_path, task="pair")
    options = {"conlst": {"stage1": "none", "iterations": 1, "t0": 0.5}, "st": {"iterations": 1}}
    run_method(name, driver, label_smoothing=0.2, **options.get(name, {}))
    losses = [call.objective for call in driver.calls if call.verb == "train"]
    assert losses
    smoothed = [getattr(loss, "smoothing", None) for loss in losses]
    assert smoothed == ([0.2, None, None] if name == "nl" else [0.2] * len(losses))


def test_noise_and_smoothing_go_together(tmp_path: Path) -> None:
    keys = {"stage1": "none", "iterations": 0}
    found = []
    for smoothing in (0.0, 0.1):
        driver = MemoryDriver(tmp_path / str(smoothing), task="pair")
        run_method("conlst", driver, source_noise=0.3, label_smoothing=smoothing, **keys)
        found.append(driver.call("train", "source").objective)
    assert found == [Smoothed(0.3), NoisyAndSmooth(smoothing=0.1, radius=0.3)]
    logits = logits_of(5)
    plain, smooth = (x.loss(output_of(logits), batch())["loss"] for x in found if x is not None)
    assert smooth > plain
    torch.testing.assert_close(
        smooth, SmoothCrossEntropy(0.1).loss(output_of(logits), batch())["loss"]
    )


def test_labels_that_nothing_learns_from_are_not_smoothed() -> None:
    given = {"start_from": "run", "label_smoothing": 0.1}
    METHODS["conlst"].Config.model_validate(given)
    for name, more in (("nl", {}), ("conlst", {"iterations": 0})):
        with pytest.raises(ValidationError, match="start_from leaves no training"):
            METHODS[name].Config.model_validate({**given, **more})
