"""Prediction: the same logits in whatever order and batches sentences come."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.encoders import tokenised, write_encoder
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import InputLayout, layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.engine.inference import predict, predict_labels
from xlt_ray.models.tagger import Tagger, load_tagger

CPU = torch.device("cpu")
NUMBER = 40


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    return load_tagger(write_encoder(tmp_path_factory.mktemp("e")), ("O", "B", "C", "D")).eval()


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> InputLayout:
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


@pytest.mark.slow
def test_items_stand_in_the_order_of_the_sentences(
    tagger: Tagger, layout: InputLayout, table: pa.Table
) -> None:
    """Against one sentence at a time."""
    examples = examples_of(table, layout)
    together = by_sentence(examples, logits(tagger, examples))
    for number in range(NUMBER):
        alone = logits(tagger, examples_of(table.slice(number, 1), layout))
        torch.testing.assert_close(together[examples.ids[number]], alone, rtol=1e-4, atol=1e-5)


def test_the_order_of_sentences_does_not_matter(
    tagger: Tagger, layout: InputLayout, table: pa.Table
) -> None:
    order = np.random.default_rng(1).permutation(NUMBER)
    one, other = examples_of(table, layout), examples_of(table.take(pa.array(order)), layout)
    first = by_sentence(one, logits(tagger, one))
    second = by_sentence(other, logits(tagger, other))
    assert first.keys() == second.keys()
    for name, values in first.items():
        torch.testing.assert_close(values, second[name], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_budget_does_not_matter(tagger: Tagger, layout: InputLayout, table: pa.Table) -> None:
    examples = examples_of(table, layout)
    first = logits(tagger, examples, budget=24)
    for budget in (100, 5000):
        other = logits(tagger, examples, budget=budget)
        torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-5)


def test_the_windows_of_one_long_row_keep_to_the_budget(
    tagger: Tagger, layout: InputLayout
) -> None:
    long = tokenised([[[5 + n % 190, 7] for n in range(400)], [[9]]])
    examples, sizes = examples_of(long, layout), list[int]()
    assert examples.num_windows[0] * examples.longest[0] > 800

    def seen(module: Any, args: Any, kwargs: dict[str, torch.Tensor], output: Any) -> None:
        sizes.append(kwargs["input_ids"].numel())

    hook = tagger.encoder.register_forward_hook(seen, with_kwargs=True)
    cut = logits(tagger, examples, 200)
    hook.remove()
    assert max(sizes) <= 200
    assert len(sizes) > 4
    torch.testing.assert_close(cut, logits(tagger, examples, 10_000), rtol=1e-4, atol=1e-5)


def test_a_repeated_run_gives_the_same_bits(
    tagger: Tagger, layout: InputLayout, table: pa.Table
) -> None:
    examples = examples_of(table, layout)
    assert torch.equal(logits(tagger, examples), logits(tagger, examples))


def test_labels_are_the_largest_logits_without_dropout(
    tagger: Tagger, layout: InputLayout, table: pa.Table
) -> None:
    examples = examples_of(table, layout)
    expected = logits(tagger, examples).argmax(1).numpy()
    for mode in (True, False):
        tagger.train(mode)
        found = predict_labels(tagger, examples, budget=200, device=CPU, precision="fp32")
        assert np.array_equal(found, expected)
        assert tagger.training is mode
    tagger.eval()


def test_no_sentences(tagger: Tagger, layout: InputLayout, table: pa.Table) -> None:
    examples = examples_of(table.slice(0, 0), layout)
    assert logits(tagger, examples).shape == (0, 4)
    assert len(predict_labels(tagger, examples, budget=9, device=CPU, precision="fp32")) == 0


def test_features_of_no_sentences_have_their_width(
    tagger: Tagger, layout: InputLayout, table: pa.Table
) -> None:
    """A shard may have no row of the one language that is labelled."""
    examples = examples_of(table.slice(0, 0), layout)
    common: dict[str, Any] = {"budget": 9, "device": CPU, "precision": "fp32"}
    found = predict(tagger, examples, feature_outputs=lambda own, x: x[:, :2], **common)
    assert found.feature_outputs is not None
    assert found.feature_outputs.shape == (0, 2)
    assert predict(tagger, examples, **common).feature_outputs is None


def test_half_precision_changes_the_encoder_and_not_the_type(
    tagger: Tagger, layout: InputLayout, table: pa.Table
) -> None:
    examples = examples_of(table.slice(0, 5), layout)
    full = logits(tagger, examples)
    half = predict(tagger, examples, budget=200, device=CPU, precision="bf16").logits
    assert half.dtype == torch.float32
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.05)


class Rounded(TorchDispatchMode):
    """Counts how often weights are rounded."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_copy = func is torch.ops.aten._to_copy.default
        self.count += is_copy and isinstance(args[0], torch.nn.Parameter)
        return func(*args, **(kwargs or {}))


@pytest.mark.slow
def test_weights_are_rounded_to_half_once_per_corpus(
    tagger: Tagger, layout: InputLayout, table: pa.Table
) -> None:
    examples, counts = examples_of(table, layout), []
    for budget in (100_000, 50):  # one batch, and many
        with Rounded() as rounded:
            predict(tagger, examples, budget=budget, device=CPU, precision="bf16")
        counts.append(rounded.count)
    assert counts[0] == counts[1] > 0


def test_compiling_is_asked_of_the_encoder_for_rows_of_any_shape(
    tagger: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(type(tagger.encoder), "compile", lambda self, **kind: asked.update(kind))
    tagger.compile_encoder()
    assert asked == {"dynamic": True}


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of PyTorch itself
def test_a_compiled_encoder_says_the_same_and_keeps_the_names_of_its_weights(
    tmp_path: Path, layout: InputLayout, table: pa.Table
) -> None:
    plain = load_tagger(write_encoder(tmp_path), ("O", "B", "C", "D")).eval()
    compiled = load_tagger(tmp_path, ("O", "B", "C", "D")).eval()
    compiled.compile_encoder()
    examples = examples_of(table, layout)
    found = logits(compiled, examples)
    torch.testing.assert_close(found, logits(plain, examples), rtol=1e-4, atol=1e-5)
    assert compiled.weights().keys() == plain.weights().keys()
