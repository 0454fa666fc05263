"""A service under many callers: lost and wrong answers, and how long they take.

`xlt-ray serve` runs in a process of its own. So many callers, each on a connection of its own, send
it one text after another for so long, and every answer is compared with what `Model.predict` says.
Times are beside those of a bare forward pass: of one text alone, which no answer can beat, and of
as many texts as there are callers, packed by length, which a caller waits for at best where all of
them ask all the time.

    python -m benchmarks.serve [--clients 200] [--seconds 60] [--replicas 1] [--kill]
        [--model FOLDER] [--set KEY=VALUE]
"""

import argparse
import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import numpy as np
import psutil
import torch
from transformers import AutoModelForTokenClassification

import xlt_ray
from benchmarks.measure import title
from benchmarks.predictions import write_model
from xlt_ray.commands.service_token import VARIABLE
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.data.batches.tokenise import load_tokenizer, tokenise
from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
from xlt_ray.data.readers.in_memory import text_in
from xlt_ray.engine.labeller import texts_as_table
from xlt_ray.engine.resources import CPU_BATCH_TOKENS

ROOT = Path(__file__).resolve().parent.parent
TOKEN = "benchmark-0123456789"  # of a service on loopback that lasts a minute
TEXTS = 1000
"""Different texts that are asked for."""
ROUNDING = 1e-5
"""Difference of probabilities that padding makes."""
START = 300.0
"""Seconds that a service may take to start."""


@dataclass
class Found:
    """What the callers saw.

    Attributes:
        seconds: Of each answer with predictions.
        wrong: Answers that are not what `Model.predict` says.
        lost: Requests without any answer, by what the client says.
        refused: Answers of other statuses.
        wall: Seconds of the whole.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    wall: float = 0.0

    def percentile(self, share: float) -> float:
        """Seconds that such a share of the answers took at most."""
        return float(np.quantile(self.seconds, share)) if self.seconds else float("nan")


@dataclass(frozen=True)
class Bare:
    """Seconds of a bare forward pass in one thread, as medians.

    Attributes:
        alone: Of one text.
        packed: Of as many texts as there are callers, in batches of similar length.
    """

    alone: float
    packed: float


def some_texts() -> list[str]:
    """Sentences of the invented languages, in a fixed order."""
    each = TEXTS // len(LANGUAGES) + 1
    found = [" ".join(x) for name in LANGUAGES for x in unlabelled_text(name, size=each)]
    order = np.random.default_rng(0).permutation(len(found))
    return [found[number] for number in order[:TEXTS]]


def bare(folder: Path, texts: Sequence[str], callers: int, turns: int = 20) -> Bare:
    """Time the forward pass over texts that were tokenised and collated before."""
    torch.set_num_threads(1)
    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False).eval()
    tokenizer = load_tokenizer(str(folder))
    rows = [text_in(text, "token", "marks") for text in texts]
    table = tokenise(texts_as_table(rows, "token"), tokenizer, task="token")
    examples = examples_of(table, layout_of(tokenizer, 128))
    alone = [timed(model, examples, [np.array([number])]) for number in range(turns)]
    chosen = np.arange(min(callers, len(texts)))
    plan = plan_batches(examples.longest, examples.num_windows, CPU_BATCH_TOKENS, order=chosen)
    packed = [timed(model, examples, plan) for _ in range(max(3, turns // 4))]
    return Bare(statistics.median(alone), statistics.median(packed) * callers / len(chosen))


def timed(model: Any, examples: Examples, plan: Sequence[np.ndarray]) -> float:
    """Seconds of the forward passes of a plan."""
    batches = [examples.collate(part) for part in plan]
    with torch.inference_mode():
        began = time.perf_counter()
        for batch in batches:
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        return time.perf_counter() - began


@contextmanager
def service(folder: Path, root: Path, keys: Sequence[str]) -> Iterator[tuple[str, int]]:
    """A service in a process of its own; gives its address and the id of the process."""
    sets = [word for key in keys for word in ("--set", key)]
    command = [sys.executable, "-m", "xlt_ray.commands.main", "serve", str(folder), *sets]
    with (root / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, VARIABLE: TOKEN},
        )  # fmt: skip
    try:
        until = time.monotonic() + START
        while " at http" not in (told := (root / "log").read_text()):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the service did not start:\n{told}")
            time.sleep(0.2)
        (line,) = (line for line in told.splitlines() if line.startswith("serving "))
        yield line.partition(" at ")[2].partition(";")[0], process.pid
    finally:
        process.terminate()
        process.wait()


async def call(
    place: str, texts: Sequence[str], known: Sequence[xlt_ray.Prediction], callers: int,
    seconds: float,
) -> Found:  # fmt: skip
    """Let callers ask for texts, one after another, for so long."""
    found, until = Found(), time.perf_counter() + seconds
    connector = aiohttp.TCPConnector(limit=0)
    headers, timeout = {"Authorization": f"Bearer {TOKEN}"}, aiohttp.ClientTimeout(total=300)
    began = time.perf_counter()
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, connector=connector
    ) as session:

        async def one(first: int) -> None:
            number = first
            while time.perf_counter() < until:
                number = (number + callers) % len(texts)
                await ask(session, place, texts[number], known[number], found)

        await asyncio.gather(*map(one, range(callers)))
    found.wall = time.perf_counter() - began
    return found


async def ask(
    session: aiohttp.ClientSession, place: str, text: str, known: xlt_ray.Prediction, found: Found
) -> None:
    """One request, and whether its answer is right."""
    began = time.perf_counter()
    try:
        async with session.post(f"{place}/predict", json={"texts": [text]}) as reply:
            answer = await reply.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        found.lost[f"{type(error).__name__} {error}"] += 1
        return
    if reply.status != 200:
        found.refused[reply.status] += 1
        return
    found.seconds.append(time.perf_counter() - began)
    (said,) = answer["predictions"]
    found.wrong += not is_same(said, known)


def is_same(said: dict[str, Any], known: xlt_ray.Prediction) -> bool:
    """Whether an answer is a prediction, but for rounding."""
    spans = [{**asdict(span), "confidence": 0} for span in known.spans]
    if said["labels"] != list(known.labels) or said["words"] != list(known.words):
        return False
    if [{**span, "confidence": 0} for span in said["spans"]] != spans:
        return False
    return bool(np.allclose(said["confidences"], known.confidences, rtol=0, atol=ROUNDING))


async def killed(pid: int, after: float) -> None:
    """Kill a replica of the service."""
    await asyncio.sleep(after)
    for process in psutil.Process(pid).children(recursive=True):
        if "ServeReplica:" in " ".join(process.cmdline()):
            os.kill(process.pid, signal.SIGKILL)
            return


def table(found: Found, limit: Bare, callers: int, replicas: int) -> str:
    """The result as Markdown."""
    lost, refused = (
        ", ".join(f"{number} of {what}" for what, number in counts.items()) or "none"
        for counts in (found.lost, found.refused)
    )
    lines = [
        f"### {callers} callers for {found.wall:.0f} seconds, replicas: {replicas}\n",
        f"{len(found.seconds):,} answers, {len(found.seconds) / found.wall:,.0f} a second; "
        f"lost: {lost}; wrong: {found.wrong}; refused: {refused}.\n",
        "| | seconds | over one text alone | over all callers' texts, packed |",
        "|:--|--:|--:|--:|",
    ]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value = found.percentile(share)
        ratios = f"{value / limit.alone:.1f} | {value / limit.packed:.2f}"
        lines.append(f"| {name} | {value:.3f} | {ratios} |")
    loads = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    passes = f"bare passes {limit.alone * 1e3:.1f} ms and {limit.packed:.3f} s in one thread"
    return "\n".join([*lines, "", f"{passes}; {os.cpu_count()} CPU cores, load {loads}", ""])


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--kill", action="store_true", help="a replica, at half of the time")
    parser.add_argument("--model", type=Path, help="a stock tagger; default: a small random one")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="xlt-bench-") as folder:
        root = Path(folder)
        model = options.model or write_model(root)
        texts = some_texts()
        limit = bare(model, texts, options.clients)
        known = xlt_ray.load(str(model)).predict(texts)
        keys = [f"serve.replicas={options.replicas}", "serve.port=0", f"store.root={root}/store"]

        async def run(place: str, pid: int) -> Found:
            calls = call(place, texts, known, options.clients, options.seconds)
            if not options.kill:
                return await calls
            return (await asyncio.gather(calls, killed(pid, options.seconds / 2)))[0]

        with service(model, root, [*keys, *options.settings]) as (place, pid):
            found = asyncio.run(run(place, pid))
        print(table(found, limit, options.clients, options.replicas))


if __name__ == "__main__":
    main()
