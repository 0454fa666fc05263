"""A stock model as ONNX, checked against the model it is made from."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import torch

from xlt_ray.config.extras import require
from xlt_ray.data.stock import stock
from xlt_ray.models.heads import probe

NAME = "model.onnx"
TOLERANCE = 1e-3
"""Most that a logit may differ."""
SHAPES = ((1, 5), (3, 17), (8, 40))
"""Rows and sub-words of the batches that both are asked about."""


class OnnxError(RuntimeError):
    """There is no graph of the model, or ONNX Runtime says something else than the model."""


def require_onnx() -> None:
    """Raises ConfigError, which says what to install, if a library for graphs is missing."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        require(module, "onnx", "export.onnx: needs")


def write_onnx(folder: Path, *, task: str) -> float:
    """Write a saved model's graph beside it; returns the largest difference of a logit.

    Args:
        folder: Of the model, in the Hugging Face layout.
        task: "token", "sentence" or "pair".

    Raises:
        OnnxError: logits differ by more than `TOLERANCE`, or the exporter has no graph of it.
        ConfigError: onnx, onnxscript or onnxruntime is not installed.
    """
    require_onnx()
    import onnxruntime

    kind = "Token" if task == "token" else "Sequence"
    family = stock(f"AutoModelFor{kind}Classification")
    model = family.from_pretrained(folder, trust_remote_code=False).eval()
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # keys and values of decoders are no output of a graph
    generator = torch.Generator().manual_seed(0)

    names = ["input_ids", "attention_mask"]
    if (
        getattr(model.config, "type_vocab_size", 1) or 1
    ) > 1:  # as of BERT, which tells texts apart
        names.append("token_type_ids")

    def batch(rows: int, width: int) -> tuple[torch.Tensor, ...]:
        segments = (torch.arange(width) > width // 2).long().expand(rows, width)
        return (*probe(model.config, generator, rows, width), segments)[: len(names)]

    shape = {0: torch.export.Dim("rows", min=1), 1: torch.export.Dim("width", min=2)}
    path = folder / NAME
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")  # the exporter's own, about its own parts
            torch.onnx.export(
                model, (), str(path), kwargs=dict(zip(names, batch(*SHAPES[1]), strict=True)),
                input_names=names, output_names=["logits"],
                dynamic_shapes=dict.fromkeys(names, shape), dynamo=True, external_data=False,
                verbose=False,
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        path.unlink(missing_ok=True)
        raise OnnxError(
            f"{path}: the exporter of torch {torch.__version__} has no graph of "
            f"{type(model).__name__} for batches of any size ({type(error).__name__})"
        ) from error
    session = onnxruntime.InferenceSession(str(path))
    most = 0.0
    for rows, width in SHAPES:
        given = dict(zip(names, batch(rows, width), strict=True))
        with torch.inference_mode():
            ours = model(**given).logits
        feed = {name: value.numpy() for name, value in given.items()}
        try:
            theirs = torch.from_numpy(session.run(None, feed)[0])
        except Exception as error:  # of the runtime, without a base class of its own
            path.unlink(missing_ok=True)
            raise OnnxError(
                f"{path}: the graph of {type(model).__name__} takes no batch of {rows} rows and "
                f"{width} sub-words, as it is written for another size"
            ) from error
        if task == "token":
            mask = given["attention_mask"].bool()
            ours, theirs = ours[mask], theirs[mask]
        most = max(most, float((ours - theirs).abs().max()))
    if most > TOLERANCE:
        raise OnnxError(f"{path}: a logit differs by {most:.2g}, allowed: {TOLERANCE:g}")
    return most


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter prints of its attempts from the terminal."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
