"""MARAL before and after: neighbours, the span head, and an epoch beside one of self-training.

In turns within one process, one thread, in seconds of that process: a search one by one, as faiss
1.15 does by default, and by matrix products; the first layer over spans as in training, per span,
and per word; and an epoch of the student, with tokens hidden in every step and in every fourth one,
beside an epoch of a word tagger that learns from the same source sentences and from pseudo-labels
of the same target text.

    python -m benchmarks.span_ways [--wikiann FOLDER] --backbone FOLDER [--targets de] [--rows 100]
        [--repeats 5] [--only neighbours,head,epoch]
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.measure import REPEATS, Comparison, Contender, machine, table, take_turns, title
from benchmarks.setting import EMBEDDED, Data, Setting, begun
from benchmarks.training import replace_train
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import SpanItems, layout_of
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.train import processes
from xlt_ray.engine.train.loop import Worker
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.methods.maral.neighbours import Neighbours
from xlt_ray.methods.maral.student import MaralStudentLoss
from xlt_ray.methods.maral.student_config import StudentConfig
from xlt_ray.methods.maral.teacher import SpanCrossEntropy, SpanProbabilities
from xlt_ray.methods.shared.confidence import ConfidenceAnnotator, select_confident
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.models.span_tagger import SpanHead, SpanTagger, load_span_tagger
from xlt_ray.ops.faiss_products import search_by_products
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Mix
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule

STORED, QUERIES, CALLS, NEAR = 133_557, 200, (16, 100), 200
"""Vectors of 64, as a million spans store; queries of a turn, and how many of them a call has."""
OWN_LIMIT = 128_000
"""Numbers of a call from which on faiss 1.15 takes products by itself."""
LR, BATCH, TEACHER_EPOCHS, EVERY = 3e-4, 8, 1, 4
BUDGET = 2048
"""Tokens of a batch that is labelled."""


def neighbours(call: int, *, repeats: int) -> Comparison:
    """The nearest of many vectors, for some queries at a time."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(STORED + QUERIES, 64, generator=generator)
    stored, queries = torch.nn.functional.normalize(made, dim=1).split([STORED, QUERIES])
    search = Neighbours(stored, torch.zeros(STORED, dtype=torch.int64), 5, k=NEAR)
    parts = [part.numpy() for part in queries.split(call)]

    def one_by_one() -> None:
        search.faiss.cvar.distance_compute_blas_threshold = OWN_LIMIT
        for part in parts:
            search.index.search(part, NEAR + 1)

    def products() -> None:
        search_by_products(search.faiss, 1)
        for part in parts:
            search.index.search(part, NEAR + 1)

    contenders = [Contender("one by one", one_by_one), Contender("by products", products)]
    name = f"Neighbours among {STORED:,} vectors, {call} queries a call"
    return compared(name, "queries", QUERIES, contenders, repeats)


@contextmanager
def as_in_training(tagger: SpanTagger) -> Iterator[None]:
    """The way of training for the first layer over spans, without dropout."""
    layer = tagger.represent
    rate, layer.dropout.p = layer.dropout.p, 0.0
    layer.training = True
    yield
    layer.training, layer.dropout.p = False, rate


def heads(setting: Setting, backbone: str, *, repeats: int) -> list[Comparison]:
    """The span head alone, and encoder and head."""
    labels = setting.driver.context.labels
    layout = layout_of(load_tokenizer(backbone), 128, spans=SpanItems(4, labels))
    examples = examples_of(setting.driver.source("train").rows(), layout)
    tagger = load_span_tagger(backbone, labels.names, SpanHead()).eval()
    plan = plan_batches(examples.longest, examples.num_windows, BUDGET)
    batches = [examples.collate(part) for part in plan]

    def states(batch: Batch) -> list[torch.Tensor]:
        assert batch.spans is not None
        return tagger.states(batch, batch.items, batch.spans.lasts)

    with torch.inference_mode():
        known = [(*states(batch), batch) for batch in batches]

    def in_both_ways(work: Callable[[], None]) -> list[Contender]:
        def plain() -> None:
            with torch.inference_mode(), as_in_training(tagger):
                work()

        def factored() -> None:
            with torch.inference_mode():
                work()

        return [Contender("per span", plain), Contender("per word", factored)]

    def alone() -> None:
        for first, last, batch in known:
            tagger.represent(first, last, batch)

    def whole() -> None:
        for batch in batches:
            tagger(batch)

    width, spans = tagger.model.config.hidden_size, examples.num_items
    parts = {f"Span head over states of {width}": alone, "Encoder and span head": whole}
    return [
        compared(name, "spans", spans, in_both_ways(work), repeats) for name, work in parts.items()
    ]


def worker_of(setting: Setting, mix: Mix, objective: Objective, epochs: int) -> Worker:
    """A training that is driven an epoch at a time."""
    driver = setting.driver
    task = TrainTask(
        attempt=driver.runner.store.attempt("model", f"bench-{time.monotonic_ns()}"), mix=mix,
        dev=driver.source("dev").sample(0.02, seed=0), start=driver.backbone.artifact,
        objective=objective, schedule=Schedule(LR, epochs, batch_size=BATCH),
        train=replace_train(setting), context=driver.context, metric="f1", seed=0,
        arithmetic=Arithmetic(), batch_tokens=driver.plan.batch_tokens,
    )  # fmt: skip
    return processes.worker_of(task)


def span_mix(setting: Setting) -> Mix:
    """Source gold, and the target text with what a teacher says of its spans."""
    driver, head = setting.driver, SpanHead()
    schedule, mix = Schedule(LR, TEACHER_EPOCHS, batch_size=BATCH), Mix(driver.source("train"))
    objective = SpanCrossEntropy(head, 0.0, 0.0, 1)
    start, text = driver.backbone, driver.unlabelled()
    teacher = driver.train("teacher", mix, objective, start=start, schedule=schedule)
    said = driver.annotate("teacher", text, teacher, SpanProbabilities(head))
    columns = JoinedColumns("teacher", said, ("q",))
    return Mix(driver.source("train"), paired=text.with_columns(columns))


def word_mix(setting: Setting) -> Mix:
    """Source gold, and all of the target text with labels of words."""
    driver = setting.driver
    text: Corpus = driver.unlabelled()
    sizes: Mapping[str, int] = text.tokens.info["rows_by_language"]
    said = driver.annotate("words", text, setting.model, ConfidenceAnnotator())
    how: dict[str, Any] = {"share": 1.0, "balanced": False, "num_classes": 1, "pool_sizes": sizes}
    return Mix(
        driver.source("train"), text.labelled(driver.derive("all", select_confident, said, **how))
    )


def student(setting: Setting, every: int, epochs: int) -> MaralStudentLoss:
    """The loss of the student, whose first epoch alone has no neighbours."""
    num_classes = 1 + len(setting.driver.context.labels.names) // 2
    prior = tuple(0.9 if k == 0 else 0.1 / (num_classes - 1) for k in range(num_classes))
    return MaralStudentLoss(
        SpanHead(scores="vmf", means=True, masked_lm=True), 0.01, 0.25, every,
        settings=StudentConfig(epochs=epochs, warmup=1), source_prior=prior, target_prior=prior,
        source_weights=None,
    )  # fmt: skip


def epoch(setting: Setting, *, repeats: int) -> Comparison:
    """An epoch of the student beside one of self-training; every turn is the next epoch."""
    epochs, spans = repeats + 1, span_mix(setting)
    workers = {
        "words, self-training": worker_of(setting, word_mix(setting), CrossEntropy(), epochs),
        **{
            f"MARAL, mlm_every={every}": worker_of(
                setting, spans, student(setting, every, epochs), epochs
            )
            for every in (1, EVERY)
        },
    }
    contenders = [Contender(name, worker.epoch) for name, worker in workers.items()]
    rows = len(workers["words, self-training"].examples)
    return compared("An epoch", "sentences", rows, contenders, repeats)


def compared(
    name: str, unit: str, units: float, contenders: list[Contender], repeats: int
) -> Comparison:
    """Turns of the contenders."""
    before = os.getloadavg()[0]
    timings = take_turns(contenders, repeats=repeats, clock=time.process_time)
    load, note = (before, os.getloadavg()[0]), "Seconds are those of the process."
    return Comparison(name, unit, units, timings, load=load, notes=[note])


def main() -> None:
    """Measure, and print the tables one by one."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--wikiann", help="folder of a folder per language")
    parser.add_argument("--backbone", required=True, help="folder of an encoder")
    parser.add_argument("--targets", default="de")
    parser.add_argument("--rows", type=int, default=100, help="sentences of each text at most")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--only", default="neighbours,head,epoch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    asked, repeats = options.only.split(","), options.repeats
    print(machine()["cpu"], "- one thread", flush=True)
    for call in CALLS if "neighbours" in asked else ():
        print(table(neighbours(call, repeats=repeats)), flush=True)
    targets = tuple(options.targets.split(",")) if options.wikiann else EMBEDDED.targets
    sizes = {"train": options.rows, "dev": 500, "test": 10}
    with begun(Data(options.wikiann, options.backbone, targets), sizes, lr=LR, epochs=1) as setting:
        for found in heads(setting, options.backbone, repeats=repeats) if "head" in asked else ():
            print(table(found), flush=True)
        if "epoch" in asked:
            print(table(epoch(setting, repeats=repeats)), flush=True)


if __name__ == "__main__":
    main()
