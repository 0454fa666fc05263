"""The tagger is a stock token classifier, read at first sub-words."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForTokenClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
)

from tests.encoders import tokenised, write_encoder
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.models.tagger import Tagger, load_tagger
from xlt_ray.ops.evidential import evidence

LABELS = ("O", "B-X", "I-X")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def batch(encoder: Path) -> Batch:
    layout = layout_of(load_tokenizer(str(encoder)), 16)
    sentences = [[[10, 11], [12]], [[20], [21, 22, 23], [24]], [[30]] * 30]
    return examples_of(tokenised(sentences), layout).collate([2, 0, 1])


@torch.inference_mode()
def logits_of(tagger: Tagger, batch: Batch) -> torch.Tensor:
    return tagger.eval()(batch).logits


@torch.inference_mode()
def stock_logits(folder: Path, batch: Batch) -> torch.Tensor:
    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False).eval()
    found = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return found.flatten(0, 1)[batch.items]


def test_items_have_the_stock_models_logits(encoder: Path, batch: Batch, tmp_path: Path) -> None:
    tagger = load_tagger(encoder, LABELS)
    tagger.save(tmp_path)
    ours, theirs = logits_of(tagger, batch), stock_logits(tmp_path, batch)
    assert ours.shape == (len(batch.items), 3)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_saving_and_loading_changes_nothing(encoder: Path, batch: Batch, tmp_path: Path) -> None:
    tagger = load_tagger(encoder, LABELS, seed=5)
    tagger.save(tmp_path)
    again = load_tagger(tmp_path, LABELS, seed=6)
    assert torch.equal(logits_of(tagger, batch), logits_of(again, batch))
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["id2label"] == {"0": "O", "1": "B-X", "2": "I-X"}
    assert config["label2id"] == {"O": 0, "B-X": 1, "I-X": 2}
    assert str(encoder) not in (tmp_path / "config.json").read_text()


def test_the_same_model_has_the_same_bytes(encoder: Path, tmp_path: Path) -> None:
    for name in "ab":
        load_tagger(encoder, LABELS, seed=5).save(tmp_path / name)
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_tokenizer_of_an_encoder_serves_its_tagger(encoder: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
    assert tokenizer.is_fast


def test_the_largest_evidence_is_the_largest_logit(encoder: Path, batch: Batch) -> None:
    logits = logits_of(load_tagger(encoder, LABELS, seed=1), batch)
    spread = torch.randn(2000, 7, generator=torch.Generator().manual_seed(0)) * 20
    for values in (logits, spread):
        assert torch.equal(evidence(values.double()).argmax(1), values.argmax(1))


def test_a_new_head_depends_on_its_seed_alone(encoder: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    heads = [load_tagger(encoder, LABELS, seed=seed).head.weight for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before), "the caller's randomness was used"
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_the_seed_leaves_the_encoder_alone(encoder: Path) -> None:
    one, other = (load_tagger(encoder, LABELS, seed=seed).encoder.state_dict() for seed in (3, 4))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_dropout_reaches_every_layer(encoder: Path, batch: Batch) -> None:
    tagger = load_tagger(encoder, LABELS, dropout=0.37)
    rates = {m.p for m in tagger.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.37}
    still = load_tagger(encoder, LABELS, dropout=0.0).train()
    run = [still(batch).logits for _ in range(2)]
    assert torch.equal(run[0], run[1])


def test_gradient_checkpointing_gives_the_same_gradients(encoder: Path, batch: Batch) -> None:
    gradients = []
    for checkpointing in (False, True):
        tagger = load_tagger(encoder, LABELS, dropout=0.0, gradient_checkpointing=checkpointing)
        tagger.train()(batch).logits.square().sum().backward()
        gradients.append([p.grad for p in tagger.encoder.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_of_nothing_has_no_logits_and_a_gradient(encoder: Path) -> None:
    layout = layout_of(load_tokenizer(str(encoder)), 16)
    batch = examples_of(tokenised([]), layout).collate([])
    tagger = load_tagger(encoder, LABELS)
    logits = tagger(batch).logits
    assert logits.shape == (0, 3)
    logits.sum().backward()


def test_an_encoder_of_another_family(batch: Batch, tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "encoder")
    tagger = load_tagger(tmp_path / "encoder", LABELS)
    tagger.save(tmp_path / "tagger")
    theirs = stock_logits(tmp_path / "tagger", batch)
    torch.testing.assert_close(logits_of(tagger, batch), theirs, rtol=0, atol=1e-6)


def test_a_family_without_such_a_head_is_refused(tmp_path: Path) -> None:
    """The message lists tested families that have one."""
    config = Gemma3TextConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8,
        num_key_value_heads=1, intermediate_size=8,
    )  # fmt: skip
    Gemma3TextModel(config).save_pretrained(tmp_path)
    said = r"token classification of the family gemma3_text; tested families.*: bert, xlm-roberta,"
    with pytest.raises(ValueError, match=said):
        load_tagger(tmp_path, LABELS)


def test_a_tagger_for_other_labels_gets_a_new_head(tmp_path: Path) -> None:
    folder = tmp_path / "tagger"
    tagger = load_tagger(write_encoder(tmp_path / "encoder"), ("O", "B-A", "I-A"), seed=1)
    tagger.save(folder)
    weight = tagger.head.weight
    assert torch.equal(load_tagger(folder, ("O", "B-A", "I-A"), seed=2).head.weight, weight)
    assert not torch.equal(load_tagger(folder, ("O", "B-B", "I-B"), seed=2).head.weight, weight)
    assert load_tagger(folder, ("O", "B-A"), seed=2).head.weight.shape[0] == 2


def test_the_head_of_a_text_classifier_is_not_kept(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8, id2label=dict(enumerate(LABELS)),
    )  # fmt: skip
    theirs = BertForSequenceClassification(config)
    theirs.save_pretrained(tmp_path)
    heads = [load_tagger(tmp_path, LABELS, seed=seed).head.weight for seed in (3, 3)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], theirs.classifier.weight)


def test_a_tagger_of_many_labels_keeps_its_head(encoder: Path, tmp_path: Path) -> None:
    """More than ten, so that class ids as text do not sort as numbers."""
    labels = [f"L{number}" for number in range(12)]
    tagger = load_tagger(encoder, labels, seed=1)
    tagger.save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = dict(sorted(config["id2label"].items()))
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert torch.equal(load_tagger(tmp_path, labels, seed=2).head.weight, tagger.head.weight)
