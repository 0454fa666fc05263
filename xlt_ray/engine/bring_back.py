"""Bring-back steps: labels that a model gave to sentences in translation, for the words of the
sentences themselves.

A shard of the text is one actor's, which aligns its words with those of the translation
(`xlt_ray.data.projection.aligned`). Every row that has labels in translation has some here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import Places
from xlt_ray.data.projection.aligned import labels_back, spans_back
from xlt_ray.data.quarantine import in_order, lost_rows, write_lost
from xlt_ray.data.schema import GOLD_SCHEMA
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.isolation import write_all
from xlt_ray.engine.labelled_shards import LabelledShards
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.engine.word_vectors import alignment
from xlt_ray.labels import LabelSet, bio_spans_of_ids, spans_to_bio
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask

ROWS = 256
"""Sentences whose vectors are in memory at a time."""


@dataclass(frozen=True, kw_only=True)
class BringBackTask(StepTask):
    """Everything an actor needs; it travels by value.

    Attributes:
        text: Sentences of words.
        read: What was read in their place, as `xlt_ray.engine.words_in_translation` has it.
        predicted: Labels of what was read, of all rows or some.
        languages: Languages that were read in translation; labels of others stay as they are.
        pivot: Language of the translation.
        labels: Classes of the labels.
        encoder: Whose vectors align words.
        layer: Its layer, from 1.
        threshold: Of softmax intersection.
        max_length: Longest input of the encoder in sub-words.
        batch_tokens: Token budget of a forward pass.
        arithmetic: How an actor computes.
    """

    kind = "brought-back"
    resumes = True

    text: Artifact
    read: Artifact
    predicted: Artifact
    languages: tuple[str, ...]
    pivot: str
    labels: LabelSet
    encoder: Artifact
    layer: int
    threshold: float
    max_length: int
    batch_tokens: int
    arithmetic: Arithmetic

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Both texts, the labels and the encoder."""
        return (self.text, self.read, self.predicted, self.encoder)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and those that it computes with."""
        return (
            __name__, "xlt_ray.data.projection.aligned", "xlt_ray.engine.word_vectors",
            "xlt_ray.ops.word_alignment",
        )  # fmt: skip


class ShardReturner(LabelledShards):
    """One actor, see `LabelledShards`."""

    def __init__(self, task: BringBackTask):
        super().__init__(task, task.predicted.table(["id", "labels"]))
        self.task = task

    def carried(self, name: str, rows: pa.Table) -> pa.Table:
        """Labels for the words of some rows of a shard."""
        schema = GOLD_SCHEMA["token"].append(pa.field("given", pa.int32()))
        schema = schema.append(pa.field("back", pa.int32()))
        language, made = self.shards[name].language, list[dict[str, Any]]()
        read = Places(self.task.read.shard(name, ["id", "tokens"]))
        rows = rows.append_column("read", read.table["tokens"].take(read.of(rows)))
        for start in range(0, len(rows), ROWS):
            part = rows.slice(start, ROWS).to_pylist()
            if language not in self.task.languages:
                made += [dict.fromkeys(schema.names, 0) | _known(x) for x in part]
                continue
            read_V = self.encoder([x["read"] for x in part], self.task.pivot)
            own_V = self.encoder([x["tokens"] for x in part], language)
            for row, other, own in zip(part, read_V, own_V, strict=True):
                p_NM = alignment(other, own, self.task.threshold)
                made.append(_known(row) | self._of_row(row, p_NM))
        return pa.Table.from_pylist(made, schema=schema)

    def _of_row(self, row: Mapping[str, Any], p_NM: np.ndarray) -> dict[str, Any]:
        """Labels of the M words of a row, of those of the N words that were read in its place."""
        labels, words = self.task.labels, row["tokens"]
        if not labels.is_bio:
            found, back = labels_back(row["labels"], p_NM)
            return {"labels": list(found), "given": len(words), "back": back}
        given = bio_spans_of_ids(row["labels"], labels)
        spans = spans_back(given, p_NM)
        tags = [labels.index(tag) for tag in spans_to_bio(spans, len(words))]
        return {"labels": tags, "given": len(given), "back": len(spans)}


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "language", "labels")}


def run_bring_back(task: BringBackTask, pool: Pool, *, limit: int) -> dict[str, Any]:
    """Bring back the labels of every shard; returns facts for the manifest: ``given`` entities in
    translation, or words, and how many of them came ``back``.

    Args:
        task: The step.
        pool: The actors.
        limit: Rows that may be lost, since they kill whoever aligns them.

    Raises:
        RuntimeError: an actor failed for good, or whatever is aligned kills; the message is why.
        ConfigError: more rows kill than may be lost.
    """
    names = [shard.text_name for shard in shards_of(task.text)]
    lost = write_all(ShardReturner, task, pool, names, limit=limit)
    facts = {"rows": 0, "given": 0, "back": 0}
    for name in names:
        table = task.out.table(name, ["given", "back"])
        facts["rows"] += len(table)
        for key in ("given", "back"):
            facts[key] += sum(table[key].to_pylist())
    write_lost(task.out, in_order([*lost, *lost_rows(task.predicted)]))
    return {**facts, "quarantined": len(lost)} if lost else facts
