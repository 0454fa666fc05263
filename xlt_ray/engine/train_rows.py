"""Which rows a training worker has, and which of them each optimiser step takes."""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from xlt_ray.data.batching import plan_epoch, seed_of
from xlt_ray.data.corpus import Mix
from xlt_ray.data.examples import Examples, Layout, examples_of
from xlt_ray.data.schema import Task
from xlt_ray.labels import UNLABELLED


class Share:
    """Which rows belong to a worker, by hash of the id, and how many belong to each."""

    def __init__(self, rank: int, world: int):
        self.rank, self.world = rank, world
        self.counts = np.zeros(world, np.int64)

    def own(self, rows: pa.Table) -> pa.Table:
        """This worker's rows; all rows count."""
        owners = [zlib.crc32(item.encode()) % self.world for item in rows["id"].to_pylist()]
        self.counts += np.bincount(np.array(owners, np.int64), minlength=self.world)
        return rows.filter(pa.array([owner == self.rank for owner in owners], pa.bool_()))


class Companions:
    """Which rows of the companion text belong to each optimiser step of a worker."""

    def __init__(self, examples: Examples, rows_per_step: int, *, seed: int):
        self.first, self.rows_per_step, self.seed = examples.num_parts, rows_per_step, seed
        self.longest = examples.longest[self.first :]
        self._pass, self._plan = -1, list[np.ndarray]()

    def of(self, number: int) -> np.ndarray:
        """Examples of a step; the text begins again, in another order, where it ends."""
        steps = math.ceil(len(self.longest) / self.rows_per_step)
        if not steps:
            return np.zeros(0, np.int64)
        turn, at = divmod(number, steps)
        if turn != self._pass:
            seed = seed_of(self.seed, "companion", turn)
            self._pass, self._plan = turn, plan_epoch(self.longest, self.rows_per_step, seed=seed)
        return self.first + self._plan[at]


def own_examples(mix: Mix, share: Share, layout: Layout, languages: Sequence[str]) -> Examples:
    """The rows of a worker, those of the companion text last.

    Args:
        mix: What is learnt from.
        share: Whose rows; it counts those of the labelled parts.
        layout: How they become model input.
        languages: Names by language number.
    """
    rows = [_padded(part.rows(share.own)) for part in mix.parts]
    count = sum(len(table) for table in rows)
    if mix.companion is not None:
        others = Share(share.rank, share.world)
        kind = rows[0].schema.field("labels").type
        rows.append(_padded(_without_labels(mix.companion.rows(others.own), layout.task, kind)))
    examples = examples_of(pa.concat_tables(rows), layout, languages)
    examples.num_parts = count
    return examples


def _without_labels(table: pa.Table, task: Task, kind: pa.DataType) -> pa.Table:
    """Rows whose items all have no label, in a column of that type."""
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
    kept = ["id", "language", "pieces", "lengths", "labels", "candidates"]
    return table.select([*kept, *(name for name in table.column_names if "." in name)])
