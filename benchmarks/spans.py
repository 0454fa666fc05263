"""What MARAL does between two epochs, and per step, with a million generated target spans.

Times, and memory above that of the spans' own tensors, of: scores of all spans; the mixture of
every class; making the store of vectors; neighbours of the unreliable spans; moving their labels.
With a backbone also what the rest of the epoch takes: forward and backward passes of steps with 32
source sentences, 32 target sentences and a copy of these with hidden tokens, of which ten are timed
and scaled to the spans. Parts are repeated in turn; medians are shown with the load of the machine.

    python -m benchmarks.spans [--spans 1000000] [--repeats 5] [--threads 1] [--backbone FOLDER]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import torch

from benchmarks.measure import forget_peak, peak_memory, title
from xlt_ray.data.batches.examples import SpansOfSentences
from xlt_ray.data.batches.layout import SpanItems, layout_of
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.benchmarks.toy import LABELS, LANGUAGES, make_source
from xlt_ray.data.schema import TEXT_SCHEMA, Example
from xlt_ray.labels import LabelSet
from xlt_ray.methods.maral.neighbours import Neighbours
from xlt_ray.models.span_tagger import SpanHead, load_span_tagger
from xlt_ray.ops import mixture, refinement, vmf

K, Q, TEMP, NEIGHBOURS = 5, 64, 0.07, 200
ENTITIES, OUTSIDE = 0.03, 0.03
"""Share of entities among the spans, and share of the others that are stored."""
CHUNK = 8192
STEPS, SENTENCES, BUDGET = 10, 32, 2048
"""Steps that are timed, sentences of each text in one, and tokens of a pass."""


class Spans:
    """Generated spans: unit vectors around the centres of their classes, some of them with the
    label of another class."""

    def __init__(self, count: int, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        centres_KQ = torch.nn.functional.normalize(torch.randn(K, Q, generator=generator), dim=1)
        entity = torch.rand(count, generator=generator) < ENTITIES
        kinds = torch.randint(1, K, (count,), generator=generator)
        self.true_N = torch.where(entity, kinds, 0)
        noise_NQ = torch.randn(count, Q, generator=generator) * 0.1
        self.z_NQ = torch.nn.functional.normalize(centres_KQ[self.true_N] + noise_NQ, dim=1)
        wrong = torch.rand(count, generator=generator) < 0.1
        self.y_N = torch.where(
            wrong, torch.randint(0, K, (count,), generator=generator), self.true_N
        )
        self.p_NK = torch.nn.functional.one_hot(self.y_N, K).float()
        self.drawn_N = torch.rand(count, generator=generator) < OUTSIDE
        sums, counts = vmf.class_sums(self.z_NQ, self.true_N, K)
        self.fit = vmf.concentration(sums / counts[:, None].clamp(min=1))
        self.rho_NK = torch.zeros(count, K)
        self.reliable_N = torch.ones(count, dtype=torch.bool)

    def score(self) -> None:
        """rho of every span, some thousands at a time."""
        for at in range(0, len(self.z_NQ), CHUNK):
            part = slice(at, at + CHUNK)
            found = vmf.scores(self.z_NQ[part], self.fit.mu_KQ, self.fit.kappa_K, TEMP)
            self.rho_NK[part] = found.float()

    def part(self) -> None:
        """The mixture of every class (M8)."""
        for number in range(K):
            own = self.y_N == number
            scores = self.rho_NK[own, number].numpy()
            found = mixture.two_components(scores).reliable_N
            self.reliable_N[own] = torch.from_numpy(found)

    def store(self) -> None:
        """The vectors that neighbours are looked for among."""
        kept = (self.y_N > 0) | self.drawn_N
        self.index = Neighbours(self.z_NQ[kept], self.y_N[kept], K, k=NEIGHBOURS)

    def look(self) -> None:
        """Neighbours of the unreliable spans (N_k of M9)."""
        moved = ~self.reliable_N
        self.near_MK = self.index.counts(self.z_NQ[moved], torch.full((int(moved.sum()),), -1))

    def move(self) -> None:
        """Their labels (M9)."""
        moved = ~self.reliable_N
        of_class = [self.rho_NK[self.y_N == number, number] for number in range(K)]
        mean_K = torch.stack([scores.mean() for scores in of_class])
        by_mean = refinement.outside_rule(
            refinement.exceeds(self.rho_NK[moved], mean_K), self.rho_NK[moved]
        )
        by_near = refinement.exceeds(self.near_MK, self.near_MK.mean(dim=0))
        refinement.refine(self.p_NK[moved], by_mean, by_near, 0.95)


class Steps:
    """Steps of the student over toy sentences, in bf16."""

    def __init__(self, folder: str):
        labels = LabelSet(LABELS["ner"])
        rows = make_source("ner", LANGUAGES[1], "train", {"train": SENTENCES}).examples(None)
        table = pa.Table.from_pylist(
            [
                {"id": x.id, "language": x.language, "tokens": list(x.tokens or ())}
                for x in rows
                if isinstance(x, Example)
            ],
            schema=TEXT_SCHEMA["token"],
        )
        tokenizer = load_tokenizer(folder)
        layout = layout_of(tokenizer, 128, spans=SpanItems(4, labels))
        tokenised = tokenise(table, tokenizer, task="token")
        self.examples = SpansOfSentences(tokenised, layout)
        head = SpanHead(4, Q, "vmf", True)
        self.tagger = load_span_tagger(folder, labels.names, head).train()
        self.optimiser = torch.optim.AdamW(self.tagger.parameters(), lr=1e-5, fused=True)
        self.spans = int(self.examples.item_offsets[-1])

    def run(self) -> None:
        """The steps: source, target and its copy are as long as each other here."""
        sizes = self.examples.longest, self.examples.num_windows, BUDGET
        batches = [self.examples.collate(part) for part in plan_batches(*sizes)]
        for _ in range(STEPS):
            for batch in batches * 3:
                with torch.autocast("cpu", torch.bfloat16):
                    output = self.tagger(batch)
                target = torch.zeros(len(output.logits), dtype=torch.int64)
                torch.nn.functional.cross_entropy(output.logits, target).backward()
            self.optimiser.step()
            self.optimiser.zero_grad()


def measure(count: int, backbone: str | None, *, repeats: int) -> tuple[dict[str, Any], str]:
    """Seconds of every part, by turns, and the table.

    Args:
        count: Spans.
        backbone: Encoder whose steps are timed; None: none are.
        repeats: Turns.
    """
    spans = Spans(count)
    parts: dict[str, Callable[[], None]] = {
        "scores": spans.score, "mixtures": spans.part, "store": spans.store,
        "neighbours": spans.look, "moved labels": spans.move,
    }  # fmt: skip
    scale = dict.fromkeys(parts, 1.0)
    if backbone:
        steps = Steps(backbone)
        name = f"all steps, {steps.spans} target spans in each"
        parts[name], scale[name] = steps.run, count / (steps.spans * STEPS)
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    memory: dict[str, float] = {}
    for _ in range(repeats):
        for name, run in parts.items():
            before, start = forget_peak(), time.perf_counter()
            run()
            seconds[name].append((time.perf_counter() - start) * scale[name])
            memory[name] = max(memory.get(name, 0.0), peak_memory() - before)
    moved = int((~spans.reliable_N).sum())
    lines = [
        "### MARAL between two epochs\n",
        f"{count:,} spans, {moved:,} of them unreliable, {spans.index.size:,} stored; median of "
        f"{repeats}; load {os.getloadavg()[0]:.1f}.\n",
        "| part | seconds | MB more at the peak |\n|:--|--:|--:|",
    ]
    for name, values in seconds.items():
        lines.append(f"| {name} | {statistics.median(values):.2f} | {memory[name]:.0f} |")
    found = {"spans": count, "seconds": seconds, "mb": memory}
    return found, "\n".join([*lines, ""])


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--spans", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backbone", default=None)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(measure(options.spans, options.backbone, repeats=options.repeats)[1])


if __name__ == "__main__":
    main()
