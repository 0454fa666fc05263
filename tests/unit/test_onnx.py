"""The graph of a stock model takes all that the model is given."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from xlt_ray.models.onnx import NAME, TOLERANCE, write_onnx


@pytest.mark.slow
def test_segments_of_pairs_reach_the_graph(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64, initializer_range=1.0,
    )  # fmt: skip
    config.num_labels = 3
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    assert write_onnx(tmp_path, task="pair") < TOLERANCE
    session = onnxruntime.InferenceSession(str(tmp_path / NAME))
    names = [item.name for item in session.get_inputs()]
    assert names == ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.tensor([[7, 8, 9, 10]])
    said = []
    for segments in (torch.zeros_like(ids), torch.tensor([[0, 0, 1, 1]])):
        values = (ids, torch.ones_like(ids), segments)
        feed = {name: value.numpy() for name, value in zip(names, values, strict=True)}
        with torch.inference_mode():
            ours = model(ids, values[1], segments).logits.numpy()
        theirs = np.asarray(session.run(None, feed)[0])
        np.testing.assert_allclose(theirs, ours, atol=TOLERANCE)
        said.append(theirs)
    assert np.abs(said[0] - said[1]).max() > 0.01
