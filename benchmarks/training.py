"""Retraining: a train step against the HF Trainer and a bare loop, over the same rows.

One process, one thread, float32, the same encoder, head, batch size, learning rate and number of
optimiser steps; no scoring in between. What every contender ends with is its mean loss of the last
epoch.
"""

import math
import os
import time
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoModelForTokenClassification,
    DataCollatorForTokenClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.inference import flops_of
from benchmarks.measure import Comparison, Contender, take_turns
from benchmarks.setting import Setting
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.planning import plan_epoch
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.train.batches import plan_passes
from xlt_ray.engine.train.optimiser import warmup_then_decay
from xlt_ray.engine.train.processes import worker_of
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.recipe.corpus import Mix
from xlt_ray.recipe.schedule import Schedule

LR, EPOCHS, BATCH = 3e-4, 2, 32


class Losses:
    """The mean loss of the last epoch of every contender."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}


def ours(setting: Setting, losses: Losses) -> Contender:
    """The training loop of a train step, made anew for every turn."""
    driver = setting.driver
    mix, dev = Mix(driver.source("train")), driver.source("dev").sample(0.02, seed=0)
    train = replace_train(setting)

    def run() -> None:
        name = f"bench-{time.monotonic_ns()}"
        task = TrainTask(
            attempt=driver.runner.store.attempt("model", name), mix=mix, dev=dev,
            start=setting.model.artifact, objective=CrossEntropy(),
            schedule=Schedule(LR, EPOCHS), train=train, context=driver.context, metric="f1",
            seed=0, arithmetic=Arithmetic(), batch_tokens=driver.plan.batch_tokens,
        )  # fmt: skip
        worker = worker_of(task)
        while worker.position.epoch < worker.epochs:
            worker.epoch()
        losses.last["train"] = worker.position.history[-1]["loss"]

    return Contender("train", run, EPOCHS * tokens_of_steps(setting))


def tokens_of_steps(setting: Setting) -> int:
    """Tokens of one epoch of a train step, padding included: its steps, cut into passes."""
    examples, total = source_examples(setting), 0
    for chosen in plan_epoch(examples.longest, BATCH, seed=0):
        groups = chosen, np.zeros(0, np.int64)
        passes = plan_passes(
            examples, setting.config.train.max_tokens, groups, lambda rows: np.zeros(0, np.int64)
        )
        total += sum(part.size(examples) for part in passes)
    return total


def replace_train(setting: Setting) -> Any:
    """The settings of training, as the others have them."""
    given = {"batch_size": BATCH, "checkpoint_seconds": 1e9, "weight_decay": 0.0}
    return setting.config.train.model_copy(update=given)


def encoded(examples: Examples) -> list[dict[str, list[int]]]:
    """The rows as the HF Trainer takes them."""
    rows = []
    for index in range(len(examples)):
        batch = examples.collate([index])
        labels = torch.full((batch.input_ids.numel(),), UNLABELLED, dtype=torch.int64)
        labels[batch.items] = batch.labels
        rows.append({"input_ids": batch.input_ids[0].tolist(), "labels": labels.tolist()})
    return rows


def source_examples(setting: Setting) -> Examples:
    """The labelled rows."""
    layout = layout_of(load_tokenizer(str(setting.model.artifact.local())), 128)
    return examples_of(setting.driver.source("train").rows(), layout)


def fresh(setting: Setting) -> Any:
    """The model of the start, with the dropout of training."""
    rate = setting.config.train.dropout
    return AutoModelForTokenClassification.from_pretrained(
        setting.model.artifact.local(), hidden_dropout_prob=rate,
        attention_probs_dropout_prob=rate, classifier_dropout=rate, trust_remote_code=False,
    ).train()  # fmt: skip


def bare_loop(setting: Setting, examples: Examples, losses: Losses) -> Contender:
    """A bare PyTorch loop: steps of similar length, one pass each, AdamW."""

    def run() -> None:
        model = fresh(setting)
        optimiser = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0, fused=True)
        per_epoch = math.ceil(len(examples) / BATCH)
        number, total, items = 0, 0.0, 0
        for epoch in range(EPOCHS):
            total, items = 0.0, 0
            for chosen in plan_epoch(examples.longest, BATCH, seed=epoch):
                loss, count = step_loss(model, examples, chosen)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(
                    model.parameters(), setting.config.train.max_grad_norm
                )
                for group in optimiser.param_groups:
                    group["lr"] = LR * warmup_then_decay(number, per_epoch * EPOCHS, 0.1)
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
                total, items, number = total + loss.item() * count, items + count, number + 1
        losses.last["bare loop"] = total / items

    tokens = EPOCHS * sum(
        len(part) * int(examples.longest[part].max())
        for part in plan_epoch(examples.longest, BATCH, seed=0)
    )
    return Contender("bare loop", run, tokens, "steps of similar length, one pass each")


def step_loss(model: Any, examples: Examples, chosen: np.ndarray) -> tuple[Tensor, int]:
    """Mean loss of a step, and its words."""
    batch = examples.collate(chosen)
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    items = logits.flatten(0, 1).index_select(0, batch.items)
    return torch.nn.functional.cross_entropy(items, batch.labels), len(batch.labels)


class _Last(TrainerCallback):
    """Takes note of the loss that the Trainer logs last."""

    def __init__(self, losses: Losses):
        self.losses = losses

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """A log: with `logging_strategy` of epochs the mean loss of one."""
        if logs and "loss" in logs:
            self.losses.last["HF Trainer"] = float(logs["loss"])


def hf_trainer(setting: Setting, examples: Examples, losses: Losses) -> Contender:
    """The Trainer of transformers, with its own collator and sampler."""
    rows = encoded(examples)
    tokenizer = load_tokenizer(str(setting.model.artifact.local()))

    def run() -> None:
        with TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder, num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH,
                learning_rate=LR, warmup_steps=0.1, weight_decay=0.0, max_grad_norm=1.0,
                save_strategy="no", logging_strategy="epoch", report_to=[], disable_tqdm=True,
                use_cpu=True, dataloader_num_workers=0,
            )  # fmt: skip
            Trainer(
                model=fresh(setting), args=arguments, train_dataset=rows,  # type: ignore[arg-type]
                data_collator=DataCollatorForTokenClassification(tokenizer),
                callbacks=[_Last(losses)],
            ).train()  # fmt: skip

    order = np.random.default_rng(0).permutation(len(examples))
    parts = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    tokens = EPOCHS * sum(len(part) * int(examples.longest[part].max()) for part in parts)
    return Contender("HF Trainer", run, tokens, "its own sampler and collator")


def training(setting: Setting, *, repeats: int, closest: bool = False) -> Comparison:
    """Tokens a second of training on the source rows; only of the closest two if asked for."""
    torch.set_num_threads(1)
    losses, examples = Losses(), source_examples(setting)
    contenders = [bare_loop(setting, examples, losses), ours(setting, losses)]
    if not closest:
        contenders.append(hf_trainer(setting, examples, losses))
    before = os.getloadavg()[0]
    timings = take_turns(contenders, repeats=repeats)
    named = [
        replace(x, note=f"{x.note + '; ' if x.note else ''}loss {losses.last[x.name]:.3f}")
        for x in timings
    ]
    tokens = int(examples.longest.sum()) * EPOCHS
    return Comparison(
        "Training, two epochs", "tokens", tokens, named, tokens, 3 * flops_of(setting),
        (before, os.getloadavg()[0]), ["Forward and backward count as three forward passes."],
    )  # fmt: skip
