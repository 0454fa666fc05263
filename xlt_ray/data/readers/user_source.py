"""Files of the user's own as a source: which they are, and how rows stand in each."""

from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from xlt_ray.config.schema import ROW_BYTES
from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.columns import columns_of
from xlt_ray.data.readers.conll import ConllU
from xlt_ray.data.readers.files import FORMATS, PARQUET, DataFile, bytes_of, ending_of
from xlt_ray.data.readers.globs import matching
from xlt_ray.data.readers.layouts import Notation, parsed
from xlt_ray.data.readers.records import Csv, JsonArray, JsonLines, Lines, Records
from xlt_ray.data.readers.rows import RowIds, assemble
from xlt_ray.data.readers.spans import in_usual_form
from xlt_ray.data.readers.tables import class_names, rows_of, schema_of
from xlt_ray.data.readers.words import Cut
from xlt_ray.data.schema import BadRow, Example, Task
from xlt_ray.labels import LabelSet, Scheme

NAME = "files"
COLUMNS = ("conll", "tsv", "bio", "iob", "iob2")
_OWN = ("txt", *COLUMNS, "conllu", "jsonl", "json", "csv", PARQUET)
ENDINGS = (*_OWN, *(ending for ending in FORMATS if ending not in _OWN))


@dataclass(frozen=True)
class UserSource:
    """One split of one language in files of the user's own; satisfies the Source protocol.

    Attributes:
        patterns: Paths or URIs, see `xlt_ray.data.readers.globs.matching`.
        language: Language code.
        split: One of train, dev, test and unlabelled.
        task: Kind of task.
        scheme: How tags of entities are written.
        columns: Name in the files of each field that is called otherwise there.
        cut: How plain text becomes words in token tasks.
        types: The label set's name of each entity type that the tags call otherwise; O: no entity.
        ids: Whether a field ``id`` tells the rows of a file apart.
        row_bytes: Bytes of a row at most; one that has more is a bad row.
        called: What messages call it; empty: the key that names its files.
    """

    patterns: tuple[str, ...]
    language: str
    split: str
    task: Task
    scheme: Scheme = "bio"
    columns: Mapping[str, str] = field(default_factory=dict)
    cut: Cut = "marks"
    types: Mapping[str, str] = field(default_factory=dict)
    ids: bool = True
    row_bytes: int = ROW_BYTES
    called: str = ""

    @cached_property
    def key(self) -> str:
        """What messages call it."""
        return self.called or f"files.paths.{self.language}.{self.split}"

    def files(self) -> list[DataFile]:
        """Its files, in the order of the patterns; one with the name of an earlier one has as much
        of its folder before it as tells them apart.

        Raises:
            ValueError: there are none of a name, or one is of no format that can be read.
        """
        found, names = dict[str, DataFile](), set[str]()
        for pattern in self.patterns:
            for file in matching(pattern, self.key):
                if ending_of(file.name) not in ENDINGS:
                    allowed = ", ".join(f".{ending}" for ending in ENDINGS)
                    raise ValueError(
                        f"{self.key}: {file.location} is of no format that can be read; allowed: "
                        f"{allowed}, also with .gz or .zst"
                    )
                if not file.size:
                    raise ValueError(f"{self.key}: {file.location} is empty")
                if file.path not in found:
                    found[file.path] = _named_apart(file, names)
                    names.add(found[file.path].name)
        return list(found.values())

    def identity(self) -> dict[str, Any]:
        """Digests of the files, and how they are read."""
        return {
            "kind": NAME,
            "files": [file.digest() for file in self.files()],
            "task": self.task,
            "scheme": self.scheme,
            "columns": dict(self.columns),
            "cut": self.cut,
            "types": dict(self.types),
            "ids": self.ids,
            "row_bytes": self.row_bytes,
        }

    def volume(self, limit: int | None = None) -> int:
        """Bytes of text that are gone through for so many rows, about."""
        return bytes_of(self.files(), limit)

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """Stream the rows, one file after the other, see `xlt_ray.data.readers.base.Source`.

        Raises:
            ValueError: a file is missing, cannot be read, or holds no row.
        """
        ids = RowIds(self.language, self.split)
        for file in self.files():
            if ids.count == limit:
                return
            row = None
            for row in self._rows(file, labels, ids, limit):
                yield row
            if row is None:
                raise ValueError(f"{self.key}: {file.location} holds no row")

    def _rows(
        self, file: DataFile, labels: LabelSet | None, ids: RowIds, limit: int | None
    ) -> Iterator[Example | BadRow]:
        layout = self.layout(file)
        kept: dict[str, Any] = {
            "language": self.language,
            "split": self.split,
            "file": file.name,
            "read_text": layout.text
            if self.ids
            else lambda raw: replace(layout.text(raw), id=None),
            "read_labels": labels and (lambda raw, text: layout.labels(raw, text, labels)),
            "limit": None if limit is None else limit - ids.count,
            "token_line": layout.token_line,
            "ids": ids,
        }
        with self.raw(file, layout) as rows:
            yield from assemble(rows, **kept)

    @contextmanager
    def raw(self, file: DataFile, layout: Any) -> Iterator[Iterator[tuple[int, Any]]]:
        """Where each row of a file is, and the row as it stands there.

        Raises:
            ValueError: the file cannot be read.
        """
        if ending_of(file.name) == PARQUET:
            yield rows_of(file, self.row_bytes)
            return
        if ending_of(file.name) == "json":
            with file.chunks() as chunks, named_in_errors(f"{self.key}: {file.location}"):
                yield layout.rows(chunks, self.row_bytes)
            return
        with file.lines(self.row_bytes) as lines:
            yield layout.rows(lines, self.row_bytes)

    def layout(self, file: DataFile) -> Any:
        """How rows stand in a file: what its ending says, of .txt what its first lines do."""
        ending, notation = ending_of(file.name), Notation("", self.scheme, self.types)
        records = (self.task, notation, self.columns, self.cut)
        if ending == "conllu":
            return ConllU(notation)
        if ending == "jsonl":
            self._check_lines(file)
            return JsonLines(*records)
        if ending == "json":
            return JsonArray(*records)
        if ending == PARQUET:
            return Records(*records, classes=class_names(schema_of(file)))
        if ending == "csv" or (ending == "tsv" and self.task != "token"):
            return Csv(*records)
        if ending == "txt" and not self._has_columns(file):
            return Lines(*records)
        if ending not in _OWN:
            with file.lines(self.row_bytes) as lines:
                return FORMATS[ending].layout(lines, notation, self.task)
        where = f"{self.key}: {file.location}"
        with file.lines(self.row_bytes) as lines, named_in_errors(where):
            return columns_of(lines, notation, tabs=ending == "tsv", named=self.columns)

    def _check_lines(self, file: DataFile) -> None:
        """Raise ValueError where a file of JSON lines is one JSON array."""
        with file.lines(self.row_bytes) as lines:
            first = next((line for line in lines if line.strip()), b"").strip()
        if first.startswith(b"[") and not isinstance(in_usual_form(parsed(first)), Mapping):
            raise ValueError(
                f"{self.key}: {file.location} is a JSON array, one object per line is needed; an "
                "array is read where the name ends with .json"
            )

    def _has_columns(self, file: DataFile) -> bool:
        """Whether a .txt file has a token and its tag in every line, rather than plain text."""
        if self.task != "token":
            return False
        if self.split != "unlabelled":
            return True
        with file.lines(self.row_bytes) as lines:
            head = [(bool(line.strip()), b"\t" in line) for line in islice(lines, 50)]
        filled = [has_tab for is_filled, has_tab in head if is_filled]
        return bool(filled) and len(filled) < len(head) and all(filled)


def _named_apart(file: DataFile, names: Set[str]) -> DataFile:
    """The file by a name that no other one has."""
    parts = PurePosixPath(file.path).parts
    first, name = len(parts) - len(PurePosixPath(file.name).parts), file.name
    while name in names and first > 0:
        first -= 1
        name = str(PurePosixPath(*parts[first:]))
    return replace(file, name=name)


@contextmanager
def named_in_errors(where: str) -> Iterator[None]:
    """Put the name of a file before the reasons why it cannot be read."""
    try:
        yield
    except ValueError as error:
        raise error if where in str(error) else ValueError(f"{where}: {error}") from None


def key_of(source: Source) -> str:
    """The key that names the files of a source; of other benchmarks empty."""
    return source.key if isinstance(source, UserSource) else ""
