"""Memory of a training on a GPU, beside what models keep for their backward pass."""

from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForTokenClassification,
    ModernBertConfig,
    ModernBertForTokenClassification,
)

from xlt_ray.config.schema import LoraConfig, TrainConfig
from xlt_ray.engine.footprint import footprint, memory_line

WIDTH, INNER, LAYERS, ROWS, LENGTH = 64, 256, 3, 64, 32
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
    "num_attention_heads": 2, "vocab_size": 100,
}  # fmt: skip
BASE = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "vocab_size": 250_002}  # fmt: skip


def kept_by(model: torch.nn.Module, *, bf16: bool) -> int:
    """Bytes that a forward pass keeps for the backward pass, without the parameters."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held, found = list[torch.Tensor](), dict[int, int]()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held.append(tensor)
        if storage.data_ptr() not in parameters:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(5, 90, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16),
    ):
        model.train()(input_ids=ids, attention_mask=torch.ones_like(ids))
    return sum(found.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_a_pass_keeps_is_near_what_models_keep(precision: str) -> None:
    train = TrainConfig(max_tokens=ROWS * LENGTH)
    _, _, told = footprint(SIZES, train, precision)
    bert = BertForTokenClassification(BertConfig(**SIZES, attention_probs_dropout_prob=0.0))
    gated = ModernBertForTokenClassification(ModernBertConfig(**SIZES, pad_token_id=0))
    assert 0.7 < kept_by(bert, bf16=precision == "bf16") / told < 1.4
    assert 0.7 < kept_by(gated, bf16=precision == "bf16") / told < 2.0


def test_weights_and_moments() -> None:
    weights, optimiser, kept = footprint(BASE, TrainConfig(), "fp32")
    parameters = 12 * (4 * 768**2 + 2 * 768 * 3072) + 250_002 * 768
    assert weights == 4 * parameters
    assert optimiser == 12 * parameters
    frozen = footprint(BASE, TrainConfig(freeze_embeddings=True), "fp32")
    assert frozen[1] == 12 * (parameters - 250_002 * 768)
    adapters = footprint(BASE, TrainConfig(lora=LoraConfig(rank=8)), "fp32")
    assert adapters[1] < optimiser / 50
    again = footprint(BASE, TrainConfig(gradient_checkpointing=True), "fp32")
    assert again[2] < kept / 5
    assert footprint(BASE, TrainConfig(max_tokens=8192), "fp32")[2] == 2 * kept


def test_the_line_says_where_it_fits() -> None:
    line = memory_line(BASE, TrainConfig(), "bf16")
    assert line.startswith("memory: training takes about ")
    assert line.endswith("fits GPUs of 24, 80, 141 GB")
    large = {**BASE, "hidden_size": 8192, "intermediate_size": 32768, "num_hidden_layers": 80}
    assert memory_line(large, TrainConfig(), "bf16").endswith("fits none of 141 GB")


def test_parts_take_their_share_and_what_is_at_work() -> None:
    alone, many = (footprint(BASE, TrainConfig(), "fp32", workers) for workers in (1, 1000))
    embeddings = 4 * BASE["vocab_size"] * BASE["hidden_size"]
    assert embeddings < many[0] < 0.9 * alone[0]
    assert many[1] < alone[1] / 2
    assert many[2] == alone[2]
    assert "of each GPU" in memory_line(BASE, TrainConfig(), "bf16", 4)
