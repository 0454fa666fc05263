"""Prediction: the same logits in whatever order and batches sentences come."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.encoders import tokenised, write_encoder
from xlt_ray.data.examples import Examples, Layout, examples_of, layout_of
from xlt_ray.data.tokenise import load_tokenizer
from xlt_ray.engine.inference import autocast, predict, predict_labels
from xlt_ray.models.tagger import Tagger, load_tagger

CPU = torch.device("cpu")
NUMBER = 40


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    return load_tagger(write_encoder(tmp_path_factory.mktemp("e")), ("O", "B", "C", "D")).eval()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return layout_of(load_tokenizer(str(write_encoder(tmp_path_factory.mktemp("e")))), 24)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Sentences of 1 to 40 words of up to 3 pieces: some need windows."""
    draw = np.random.default_rng(0)
    sentences = [
        [draw.integers(5, 200, draw.integers(1, 4)).tolist() for _ in range(draw.integers(1, 41))]
        for _ in range(NUMBER)
    ]
    return tokenised(sentences)


def logits(tagger: Tagger, examples: Examples, budget: int = 200) -> torch.Tensor:
    return predict(tagger, examples, budget=budget, device=CPU, precision="fp32").logits


def by_sentence(examples: Examples, found: torch.Tensor) -> dict[str, torch.Tensor]:
    sizes = np.diff(examples.item_offsets).tolist()
    return dict(zip(examples.ids, found.split(sizes), strict=True))


def test_items_stand_in_the_order_of_the_sentences(
    tagger: Tagger, layout: Layout, table: pa.Table
) -> None:
    """Against one sentence at a time."""
    examples = examples_of(table, layout)
    together = by_sentence(examples, logits(tagger, examples))
    for number in range(NUMBER):
        alone = logits(tagger, examples_of(table.slice(number, 1), layout))
        torch.testing.assert_close(together[examples.ids[number]], alone, rtol=1e-4, atol=1e-5)


def test_the_order_of_sentences_does_not_matter(
    tagger: Tagger, layout: Layout, table: pa.Table
) -> None:
    order = np.random.default_rng(1).permutation(NUMBER)
    one, other = examples_of(table, layout), examples_of(table.take(pa.array(order)), layout)
    first = by_sentence(one, logits(tagger, one))
    second = by_sentence(other, logits(tagger, other))
    assert first.keys() == second.keys()
    for name, values in first.items():
        torch.testing.assert_close(values, second[name], rtol=1e-4, atol=1e-5)


def test_the_budget_does_not_matter(tagger: Tagger, layout: Layout, table: pa.Table) -> None:
    examples = examples_of(table, layout)
    first = logits(tagger, examples, budget=24)
    for budget in (100, 5000):
        other = logits(tagger, examples, budget=budget)
        torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-5)


def test_a_repeated_run_gives_the_same_bits(
    tagger: Tagger, layout: Layout, table: pa.Table
) -> None:
    examples = examples_of(table, layout)
    assert torch.equal(logits(tagger, examples), logits(tagger, examples))


def test_labels_are_the_largest_logits_without_dropout(
    tagger: Tagger, layout: Layout, table: pa.Table
) -> None:
    examples = examples_of(table, layout)
    expected = logits(tagger, examples).argmax(1).numpy()
    for mode in (True, False):
        tagger.train(mode)
        found = predict_labels(tagger, examples, budget=200, device=CPU, precision="fp32")
        assert np.array_equal(found, expected)
        assert tagger.training is mode
    tagger.eval()


def test_no_sentences(tagger: Tagger, layout: Layout, table: pa.Table) -> None:
    examples = examples_of(table.slice(0, 0), layout)
    assert logits(tagger, examples).shape == (0, 4)
    assert len(predict_labels(tagger, examples, budget=9, device=CPU, precision="fp32")) == 0


def test_half_precision_changes_the_encoder_and_not_the_type(
    tagger: Tagger, layout: Layout, table: pa.Table
) -> None:
    examples = examples_of(table.slice(0, 5), layout)
    full = logits(tagger, examples)
    half = predict(tagger, examples, budget=200, device=CPU, precision="bf16").logits
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.05)


def test_half_precision_is_left_off_on_cpus_unless_asked_for() -> None:
    for precision, wanted in (("auto", False), ("fp32", False), ("bf16", True)):
        with autocast(CPU, precision):  # type: ignore[arg-type]
            assert torch.is_autocast_enabled("cpu") is wanted
