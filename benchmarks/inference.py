"""Pseudo-label inference: annotate against the bare forward pass and what else people use.

One process, one thread each, the same rows and weights, float32. The limit is the forward pass
alone over batches that were packed from all rows beforehand. Reading, tokenising and writing are
part of the others: of `annotate` reading tokenised shards and writing annotated ones.
"""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from benchmarks.measure import Comparison, Contender, Timing, take_turns
from benchmarks.setting import Setting
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.planning import plan_batches
from xlt_ray.engine.annotate import AnnotateTask, ShardAnnotator
from xlt_ray.engine.arithmetic import Arithmetic, Precision
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.store.attempt import Attempt

BATCH = 32
"""Sentences of a batch, for those that know no token budget."""
MAX_LENGTH = 128


@dataclass(frozen=True)
class Rows:
    """The work: sentences as words, and as our examples."""

    sentences: list[list[str]]
    examples: Any

    @property
    def tokens(self) -> int:
        """Tokens of all sentences, special ones included, without padding."""
        return int(self.examples.longest.sum())


def attempt(setting: Setting) -> Attempt:
    """Where annotated shards go, which are not kept."""
    store = setting.driver.runner.store
    return store.attempt("annotation", f"bench-{time.monotonic_ns()}")


def annotator(
    setting: Setting, corpus: Corpus, budget: int, precision: Precision, *, compiled: bool
) -> ShardAnnotator:
    """What an actor of `annotate` is, over a corpus."""
    task = AnnotateTask(
        attempt=attempt(setting), corpus=corpus, model=setting.model.artifact,
        annotator=PredictLabels(), context=setting.driver.context, dim_reduce=None,
        max_length=MAX_LENGTH, batch_tokens=budget, arithmetic=Arithmetic("cpu", precision),
        compiled=compiled,
    )  # fmt: skip
    return ShardAnnotator(task)


def rows_of(setting: Setting, corpus: Corpus) -> Rows:
    """All rows of a corpus."""
    table = corpus.rows()
    text = setting.driver.unlabelled_text()
    words = {x["id"]: x["tokens"] for x in text.table(["id", "tokens"]).to_pylist()}
    tokenizer = AutoTokenizer.from_pretrained(
        setting.model.artifact.local(), trust_remote_code=False
    )
    layout = layout_of(tokenizer, MAX_LENGTH)
    examples = examples_of(table, layout)
    return Rows([words[name] for name in table["id"].to_pylist()], examples)


def padded(lengths: np.ndarray, batches: Sequence[np.ndarray]) -> int:
    """Tokens of some batches, padding included."""
    return int(sum(len(batch) * lengths[batch].max() for batch in batches))


def limit(setting: Setting, rows: Rows, budget: int) -> Contender:
    """The forward pass alone."""
    model = AutoModelForTokenClassification.from_pretrained(
        setting.model.artifact.local(), trust_remote_code=False
    ).eval()
    examples = rows.examples
    plan = plan_batches(examples.longest, examples.num_windows, budget)
    batches = [examples.collate(part) for part in plan]

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)

    tokens = sum(batch.input_ids.numel() for batch in batches)
    return Contender("bare forward pass", run, tokens, "the limit: packed and collated before")


def ours(
    setting: Setting,
    corpus: Corpus,
    budget: int,
    precision: Precision = "fp32",
    *,
    compiled: bool = False,
) -> Contender:
    """`annotate`, shard by shard."""
    actor = annotator(setting, corpus, budget, precision, compiled=compiled)
    tokens = 0
    for name in corpus.shards:
        part = examples_of(actor.view.shard(name), actor.layout)
        plan = plan_batches(part.longest, part.num_windows, budget)
        tokens += padded(part.longest, plan)

    name = "annotate" if precision == "fp32" else f"annotate, {precision}"
    name += ", compiled" if compiled else ""
    note = f"shards of {setting.driver.plan.shard_rows} rows"
    run = labelling(setting, actor, corpus)
    return Contender(name, run, tokens, note, in_fp32=precision == "fp32")


def labelling(setting: Setting, actor: ShardAnnotator, corpus: Corpus) -> Callable[[], object]:
    """An actor that labels all shards, each time anew."""

    def run() -> None:
        actor.task = replace(actor.task, attempt=attempt(setting))  # shards that are there stay
        actor({"shard": corpus.shards})

    return run


def _words(setting: Setting) -> tuple[Any, Any]:
    folder = setting.model.artifact.local()
    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False).eval()
    return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def hf_pipeline(setting: Setting, rows: Rows) -> Contender:
    """The pipeline of transformers."""
    model, tokenizer = _words(setting)
    tag = pipeline(
        "token-classification",
        model=model,
        tokenizer=tokenizer,
        batch_size=BATCH,
        trust_remote_code=False,
    )
    texts = [" ".join(words) for words in rows.sentences]

    def run() -> None:
        tag(texts)

    lengths = rows.examples.longest
    order = [np.arange(at, min(at + BATCH, len(lengths))) for at in range(0, len(lengths), BATCH)]
    return Contender("HF pipeline, batch_size=32", run, padded(lengths, order))


def loop(setting: Setting, rows: Rows, *, sort: bool, to_max: bool) -> Contender:
    """A loop as people write it: batches of 32 sentences, sorted or not, labels of words."""
    model, tokenizer = _words(setting)
    lengths = rows.examples.longest
    order = np.argsort(lengths, kind="stable") if sort else np.arange(len(lengths))
    batches = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]

    def run() -> None:
        labels: dict[int, list[int]] = {}
        for part in batches:
            batch = tokenizer(
                [rows.sentences[i] for i in part], is_split_into_words=True, truncation=True,
                max_length=MAX_LENGTH, padding="max_length" if to_max else True,
                return_tensors="pt",
            )  # fmt: skip
            with torch.inference_mode():
                best = model(**batch).logits.argmax(dim=-1).numpy()
            for number, index in enumerate(part):
                words = batch.word_ids(number)
                first = {word: at for at, word in reversed(list(enumerate(words)))}
                first.pop(None, None)
                labels[int(index)] = best[number][sorted(first.values())].tolist()

    tokens = len(lengths) * MAX_LENGTH if to_max else padded(lengths, batches)
    title = "padded to 128" if to_max else "sorted loop" if sort else "loop in file order"
    return Contender(title, run, tokens)


def onnx_int8(setting: Setting, rows: Rows, budget: int) -> Contender | None:
    """ONNX Runtime with int8 weights over our batches; None if it is not installed."""
    try:
        import onnxruntime
        from onnxruntime.quantization import quantize_dynamic
    except ImportError:
        return None
    model, _ = _words(setting)
    examples = rows.examples
    plan = plan_batches(examples.longest, examples.num_windows, budget)
    batches = [examples.collate(part) for part in plan]
    one = batches[0]
    with TemporaryDirectory() as folder:
        whole, small = Path(folder, "whole.onnx"), Path(folder, "int8.onnx")
        names = ["input_ids", "attention_mask"]
        shape = {0: torch.export.Dim("rows", min=1), 1: torch.export.Dim("width", min=2)}
        torch.onnx.export(
            model, (one.input_ids, one.attention_mask), str(whole), input_names=names,
            output_names=["logits"], dynamic_shapes=(shape, shape), dynamo=True,
        )  # fmt: skip
        quantize_dynamic(whole, small)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(small), options)
    feeds = [
        {"input_ids": x.input_ids.numpy(), "attention_mask": x.attention_mask.numpy()}
        for x in batches
    ]

    def run() -> None:
        for feed in feeds:
            session.run(None, feed)

    tokens = sum(batch.input_ids.numel() for batch in batches)
    note = "other arithmetic: a bar to know"
    return Contender("ONNX Runtime, int8", run, tokens, note, in_fp32=False)


def steady(setting: Setting, *, repeats: int, closest: bool = False) -> Comparison:
    """Rows a second of models that are loaded; only of the closest three if that is asked for."""
    corpus, budget = setting.driver.unlabelled(), setting.driver.plan.batch_tokens
    rows = rows_of(setting, corpus)
    contenders = [
        limit(setting, rows, budget),
        ours(setting, corpus, budget),
        loop(setting, rows, sort=True, to_max=False),
    ]
    notes = list[str]()
    if not closest:
        contenders += [
            loop(setting, rows, sort=False, to_max=False),
            hf_pipeline(setting, rows),
            loop(setting, rows, sort=False, to_max=True),
            ours(setting, corpus, budget, "bf16"),
        ]
        if any(map(shutil.which, ("c++", "g++", "clang++"))):
            contenders.append(ours(setting, corpus, budget, compiled=True))
        int8 = onnx_int8(setting, rows, budget)
        contenders += [int8] if int8 else []
        notes += [] if int8 else ["ONNX Runtime is not installed."]
    before = os.getloadavg()[0]
    timings = take_turns(contenders, repeats=repeats)
    return Comparison(
        "Pseudo-label inference, models loaded",
        "rows",
        len(rows.sentences),
        timings,
        rows.tokens,
        flops_of(setting),
        (before, os.getloadavg()[0]),
        notes,
    )


def flops_of(setting: Setting) -> float:
    """Floating-point operations of the forward pass per token: 2 per weight of the layers."""
    model, _ = _words(setting)
    layers = [x for name, x in model.named_parameters() if "embeddings" not in name and x.dim() > 1]
    return 2.0 * sum(x.numel() for x in layers)


def with_start(setting: Setting, *, repeats: int) -> Comparison:
    """The same with loading the model: once per corpus."""
    corpus, budget = setting.driver.unlabelled(), setting.driver.plan.batch_tokens
    rows = rows_of(setting, corpus)

    def fresh(make: Callable[[], Contender]) -> Callable[[], object]:
        return lambda: make().run()

    def annotate() -> None:
        labelling(setting, annotator(setting, corpus, budget, "fp32", compiled=False), corpus)()

    contenders = [
        Contender("annotate", annotate),
        Contender("HF pipeline, batch_size=32", fresh(lambda: hf_pipeline(setting, rows))),
        Contender("sorted loop", fresh(lambda: loop(setting, rows, sort=True, to_max=False))),
    ]
    before = os.getloadavg()[0]
    timings: list[Timing] = take_turns(contenders, repeats=repeats)
    shutil.rmtree(setting.root / "artifacts/annotation", ignore_errors=True)
    load = (before, os.getloadavg()[0])
    return Comparison(
        "Pseudo-label inference, with loading the model", "rows", len(rows.sentences), timings,
        load=load,
    )  # fmt: skip
