"""Rows that later steps had to do without, as they stand in an artifact's ``quarantine-*.jsonl``.

A row that cannot be read has no id and is none of the text. A row that killed whoever worked on it
has one: it is a row of the text, and of nothing that is made of it. Whoever looks for such a row
finds here that it is missing for a reason; any other missing row is an error.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.attempt import Attempt

FATAL = "the process that worked on this row died, again and again, also with this row alone"
"""Why a row is lost."""
_FILE = "quarantine-"


@dataclass(frozen=True, slots=True)
class LostRow:
    """A row that is missing.

    Attributes:
        id: Its id.
        language: Its language; of predictions the key of its file.
        file: The shard that it should be in.
        line: Which row of the shard's text it is, from 1.
        reason: Why it is missing.
    """

    id: str
    language: str
    file: str
    line: int
    reason: str = FATAL


def lost_rows(*artifacts: Artifact) -> list[LostRow]:
    """The rows with an id that any of the artifacts is without, each once, by shard and row."""
    found = dict[str, LostRow]()
    for artifact in artifacts:
        for name in artifact.names:
            if name.startswith(_FILE):
                rows = map(json.loads, artifact.read(name).splitlines())
                found |= {row["id"]: LostRow(**row) for row in rows if "id" in row}
    return in_order(found.values())


def in_order(rows: Iterable[LostRow]) -> list[LostRow]:
    """Rows by shard and row, each once."""
    return sorted(set(rows), key=lambda row: (row.file, row.line, row.id))


def write_lost(out: Attempt, rows: Iterable[LostRow]) -> None:
    """Write a file for each language that has lost rows."""
    lines = dict[str, list[str]]()
    for row in rows:
        lines.setdefault(row.language, []).append(json.dumps(asdict(row), ensure_ascii=False))
    for language, found in lines.items():
        out.write(f"{_FILE}{language}.jsonl", ("\n".join(found) + "\n").encode())
