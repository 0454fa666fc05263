"""What a training worker does: the same loop in one process, or in many.

Rows belong to the worker that their id hashes to. An optimiser step takes ``batch_size`` sentences
over all workers, split into forward passes under the token budget; gradients are those of the loss
summed over the step's labelled items on all workers, divided by their number. Every step draws its
randomness from the run's seed and its own number, so a step that resumes repeats itself exactly.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import SpanItems, layout_in
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.engine import memory
from xlt_ray.engine.arithmetic import Precision, autocast
from xlt_ray.engine.inference import predict_labels
from xlt_ray.engine.train.adapters import base_of, files_beside, lora_of
from xlt_ray.engine.train.batches import (
    ForwardPass,
    PairedRows,
    WorkerShare,
    own_examples,
    plan_passes,
    steps_of_epoch,
)
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.engine.train.course import Course
from xlt_ray.engine.train.divergence import Divergence
from xlt_ray.engine.train.optimiser import (
    flatten,
    make_optimiser,
    own_parameters,
    unflatten,
    warmup_then_decay,
)
from xlt_ray.engine.train.placement import Placement
from xlt_ray.engine.train.snapshots import Snapshots
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.engine.train.workers import Workers
from xlt_ray.metrics import Ragged, mean_score
from xlt_ray.models.classifier import Classifier, full_precision
from xlt_ray.models.files import OPTIMISER
from xlt_ray.models.load import load_classifier
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import OptimiserStep
from xlt_ray.recipe.stopping import stalled
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.fault_points import reached


class Position:
    """Where training stands: finished optimiser steps, and the scores so far."""

    def __init__(self) -> None:
        self.epoch = 0
        self.step_in_epoch = 0
        self.total = 0
        self.items = 0
        self.tokens = 0
        self.history: list[dict[str, Any]] = []
        self.stopped = False

    def by_epoch(self) -> list[float]:
        """The best source-dev score of each epoch so far."""
        best: dict[int, float] = {}
        for entry in self.history:
            best[entry["epoch"]] = max(entry["source_dev"], best.get(entry["epoch"], 0.0))
        return list(best.values())

    def best(self) -> int | None:
        """Index of the best source-dev score, the earliest on ties."""
        scores = [entry["source_dev"] for entry in self.history]
        return int(np.argmax(scores)) if scores else None


class Trainee(nn.Module):
    """Model and objective as one module: what is computed of either has its gradients averaged."""

    def __init__(self, model: Classifier, objective: Objective, precision: Precision):
        super().__init__()
        self.model, self.objective = model, objective
        self.precision: Precision = precision

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The objective's terms."""
        with autocast(batch.input_ids.device, self.precision):
            output = self.model(batch)
        with full_precision(output.logits):
            return self.objective.loss(output, batch)


class Worker:
    """One worker's model, optimiser, rows and position."""

    def __init__(self, task: TrainTask, workers: Workers, placement: Placement):
        self.task, self.workers, self.placement = task, workers, placement
        self.rank, self.world, self.device = rank, world, device = (
            workers.rank, workers.world, workers.device,
        )  # fmt: skip
        self.checkpoints = Checkpoints(task.out.root, task.out.fingerprint)
        folder = task.start.local()
        self.head = task.objective.span_head
        known = task.context
        items = None if self.head is None else SpanItems(self.head.max_len, known.labels)
        layout = layout_in(folder, task.train.max_length, known.task, items)
        share = WorkerShare(rank, world)
        self.examples = own_examples(task.mix, share, layout, known.languages)
        if not share.counts.any():
            raise ValueError("the training set is empty: no row of its text has a label to learn")
        dev = task.dev.rows()
        if not len(dev):
            raise ValueError("the source dev set is empty: there is nothing to choose a model by")
        self.dev_gold = Ragged.from_arrow(dev["labels"])
        self.dev_groups = dev["language"].to_pylist() if task.averages_dev else ["all"] * len(dev)
        dev_rows = np.arange(rank, len(dev), world)
        self.dev = examples_of(dev.take(pa.array(dev_rows)).drop_columns(["labels"]), layout)
        context = replace(
            known,
            num_items=self.examples.num_items,
            total=self.workers.total,
            everyone=self.workers.everyone,
            layout=layout,
            worker=rank,
        )
        self.load = partial(self._load, folder, context)
        self.model = placement.own("model", lambda: placement.lay(self.load()))
        task.objective.prepare(context, placement.seen(self.model))
        task.objective.on_examples(self.examples)
        trainee = Trainee(self.model, task.objective, task.arithmetic.precision)
        self.trainee = self.placement.wrap(trainee, alternates=task.objective.alternates)
        self.optimiser = placement.own(
            "optimiser",
            lambda: make_optimiser(
                self.model, task.schedule, task.train.weight_decay, task.train.head_lr_ratio
            ),
        )
        if task.schedule.before and placement.leads:
            unflatten(self.optimiser, load_file(folder / OPTIMISER), self.placement.cut)
        self.position = Position()
        # The sum since the last score; it stays on the device, so that no step waits for it.
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.best: dict[str, Tensor] | None = None
        per_rank = max(1, task.batch_size // world)
        self.rows_per_step = per_rank
        longest, by_paired = share.counts.max(), task.schedule.epoch_of == "paired"
        if by_paired:
            longest = max(longest, share.paired.max())
        self.steps_per_epoch = max(1, math.ceil(longest / per_rank))
        self.before = self.steps_per_epoch * task.schedule.before
        self.steps = task.schedule.steps or self.steps_per_epoch * task.schedule.whole
        self.epochs = task.schedule.epochs
        if task.schedule.steps is not None:
            self.epochs = math.ceil(self.steps / self.steps_per_epoch)
        own_steps = task.schedule.steps or self.steps_per_epoch * self.epochs
        self.snapshots = Snapshots(self.checkpoints, task.train.snapshots, own_steps)
        own = {id(item) for item in own_parameters(self.model, task.schedule)}
        clips_own = task.schedule.own is None or task.schedule.own.clipped
        self.clipped = [p for p in self.model.parameters() if clips_own or id(p) not in own]
        begins = self.steps_per_epoch if by_paired else None
        self.paired = PairedRows(self.examples, per_rank, seed=task.seed, epoch=begins)
        self.divergence = Divergence(self.device)
        self.course = Course(self.checkpoints, steps=self.steps, epochs=self.epochs)
        self.saved = time.monotonic()

    def _load(self, folder: Path, context: TaskContext) -> Classifier:
        """The model to start from, with the objective's part attached, on the CPU."""
        task = self.task
        model = load_classifier(
            folder,
            context.labels.names,
            context.task,
            dropout=task.train.dropout,
            seed=seed_of(task.seed, "head") % 2**31,
            gradient_checkpointing=task.train.gradient_checkpointing,
            dim_reduce=task.train.dim_reduce,
            spans=self.head,
            lora=lora_of(task.train),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(task.seed, "own"))
            model.attach(task.objective.build(context, model.width), folder)
        if task.schedule.frozen_layers is not None or task.train.freeze_embeddings:
            model.freeze(task.schedule.frozen_layers or 0)
        if task.arithmetic.eager_attention:
            model.use_eager_attention()
        if task.compiled:
            model.compile_encoder()
        return model

    def run(self, on_epoch: Callable[[dict[str, Any]], None] | None) -> dict[str, Any]:
        """Go on from the newest checkpoint to the end; returns facts for the manifest.

        Args:
            on_epoch: Is told the facts of every epoch, at its end.
        """
        self.resume()
        while self.position.epoch < self.epochs and not self.position.stopped:
            self.epoch()
            if on_epoch is not None:
                on_epoch(self.position.history[-1])
        return self.finish()

    # -- one epoch -------------------------------------------------------------------------------

    def epoch(self) -> None:
        """Go through the rows once, from where the position says."""
        task, position = self.task, self.position
        seed = seed_of(task.seed, "epoch", task.schedule.before + position.epoch)
        own = self.examples.longest[: self.examples.num_parts]
        steps, again = self.steps_per_epoch, task.schedule.epoch_of == "paired"
        plan = steps_of_epoch(own, self.rows_per_step, steps=steps, again=again, seed=seed)
        if task.schedule.steps is not None:
            plan = plan[: self.steps - position.epoch * self.steps_per_epoch]
        self.trainee.train()
        while position.step_in_epoch < len(plan):
            due = self.step(plan[position.step_in_epoch])
            position.step_in_epoch += 1
            position.total += 1
            if self.rank == 0:
                self.course.at(position)
            if position.total in self.snapshots.due:
                whole = self.placement.entire(self.model, self.load)
                if whole is not None:
                    self.snapshots.keep(position.total, whole)
            memory.hand_back_at_times()
            if position.step_in_epoch == len(plan):
                self.end_epoch()
            elif task.train.eval_every and position.total % task.train.eval_every == 0:
                self.score()
            if due:
                self.checkpoint()
            if position.step_in_epoch == 0:
                break

    def end_epoch(self) -> None:
        """Score the epoch, move on to the next, and see whether there is to be one."""
        position = self.position
        self.task.objective.after_epoch()
        self.score()
        position.epoch, position.step_in_epoch = position.epoch + 1, 0
        position.stopped = stalled(position.by_epoch(), self.task.schedule.patience)

    def step(self, chosen: np.ndarray) -> bool:
        """One optimiser step over some of this worker's sentences.

        Returns:
            Whether a checkpoint is due; the first worker's clock decides for all.
        """
        task, examples = self.task, self.examples
        number = self.before + self.position.total
        torch.manual_seed(seed_of(task.seed, "step", number, self.rank))
        groups = chosen, self.paired.of(number)
        passes = plan_passes(
            examples,
            task.train.max_tokens,
            groups,
            lambda rows: task.objective.extra_rows(rows, examples),
        )
        if (in_step := self.placement.in_step) is not None:
            none = np.zeros(0, np.int64)
            passes += [ForwardPass(none, none)] * (in_step(len(passes)) - len(passes))
        batches = [task.objective.transform_batch(part.collate(examples)) for part in passes]
        late = time.monotonic() - self.saved >= task.train.checkpoint_seconds
        items = sum(batch.num_items for batch in batches)
        others = sum(batch.num_paired for batch in batches)
        due = float(late and self.rank == 0)
        count, paired, due = self.workers.sum([float(items), float(others), due])
        task.objective.before_step(OptimiserStep(number, self.steps, int(count), int(paired)))
        total = torch.zeros_like(self.loss)
        for index, batch in enumerate(batches):
            with self.placement.last_pass(index == len(batches) - 1):
                loss = self.trainee(batch.to(self.device))["loss"]
                (loss * (self.placement.scale / max(count, 1.0))).backward()
            total += loss.detach()
            self.position.tokens += int(batch.attention_mask.sum())
        self.placement.exchange(self.model)
        if self.placement.leads:
            self._update(number)
        task.objective.after_step()
        self.loss += total
        self.position.items += items
        return due > 0

    def _update(self, number: int) -> None:
        """Change the weights by the gradients of a step."""
        task = self.task
        self._spare(task.objective.trains(number))
        norm = self.placement.clip(self.clipped, task.train.max_grad_norm)
        rate = warmup_then_decay(number, self.steps, task.train.warmup_ratio)
        self.divergence.note(number, rate * task.schedule.lr, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * (1.0 if group["constant"] else rate)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _spare(self, trained: Literal["all", "model", "own"]) -> None:
        """Take away the gradients of what the step leaves as it is."""
        if trained == "all" or self.model.own is None:
            return
        own = {id(parameter) for parameter in self.model.own.parameters()}
        for parameter in self.model.parameters():
            if (id(parameter) in own) != (trained == "own"):
                parameter.grad = None

    # -- source dev ------------------------------------------------------------------------------

    def score(self) -> None:
        """Score source dev and remember the best model."""
        self.divergence.check()
        task, position = self.task, self.position
        predicted = predict_labels(
            self.model,
            self.dev,
            budget=task.batch_tokens,
            device=self.device,
            precision=task.arithmetic.precision,
            in_step=self.placement.in_step,
        )
        everyone = self.workers.everyone(torch.from_numpy(predicted).to(self.device)).cpu().numpy()
        known = self.dev_gold, self._dev_order(everyone), task.context.labels
        loss, items = self.workers.sum([float(self.loss), float(position.items)])
        entry: dict[str, Any] = {
            "epoch": position.epoch + (position.step_in_epoch > 0),
            "step": position.total,
            "loss": loss / max(items, 1.0),
            "source_dev": mean_score(task.metric, *known, self.dev_groups),
        }
        if own := task.objective.progress():
            entry["own"] = own
        position.history.append(entry)
        self.loss, position.items = torch.zeros_like(self.loss), 0
        best = position.best()
        is_best = best == len(position.history) - 1 and task.schedule.keep == "best"
        if is_best and self.placement.leads:
            weights = self.placement.parts(self.model.weights())
            self.best = {name: value.cpu().clone() for name, value in weights.items()}

    def _dev_order(self, everyone: np.ndarray) -> Ragged:
        """The workers' labels, one after the other, in the order of the rows."""
        gold = self.dev_gold
        owners = np.arange(len(gold)) % self.world
        order = np.argsort(np.repeat(owners, np.diff(gold.offsets)), kind="stable")
        flat = np.empty_like(gold.flat)
        flat[order] = everyone
        return Ragged(flat, gold.offsets)

    # -- checkpoints and the result --------------------------------------------------------------

    def checkpoint(self) -> None:
        """Write a checkpoint; it counts once every worker has written its part."""
        step = self.position.total
        self.divergence.check()
        reached("checkpoint.begun")
        self.checkpoints.save_part(step, f"worker-{self.rank}", self._own_state())
        state = {"model": self.model.weights(), "optimiser": flatten(self.optimiser)}
        if self.best is not None:
            state["best"] = self.best
        for name, tensors in state.items():
            if part := self.placement.writes(name):
                self.checkpoints.save_part(step, part, self.placement.parts(tensors))
        self.workers.wait()
        if self.rank == 0:
            meta = {**vars(self.position), "has_best": self.best is not None}
            self.checkpoints.complete(step, meta)
        self.saved = time.monotonic()

    def _own_state(self) -> dict[str, Tensor]:
        """What only this worker knows: the objective's state and its share of the sums."""
        position = self.position
        sums = torch.tensor([self.loss, position.items, position.tokens], dtype=torch.float64)
        state = self.task.objective.state_dict()
        return {**{f"objective.{name}": value for name, value in state.items()}, "sums": sums}

    def _take_own_state(self, state: dict[str, Tensor]) -> None:
        loss, items, tokens = state.pop("sums").tolist()
        position = self.position
        self.loss.fill_(loss)
        position.items, position.tokens = int(items), int(tokens)
        self.task.objective.load_state_dict(
            {name.removeprefix("objective."): v.to(self.device) for name, v in state.items()}
        )

    def resume(self) -> None:
        """Go on from the newest checkpoint of the step, which fixes the number of workers too."""
        steps = self.checkpoints.steps() if self.rank == 0 else []
        step = self.workers.largest(steps[-1] if steps else -1)
        if step < 0:
            return
        meta = self.checkpoints.meta(step)
        for name in vars(self.position):
            setattr(self.position, name, meta[name])
        saved = partial(self.checkpoints.load_part, step)
        self._take_own_state(saved(f"worker-{self.rank}"))
        if not self.placement.leads:
            return self.placement.renew()
        self.placement.take(self.model, saved(self.placement.reads("model")))
        unflatten(self.optimiser, saved(self.placement.reads("optimiser")), self.placement.join)
        if meta["has_best"]:
            self.best = saved(self.placement.reads("best"))

    def finish(self) -> dict[str, Any]:
        """Write the chosen model into the attempt (first worker only) and sum up."""
        position, schedule = self.position, self.task.schedule
        if not position.history:
            self.score()
        best = position.best()
        chosen = best if schedule.keep == "best" else len(position.history) - 1
        assert chosen is not None
        (rows, items, tokens) = self.workers.sum(
            [*map(float, self.examples.before_pool), float(position.tokens)]
        )
        for name, table in self.task.objective.findings(self.examples).items():
            self.task.out.write_table(f"{name}-{self.rank:03d}.parquet", table)
        self.workers.wait()
        if schedule.keep == "best" and self.best is not None:
            self.placement.take(self.model, self.best)
        whole, optimiser = self.placement.entire(self.model, self.load), None
        if 0 < schedule.before + schedule.epochs < schedule.whole:
            optimiser = self.placement.gather(flatten(self.optimiser))
        if whole is not None:
            with TemporaryDirectory() as folder:
                whole.save(Path(folder))
                if optimiser is not None:
                    save_file(optimiser, Path(folder) / OPTIMISER)
                self.task.out.write_folder(Path(folder))
            self.snapshots.publish(self.task.out)
            for path in files_beside(self.model, self.task.start):
                self.task.out.copy(path.name, path)
        kept = {key: position.history[chosen].get(key) for key in ("source_dev", "own")}
        return {
            **{key: value for key, value in kept.items() if value is not None},
            "chosen": chosen,
            "history": position.history,
            "rows": int(rows),
            "items": int(items),
            "tokens": int(tokens),
            "steps": position.total,
            **base_of(self.model, self.task.start),
        }
