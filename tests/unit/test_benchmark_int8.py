"""What the comparison of int8 passes does by itself: graphs of runs, labels, its table."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.int8 import (
    Graph,
    Way,
    labels_of,
    own_ways,
    table,
)
from tests.encoders import tokenised, write_tagger
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.int8 import computed_by
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
def test_graphs_of_runs_are_ways(tmp_path: Path) -> None:
    """Their layers have fewer inputs than a block, so that both sizes say the same."""
    model, texts = tagger_and_text(tmp_path)
    one, two = own_ways(model, tmp_path, texts)
    assert (one.name, two.name) == (
        "the graph of a run, blocks of 64", "the graph of a run, blocks of 128"
    )  # fmt: skip
    wanted, found = labels_of(model, texts), list[np.ndarray]()
    for way in (one, two):
        with computed_by(model, way.encoder):
            found.append(labels_of(model, texts))
    assert found[0].tolist() == found[1].tolist()
    assert (found[0] == wanted).mean() > 0.9


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
