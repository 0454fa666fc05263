"""Steps that read sentences of words in translation: its words take the place of the sentence's.

Sentences of other languages stay as they are. Files are named by shard, as translations are, so
that rows that belong together are found again.
"""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from xlt_ray.data.quarantine import lost_rows, write_lost
from xlt_ray.data.readers.words import Cut, words_of
from xlt_ray.data.schema import TEXT_SCHEMA
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask


@dataclass(frozen=True, kw_only=True)
class ReplaceTask(StepTask):
    """What is read in place of what.

    Attributes:
        text: Sentences of words.
        translation: Their translation as running text, and other languages as they are.
        languages: Languages that are read in translation.
        cut: Where words of the translation end.
    """

    kind = "replaced"

    text: Artifact
    translation: Artifact
    languages: tuple[str, ...]
    cut: Cut

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Both texts."""
        return (self.text, self.translation)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and the one that cuts words."""
        return (__name__, "xlt_ray.data.readers.words")


def run_replace(task: ReplaceTask) -> dict[str, Any]:
    """Write every shard; returns facts for the manifest."""
    counts, schema = dict[str, int](), TEXT_SCHEMA["token"]
    for shard in shards_of(task.text):
        rows = shard.rows(task.text).select(schema.names)
        if shard.language in task.languages:
            rows = task.translation.shard(shard.text_name, ["id", "language", "text"])
            words = [words_of(text, task.cut) for text in rows["text"].to_pylist()]
            rows = rows.set_column(2, "tokens", pa.array(words, schema.field("tokens").type))
        counts[shard.language] = counts.get(shard.language, 0) + len(rows)
        task.out.write_table(shard.text_name, rows)
    write_lost(task.out, lost_rows(task.translation))
    return {"rows": sum(counts.values()), "rows_by_language": counts}
