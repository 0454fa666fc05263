"""Encoders whose linear layers compute in int8 on CPUs: OpenVINO graphs, built from a model.

A graph takes the embeddings of the tokens and gives the last hidden state; embeddings, norms,
attention and the head stay in float32. Weights have a scale per block of inputs, and so have inputs
while OpenVINO computes; `xlt_ray.ops.quantisation` says how large inputs are dealt with. OpenVINO
is loaded without the package that reports its use over the network.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from xlt_ray.config.extras import require_precision
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.schema import Task
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.families import inputs_of
from xlt_ray.models.heads import probe
from xlt_ray.models.onnx import SHAPES, TOLERANCE
from xlt_ray.ops.quantisation import block_of, factors, in_blocks

ENCODER = "encoder.xml"
"""The graph of an encoder; its weights lie beside it, as ``encoder.bin``."""
BLOCK = 128
"""Inputs of a linear layer that share a scale."""
SEGMENTS = "token_type_ids"
REFUSED: Mapping[str, str] = {
    "canine": "it has no embeddings of tokens",
    "xmod": "its layers have an adapter for each language",
}
"""Families, as config.json names them, whose encoders have no graph, and why."""
_FIXED = {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
_TELEMETRY = "openvino_telemetry"


class Int8Error(ValueError):
    """There is no graph of a model, or it says something else than the model."""


def check_family(config: Mapping[str, Any], what: str, task: Task) -> None:
    """See that an encoder is of a family that may have a graph.

    Args:
        config: Its config.json.
        what: What the message begins with.
        task: Kind of task.

    Raises:
        Int8Error: it is not; says why.
    """
    family = str(config.get("model_type"))
    why = REFUSED.get(family)
    if config.get("is_encoder_decoder") and task != "token":
        why = "a decoder reads the texts"
    if config.get("use_bidirectional_attention"):
        why = "OpenVINO has no graph of its attention to both sides"
    if why is not None:
        raise Int8Error(
            f"{what}: the family {family} cannot compute in int8, as {why}; "
            "resources.precision=fp32"
        )


def openvino() -> Any:
    """The library, without what reports its use.

    Its import sends an event over the network unless that package is missing, so it is made to be
    missing where the library is imported here first.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    require_precision("int8")
    known = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # import raises ImportError
    try:
        import openvino as found
    finally:
        del sys.modules[_TELEMETRY]
        if known is not None:
            sys.modules[_TELEMETRY] = known
    return found


_MADE: list[Any] = []
_MAKING = threading.Lock()


def core() -> Any:
    """The process's only core of the library, which lasts as long as the process.

    A core with graphs for CPUs gives its thread a stack for signals, and gives back the one before
    when it goes. Of two that go in the order in which they came, the second gives back the first
    one's stack, which is no longer there: the next signal, say Ctrl-C, ends the process.
    """
    with _MAKING:
        if not _MADE:
            _MADE.append(openvino().Core())
        return _MADE[0]


class Int8Encoder(nn.Module):
    """An encoder that OpenVINO computes, in place of a model's own; several threads may call it.

    Args:
        folder: Holds its graph.
        model: The model, whose embeddings are looked up.
        block: Inputs that share a scale, as the graph was built.
        threads: Threads of a pass.
        at_once: Passes at a time.
    """

    def __init__(
        self, folder: Path, model: Classifier, *, block: int, threads: int, at_once: int = 1
    ):
        super().__init__()
        self.embed = embeddings_of(model)
        self._run = Runtime(
            core().read_model(str(folder / ENCODER)),
            block=block, threads=threads, at_once=at_once,
        )  # fmt: skip

    @torch.no_grad()
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, **others: Tensor | bool
    ) -> dict[str, Tensor]:
        """Its last hidden state.

        Args:
            input_ids: [B, T] the tokens.
            attention_mask: [B, T] 1 on tokens, 0 on padding.
            others: Segments of the tokens, and what does not concern a graph.
        """
        given = [self.embed(input_ids), attention_mask]
        segments = others.get(SEGMENTS)
        if isinstance(segments, Tensor):
            given.append(segments)
        return Found(last_hidden_state=torch.from_numpy(self._run([x.numpy() for x in given])))


class Found(dict[str, Tensor]):
    """What an encoder gives, by name and as attributes, as of transformers."""

    @property
    def last_hidden_state(self) -> Tensor:
        """[B, T, H] states of the tokens."""
        return self["last_hidden_state"]


class Runtime:
    """A compiled graph; several threads may call it, each with a request of its own.

    Args:
        model: The graph.
        block: Inputs that share a scale; 0: all in float32.
        threads: Threads of a pass.
        at_once: Passes at a time.
    """

    def __init__(self, model: Any, *, block: int, threads: int, at_once: int = 1):
        settings = {
            **_FIXED, "NUM_STREAMS": at_once, "INFERENCE_NUM_THREADS": threads * at_once,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(block),
        }  # fmt: skip
        self._compiled = core().compile_model(model, "CPU", settings)
        self._own = threading.local()

    def all(self, given: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Every output; good until the thread's next call."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        request = self._own.request
        request.infer(dict(enumerate(given)), share_inputs=True)
        return [request.get_output_tensor(i).data for i in range(len(self._compiled.outputs))]

    def __call__(self, given: Sequence[np.ndarray]) -> np.ndarray:
        """A copy of the first output."""
        return self.all(given)[0].copy()


class _States(nn.Module):
    """The last hidden state alone, of embeddings."""

    def __init__(self, encoder: nn.Module, fixed: Mapping[str, bool]):
        super().__init__()
        self.encoder, self.fixed = encoder, dict(fixed)

    def forward(
        self, inputs_embeds: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        more = {} if token_type_ids is None else {SEGMENTS: token_type_ids}
        return self.encoder(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask, **more, **self.fixed
        )["last_hidden_state"]


def embeddings_of(model: Classifier) -> nn.Module:
    """The module of a model that looks up tokens.

    Raises:
        Int8Error: it has none.
    """
    encoder: Any = model.model.base_model
    try:
        return encoder.get_input_embeddings()
    except NotImplementedError:
        name = type(model.model).__name__
        raise Int8Error(f"{name} cannot compute in int8: it looks up no tokens") from None


@torch.no_grad()
def write_encoder(
    model: Classifier, batches: Sequence[Batch], folder: Path, *, block: int = BLOCK
) -> dict[str, Any]:
    """Build the graph of a model's encoder and write it; returns facts about it.

    Args:
        model: The model, in float32, in evaluation mode.
        batches: Text that tells the largest inputs.
        folder: Where to.
        block: Inputs that share a scale.

    Raises:
        Int8Error: the encoder has no graph, or one that says something else.
    """
    stock = model.model
    embed = embeddings_of(model)
    fixed = {k: v for k, v in inputs_of(stock, batches[0]).items() if isinstance(v, bool)}

    def given(batch: Batch) -> list[Tensor]:
        read: Mapping[str, Any] = inputs_of(stock, batch)
        if more := read.keys() - {"input_ids", "attention_mask", SEGMENTS, *fixed}:
            raise Int8Error(
                f"{type(stock).__name__} cannot compute in int8: its encoder takes "
                f"{', '.join(sorted(more))} besides; resources.precision=fp32"
            )
        segments = [read[SEGMENTS]] if SEGMENTS in read else []
        return [embed(batch.input_ids), batch.attention_mask, *segments]

    texts = [given(batch) for batch in batches]
    states = _States(stock.base_model, fixed).eval()
    name, probes = type(stock).__name__, _probes(stock.config, embed, len(texts[0]))
    graph = traced(states, tuple(probes[1]), name)
    check_same(states, graph, probes, name)
    count = quantise(graph, [[x.numpy() for x in text] for text in texts], block=block)
    save(graph, folder / ENCODER)
    return {"layers": count, "block": block}


def _probes(config: Any, embed: nn.Module, count: int) -> list[list[Tensor]]:
    """Made-up input of several sizes."""
    generator, found = torch.Generator().manual_seed(0), list[list[Tensor]]()
    for rows, width in SHAPES:
        ids, mask = probe(config, generator, rows, width)
        found.append([embed(ids), mask, torch.zeros_like(mask)][:count])
    return found


def traced(module: nn.Module, example: tuple[Tensor, ...], name: str) -> Any:
    """The graph of a module in float32, for batches of any size.

    Args:
        module: The module.
        example: What it is given.
        name: What messages call it.

    Raises:
        Int8Error: there is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the tracer, about branches: results are compared
            return openvino().convert_model(module, example_input=example)
    except Exception as error:  # of the tracer or the converter, without a base class of their own
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Int8Error(
            f"{name} cannot compute in int8: OpenVINO has no graph of it ({said})"
        ) from error


def check_same(
    module: nn.Module, graph: Any, probes: Sequence[Sequence[Tensor]], name: str
) -> None:
    """See that a graph in float32 says what a module says, but of padding.

    Args:
        module: The module.
        graph: Its graph.
        probes: Some of its inputs, of which the second is the mask.
        name: What messages call it.

    Raises:
        Int8Error: it does not, or not for batches of every size.
    """
    run = Runtime(graph, block=0, threads=1)
    for given in probes:
        mask = given[1].bool()
        wanted = module(*given)
        try:
            found = torch.from_numpy(run([x.numpy() for x in given]))
        except RuntimeError as error:
            raise Int8Error(
                f"{name} cannot compute in int8: its graph takes no batch of {len(mask)} rows and "
                f"{mask.shape[1]} sub-words"
            ) from error
        if wanted.ndim == 3:
            wanted, found = wanted[mask], found[mask]
        off, most = float((found - wanted).abs().max()), float(wanted.abs().max())
        if not off <= TOLERANCE * max(1.0, most):
            raise Int8Error(
                f"{name} cannot compute in int8: its graph in float32 differs by {off:.2g}"
            )


@dataclass(frozen=True)
class _Linear:
    """A linear layer of a graph: its node, where its input is from, and its weight [N, K]."""

    node: Any
    source: tuple[str, int]
    weight: np.ndarray


def _linear_layers(graph: Any, wanted: Callable[[str], bool]) -> Iterator[_Linear]:
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not node.get_attributes()["transpose_b"]:
            continue
        weight, source = node.input_value(1).get_node(), node.input_value(0)
        if weight.get_type_name() != "Constant" or not wanted(node.get_friendly_name()):
            continue
        if len(weight.data.shape) == 2 and source.get_node().get_type_name() != "Constant":
            at = source.get_node().get_friendly_name(), source.get_index()
            yield _Linear(node, at, weight.data.copy())


def quantise(
    graph: Any,
    texts: Sequence[Sequence[np.ndarray]],
    *,
    block: int,
    wanted: Callable[[str], bool] = lambda name: True,
) -> int:
    """Give linear layers of a graph int8 weights; returns how many.

    Args:
        graph: In float32; is changed.
        texts: Its inputs for some text, of which the second is the mask.
        block: Inputs that share a scale.
        wanted: Whether a layer is meant, by the name of its node.

    Raises:
        Int8Error: it has no linear layer.
    """
    ops, ov = openvino().opset13, openvino()
    layers = list(_linear_layers(graph, wanted))
    if not layers:
        raise Int8Error("cannot compute in int8: the graph has no linear layer")
    sources = {layer.source: layer.node.input_value(0) for layer in layers}
    most = _largest_inputs(graph, sources, texts)
    smooth = dict[tuple[str, int], Any]()
    for source, output in sources.items():
        tops = [np.abs(x.weight).max(axis=0) for x in layers if x.source == source]
        top = torch.from_numpy(np.max(tops, axis=0))
        smooth[source] = factors(torch.from_numpy(most[source]), top)
        inverse = (1 / smooth[source]).numpy()
        sources[source] = ops.multiply(output, ops.constant(inverse[None, None])).output(0)
    for layer in layers:
        weight_KN = torch.from_numpy(layer.weight).T * smooth[layer.source][:, None]
        size = block_of(len(weight_KN), block)
        small_KN, scales_BN = in_blocks(weight_KN, size)
        shape = [weight_KN.shape[1], len(scales_BN), size]
        small = ops.constant(np.ascontiguousarray(small_KN.T.numpy()).reshape(shape), ov.Type.i8)
        scales = ops.constant(np.ascontiguousarray(scales_BN.T.numpy())[:, :, None])
        whole = ops.multiply(ops.convert(small, "f32"), scales)
        flat = ops.constant(np.array([shape[0], len(weight_KN)], np.int64))
        layer.node.input(0).replace_source_output(sources[layer.source])
        layer.node.input(1).replace_source_output(ops.reshape(whole, flat, False).output(0))
    graph.validate_nodes_and_infer_types()
    return len(layers)


def _largest_inputs(
    graph: Any, sources: Mapping[tuple[str, int], Any], texts: Sequence[Sequence[np.ndarray]]
) -> dict[tuple[str, int], np.ndarray]:
    """[K] largest absolute value of each input of linear layers, padding left out."""
    results = [openvino().opset13.result(output) for output in sources.values()]
    run = Runtime(openvino().Model(results, graph.get_parameters()), block=0, threads=1)
    found = dict[tuple[str, int], np.ndarray]()
    for given in texts:
        mask = given[1].astype(bool)
        for source, value in zip(sources, run.all(given), strict=True):
            told = value[mask] if value.shape[:2] == mask.shape else value
            own = np.abs(told.reshape(-1, value.shape[-1])).max(axis=0)
            found[source] = np.maximum(found.get(source, own), own)
    return found


def save(graph: Any, path: Path) -> None:
    """Write a graph and, beside it, its weights; equal graphs have equal bytes."""
    graph.set_friendly_name(path.stem)
    for number, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")  # the library counts on and on
    openvino().save_model(graph, str(path), compress_to_fp16=False)


@contextmanager
def computed_by(model: Classifier, encoder: nn.Module) -> Iterator[None]:
    """Let something else compute a model's encoder for a while."""
    before = model.stand_in
    model.stand_in = encoder
    try:
        yield
    finally:
        model.stand_in = before
