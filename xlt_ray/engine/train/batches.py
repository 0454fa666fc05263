"""Which rows a training worker has, and which of them each optimiser step takes."""

import math
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import Examples, examples_of
from xlt_ray.data.batches.layout import InputLayout
from xlt_ray.data.batches.planning import plan_epoch, plan_pairs, seed_of
from xlt_ray.data.schema import Task
from xlt_ray.labels import UNLABELLED
from xlt_ray.recipe.corpus import Mix

WORTH_IT = 0.9
"""Share of its size that the largest pass may keep for a finer cut to be taken."""


class WorkerShare:
    """Which rows belong to a worker, by hash of the id, and how many belong to each.

    Attributes:
        counts: Rows of the parts by worker.
        paired: Rows of the paired text by worker.
    """

    def __init__(self, rank: int, world: int):
        self.rank, self.world = rank, world
        self.counts = np.zeros(world, np.int64)
        self.paired = np.zeros(world, np.int64)

    def own(self, rows: pa.Table) -> pa.Table:
        """This worker's rows; all rows count."""
        owners = [zlib.crc32(item.encode()) % self.world for item in rows["id"].to_pylist()]
        self.counts += np.bincount(np.array(owners, np.int64), minlength=self.world)
        return rows.filter(pa.array([owner == self.rank for owner in owners], pa.bool_()))


def steps_of_epoch(
    longest: np.ndarray, rows_per_step: int, *, steps: int, again: bool, seed: int
) -> list[np.ndarray]:
    """Rows of the parts that belong to each optimiser step of an epoch.

    Args:
        longest: Length of each row of the worker's parts.
        rows_per_step: Rows of a step.
        steps: Steps of the epoch, which may be more than the rows are enough for.
        again: Whether the rows begin again then, in another order; else the last steps have none.
        seed: Seed of the epoch.
    """
    plan, turn = plan_epoch(longest, rows_per_step, seed=seed), 0
    while again and 0 < len(plan) < steps:
        turn += 1
        plan += plan_epoch(longest, rows_per_step, seed=seed_of(seed, "again", turn))
    return plan[:steps] + [np.zeros(0, np.int64)] * (steps - len(plan))


class PairedRows:
    """Which rows of the paired text belong to each optimiser step of a worker.

    Args:
        examples: All rows of the worker.
        rows_per_step: Rows of a step.
        seed: Of the order of the rows.
        epoch: Steps after which the text begins again wherever it is; None: it always goes on.
    """

    def __init__(
        self, examples: Examples, rows_per_step: int, *, seed: int, epoch: int | None = None
    ):
        self.first, self.rows_per_step, self.seed = examples.num_parts, rows_per_step, seed
        self.longest, self.epoch = examples.longest[self.first : examples.first_pool], epoch
        self._pass, self._plan = -1, list[np.ndarray]()

    def of(self, number: int) -> np.ndarray:
        """Examples of a step; the text begins again, in another order, where it ends."""
        steps = math.ceil(len(self.longest) / self.rows_per_step)
        if not steps:
            return np.zeros(0, np.int64)
        if self.epoch is None:
            turn, at = divmod(number, steps)
        else:
            begun, within = divmod(number, self.epoch)
            turn, at = begun * math.ceil(self.epoch / steps) + within // steps, within % steps
        if turn != self._pass:
            seed = seed_of(self.seed, "companion", turn)
            self._pass, self._plan = turn, plan_epoch(self.longest, self.rows_per_step, seed=seed)
        return self.first + self._plan[at]


class ForwardPass(NamedTuple):
    """Rows of a forward pass, and those that the objective joined to them."""

    own: np.ndarray
    extra: np.ndarray

    def size(self, examples: Examples) -> int:
        """Input rows times the longest."""
        every = np.concatenate(self)
        return int(examples.num_windows[every].sum() * examples.longest[every].max(initial=0))

    def collate(self, examples: Examples) -> Batch:
        """All of them as one batch."""
        return examples.collate(np.concatenate(self), extra=len(self.extra))


def own_examples(
    mix: Mix, share: WorkerShare, layout: InputLayout, languages: Sequence[str]
) -> Examples:
    """The rows of a worker: of the parts, of the paired text, and all those of the pool.

    Args:
        mix: What is learnt from.
        share: Whose rows; it counts those of the labelled parts and of the paired text.
        layout: How they become model input.
        languages: Names by language number.
    """
    rows = [_padded(part.rows(share.own)) for part in mix.parts]
    count, kind = sum(len(table) for table in rows), rows[0].schema.field("labels").type
    if mix.paired is not None:
        others = WorkerShare(share.rank, share.world)
        rows.append(_padded(_labelled(mix.paired.rows(others.own), layout.task, kind)))
        share.paired = others.counts
    before = sum(len(table) for table in rows)
    if mix.pool is not None:
        rows.append(_padded(_labelled(mix.pool.rows(), layout.task, kind)))
    together = pa.concat_tables(rows, promote_options="default")  # what stands beside some of them
    examples = examples_of(together, layout, languages)
    examples.num_parts, examples.first_pool = count, before
    examples.part = np.repeat(np.arange(len(rows)), [len(table) for table in rows])
    return examples


def plan_passes(
    examples: Examples,
    budget: int,
    groups: tuple[np.ndarray, np.ndarray],
    join: Callable[[np.ndarray], np.ndarray],
) -> list[ForwardPass]:
    """Forward passes of a step, each with what an objective joins to it.

    The step is cut finer until every pass is within the budget with what was joined, as far as that
    makes passes smaller: what is joined may be larger than the budget by itself.

    Args:
        examples: All rows of the worker.
        budget: Largest rows x longest of a pass.
        groups: Rows of the parts, and of the paired text.
        join: Rows that the objective adds to a pass of some rows.
    """
    sizes, most, found = (examples.longest, examples.num_windows), budget, list[ForwardPass]()
    largest = math.inf
    while True:
        own = plan_pairs(*sizes, most, *groups)
        passes = [ForwardPass(rows, join(rows)) for rows in own]
        height = max((part.size(examples) for part in passes if len(part.extra)), default=0)
        if height > WORTH_IT * largest:
            return found
        if height <= budget or len(own) >= max(map(len, groups)):
            return passes
        most, found, largest = most // 2, passes, height


def _labelled(table: pa.Table, task: Task, kind: pa.DataType) -> pa.Table:
    """Rows with labels, as they have them or all of them none, in a column of that type."""
    if "labels" in table.column_names:
        at = table.column_names.index("labels")
        return table.set_column(at, "labels", table["labels"].cast(kind))
    lengths = table["lengths"].combine_chunks()
    sizes = lengths.value_lengths().to_numpy(zero_copy_only=False)
    sizes = sizes if task == "token" else np.ones(len(table), np.int64)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
    nothing = pa.array(np.full(int(sizes.sum()), UNLABELLED, np.int64))
    return table.append_column("labels", pa.ListArray.from_arrays(offsets, nothing).cast(kind))


def _padded(table: pa.Table) -> pa.Table:
    """Give every part of a mix the same columns; a part without sets has empty ones."""
    if "candidates" not in table.column_names:
        labels = table["labels"].combine_chunks()
        zeros = pa.array(np.zeros(len(labels.flatten()), np.int64))
        sizes = labels.value_lengths().to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
        table = table.append_column("candidates", pa.ListArray.from_arrays(offsets, zeros))
    kept = {"id", "language", "pieces", "lengths", "shapes", "labels", "candidates"}
    return table.select([name for name in table.column_names if name in kept or "." in name])
