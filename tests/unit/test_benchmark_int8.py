"""What the comparison of int8 passes does by itself: smoothed blocks, labels, its table."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from benchmarks.int8 import (
    Graph,
    Way,
    computed_by,
    export,
    in_onnxruntime,
    labels_of,
    smoothed,
    table,
)
from tests.encoders import tokenised, write_tagger
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.tagger import load_tagger

LABELS = ("O", "B-PER", "I-PER")


def tagger_and_text(folder: Path) -> tuple[Classifier, list[Batch]]:
    saved = write_tagger(folder, LABELS)
    layout = layout_of(load_tokenizer(str(saved)), 32)
    draw = np.random.default_rng(0)
    rows = [[[int(x)] for x in draw.integers(5, 250, size)] for size in (3, 9, 12, 12)]
    examples = examples_of(tokenised(rows), layout)
    model = load_tagger(saved, LABELS).eval()
    return model, [examples.collate(part) for part in ([0], [1], [2, 3])]


@pytest.mark.slow
def test_smoothed_blocks_are_int8_and_say_nearly_the_same(tmp_path: Path) -> None:
    """Rounding moves a value by half a step at most, of 127 steps to the largest of its block; the
    factors cancel, so states differ by some hundredths of their own size and not by more."""
    model, texts = tagger_and_text(tmp_path)
    whole = tmp_path / "whole.onnx"
    export(model.encoder, whole)
    path = smoothed(whole, 16, texts)
    nodes = onnx.load(path).graph.node
    scaled = [node for node in nodes if node.op_type == "DequantizeLinear"]
    assert len(scaled) == 2 * 6
    for batch in texts:
        given = (batch.input_ids.numpy(), batch.attention_mask.numpy())
        wanted, found = in_onnxruntime(whole)(*given), in_onnxruntime(path)(*given)
        off = np.abs(found - wanted).max() / np.abs(wanted).max()
        assert 0 < off < 0.05


def test_another_encoder_computes_only_for_a_while(tmp_path: Path) -> None:
    model, texts = tagger_and_text(tmp_path)
    own, before = model.encoder, labels_of(model, texts)
    assert len(before) == 36

    def nothing(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.zeros((*ids.shape, 16), np.float32)

    with computed_by(model, Graph(nothing)):
        bias = model.state_dict()["model.classifier.bias"]
        assert labels_of(model, texts).tolist() == [int(bias.argmax())] * 36
    assert model.encoder is own
    assert labels_of(model, texts).tolist() == before.tolist()


def test_ratios_are_of_medians_to_the_first() -> None:
    """Medians 2 and 1 processor seconds, 4 and 8 seconds: 2.00 and 0.50 of the first."""
    encoder = torch.nn.Identity()
    first = Way("a", encoder, 1.0, [3.0, 4.0, 5.0], [2.0, 1.0, 3.0])
    other = Way("b", encoder, 0.9876, [8.0, 8.0, 9.0], [1.0, 1.0, 5.0])
    lines = table([first, other]).splitlines()
    assert lines[2] == "| a | 2.00 | 1.00 | 4.00 | 1.00 | 100.00% |"
    assert lines[3] == "| b | 1.00 | 2.00 | 8.00 | 0.50 | 98.76% |"
