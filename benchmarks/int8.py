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
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from benchmarks.inference import MAX_LENGTH, annotator, labelling
from benchmarks.measure import REPEATS, machine, title
from benchmarks.setting import Data, Setting, begun
from xlt_ray.config.extras import is_there
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.engine.annotate import ShardAnnotator
from xlt_ray.engine.arithmetic import Arithmetic, Precision
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.int8 import BLOCK, Int8Encoder, computed_by, openvino, write_encoder
from xlt_ray.models.tagger import load_tagger
from xlt_ray.recipe.corpus import Model
from xlt_ray.store.artifacts import Artifact

TARGETS = ("de", "es", "ru", "tr", "hi", "sw")
EPOCHS, RATE, SOURCE = 4, 1e-4, 1200
GROUPS = (64, 128, 384)
"""Inputs of a linear layer that share a scale while OpenVINO computes."""
BLOCKS = (32, 128)
"""Weights and inputs that share a scale in MatMulNBits of ONNX Runtime."""
BLOCKS_OF_RUNS = (64, BLOCK)
"""Weights and inputs that share a scale in graphs of runs, and the one that runs have."""
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


def own_ways(model: Classifier, folder: Path, texts: Sequence[Batch]) -> Iterator[Way]:
    """The graphs of runs, with two sizes of blocks."""
    for size in BLOCKS_OF_RUNS:
        place = folder / f"own-{size}"
        place.mkdir()
        write_encoder(model, texts, place, block=size)
        encoder = Int8Encoder(place, model, block=size, threads=1)
        yield Way(f"the graph of a run, blocks of {size}", encoder, 0.0, [], [])


def openvino_ways(whole: Path, texts: Sequence[Batch]) -> Iterator[tuple[str, Pass]]:
    """Float32, and int8 weights per channel with inputs in groups."""
    os.environ.setdefault("NNCF_DEV", "1")  # else it reports each use over the network
    core = openvino().Core()
    nncf = import_module("nncf")
    fixed = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}

    def compiled(model: Any, group: int = 0) -> Pass:
        settings = {**fixed, "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(group)}
        request = core.compile_model(model, "CPU", settings).create_infer_request()

        def run(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
            request.infer({"input_ids": ids, "attention_mask": mask}, share_inputs=True)
            return request.get_output_tensor(0).data

        return run

    yield "OpenVINO, float32", compiled(core.read_model(str(whole)))
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
    yield from own_ways(model, folder, texts)
    whole = folder / "whole.onnx"
    export(model.encoder, whole)
    makers = [onnxruntime_ways]
    if is_there("nncf"):
        makers.insert(0, openvino_ways)
    for maker in makers:
        for name, run in maker(whole, texts):
            yield Way(name, Graph(run), 0.0, [], [])


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


def annotate_ways(setting: Setting, model: Artifact, repeats: int) -> list[Way]:
    """The step that annotates, from tokens to files, in float32 and in int8.

    Args:
        setting: Its corpora.
        model: A tagger.
        repeats: Turns that count, after one that does not.
    """
    driver = setting.driver
    corpus, text = driver.unlabelled(), driver.source("train").tokens
    graph = driver.graphs.of("bench", model, text, None)
    told, made = Setting(driver, Model(model), setting.root), list[tuple[Way, Any]]()
    kinds: tuple[tuple[Precision, Artifact | None], ...] = (("fp32", None), ("int8", graph))
    for precision, stored in kinds:
        task = replace(
            annotator(told, corpus, driver.plan.batch_tokens, "fp32", compiled=False).task,
            arithmetic=Arithmetic("cpu", precision), graph=stored,
        )  # fmt: skip
        way = Way(f"annotate, {precision}", torch.nn.Identity(), 1.0, [], [])
        made.append((way, ShardAnnotator(task)))
    said = list[np.ndarray]()
    for turn in range(repeats + 1):
        for way, actor in made:
            wall, cpu = time.perf_counter(), time.process_time()
            labelling(told, actor, corpus)()
            if turn:
                way.wall.append(time.perf_counter() - wall)
                way.cpu.append(time.process_time() - cpu)
                continue
            found = driver.runner.store.commit(actor.task.out, {"info": {}, "seconds": 0.0})
            said.append(np.concatenate(found.table(["labels"])["labels"].to_pylist()))
            way.equal = float((said[0] == said[-1]).mean())
    return [way for way, _ in made]


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
        artifact = setting.model.artifact
        if asked.model:
            attempt = setting.driver.runner.store.attempt("model", "given")
            attempt.write_folder(asked.model)
            artifact = setting.driver.runner.store.commit(attempt, {"info": {}, "seconds": 0.0})
        folder = artifact.local()
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
        print(f"\n{table(annotate_ways(setting, artifact, asked.repeats))}")


if __name__ == "__main__":
    main()
