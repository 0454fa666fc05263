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

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForTokenClassification, XLMRobertaConfig

from benchmarks.measure import title
from xlt_ray.data.batching import plan_batches, plan_epoch
from xlt_ray.data.examples import Examples, Layout, examples_of
from xlt_ray.data.tokenise import TOKENISED
from xlt_ray.engine.inference import predict
from xlt_ray.engine.optimiser import make_optimiser
from xlt_ray.engine.train_loop import Trainee
from xlt_ray.methods.facts import Schedule
from xlt_ray.methods.neighbours import Neighbours
from xlt_ray.methods.softmax import CrossEntropy
from xlt_ray.models.tagger import Tagger

SHAPES: Mapping[str, tuple[int, int, int, int]] = {
    "tiny": (2, 64, 2, 500),
    "base": (12, 768, 12, 250_002),
    "large": (24, 1024, 16, 250_002),
}
"""Layers, width, heads, vocabulary."""
LAYOUT = Layout(prefix=0, suffix=2, padding=1, max_length=128)
CLASSES, BATCH = 7, 32


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
    model = AutoModelForTokenClassification.from_config(config)
    if checkpointing:
        model.activation_checkpointing_enable()
    return Tagger(model).to(device)


class Bench:
    """Measurements of one shape on one device."""

    def __init__(self, shape: str, device: torch.device, rows: int, repeats: int):
        self.shape, self.device, self.repeats = shape, device, repeats
        self.examples = sentences(rows, SHAPES[shape][3])
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

    def _processed(self, batches: list[np.ndarray]) -> int:
        longest = self.examples.longest
        return int(sum(len(part) * longest[part].max() for part in batches))

    def inference(self, budget: int, *, compiled: bool = False) -> Rate:
        """`predict`, as annotators call it."""
        model, examples = tagger(self.shape, self.device).eval(), self.examples
        if compiled:
            model.compile_encoder()
        self._forget_peak()
        settings = {"budget": budget, "device": self.device, "precision": "bf16"}
        seconds = self._seconds(lambda: predict(model, examples, **settings))
        processed = self._processed(plan_batches(examples.longest, examples.num_windows, budget))
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
        seconds = self._seconds(run)
        real = int(sum(self.examples.longest[part].sum() for part in steps))
        name = f"training, {batch} sentences a step"
        name += ", gradient checkpointing" if checkpointing else ""
        name += ", compiled" if compiled else ""
        return self._rate(name, seconds, self._processed(steps), real, 3 * self.flops)

    def _rate(self, what: str, seconds: float, processed: int, real: int, flops: int) -> Rate:
        of_peak = processed * flops / seconds / self.peak
        return Rate(what, real / seconds, real / processed, of_peak, self._peak_gb())

    def largest(self, measure: Callable[[int], Rate], start: int) -> int:
        """Largest size, doubled from `start`, that fits the device's memory."""
        size = start
        while True:
            try:
                measure(2 * size)
            except torch.OutOfMemoryError:
                return size
            size *= 2
            if size > 1 << 22:
                return size


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
        most = bench.largest(bench.inference, budget)
        lines += ["", f"Largest budget of inference: {most:,} tokens; "]
        most = bench.largest(bench.training, 8 * BATCH)
        lines[-1] += f"of a training pass: {most:,} sentences."
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
