"""Workers with models that die of some rows."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tests.deadly import die
from xlt_ray.engine.annotate import ShardAnnotator
from xlt_ray.engine.translate import Route, ShardTranslator

MARK = "deadly"
"""What a text, or the id of a row, begins with that kills."""
WORDS = 13
"""So many words kill, too."""


class DeadlyAnnotator(ShardAnnotator):
    """Dies of marked rows in the middle of its work."""

    def annotated(self, rows: pa.Table, examples: Any) -> pa.Table:
        if any(row["id"].startswith(MARK) for row in rows.select(["id"]).to_pylist()) or (
            "lengths" in rows.column_names and WORDS in map(len, rows["lengths"].to_pylist())
        ):
            die()
        return super().annotated(rows, examples)


class DeadlyTranslator(ShardTranslator):
    """Dies of marked text."""

    def translations(self, texts: Sequence[str], route: Route, language: str) -> dict[str, str]:
        if any(text.startswith(MARK) for text in texts):
            die()
        return super().translations(texts, route, language)
