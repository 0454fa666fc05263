"""The text of a finished run, and what its rounds and gold say of each row."""

import heapq
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlt_ray.data.readers.rows import Text
from xlt_ray.report.look import TEST, UNLABELLED, Said
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.run_folder import RunFolder

ROUND = re.compile(r"(?:\S+ )?(?:round|iteration) (\d+)(?: (?!test )\S+)? annotation")
"""Title of what a round said of its text, of all languages or of one."""
_TEXTS = {TEST: "test text", UNLABELLED: "unlabelled text"}
_GOLD = "test gold"


class RunTexts:
    """Artifacts of the text, the gold labels and the rounds of a run.

    Args:
        store: The store of the run.
        folder: The folder of the run.
    """

    def __init__(self, store: Store, folder: RunFolder):
        self._steps = dict[str, Artifact]()
        for entry in folder.read_lines("ledger.jsonl"):
            title = str(entry["title"])
            if title in (*_TEXTS.values(), _GOLD) or ROUND.fullmatch(title):
                artifact = store.find(entry["kind"], entry["fingerprint"])
                if artifact is not None:
                    self._steps[title] = artifact

    def rows(self, part: str, language: str, count: int) -> pa.Table | None:
        """Some rows of the test text or the unlabelled text of a language; None: it has none."""
        artifact, file = self._steps.get(_TEXTS[part]), f"text-{language}.parquet"
        if artifact is None or file not in artifact.names:
            return None
        return drawn(artifact, file, count)

    def gold(self, language: str, ids: pa.ChunkedArray, labels: tuple[str, ...]) -> dict[str, Said]:
        """Gold of rows of the test text, by id; of none where there is none.

        Args:
            language: The language.
            ids: Ids of the rows.
            labels: Names of the classes.
        """
        artifact, file = self._steps.get(_GOLD), f"gold-{language}.parquet"
        if artifact is None or file not in artifact.names:
            return {}
        return dict(_said(artifact, [file], ids, labels))

    def rounds(self, ids: pa.ChunkedArray, labels: tuple[str, ...]) -> dict[str, dict[int, Said]]:
        """What each round said of rows of the unlabelled text, by id and number of the round.

        Args:
            ids: Ids of the rows.
            labels: Names of the classes.
        """
        found = dict[str, dict[int, Said]]()
        for title, artifact in self._steps.items():
            match = ROUND.fullmatch(title)
            if match is None or "labels" not in artifact.columns():
                continue
            files = [name for name in artifact.names if name.endswith(".parquet")]
            for id, said in _said(artifact, files, ids, labels):
                found.setdefault(id, {})[int(match[1])] = said
        return {id: dict(sorted(rounds.items())) for id, rounds in found.items()}


def _said(
    artifact: Artifact, files: Sequence[str], ids: pa.ChunkedArray, names: tuple[str, ...]
) -> Iterator[tuple[str, Said]]:
    """Labels, and candidate sets where there are some, of rows by id."""
    wanted = ids.to_pylist()
    asked = [x for x in ("id", "labels", "candidates") if x in artifact.columns()]
    for file in files:
        table = artifact.shard(file, asked)
        for row in table.filter(pc.field("id").isin(wanted)).to_pylist():
            sets = tuple(
                tuple(name for bit, name in enumerate(names) if mask >> bit & 1)
                for mask in row.get("candidates") or ()
            )
            yield row["id"], Said(tuple(names[label] for label in row["labels"]), (), sets)


def drawn(artifact: Artifact, file: str, count: int) -> pa.Table:
    """Rows of a file, drawn by their ids: the same ones each time, whatever their order.

    Args:
        artifact: Has the file.
        file: A Parquet file with a column ``id``.
        count: How many rows; all if there are no more.
    """
    with artifact.parquet(file) as content:
        best = list[tuple[int, int, int]]()
        for group in range(content.num_row_groups):
            ids = content.read_row_group(group, ["id"])["id"].to_pylist()
            here = ((zlib.crc32(id.encode()), group, at) for at, id in enumerate(ids))
            best = heapq.nsmallest(count, chain(best, here))
        places = dict[int, list[int]]()
        for _, group, at in sorted(best, key=lambda item: item[1:]):
            places.setdefault(group, []).append(at)
        parts = [content.read_row_group(group).take(at) for group, at in places.items()]
        return pa.concat_tables(parts) if parts else content.schema_arrow.empty_table()


def text_of(row: Mapping[str, Any]) -> Text:
    """A row of such a table as a text to label."""
    if "tokens" in row:
        return Text(tokens=tuple(row["tokens"]))
    return Text(text=row["text"], text_pair=row.get("text_pair"))
