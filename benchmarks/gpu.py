"""What one GPU does: inference and training in bf16, memory, and neighbours.

Encoders have the shapes of XLM-R base and large and random weights; random sentences are as long as
those of WikiANN. The code is that of annotators and training workers. Without a GPU nothing is
measured, unless `--shape tiny` asks for a trial of the script on the CPU.

    python -m benchmarks.gpu [--shape base,large] [--rows 20000] [--budget 16384] [--repeats 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForTokenClassification, XLMRobertaConfig

from benchmarks.inference import padded
from benchmarks.measure import title
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import InputLayout
from xlt_ray.data.batches.planning import plan_batches, plan_epoch
from xlt_ray.data.batches.tokenise import TOKENISED
from xlt_ray.engine.arithmetic import autocast
from xlt_ray.engine.inference import predict
from xlt_ray.engine.train.determinism import repeatable
from xlt_ray.engine.train.loop import Trainee
from xlt_ray.engine.train.optimiser import make_optimiser
from xlt_ray.methods.maral.neighbours import Neighbours, require_faiss
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.models.tagger import Tagger
from xlt_ray.recipe.schedule import Schedule

SHAPES: Mapping[str, tuple[int, int, int, int]] = {
    "tiny": (2, 64, 2, 500),
    "base": (12, 768, 12, 250_002),
    "large": (24, 1024, 16, 250_002),
}
"""Layers, width, heads, vocabulary."""
LAYOUT = InputLayout(prefix=0, suffix=2, padding=1, max_length=128)
CLASSES, BATCH, SHARD = 7, 32, 1024
LONG, MOST = 128, 1 << 22
"""Sub-words of the sentences that a pass is filled with, and the largest pass that is tried."""


@dataclass(frozen=True)
class Rate:
    """One measurement.

    Attributes:
        what: What was done.
        tokens: Real sub-words a second.
        padding: Real over processed sub-words.
        of_peak: Share of the rate of one large bf16 matrix product.
        peak_gb: Most memory of the device.
    """

    what: str
    tokens: float
    padding: float
    of_peak: float
    peak_gb: float


def sentences(rows: int, vocabulary: int, *, seed: int = 0) -> Examples:
    """Random labelled sentences: a median of 7 words, 1.7 sub-words in each on average."""
    draw = np.random.default_rng(seed)
    counts = np.clip(np.exp(draw.normal(2.0, 0.6, rows)).astype(np.int64), 1, 60)
    lengths = np.minimum(draw.geometric(0.6, counts.sum()), 8).astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(counts)])
    pieces = np.add.reduceat(lengths, ends[:-1])
    tokens = draw.integers(5, vocabulary, pieces.sum()).astype(np.int32)
    lists = (np.concatenate([[0], np.cumsum(pieces)]), tokens), (ends, lengths)
    lists = (*lists, (ends, np.zeros(counts.sum(), np.int8)))
    columns = [
        pa.array([f"s{number:08d}" for number in range(rows)]), pa.array(["xx"] * rows),
        *(pa.ListArray.from_arrays(a.astype(np.int32), pa.array(b)) for a, b in lists),
    ]  # fmt: skip
    table = pa.table(columns, schema=TOKENISED["token"])
    labels = draw.integers(0, CLASSES, counts.sum()).astype(np.int16)
    labels = pa.ListArray.from_arrays(ends.astype(np.int32), pa.array(labels))
    return examples_of(table.append_column("labels", labels), LAYOUT)


def tagger(shape: str, device: torch.device, *, checkpointing: bool = False) -> Tagger:
    """A tagger with random weights."""
    layers, width, heads, vocabulary = SHAPES[shape]
    config = XLMRobertaConfig(
        vocab_size=vocabulary, hidden_size=width, num_hidden_layers=layers,
        num_attention_heads=heads, intermediate_size=4 * width, max_position_embeddings=514,
        type_vocab_size=1, pad_token_id=1, use_cache=False,
    )  # fmt: skip
    config.num_labels = CLASSES
    torch.manual_seed(0)
    model = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    if checkpointing:
        model.activation_checkpointing_enable()
    return Tagger(model).to(device)


class Bench:
    """Measurements of one shape on one device."""

    def __init__(self, shape: str, device: torch.device, rows: int, repeats: int):
        self.shape, self.device, self.repeats = shape, device, repeats
        vocabulary = SHAPES[shape][3]
        self.examples = sentences(rows, vocabulary)
        starts = range(0, rows, SHARD)
        self.shards = [sentences(min(SHARD, rows - at), vocabulary, seed=at) for at in starts]
        self.real = int(self.examples.longest.sum())
        layers, width, _, _ = SHAPES[shape]
        self.flops = 2 * layers * 12 * width**2
        self.peak = self._peak()

    def _peak(self) -> float:
        size = 8192 if self.device.type == "cuda" else 512
        left, right = (torch.randn(size, size, device=self.device).bfloat16() for _ in range(2))
        return 2 * size**3 / self._seconds(lambda: left @ right)

    def _seconds(self, run: Callable[[], object]) -> float:
        """Median of the turns after one that does not count."""
        times = []
        for _ in range(self.repeats + 1):
            self._wait()
            start = time.perf_counter()
            run()
            self._wait()
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _forget_peak(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def _peak_gb(self) -> float:
        is_gpu = self.device.type == "cuda"
        return torch.cuda.max_memory_allocated() / 1e9 if is_gpu else 0.0

    def inference(self, budget: int, *, compiled: bool = False) -> Rate:
        """`predict`, shard by shard, as annotators call it."""
        model = tagger(self.shape, self.device).eval()
        if compiled:
            model.compile_encoder()
        self._forget_peak()
        settings: dict[str, Any] = {"budget": budget, "device": self.device, "precision": "bf16"}

        def run() -> None:
            for part in self.shards:
                predict(model, part, **settings)

        seconds = self._seconds(run)
        plans = [(x.longest, plan_batches(x.longest, x.num_windows, budget)) for x in self.shards]
        processed = sum(padded(longest, plan) for longest, plan in plans)
        name = f"inference, budget {budget}{', compiled' if compiled else ''}"
        return self._rate(name, seconds, processed, self.real, self.flops)

    def training(self, batch: int, *, checkpointing: bool = False, compiled: bool = False) -> Rate:
        """Steps of a training worker, one pass each."""
        model = tagger(self.shape, self.device, checkpointing=checkpointing).train()
        if compiled:
            model.compile_encoder()
        trainee = Trainee(model, CrossEntropy(), "bf16")
        optimiser = make_optimiser(model, Schedule(1e-5, 1), 1e-4)
        steps = plan_epoch(self.examples.longest, batch, seed=0)[: max(4, 2048 // batch)]

        def run() -> None:
            for chosen in steps:
                given = self.examples.collate(chosen)
                loss = trainee(given.to(self.device))["loss"] / given.num_items
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)

        self._forget_peak()
        with repeatable(True):  # as a training worker
            seconds = self._seconds(run)
        real = int(sum(self.examples.longest[part].sum() for part in steps))
        name = f"training, {batch} sentences a step"
        name += ", gradient checkpointing" if checkpointing else ""
        name += ", compiled" if compiled else ""
        processed = padded(self.examples.longest, steps)
        return self._rate(name, seconds, processed, real, 3 * self.flops)

    def _rate(self, what: str, seconds: float, processed: int, real: int, flops: int) -> Rate:
        of_peak = processed * flops / seconds / self.peak
        return Rate(what, real / seconds, real / processed, of_peak, self._peak_gb())

    def fits(self, tokens: int, *, training: bool) -> bool:
        """Whether one pass of so many tokens, in sentences of `LONG` each, fits the memory."""
        self._forget_peak()
        model = tagger(self.shape, self.device).train(training)
        draw = torch.Generator().manual_seed(0)
        shape = (tokens // LONG, LONG)
        ids = torch.randint(5, SHAPES[self.shape][3], shape, generator=draw).to(self.device)
        optimiser = make_optimiser(model, Schedule(1e-5, 1), 1e-4)
        try:
            with torch.set_grad_enabled(training), autocast(self.device, "bf16"):
                logits = model.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            if training:
                logits.float().square().mean().backward()
                optimiser.step()
        except torch.OutOfMemoryError:
            return False
        return True

    def largest(self, start: int, *, training: bool) -> int:
        """Most tokens of one pass that fit the device's memory, doubled from `start`."""
        tokens = start
        while tokens < MOST and self.fits(2 * tokens, training=training):
            tokens *= 2
        return tokens


def neighbours(device: torch.device, repeats: int) -> dict[str, float]:
    """Seconds of looking up 65,536 vectors among a million, on the device and on the CPU."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(1_065_536, 64, generator=generator)
    stored, queries = torch.nn.functional.normalize(made, dim=1).split([1_000_000, 65_536])
    labels, nobody = torch.zeros(len(stored), dtype=torch.int64), torch.full((len(queries),), -1)
    found = {}
    for place in {device, torch.device("cpu")}:
        index, times = Neighbours(stored.to(place), labels, 5, k=200), []
        for _ in range(repeats if place.type == "cuda" else 1):
            start = time.perf_counter()
            index.counts(queries.to(place), nobody)
            times.append(time.perf_counter() - start)
        found[place.type] = statistics.median(times)
    if device.type == "cuda" and not hasattr(require_faiss(), "StandardGpuResources"):
        found["cpu, for faiss here has no GPUs"] = found.pop(device.type)
    return found


def report(bench: Bench, budget: int) -> str:
    """All of one shape, as Markdown."""
    rates = [bench.inference(budget), bench.inference(budget, compiled=True)]
    rates += [bench.training(BATCH), bench.training(BATCH, checkpointing=True)]
    rates += [bench.training(8 * BATCH), bench.training(8 * BATCH, compiled=True)]
    lines = ["| | real tokens/s | real / processed | of the peak | GB |", "|:--" + "|--:" * 4 + "|"]
    for item in rates:
        values = asdict(item)
        lines.append(
            f"| {values['what']} | {item.tokens:,.0f} | {item.padding:.2f} | {item.of_peak:.0%} "
            f"| {item.peak_gb:.1f} |"
        )
    if bench.device.type == "cuda":
        lines += ["", "Largest pass in tokens, doubled until it does not fit: "]
        for name, training in (("inference", False), ("training", True)):
            most = bench.largest(LONG, training=training)
            lines[-1] += f"{name} {most:,}{' or more' if most >= MOST else ''}. "
    peak = f"{bench.peak / 1e12:,.1f}"
    return "\n".join([f"### {bench.shape} (a matrix product: {peak} TFLOPS)", "", *lines, ""])


def main() -> None:
    """Measure every shape, and neighbours."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--shape", default="base,large", help=", ".join(SHAPES))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--budget", type=int, default=16_384)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shapes = options.shape.split(",")
    if device.type == "cpu" and shapes != ["tiny"]:
        parser.exit(2, "no GPU here; --shape tiny tries the script on the CPU\n")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, median of {options.repeats}\n")
    for shape in shapes:
        print(report(Bench(shape, device, options.rows, options.repeats), options.budget))
    if device.type == "cuda":
        print(f"neighbours, seconds: {neighbours(device, options.repeats)}")


if __name__ == "__main__":
    main()
