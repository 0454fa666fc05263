"""A stock classifier whose encoder computes in int8, as OpenVINO loads it: head and all.

The files are named as optimum-intel names them. The head stays in float32.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.schema import Task
from xlt_ray.data.stock import stock
from xlt_ray.models.heads import probe
from xlt_ray.models.int8 import (
    BLOCK,
    SEGMENTS,
    Runtime,
    check_family,
    check_same,
    quantise,
    save,
    traced,
)
from xlt_ray.models.onnx import SHAPES

NAME = "openvino_model.xml"
"""The graph; its weights lie beside it, as ``openvino_model.bin``."""


class _Logits(nn.Module):
    """The logits alone."""

    def __init__(self, model: nn.Module, fixed: Mapping[str, bool]):
        super().__init__()
        self.model, self.fixed = model, dict(fixed)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        more = {} if token_type_ids is None else {SEGMENTS: token_type_ids}
        given = {"input_ids": input_ids, "attention_mask": attention_mask}
        return self.model(**given, **more, **self.fixed).logits


@torch.no_grad()
def write_int8(folder: Path, batches: Sequence[Batch], *, task: Task) -> dict[str, Any]:
    """Write a saved model's graph in int8 beside it; returns facts about it.

    Args:
        folder: Of the model, in the Hugging Face layout.
        batches: Text that tells the largest inputs.
        task: Kind of task.

    Returns:
        ``layers`` in int8, the ``block`` of inputs with one scale, and ``equal_labels``, the share
        of the text's items that have the label of float32.

    Raises:
        Int8Error: the model has no graph, or one that says something else.
        ConfigError: OpenVINO is not installed.
    """
    kind = "Token" if task == "token" else "Sequence"
    family = stock(f"AutoModelFor{kind}Classification")
    model = family.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()
    name, config = type(model).__name__, model.config
    check_family(config.to_dict(), name, task)
    has_segments = (getattr(config, "type_vocab_size", 1) or 1) > 1
    fixed = {"use_cache": False} if getattr(config, "use_cache", False) else {}
    logits, generator = _Logits(model, fixed), torch.Generator().manual_seed(0)

    def given(ids: Tensor, mask: Tensor, segments: Tensor) -> list[Tensor]:
        return [ids, mask, segments] if has_segments else [ids, mask]

    probes = list[list[Tensor]]()
    for rows, width in SHAPES:
        ids, mask = probe(config, generator, rows, width)
        probes.append(given(ids, mask, torch.zeros_like(ids)))
    graph = traced(logits, tuple(probes[1]), name)
    check_same(logits, graph, probes, name)
    texts = [given(x.input_ids, x.attention_mask, x.segments) for x in batches]
    fed = [[x.numpy() for x in text] for text in texts]
    encoder = f".{model.base_model_prefix}."
    count = quantise(graph, fed, block=BLOCK, wanted=lambda node: encoder in node)
    run, equal = Runtime(graph, block=BLOCK, threads=1), list[np.ndarray]()
    for batch, text, arrays in zip(batches, texts, fed, strict=True):
        ours, theirs = logits(*text).numpy(), run(arrays)
        same = ours.argmax(axis=-1) == theirs.argmax(axis=-1)
        equal.append(same.reshape(-1)[batch.items.numpy()] if task == "token" else same)
    graph.outputs[0].set_names({"logits"})
    graph.set_rt_info(str(BLOCK), ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    save(graph, folder / NAME)
    share = float(np.concatenate(equal).mean())
    return {"layers": count, "block": BLOCK, "equal_labels": round(share, 6)}
