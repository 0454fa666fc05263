"""Small data folders and what is read from them, for the tests of readers."""

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlt_ray.data.readers.files import FileSource
from xlt_ray.data.schema import BadRow, Example, Task
from xlt_ray.labels import LabelSet

NER = LabelSet(("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))
NLI = LabelSet(("entailment", "neutral", "contradiction"))


def write(root: Path, content: bytes | str, name: str = "de/train.txt") -> Path:
    data = content.encode() if isinstance(content, str) else content
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def source(root: Path | str, task: Task = "token", **changes: Any) -> FileSource:
    return replace(FileSource(str(root), "de", "train", task), **changes)


def read(
    root: Path | str,
    labels: LabelSet | None = NER,
    *,
    task: Task = "token",
    limit: int | None = None,
    **changes: Any,
) -> tuple[list[Example], list[BadRow]]:
    rows = list(source(root, task, **changes).examples(labels, limit))
    good = [row for row in rows if isinstance(row, Example)]
    return good, [row for row in rows if isinstance(row, BadRow)]


def tokens_of(rows: list[Example]) -> list[list[str]]:
    return [list(row.tokens or ()) for row in rows]
