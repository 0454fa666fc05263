"""Reading benchmarks from files: ``<root>/<language>/{train,dev,test}.{txt,conll,tsv,jsonl}[.gz]``.

Files are streamed, from a local folder or an object store, and never held as a whole. Bad
sentences become `BadRow`; only what makes a whole file unusable is a ValueError.

Column files (token tasks): one token per line, the token in the first column and its tag in the
last, an empty line after each sentence. Columns are cut at TAB alone, so tokens may hold spaces;
a ``.txt`` or ``.conll`` file without any TAB is cut at single spaces. Lines end with LF, one CR
before it is dropped. ``-DOCSTART-`` lines are skipped; ``#`` is data like any other character.

JSONL (all tasks): ``{"tokens": [...], "tags" | "labels" | "ner_tags": [...]}``, ``{"text",
"label"}``, ``{"premise", "hypothesis", "label"}`` or ``{"text", "text_pair", "label"}``, with an
``"id"`` if wanted. Labels are class names, or integers as indices into the benchmark's labels.
"""

import gzip
import hashlib
import io
import itertools
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeVar, cast

import pyarrow.fs as pafs

from xlt_ray.config import redacted
from xlt_ray.data.rows import (
    Record,
    RowError,
    Text,
    assemble,
    check_tokens,
    labels_of,
    shown,
    tag_ids,
    text_of,
)
from xlt_ray.data.schema import BadRow, Example, Task
from xlt_ray.files import open_root
from xlt_ray.labels import LabelSet, Scheme

SPLITS = ("train", "dev", "test")
COLUMN_ENDINGS = ("txt", "conll", "tsv")
PARQUET = "parquet"
MAX_SENTENCE = 20_000
"""Lines after which a sentence is no sentence: a lost blank line must not fill the memory."""

_SNIFFED = 2000
_CHUNK = 1 << 20
_FILE_NAME = re.compile(r"(?P<split>[^.]+)\.(?P<ending>txt|conll|tsv|jsonl)(?P<gz>\.gz)?")
_BOM = b"\xef\xbb\xbf"

Raw = TypeVar("Raw")


@dataclass(frozen=True)
class DataFile:
    """A file of a data folder; ``name`` is its path below the root."""

    fs: pafs.FileSystem
    path: str
    name: str
    location: str
    size: int

    def digest(self) -> dict[str, Any]:
        """Name, size and sha256 of the bytes as they are stored."""
        sha, size = hashlib.sha256(), 0
        with self._stream() as stream:
            while chunk := stream.read(_CHUNK):
                sha.update(chunk)
                size += len(chunk)
        return {"name": self.name, "sha256": sha.hexdigest(), "bytes": size}

    @contextmanager
    def lines(self) -> Iterator[Iterator[bytes]]:
        """The lines without their LF or CR LF, unpacked if the name ends in ``.gz``.

        Raises:
            ValueError: the file cannot be read, or is no complete gzip file.
        """
        with self._stream() as stream:
            if not self.name.endswith(".gz"):
                with io.BufferedReader(cast(io.RawIOBase, stream), _CHUNK) as reader:
                    yield _stripped(cast(BinaryIO, reader))
                return
            with gzip.GzipFile(fileobj=stream) as reader:
                yield _stripped(cast(BinaryIO, reader))

    @contextmanager
    def _stream(self) -> Iterator[Any]:
        try:
            with self.fs.open_input_stream(self.path, compression=None) as stream:
                yield stream
        except EOFError:
            raise ValueError(
                f"{self.location}: the gzip file is truncated, fetch it again"
            ) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            reason = f"{self.location}: is no intact gzip file ({error}), fetch it again"
            raise ValueError(reason) from None
        except OSError as error:
            raise ValueError(f"{self.location}: cannot be read ({error})") from None


def _stripped(reader: BinaryIO) -> Iterator[bytes]:
    for number, line in enumerate(reader):
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        yield line if number else line.removeprefix(_BOM)


@dataclass(frozen=True)
class DataFolder:
    """A benchmark on disk or in an object store: one folder per language.

    Attributes:
        root: Local path, or a URI that ``pyarrow.fs`` knows (``s3://``, ``gs://``, ``file://``).
    """

    root: str

    @property
    def location(self) -> str:
        """The root as messages show it: without credentials."""
        return redacted(self.root)

    def languages(self) -> list[str]:
        """Names of the folders that hold data files, sorted.

        Raises:
            ValueError: the folder is missing or cannot be listed.
        """
        infos = [info for info in self._infos("") if info.type == pafs.FileType.Directory]
        names = [info.base_name for info in infos if not info.base_name.startswith(".")]
        return sorted(name for name in names if self._listing(name))

    def files(self, language: str) -> list[DataFile]:
        """Data files of one language, sorted by name.

        Raises:
            ValueError: there is no such language.
        """
        # Only a single folder name may be appended to the root: this string comes from the user.
        if language not in ("", ".", "..") and "/" not in language:
            try:
                if files := self._listing(language):
                    return files
            except FileNotFoundError:
                pass  # the message below says what there is
        languages = ", ".join(self.languages()) or "none"
        raise ValueError(f"no language {language!r} in {self.location}, there are: {languages}")

    def find(self, language: str, split: str, task: Task) -> DataFile:
        """The file of one split in one of the formats that the task can have.

        Raises:
            ValueError: the language or split is missing, the split has several files, the format
                does not fit the task, or the file is empty.
        """
        files = [file for file in self.files(language) if not file.name.endswith(PARQUET)]
        parsed = [(file, _FILE_NAME.fullmatch(file.name.split("/")[-1])) for file in files]
        known = [(file, match) for file, match in parsed if match and match["split"] in SPLITS]
        found = [file for file, match in known if match["split"] == split]
        endings = (*COLUMN_ENDINGS, "jsonl") if task == "token" else ("jsonl",)
        expected = f"{split}.{{{','.join(endings)}}} or the same with .gz"
        where = f"{self.location.rstrip('/')}/{language}"
        if not found:
            splits = [f"{match['split']} ({file.name.split('/')[-1]})" for file, match in known]
            there = ", ".join(splits) or "none"
            raise ValueError(
                f"no split {split!r} in {where}, there are: {there}; needed: {expected}"
            )
        if len(found) > 1:
            names = ", ".join(file.name.split("/")[-1] for file in found)
            raise ValueError(f"{where}: split {split!r} has several files, keep one of: {names}")
        if _ending(found[0]) not in endings:
            raise ValueError(f"{found[0].location}: no format of a {task} task; needed: {expected}")
        if not found[0].size:
            raise _empty(found[0])
        return found[0]

    def _listing(self, language: str) -> list[DataFile]:
        fs, _ = open_root(self.root, "data folder")
        files = []
        for info in self._infos(language):
            is_data = _FILE_NAME.fullmatch(info.base_name) or info.base_name.endswith(f".{PARQUET}")
            if info.type == pafs.FileType.File and is_data:
                name = f"{language}/{info.base_name}"
                location = f"{self.location.rstrip('/')}/{name}"
                files.append(DataFile(fs, info.path, name, location, info.size or 0))
        return sorted(files, key=lambda file: file.name)

    def _infos(self, folder: str) -> list[pafs.FileInfo]:
        fs, base = open_root(self.root, "data folder")
        path = f"{base.rstrip('/')}/{folder}".rstrip("/")
        try:
            return fs.get_file_info(pafs.FileSelector(path))
        except (FileNotFoundError, NotADirectoryError):
            if folder:
                raise FileNotFoundError(folder) from None
            raise ValueError(f"data folder {self.location} does not exist") from None
        except OSError as error:
            reason = f"data folder {self.location} cannot be listed ({redacted(str(error))})"
            raise ValueError(reason) from None


def _ending(file: DataFile) -> str:
    return file.name.removesuffix(".gz").rsplit(".", 1)[-1]


def _empty(file: DataFile) -> ValueError:
    wanted = "one JSON object per line"
    if _ending(file) in COLUMN_ENDINGS:
        wanted = "lines of token, TAB, tag and an empty line after each sentence"
    return ValueError(f"{file.location}: is empty; needed: {wanted}")


@dataclass(frozen=True)
class FileSource:
    """One split of one language in a data folder; satisfies the Source protocol.

    Attributes:
        root: Local folder or URI, see `DataFolder`.
        language: Name of the folder below it, and language code of the rows.
        split: One of train, dev and test.
        task: Kind of task.
        scheme: How tags are written; all but ``bio`` are converted, ``bio`` is taken as it stands.
        strip_prefix: Whether tokens are written as ``language:token``, as in the PAN-X files.
    """

    root: str
    language: str
    split: str
    task: Task
    scheme: Scheme = "bio"
    strip_prefix: bool = False

    def locate(self) -> DataFile:
        """Find the file; raises ValueError as `DataFolder.find` does."""
        return DataFolder(self.root).find(self.language, self.split, self.task)

    def identity(self) -> dict[str, Any]:
        """File name, digest and reading options."""
        file = self.locate()
        return {
            "kind": "file",
            **file.digest(),
            "format": "columns" if _ending(file) in COLUMN_ENDINGS else "jsonl",
            "task": self.task,
            "scheme": self.scheme,
            "strip_prefix": self.strip_prefix,
        }

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """Stream the rows, see `xlt_ray.data.sources.Source`.

        Args:
            labels: Label set, or None to read the text alone.
            limit: Stop after so many rows with good text.

        Raises:
            ValueError: the file is missing, empty or no intact gzip file.
        """
        if limit == 0:
            return
        file = self.locate()
        if _ending(file) in COLUMN_ENDINGS:
            rows = self._read(file, self._columns(file, labels), labels, limit, token_per_line=True)
        else:
            rows = self._read(file, _Jsonl(self), labels, limit)
        row = None
        for row in rows:
            yield row
        if row is None:
            raise _empty(file)

    def _read(
        self,
        file: DataFile,
        layout: "_Layout[Raw]",
        labels: LabelSet | None,
        limit: int | None,
        token_per_line: bool = False,
    ) -> Iterator[Example | BadRow]:
        def read_labels(raw: Raw, text: Text) -> tuple[int, ...] | int:
            assert labels is not None
            return layout.labels(raw, text, labels)

        with file.lines() as lines:
            yield from assemble(
                layout.rows(lines),
                language=self.language,
                split=self.split,
                file=file.name,
                read_text=layout.text,
                read_labels=None if labels is None else read_labels,
                limit=limit,
                token_per_line=token_per_line,
            )

    def _columns(self, file: DataFile, labels: LabelSet | None) -> "_Columns":
        with file.lines() as lines:
            head = list(itertools.islice(filter(None, lines), _SNIFFED))
            tabs = _ending(file) == "tsv" or any(b"\t" in line for line in head)
            tabs = tabs or any(b"\t" in line for line in lines)
        separator = b"\t" if tabs else b" "
        counts = Counter(line.count(separator) + 1 for line in head)
        number = max(counts, key=lambda count: (counts[count], count), default=2)
        return _Columns(self, separator, max(2, number))


class _Layout(Protocol[Raw]):
    """How rows are found in lines, and their text and labels in rows."""

    def rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Raw]]: ...

    def text(self, raw: Raw) -> Text: ...

    def labels(self, raw: Raw, text: Text, labels: LabelSet) -> tuple[int, ...] | int: ...


@dataclass(frozen=True)
class _Columns:
    source: FileSource
    separator: bytes
    number: int

    def rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
        first, sentence = 1, []
        for number, line in enumerate(lines, 1):
            if not line or self._is_document_start(line):
                if sentence:
                    yield first, sentence
                sentence = []
                continue
            if not sentence:
                first = number
            if len(sentence) <= MAX_SENTENCE:
                sentence.append(line)
        if sentence:
            yield first, sentence

    def _is_document_start(self, line: bytes) -> bool:
        return line.startswith(b"-DOCSTART-") and self._token(line) == b"-DOCSTART-"

    def _token(self, line: bytes) -> bytes:
        return line.split(self.separator, 1)[0]

    def text(self, raw: list[bytes]) -> Text:
        if len(raw) > MAX_SENTENCE:
            raise RowError(f"no empty line in {MAX_SENTENCE} lines, one must end each sentence")
        tokens = b"\n".join(map(self._token, raw)).decode("utf-8", "surrogateescape").split("\n")
        return Text(tokens=check_tokens(tokens, prefix=_prefix(self.source)))

    def labels(self, raw: list[bytes], text: Text, labels: LabelSet) -> tuple[int, ...]:
        tags, fault = [], None
        for position, line in enumerate(raw):
            columns = line.split(self.separator)
            if not columns[-1] or (len(columns) == 1 and self.number == 2):
                separator = "TAB" if self.separator == b"\t" else "space"
                assert text.tokens is not None
                reason = f"missing tag after token {shown(text.tokens[position])}"
                fault = RowError(f"{reason}, needed: token, {separator}, tag", position)
                break
            if len(columns) != self.number:
                reason = f"{len(columns)} columns, needed: {self.number} as in the rest of the file"
                fault = RowError(reason, position)
                break
            tags.append(columns[-1].decode("utf-8", "surrogateescape"))
        ids = tag_ids(tags, labels, scheme=self.source.scheme)
        if fault is not None:
            raise fault
        return ids


def _prefix(source: FileSource) -> str:
    return f"{source.language}:" if source.strip_prefix else ""


@dataclass(frozen=True)
class _Jsonl:
    source: FileSource

    def rows(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Record | RowError]]:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, _parsed(line)

    def text(self, raw: Record | RowError) -> Text:
        if isinstance(raw, RowError):
            raise raw
        return text_of(raw, self.source.task, prefix=_prefix(self.source))

    def labels(self, raw: Record | RowError, text: Text, labels: LabelSet) -> tuple[int, ...] | int:
        assert not isinstance(raw, RowError)
        return labels_of(raw, self.source.task, text, labels, scheme=self.source.scheme)


def _parsed(line: bytes) -> Record | RowError:
    # Undecodable bytes become lone surrogates, which the checks of the text find; in a label
    # that nobody asked for they do no harm.
    try:
        record = json.loads(line.decode("utf-8", "surrogateescape"))
    except json.JSONDecodeError as error:
        return RowError(f"no valid JSON: {error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:
        return RowError(f"no valid JSON: {error}")
    if not isinstance(record, dict):
        return RowError(f"{shown(record)} is not a JSON object")
    return record
