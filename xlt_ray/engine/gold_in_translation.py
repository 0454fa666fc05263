"""Steps that put source gold and its translations together, as labelled text in one artifact.

Rows of the source are as they were, with their labels; then come the rows that got over into each
language, each as often as it counts, with ids of their own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from xlt_ray.data.keyed import Places
from xlt_ray.data.quarantine import lost_rows, write_lost
from xlt_ray.data.schema import TEXT_SCHEMA, TRANSLATED, Task
from xlt_ray.engine.mark import gold_of
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask


@dataclass(frozen=True, kw_only=True)
class JoinTask(StepTask):
    """What is put together.

    Attributes:
        text: Text of the source.
        gold: Its gold labels.
        projections: Results of project steps by language.
        task: Kind of task.
        weight: How often each translated row is there.
    """

    kind = "labelled"

    text: Artifact
    gold: Artifact
    projections: Mapping[str, Artifact]
    task: Task
    weight: int

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Text, labels and projections."""
        return (self.text, self.gold, *self.projections.values())

    @property
    def modules(self) -> tuple[str, ...]:
        """This one."""
        return (__name__,)


def run_join(task: JoinTask) -> dict[str, Any]:
    """Write the rows; returns facts for the manifest, ``translated`` rows by language in them."""
    counts, parts, translated = dict[str, int](), dict[str, int](), dict[str, int]()
    for language, table in _tables(task):
        counts[language] = counts.get(language, 0) + len(table)
        number = parts[language] = parts.get(language, -1) + 1
        task.out.write_table(f"text-{language}.part-{number:06d}.parquet", table)
        own = sum(id.startswith(TRANSLATED) for id in table["id"].to_pylist())
        if own:
            translated[language] = translated.get(language, 0) + own
    write_lost(task.out, lost_rows(task.text))
    rows = sum(counts.values())
    return {"rows": rows, "rows_by_language": counts, "translated": translated}


def _tables(task: JoinTask) -> Iterator[tuple[str, pa.Table]]:
    """Language and rows of each file."""
    names, gold = TEXT_SCHEMA[task.task].names, Places(gold_of(task.gold))
    for shard in shards_of(task.text):
        rows = shard.rows(task.text).select(names)
        rows = rows.append_column("labels", gold.table["labels"].take(gold.of(rows)))
        if len(rows := rows.filter(rows["labels"].is_valid())):
            yield shard.language, rows
    for language, projection in task.projections.items():
        for table in projection.tables():
            rows = table.filter(table["rejected"].is_null()).select([*names, "labels"])
            if len(rows):
                yield language, _repeated(rows, task.weight)


def _repeated(rows: pa.Table, weight: int) -> pa.Table:
    """Each row so many times, with an id of its own each time."""
    found, ids = [rows], rows["id"].to_pylist()
    for number in range(1, weight):
        own = [f"{TRANSLATED}+{number} {id}" for id in ids]
        found.append(rows.set_column(0, "id", pa.array(own, pa.string())))
    return pa.concat_tables(found).combine_chunks()
