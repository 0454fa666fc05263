"""Low-rank adapters: what they compute, what of a model is trained, and their files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from tests.families import FAMILIES, Family
from xlt_ray.models import lora
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.files import ADAPTERS
from xlt_ray.models.heads import probe
from xlt_ray.models.load import load_classifier
from xlt_ray.models.lora import Lora
from xlt_ray.models.span_tagger import SpanHead

SETTINGS = Lora(rank=3, alpha=6.0)
LABELS = ["O", "B-PER", "I-PER"]
SPANS = SpanHead(q=8, max_len=3)
NAMES = ("BERT", "DeBERTa-v2, v3", "ModernBERT, mmBERT", "T5", "Qwen3", "DistilBERT")


def family(name: str) -> Family:
    (found,) = (family for family in FAMILIES if family.name == name)
    return found


def logits(model: nn.Module, config: Any) -> Tensor:
    ids, mask = probe(config, torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model.eval()(input_ids=ids, attention_mask=mask).logits


def trained(folder: Path, task: Any = "token", **more: Any) -> Classifier:
    """A classifier with adapters that do something, and a head that has been moved."""
    model = load_classifier(folder, LABELS, task, lora=SETTINGS, **more)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def kept(model: Classifier, base: Path, folder: Path) -> Path:
    """The folder that a store shows of it."""
    folder.mkdir()
    model.save(folder)
    (folder / lora.BASE).symlink_to(base)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_adapters_begin_as_nothing_and_are_merged_exactly(name: str, tmp_path: Path) -> None:
    base = family(name).write(tmp_path / "base")
    plain = load_classifier(base, LABELS, "token")
    before = logits(plain.model, plain.model.config)
    fresh = load_classifier(base, LABELS, "token", lora=SETTINGS)
    torch.testing.assert_close(logits(fresh.model, fresh.model.config), before, rtol=0, atol=1e-6)
    model = trained(base)
    apart = logits(model.model, model.model.config)
    assert not torch.allclose(apart, before, atol=1e-2)
    folder = kept(model, base, tmp_path / "kept")
    assert not list(folder.glob("model*.safetensors"))
    merged = load_classifier(folder, LABELS, "token")
    torch.testing.assert_close(
        logits(merged.model, merged.model.config), apart, rtol=1e-4, atol=1e-4
    )
    assert merged.model.state_dict().keys() == plain.model.state_dict().keys()
    again = load_classifier(folder, LABELS, "token", lora=SETTINGS)
    torch.testing.assert_close(logits(again.model, again.model.config), apart, rtol=0, atol=1e-6)
    assert again.weights().keys() == model.weights().keys()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own
@pytest.mark.parametrize(("kind", "task"), [
    (AutoModelForTokenClassification, "token"), (AutoModelForSequenceClassification, "sentence"),
])  # fmt: skip
def test_peft_and_transformers_load_them(kind: Any, task: Any, tmp_path: Path) -> None:
    """Adapters on the encoder by peft; merged as an ordinary model."""
    peft = pytest.importorskip("peft")
    base = family("BERT").write(tmp_path / "base")
    model = trained(base, task)
    wanted = logits(model.model, model.model.config)
    folder = kept(model, base, tmp_path / "kept")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    torch.manual_seed(3)
    stock = kind.from_pretrained(base, config=config, trust_remote_code=False)
    found = peft.PeftModel.from_pretrained(stock, str(folder), trust_remote_code=False)
    torch.testing.assert_close(logits(found, config), wanted, rtol=1e-5, atol=1e-5)
    lora.write_merged(folder, tmp_path / "merged")
    whole = kind.from_pretrained(tmp_path / "merged", trust_remote_code=False)
    torch.testing.assert_close(logits(whole, config), wanted, rtol=1e-4, atol=1e-4)


def test_adapters_and_the_head_alone_are_trained(tmp_path: Path) -> None:
    base = family("BERT").write(tmp_path / "base")
    model = load_classifier(base, LABELS, "token", lora=SETTINGS)
    names = {name for name, x in model.named_parameters() if x.requires_grad}
    assert {name for name in names if ".lora_" not in name} == {
        "model.classifier.weight", "model.classifier.bias"
    }  # fmt: skip
    layers = model.model.config.num_hidden_layers
    assert len([name for name in names if ".lora_" in name]) == 2 * 6 * layers
    assert set(model.weights()) == names
    few = load_classifier(base, LABELS, "token", lora=Lora(3, 6.0, targets="attention"))
    found = [name for name, x in few.named_parameters() if x.requires_grad and ".lora_" in name]
    assert len(found) == 2 * 4 * layers
    assert all("attention" in name for name in found)


def test_taggers_of_spans_have_them_too(tmp_path: Path) -> None:
    base = family("BERT").write(tmp_path / "base")
    model = trained(base, spans=SPANS)
    folder = kept(model, base, tmp_path / "kept")
    again = load_classifier(folder, LABELS, "token", spans=SPANS, lora=SETTINGS)
    wanted, found = model.weights(), again.weights()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    assert not any("embedding" in name for name in load_file(folder / ADAPTERS))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    base = family("BERT").write(tmp_path / "base")
    folder = kept(trained(base), base, tmp_path / "kept")
    with pytest.raises(ValueError, match=r"has adapters of rank 3 and alpha 6 on 12 layers"):
        load_classifier(folder, LABELS, "token", lora=Lora(4, 6.0))
    (folder / lora.BASE).unlink()
    with pytest.raises(ValueError, match="holds adapters, and not the encoder"):
        load_classifier(folder, LABELS, "token")
    (folder / lora.BASE).symlink_to(base)
    path = folder / ADAPTERS
    save_file({name: x[:-1].contiguous() for name, x in load_file(path).items()}, path)
    with pytest.raises(ValueError, match=r"lora_A.weight is not there, or has another shape"):
        load_classifier(folder, LABELS, "token")


def test_a_new_adapter_is_drawn_from_its_seed(tmp_path: Path) -> None:
    base = family("BERT").write(tmp_path / "base")
    first, second, other = (
        load_classifier(base, LABELS, "token", lora=SETTINGS, seed=seed).weights()
        for seed in (1, 1, 2)
    )
    a = next(name for name in first if ".lora_A" in name)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first[a], other[a])
