"""The text classifier is a stock sequence classifier, read at its pooled first token."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
)

from tests.encoders import tokenised, write_encoder
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import InputLayout, layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.models.classifier import OWN_FILE
from xlt_ray.models.text_classifier import PROJECTION_FILE, TextClassifier, load_text_classifier

LABELS = ("entailment", "neutral", "contradiction")
PAIRS = [[[10, 11], [12]], [[20], [21, 22, 23]], [[30] * 3, [31] * 9]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def batch(encoder: Path) -> Batch:
    layout = layout_of(load_tokenizer(str(encoder)), 16, "pair")
    return examples_of(tokenised(PAIRS), layout).collate([2, 0, 1])


@torch.inference_mode()
def logits_of(model: TextClassifier, batch: Batch) -> torch.Tensor:
    return model.eval()(batch).logits


@torch.inference_mode()
def stock_logits(folder: Path, batch: Batch, *, segments: bool = False) -> torch.Tensor:
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, trust_remote_code=False
    ).eval()
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if segments:
        inputs["token_type_ids"] = batch.segments
    return model(**inputs).logits


def test_eager_attention_differs_by_rounding_alone(
    encoder: Path, batch: Batch, tmp_path: Path
) -> None:
    """Padding is left out, and the folder does not say how attention was computed."""
    model = load_text_classifier(encoder, LABELS)
    wanted = logits_of(model, batch)
    model.save(tmp_path / "fused")
    for _ in range(2):  # what is asked for twice is done
        model.use_eager_attention()
    torch.testing.assert_close(logits_of(model, batch), wanted)
    assert model.model.config._attn_implementation == "eager"
    model.save(tmp_path / "plain")
    fused, plain = ((tmp_path / x / "config.json").read_text() for x in ("fused", "plain"))
    assert fused == plain


@pytest.mark.slow
@pytest.mark.parametrize("dim_reduce", [None, 2, 8])
def test_a_saved_classifier_is_the_stock_model(
    encoder: Path, batch: Batch, tmp_path: Path, dim_reduce: int | None
) -> None:
    """A projected head too: its factors multiplied are the stock model's one layer."""
    model = load_text_classifier(encoder, LABELS, seed=5, dim_reduce=dim_reduce)
    ours = logits_of(model, batch)
    model.save(tmp_path)
    assert ours.shape == (3, 3)
    torch.testing.assert_close(ours, stock_logits(tmp_path, batch), rtol=1e-5, atol=1e-6)
    again = load_text_classifier(tmp_path, LABELS, seed=6, dim_reduce=dim_reduce)
    assert torch.equal(logits_of(again, batch), ours)
    assert (tmp_path / PROJECTION_FILE).exists() == (dim_reduce is not None)


def test_the_projection_has_a_fraction_of_the_width(encoder: Path, batch: Batch) -> None:
    plain = load_text_classifier(encoder, LABELS)
    reduced = load_text_classifier(encoder, LABELS, dim_reduce=8)
    assert (plain.width, reduced.width) == (16, 2)
    assert reduced(batch).features.shape == (3, 2)
    assert {name for name, p in reduced.named_parameters() if not p.requires_grad} == {
        "model.classifier.out_proj.weight", "model.classifier.out_proj.bias",
    }  # fmt: skip
    reduced(batch).logits.square().sum().backward()
    missing = [n for n, p in reduced.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []


@pytest.mark.parametrize("other", [2, 16])
def test_another_projection_than_the_saved_one_starts_anew(
    encoder: Path, tmp_path: Path, other: int
) -> None:
    """A width of 16 has 2 rows with 8; 8 rows with 2, and with 16 one row, which would spread."""
    saved = load_text_classifier(encoder, LABELS, dim_reduce=8)
    saved.save(tmp_path)
    found = load_text_classifier(tmp_path, LABELS, dim_reduce=other, seed=1)
    assert found.projection is not None
    assert found.projection.weight.shape[0] == found.projection.weight.shape[1] // other
    again = load_text_classifier(tmp_path, LABELS, dim_reduce=8, seed=1)
    assert again.projection is not None
    assert saved.projection is not None
    assert torch.equal(again.projection.weight, saved.projection.weight)


def test_a_projection_narrower_than_one_is_refused(encoder: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.dim_reduce: 17 is more than the width 16"):
        load_text_classifier(encoder, LABELS, dim_reduce=17)


def test_an_encoder_with_segments_and_a_pooler(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "encoder")
    batch = examples_of(tokenised(PAIRS), InputLayout(1, 2, 0, 16, 1, "pair")).collate([0, 1, 2])
    model = load_text_classifier(tmp_path / "encoder", LABELS)
    model.save(tmp_path / "model")
    theirs = stock_logits(tmp_path / "model", batch, segments=True)
    torch.testing.assert_close(logits_of(model, batch), theirs, rtol=0, atol=1e-6)
    other = stock_logits(tmp_path / "model", batch, segments=False)
    assert not torch.allclose(theirs, other), "the second text is told from the first"


def test_a_family_with_another_head_is_refused(tmp_path: Path) -> None:
    """Its pooler is a mere linear layer, with the activation elsewhere."""
    config = AlbertConfig(
        vocab_size=30, hidden_size=8, embedding_size=8, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=8,
    )  # fmt: skip
    AlbertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="head of AlbertForSequenceClassification is of a kind"):
        load_text_classifier(tmp_path, LABELS)


@pytest.mark.parametrize("dim_reduce", [None, 4])
def test_other_labels_get_a_new_head(encoder: Path, tmp_path: Path, dim_reduce: int | None) -> None:
    model = load_text_classifier(encoder, LABELS, seed=1, dim_reduce=dim_reduce)
    model.save(tmp_path)
    kept = load_text_classifier(tmp_path, LABELS, seed=2, dim_reduce=dim_reduce)
    new = load_text_classifier(tmp_path, LABELS[::-1], seed=2, dim_reduce=dim_reduce)
    assert torch.equal(kept.head.weight, model.head.weight)
    assert not torch.equal(new.head.weight, model.head.weight)


def test_an_objectives_part_travels_with_the_model(encoder: Path, tmp_path: Path) -> None:
    model = load_text_classifier(encoder, LABELS)
    own = torch.nn.Linear(model.width, 1)
    assert not model.attach(own, encoder)
    model.save(tmp_path)
    assert set(load_file(tmp_path / OWN_FILE)) == {"weight", "bias"}
    again = load_text_classifier(tmp_path, LABELS)
    other = torch.nn.Linear(model.width, 1)
    assert again.attach(other, tmp_path)
    assert torch.equal(other.weight, own.weight)
    narrow = torch.nn.Linear(1, 1)
    before = narrow.weight.clone()
    assert not again.attach(narrow, tmp_path), "a part of another shape is another part"
    assert torch.equal(narrow.weight, before)
    assert not again.attach(None, tmp_path)
