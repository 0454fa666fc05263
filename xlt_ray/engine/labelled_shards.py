"""What actors share that carry labels from a text to its translation, or back: rows of a shard of
the text with their labels, all of them or a part."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from xlt_ray.data.keyed import Places
from xlt_ray.data.quarantine import LostRow
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.engine.word_vectors import AlignTask, WordVectors, word_vectors_of
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.attempt import Attempt


class CarryTask(AlignTask, Protocol):
    """A step over the shards of a text."""

    @property
    def text(self) -> Artifact:
        """The text."""

    @property
    def out(self) -> Attempt:
        """Where files go."""


class LabelledShards(ABC):
    """One actor: loads the encoder once, if it needs it, then turns shards into files.

    Args:
        task: The step.
        labels: ``id`` and ``labels`` of rows of the text; rows without labels are left out.
    """

    def __init__(self, task: CarryTask, labels: pa.Table):
        self._task, self._labels = task, Places(labels)
        self.shards = {shard.text_name: shard for shard in shards_of(task.text)}

    @abstractmethod
    def carried(self, name: str, rows: pa.Table) -> pa.Table:
        """What becomes of some rows of a shard, which have ``labels``."""

    @cached_property
    def encoder(self) -> WordVectors:
        """What gives the vectors of words."""
        return word_vectors_of(self._task)

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Write the files of shards, by name."""
        for name in map(str, shards["shard"]):
            self._task.out.write_table(name, self.carried(name, self._labelled(name)))
        return shards

    def rows(self, name: str) -> list[LostRow]:
        """The rows of a shard, each as it is known if it is lost."""
        shard, ids = self.shards[name], self._labelled(name)["id"].to_pylist()
        return [LostRow(id, shard.language, name, at) for at, id in enumerate(ids, start=1)]

    def part(self, name: str, start: int, stop: int) -> pa.Table:
        """What the file of a shard has of some of its rows."""
        rows = self._labelled(name)
        return self.carried(name, rows.take(pa.array(range(start, stop), pa.int64())))

    def _labelled(self, name: str) -> pa.Table:
        """The rows of a shard that have labels, with them."""
        rows, known = self.shards[name].rows(self._task.text), self._labels
        rows = rows.append_column("labels", known.table["labels"].take(known.of(rows)))
        return rows.filter(rows["labels"].is_valid())
