"""Mark steps: sentences of words as running text that can be translated, perhaps with brackets
around their entities.

The rows are those of a text that have gold labels, or all of them, in files of one shard each under
the names of the translation of that shard, so that rows that belong together are found again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from xlt_ray.data.batches.subwords import running_text
from xlt_ray.data.keyed import Places
from xlt_ray.data.projection.markers import marked
from xlt_ray.data.projection.rejection import Rejected
from xlt_ray.data.quarantine import lost_rows, write_lost
from xlt_ray.data.schema import TEXT_SCHEMA
from xlt_ray.engine.text_shards import TextShard, shards_of
from xlt_ray.labels import LabelSet, bio_spans_of_ids
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask


@dataclass(frozen=True, kw_only=True)
class MarkTask(StepTask):
    """What is written as running text.

    Attributes:
        text: Sentences of words.
        gold: Their gold labels; None: every sentence is written, without brackets.
        labels: Classes of the labels.
        brackets: Whether entities have brackets. Sentences without entities have none; those that
            no kind of brackets is left for are left out.
        bare: Whether sentences are there that have no brackets.
    """

    kind = "marked"

    text: Artifact
    gold: Artifact | None
    labels: LabelSet
    brackets: bool
    bare: bool

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The text and its labels."""
        return (self.text,) if self.gold is None else (self.text, self.gold)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and the one that puts brackets."""
        return (__name__, "xlt_ray.data.projection.markers")


def run_mark(task: MarkTask) -> dict[str, Any]:
    """Write every shard as running text; returns facts for the manifest."""
    gold = None if task.gold is None else Places(gold_of(task.gold))
    counts = dict[str, int]()
    for shard in shards_of(task.text):
        table = pa.Table.from_pylist(
            list(_running(task, shard, gold)), schema=TEXT_SCHEMA["sentence"]
        )
        counts[shard.language] = counts.get(shard.language, 0) + len(table)
        task.out.write_table(shard.text_name, table)  # without rows, too: files count shards
    write_lost(task.out, lost_rows(task.text))
    return {"rows": sum(counts.values()), "rows_by_language": counts}


def gold_of(gold: Artifact) -> pa.Table:
    """Ids and labels of all rows of gold."""
    return gold.table(["id", "labels"])


def _running(task: MarkTask, shard: TextShard, gold: Places | None) -> Iterator[dict[str, Any]]:
    rows = shard.rows(task.text)
    columns = (rows[name].to_pylist() for name in ("id", "language", "tokens"))
    labels: list[list[int] | None] = [[]] * len(rows)
    if gold is not None:
        labels = gold.table["labels"].take(gold.of(rows)).to_pylist()
    for id, language, words, own in zip(*columns, labels, strict=True):
        if own is None:
            continue
        spans = bio_spans_of_ids(own, task.labels) if task.brackets else []
        if not spans:
            if task.bare:
                yield {"id": id, "language": language, "text": running_text(words).text}
            continue
        try:
            yield {"id": id, "language": language, "text": marked(words, spans)}
        except Rejected:
            continue  # whoever carries labels over asks for brackets again, and says why
