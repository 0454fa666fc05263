"""Pages with sentences of a finished run: what its models, its rounds and gold say of each."""

import heapq
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlt_ray.commands.trained_models import Finished, load_here, models_of_run
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.rows import Text
from xlt_ray.engine.labeller import Labeller
from xlt_ray.labels import LabelSet
from xlt_ray.recipe.corpus import Model
from xlt_ray.report.look import TEST, UNLABELLED, Counts, Row, Said, look_index, look_page
from xlt_ray.report.record import Report
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.run_folder import RunFolder

FOLDER = "look"
"""In the folder of a run."""
_ROUND = re.compile(r"round (\d+) annotation")
_TEXTS = {TEST: "test text", UNLABELLED: "unlabelled text"}
_GOLD = "test gold"


def write_pages(store: Store, report: Report, folder: RunFolder, count: int) -> str:
    """Write a page for each target, and one with links to them.

    Args:
        store: The store of the run.
        report: What the run has reported.
        folder: Its folder.
        count: Rows of test text, and of unlabelled text, of each language.

    Returns:
        Where the page with the links is.

    Raises:
        ConfigError: the models or the text cannot be shown, or are not in the store any more.
    """
    if (report.config.get("translation") or {}).get("replace"):
        raise ConfigError(f"run {report.run!r} reads its targets in translation, which has no page")
    steps = _steps(store, folder)
    pages, counted = dict[str, list[Row]](), list[Counts]()
    labellers, token, bio = _Labellers(), True, True
    for language in report.targets:
        before, after = models_of_run(store, report.run, language)
        made = _Language(language, steps, before, after, labellers)
        rows = [row for part in (TEST, UNLABELLED) for row in made.rows(part, count)]
        if rows:
            pages[language] = rows
            counted.append(Counts.of(language, rows))
        token, bio = after.task == "token", LabelSet(after.labels).is_bio  # of all alike
    if not pages:
        raise ConfigError(f"the store has no text of run {report.run!r} any more; run it again")
    for language, rows in pages.items():
        page = look_page(report.run, language, list(pages), rows, token=token, bio=bio)
        folder.write(f"{FOLDER}/{language}.html", page.encode())
    folder.write(f"{FOLDER}/index.html", look_index(report.run, counted).encode())
    return f"{folder.path}/{FOLDER}/index.html"


def _steps(store: Store, folder: RunFolder) -> dict[str, Artifact]:
    """Artifacts of the text, the gold labels and the rounds of a run, by title of their step."""
    found = dict[str, Artifact]()
    for entry in folder.read_lines("ledger.jsonl"):
        title = str(entry["title"])
        if title in (*_TEXTS.values(), _GOLD) or _ROUND.fullmatch(title):
            artifact = store.find(entry["kind"], entry["fingerprint"])
            if artifact is not None:
                found[title] = artifact
    return found


class _Labellers:
    """Loaded models, the last two of them: that of the source alone and the final one."""

    def __init__(self) -> None:
        self._loaded = dict[str, Labeller]()

    def of(self, finished: Finished) -> Labeller:
        """A model, loaded."""
        assert isinstance(finished.model, Model)
        artifact = finished.model.artifact
        if artifact.fingerprint not in self._loaded:
            while len(self._loaded) > 1:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[artifact.fingerprint] = load_here(finished, artifact.local())
        return self._loaded[artifact.fingerprint]


@dataclass(frozen=True)
class _Language:
    """A target: its text, and what labels it."""

    name: str
    steps: Mapping[str, Artifact]
    before: Finished
    after: Finished
    labellers: _Labellers

    def rows(self, part: str, count: int) -> list[Row]:
        """Some rows of its test text or of its unlabelled text; none where it has none."""
        text, file = self.steps.get(_TEXTS[part]), f"text-{self.name}.parquet"
        if text is None or file not in text.names:
            return []
        table = drawn(text, file, count)
        texts = [_text(row) for row in table.to_pylist()]
        before, after = (self._said(finished, texts) for finished in (self.before, self.after))
        gold = self._gold(table["id"]) if part == TEST else {}
        rounds = self._rounds(table["id"]) if part == UNLABELLED else {}
        ids = table["id"].to_pylist()
        return [
            Row(part, text.tokens or text.parts, then, now, gold.get(id), rounds.get(id, {}))
            for id, text, then, now in zip(ids, texts, before, after, strict=True)
        ]

    def _said(self, finished: Finished, texts: Sequence[Text]) -> Iterator[Said]:
        for found in self.labellers.of(finished).label_all(texts):
            if found.label is None:
                yield Said(found.labels, found.confidences)
            else:
                yield Said((found.label,), (found.confidence,))

    def _gold(self, ids: pa.ChunkedArray) -> dict[str, Said]:
        artifact, file = self.steps.get(_GOLD), f"gold-{self.name}.parquet"
        if artifact is None or file not in artifact.names:
            return {}
        return dict(self._of(artifact, [file], ids))

    def _rounds(self, ids: pa.ChunkedArray) -> dict[str, dict[int, Said]]:
        found = dict[str, dict[int, Said]]()
        for title, artifact in self.steps.items():
            match = _ROUND.fullmatch(title)
            if match is None or "labels" not in artifact.columns():
                continue
            files = [name for name in artifact.names if name.endswith(".parquet")]
            for id, said in self._of(artifact, files, ids):
                found.setdefault(id, {})[int(match[1])] = said
        return {id: dict(sorted(rounds.items())) for id, rounds in found.items()}

    def _of(
        self, artifact: Artifact, files: Sequence[str], ids: pa.ChunkedArray
    ) -> Iterator[tuple[str, Said]]:
        """Labels, and candidate sets where there are some, of rows by id."""
        names = self.after.labels
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


def _text(row: Mapping[str, Any]) -> Text:
    if "tokens" in row:
        return Text(tokens=tuple(row["tokens"]))
    return Text(text=row["text"], text_pair=row.get("text_pair"))
