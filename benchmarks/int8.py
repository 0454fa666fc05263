"""The encoder in int8 on CPUs: time of each library's pass, and how many words keep their label.

Taggers that runtimes compute are compared with the bare float32 pass of PyTorch: the same batches,
one thread, head in float32. The tagger learned English and labels text of other languages, as the
annotator of a run does. OpenVINO and NNCF are left out where they are not installed.

    python -m benchmarks.int8 --wikiann FOLDER --backbone FOLDER [--model FOLDER] [--rows 200]
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from benchmarks.inference import MAX_LENGTH
from benchmarks.measure import REPEATS, machine, title
from benchmarks.setting import Data, begun
from xlt_ray.config.extras import is_there
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.tagger import load_tagger

TARGETS = ("de", "es", "ru", "tr", "hi", "sw")
EPOCHS, RATE, SOURCE = 4, 1e-4, 1200
GROUPS = (64, 128, 384)
"""Inputs of a linear layer that share a scale while OpenVINO computes."""
BLOCKS = (32, 128)
"""Weights and inputs that share a scale in MatMulNBits of ONNX Runtime."""
SMOOTHED = (64, 128)
"""Weights and inputs that share a scale where large inputs are moved into the weights."""
MOVED = 0.5
"""Power of the largest input that is moved: alpha of SmoothQuant (Xiao et al., 2023)."""
LOOKED_AT = 100
"""Source sentences that tell the largest inputs."""
Pass = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""[B, T, H] last hidden state of [B, T] sub-words and their mask."""


class Graph(nn.Module):
    """An encoder that a runtime computes, in place of a model's own."""

    def __init__(self, run: Pass):
        super().__init__()
        self.run = run

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: object) -> dict[str, Tensor]:
        """Its last hidden state; the texts are one segment each."""
        found = self.run(input_ids.numpy(), attention_mask.numpy())
        return {"last_hidden_state": torch.from_numpy(found)}


class States(nn.Module):
    """The last hidden state alone, for the exporter."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, T, H] of sub-words and their mask."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask)["last_hidden_state"]


@dataclass
class Way:
    """One way to compute the encoder.

    Attributes:
        name: What the table calls it.
        encoder: What computes it.
        equal: Share of the words that have the label of the first way.
        wall: Seconds of each turn.
        cpu: Processor seconds of each turn, of all threads.
    """

    name: str
    encoder: nn.Module
    equal: float
    wall: list[float]
    cpu: list[float]


def export(encoder: nn.Module, path: Path) -> None:
    """Write an encoder's graph in float32, for batches of any size."""
    names = ["input_ids", "attention_mask"]
    shape = {0: torch.export.Dim("rows", min=1), 1: torch.export.Dim("width", min=2)}
    ids = torch.arange(51).reshape(3, 17) + 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own, about its own parts
        torch.onnx.export(
            States(encoder).eval(), (ids, torch.ones_like(ids)), str(path), input_names=names,
            output_names=["states"], dynamic_shapes=(shape, shape), dynamo=True,
            external_data=False, verbose=False,
        )  # fmt: skip


def session_of(path: Path) -> Any:
    """A session of ONNX Runtime, in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options)


def in_onnxruntime(path: Path) -> Pass:
    """The pass of ONNX Runtime."""
    session = session_of(path)
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def onnxruntime_ways(whole: Path, texts: Sequence[Batch]) -> Iterator[tuple[str, Pass]]:
    """Float32, int8 with one scale per batch, int8 with a scale per block."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization import matmul_nbits_quantizer as blocks

    yield "ONNX Runtime, float32", in_onnxruntime(whole)
    path = whole.with_name("dynamic.onnx")
    quantize_dynamic(
        whole, path, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"]
    )
    yield "ONNX Runtime, dynamic, weights per channel", in_onnxruntime(path)
    for size in BLOCKS:
        config = blocks.DefaultWeightOnlyQuantConfig(
            block_size=size, is_symmetric=True, accuracy_level=4, bits=8
        )
        found = blocks.MatMulNBitsQuantizer(onnx.load(whole), algo_config=config)
        found.process()
        path = whole.with_name(f"blocks-{size}.onnx")
        quantised: Any = found.model
        onnx.save(quantised.model, path)
        yield f"ONNX Runtime, MatMulNBits, blocks of {size}", in_onnxruntime(path)


def largest_inputs(whole: Path, names: Sequence[str], texts: Sequence[Batch]) -> dict[str, Any]:
    """[K] largest absolute value of each input channel of linear layers, by the tensor's name."""
    import onnx

    model = onnx.load(whole)
    del model.graph.output[:]
    kind = onnx.TensorProto.FLOAT
    shown = [onnx.helper.make_tensor_value_info(name, kind, None) for name in names]
    model.graph.output.extend(shown)
    path = whole.with_name("inputs.onnx")
    onnx.save(model, path)
    run, found = session_of(path), dict.fromkeys(names, np.float32(1e-5))
    for batch in texts:
        mask = batch.attention_mask.numpy()
        values = run.run(None, {"input_ids": batch.input_ids.numpy(), "attention_mask": mask})
        for name, value in zip(names, values, strict=True):
            own = np.abs(np.asarray(value)[mask.astype(bool)]).max(axis=0)
            found[name] = np.maximum(found[name], own)
    return found


def smoothed(whole: Path, size: int, texts: Sequence[Batch]) -> Path:
    """Write a graph whose linear layers have int8 weights with a scale per block of inputs.

    Inputs are divided, and weights multiplied, by a number per input channel, so that single large
    channels do not set the scale of their block. In float32 that changes nothing.

    Args:
        whole: The graph in float32.
        size: Inputs of a block.
        texts: Source text, which tells the largest inputs.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(whole)
    stored = {value.name: value for value in model.graph.initializer}
    layers = [x for x in model.graph.node if x.op_type == "MatMul" and x.input[1] in stored]
    weights = {x.input[1]: numpy_helper.to_array(stored[x.input[1]]) for x in layers}
    names = sorted({x.input[0] for x in layers})
    most, factors, nodes = largest_inputs(whole, names, texts), dict[str, np.ndarray](), []
    for name in names:
        tops = [np.abs(weights[x.input[1]]).max(axis=1) for x in layers if x.input[0] == name]
        top = np.maximum(np.max(tops, axis=0), 1e-5)
        factors[name] = most[name] ** MOVED / top ** (1 - MOVED)
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            given, name = list(node.input)
            if f"{given}/factor" not in stored:
                factor = numpy_helper.from_array(1 / factors[given], f"{given}/factor")
                stored[factor.name] = factor
                nodes.append(helper.make_node("Mul", [given, factor.name], [f"{given}/smooth"]))
            node.input[0] = f"{given}/smooth"
            weight = weights[name] * factors[given][:, None]
            parts = weight.reshape(-1, min(size, len(weight)), weight.shape[1])
            scales = np.abs(parts).max(axis=1) / 127
            small = np.rint(parts / scales[:, None]).astype(np.int8).reshape(weight.shape)
            del stored[name]
            stored[f"{name}/int8"] = numpy_helper.from_array(small, f"{name}/int8")
            stored[f"{name}/scale"] = numpy_helper.from_array(scales, f"{name}/scale")
            inputs, block = [f"{name}/int8", f"{name}/scale"], parts.shape[1]
            nodes.append(
                helper.make_node("DequantizeLinear", inputs, [name], axis=0, block_size=block)
            )
        nodes.append(node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(stored.values())
    model.opset_import[0].version = 21  # the first with blocks
    path = whole.with_name(f"smoothed-{size}.onnx")
    onnx.save(model, path)
    return path


def openvino_ways(whole: Path, texts: Sequence[Batch]) -> Iterator[tuple[str, Pass]]:
    """Float32, int8 weights per channel with inputs in groups, and smoothed blocks of both."""
    os.environ.setdefault("NNCF_DEV", "1")  # else it reports each use over the network
    openvino, nncf = import_module("openvino"), import_module("nncf")
    core = openvino.Core()
    fixed = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}

    def compiled(model: Any, group: int = 0) -> Pass:
        settings = {**fixed, "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group)}
        request = core.compile_model(model, "CPU", settings).create_infer_request()

        def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
            request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)
            return request.get_output_tensor(0).data

        return run

    yield "OpenVINO, float32", compiled(core.read_model(str(whole)))
    for size in SMOOTHED:
        model = core.read_model(str(smoothed(whole, size, texts)))
        yield f"OpenVINO, smoothed blocks of {size}", compiled(model, size)
    small = nncf.compress_weights(
        core.read_model(str(whole)),
        mode=nncf.CompressWeightsMode.INT8_SYM,
        ignored_scope=nncf.IgnoredScope(types=["Gather"]),  # embeddings
    )
    for size in GROUPS:
        yield f"OpenVINO, weights per channel, inputs in groups of {size}", compiled(small, size)


def ways_of(model: Classifier, folder: Path, texts: Sequence[Batch]) -> Iterator[Way]:
    """Every way, the bare pass of PyTorch first."""
    yield Way("PyTorch, float32", model.encoder, 1.0, [], [])
    whole = folder / "whole.onnx"
    export(model.encoder, whole)
    makers = [onnxruntime_ways]
    if is_there("openvino") and is_there("nncf"):
        makers.insert(0, openvino_ways)
    for maker in makers:
        for name, run in maker(whole, texts):
            yield Way(name, Graph(run), 0.0, [], [])


@contextmanager
def computed_by(model: Classifier, encoder: nn.Module) -> Iterator[None]:
    """Let something else compute a model's encoder."""
    prefix, own = model.model.base_model_prefix, model.encoder
    setattr(model.model, prefix, encoder)
    try:
        yield
    finally:
        setattr(model.model, prefix, own)


def labels_of(model: Classifier, batches: Sequence[Batch]) -> np.ndarray:
    """The label of each word."""
    with torch.inference_mode():
        found = [model(batch).logits.argmax(dim=-1).numpy() for batch in batches]
    return np.concatenate(found)


def table(ways: Sequence[Way]) -> str:
    """Medians and ratios as Markdown; ratios are of processor seconds, to the first way."""
    lines = [
        "| | processor seconds | of the first | seconds | of the first | equal labels |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    first = ways[0]
    for way in ways:
        cells = [way.name]
        for own, base in ((way.cpu, first.cpu), (way.wall, first.wall)):
            middle = statistics.median(own)
            cells += [f"{middle:.2f}", f"{statistics.median(base) / middle:.2f}"]
        lines.append(f"| {' | '.join([*cells, f'{100 * way.equal:.2f}%'])} |")
    return "\n".join(lines)


def compare(
    model: Classifier,
    batches: Sequence[Batch],
    texts: Sequence[Batch],
    *,
    timed: int,
    repeats: int,
) -> None:
    """Print what each way does.

    Args:
        model: A tagger, in evaluation mode.
        batches: Text whose labels are compared.
        texts: Source text, for scales that are fixed beforehand.
        timed: How many of the batches, of even distances, take turns.
        repeats: Turns that count, after one that does not.
    """
    picked = [batches[i] for i in np.linspace(0, len(batches) - 1, timed).astype(int)]
    with TemporaryDirectory() as scratch:
        ways, wanted = list[Way](), np.zeros(0)
        for way in ways_of(model, Path(scratch), texts):
            with computed_by(model, way.encoder):
                found = labels_of(model, batches)
            wanted = found if not ways else wanted
            way.equal = float((found == wanted).mean())
            ways.append(way)
            print(f"{way.name}: {100 * way.equal:.2f}% of {len(found)} words", flush=True)
        before = os.getloadavg()[0]
        for turn in range(repeats + 1):
            for way in ways:
                wall, cpu = time.perf_counter(), time.process_time()
                with computed_by(model, way.encoder):
                    labels_of(model, picked)
                if turn:
                    way.wall.append(time.perf_counter() - wall)
                    way.cpu.append(time.process_time() - cpu)
        tokens = sum(batch.input_ids.numel() for batch in picked)
        told = f"{tokens:,} sub-words in {len(picked)} batches; median of {repeats}; "
        print(f"\n{told}load {before:.1f} before, {os.getloadavg()[0]:.1f} after.\n")
        print(table(ways))


def main() -> None:
    """Train a tagger, or take one, and print the comparison."""
    flags = argparse.ArgumentParser(description=title(__doc__))
    flags.add_argument("--wikiann", type=Path, required=True)
    flags.add_argument("--backbone", type=Path, required=True)
    flags.add_argument("--model", type=Path, help="a tagger that was trained before")
    flags.add_argument("--rows", type=int, default=200, help="sentences of each language")
    flags.add_argument("--timed", type=int, default=4, help="batches that take turns")
    flags.add_argument("--repeats", type=int, default=REPEATS)
    asked = flags.parse_args()
    torch.set_num_threads(1)
    sizes = {"train": SOURCE, "dev": 300, "unlabelled": asked.rows, "test": 1}
    data = Data(str(asked.wikiann), str(asked.backbone), TARGETS)
    epochs = 0 if asked.model else EPOCHS
    with begun(data, sizes, lr=RATE, epochs=epochs) as setting:
        folder = asked.model or setting.model.artifact.local()
        model = load_tagger(folder, setting.driver.context.labels.names).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        layout = layout_of(tokenizer, MAX_LENGTH)
        budget = setting.driver.plan.batch_tokens

        def batches_of(rows: pa.Table) -> list[Batch]:
            examples = examples_of(rows, layout)
            plan = plan_batches(examples.longest, examples.num_windows, budget)
            return [examples.collate(part) for part in plan]

        print(machine(), flush=True)
        batches = batches_of(setting.driver.unlabelled().rows())
        texts = batches_of(setting.driver.source("train").rows().slice(0, LOOKED_AT))
        compare(model, batches, texts, timed=asked.timed, repeats=asked.repeats)


if __name__ == "__main__":
    main()
