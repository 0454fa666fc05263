"""Reading benchmarks from files: ``<root>/<language>/{train,dev,test}.<ending>[.gz|.zst]``.

Files are streamed, from a local folder or an object store, and never held as a whole. Bad
sentences become `BadRow`; only what makes a whole file unusable is a ValueError.

The ending says the layout: ``txt``, ``conll`` and ``tsv`` are columns
(`xlt_ray.data.readers.columns`), ``jsonl`` is JSONL (`xlt_ray.data.readers.layouts`), ``conllu`` is
CoNLL-U, ``gold_conll`` and ``v4_gold_conll`` are OntoNotes (both in
`xlt_ray.data.readers.conll`), ``xml`` is that of SemEval's reviews
(`xlt_ray.data.readers.absa_xml`). Lines end with LF, one CR before it is dropped, or all with CR.
"""

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.fs as pafs

from xlt_ray.config.credentials import redacted
from xlt_ray.config.schema import ROW_BYTES, check_language
from xlt_ray.data.readers.absa_xml import AbsaXml
from xlt_ray.data.readers.columns import columns_of
from xlt_ray.data.readers.conll import ConllU, OntoNotes
from xlt_ray.data.readers.layouts import JsonlFormat, LineFormat, Notation
from xlt_ray.data.readers.lines import lines_of
from xlt_ray.data.readers.rows import Text, assemble
from xlt_ray.data.schema import BadRow, Example, Task
from xlt_ray.labels import LabelSet, Scheme
from xlt_ray.store.files import open_root

SPLITS = ("train", "dev", "test")
PARQUET = "parquet"


@dataclass(frozen=True)
class FileFormat:
    """A format of files with lines.

    Attributes:
        name: What the identity of a source calls it.
        contents: What is in them, for messages.
        layout: How rows stand in them, from the lines, the notation of tags and the task.
        tasks: Kinds of tasks that it can hold.
    """

    name: str
    contents: str
    layout: Callable[[Iterator[bytes], Notation, Task], LineFormat[Any]]
    tasks: frozenset[Task] = frozenset({"token"})


def _columns(*, tabs: bool) -> FileFormat:
    return FileFormat(
        "columns",
        "lines of token, TAB, tag and an empty line after each sentence",
        lambda lines, notation, task: columns_of(lines, notation, tabs=tabs),
    )


_ONTONOTES = FileFormat(
    "ontonotes",
    "the columns of CoNLL-2012 and an empty line after each sentence",
    lambda lines, notation, task: OntoNotes(notation),
)
FORMATS: dict[str, FileFormat] = {
    "txt": _columns(tabs=False),
    "conll": _columns(tabs=False),
    "tsv": _columns(tabs=True),
    "conllu": FileFormat(
        "conllu",
        "the 10 columns of CoNLL-U and an empty line after each sentence",
        lambda lines, notation, task: ConllU(notation),
    ),
    "gold_conll": _ONTONOTES,
    "v4_gold_conll": _ONTONOTES,
    "xml": FileFormat(
        "absa_xml",
        "sentences of reviews with their aspect terms, as SemEval gives them",
        lambda lines, notation, task: AbsaXml(notation),
    ),
    "jsonl": FileFormat(
        "jsonl",
        "one JSON object per line",
        lambda lines, notation, task: JsonlFormat(notation, task),
        frozenset({"token", "sentence", "pair"}),
    ),
}
"""What the endings of files say. A new format is an entry here, and a class for its rows."""
_CHUNK = 1 << 20
PACKED = ("gz", "zst")
"""Endings of packed files, after the other one."""
_MAGIC = 4
_UTF16 = "is not UTF-8 but UTF-16; `iconv -f UTF-16 -t UTF-8` converts it"
_NO_TEXT = {
    b"\xff\xfe": _UTF16,
    b"\xfe\xff": _UTF16,
    b"\x1f\x8b": "is a gzip file, its name has to end with .gz",
    b"\x28\xb5\x2f\xfd": "is a zst file, its name has to end with .zst",
    b"PK\x03\x04": "is a zip file, such as those of Excel; save it as CSV in UTF-8",
    b"PAR1": "is a Parquet file, its name has to end with .parquet",
}
"""First bytes of files that are no text, and what to say of them."""
_SHRUNK, _ROW = 4, 500
"""How many times smaller packed files are, and bytes of a rather long row."""


def _split_of(name: str) -> re.Match[str] | None:
    """Split and ending in the name of a file with lines."""
    endings, packed = "|".join(FORMATS), "|".join(PACKED)
    return re.fullmatch(rf"(?P<split>[^.]+)\.(?P<ending>{endings})(\.({packed}))?", name)


@dataclass(frozen=True)
class DataFile:
    """A file of a data folder.

    Attributes:
        fs: Where it is.
        path: Its path there.
        name: Its path below the root.
        location: What messages call it.
        size: Its bytes.
        changed: When it was written last, in nanoseconds, if anybody asked.
    """

    fs: pafs.FileSystem
    path: str
    name: str
    location: str
    size: int
    changed: int = 0

    def digest(self) -> dict[str, Any]:
        """Name, size and sha256 of the bytes as they are stored."""
        sha, size = hashlib.sha256(), 0
        with self._stream() as stream:
            while chunk := stream.read(_CHUNK):
                sha.update(chunk)
                size += len(chunk)
        return {"name": self.name, "sha256": sha.hexdigest(), "bytes": size}

    @contextmanager
    def lines(self, most: int = ROW_BYTES) -> Iterator[Iterator[bytes]]:
        """The lines without their LF or CR LF, unpacked if the name ends in ``.gz`` or ``.zst``.

        Args:
            most: Bytes of a line at most, see `xlt_ray.data.readers.lines.lines_of`.

        Raises:
            ValueError: the file cannot be read, or is no complete packed file.
        """
        with self._reader() as reader:
            yield lines_of(reader, most)

    @contextmanager
    def chunks(self) -> Iterator[Iterator[bytes]]:
        """The bytes, unpacked as for `lines`; raises ValueError as it does."""
        with self._reader() as reader:
            yield iter(lambda: reader.read(_CHUNK), b"")

    @contextmanager
    def _reader(self) -> Iterator[BinaryIO]:
        with self._stream() as stream:
            if self.name.endswith(".gz"):
                with gzip.GzipFile(fileobj=stream) as unpacked:
                    self._check_text(unpacked.peek(_MAGIC))
                    yield cast(BinaryIO, unpacked)
                return
            if self.name.endswith(".zst"):
                stream = pa.CompressedInputStream(stream, "zstd")
            with io.BufferedReader(cast(io.RawIOBase, stream), _CHUNK) as reader:
                self._check_text(reader.peek(_MAGIC))
                yield cast(BinaryIO, reader)

    def _check_text(self, head: bytes) -> None:
        """Raise ValueError where the first bytes are not those of text in UTF-8."""
        for magic, what in _NO_TEXT.items():
            if head.startswith(magic):
                raise ValueError(f"{self.location}: {what}")

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
            if self.name.endswith(".zst") and not _is_of_system(error):
                reason = f"is no intact zst file ({error}), fetch it again"
                raise ValueError(f"{self.location}: {reason}") from None
            raise ValueError(f"{self.location}: cannot be read ({error})") from None


def _is_of_system(error: OSError) -> bool:
    """Whether the system refused, rather than that bytes cannot be unpacked."""
    return error.errno is not None


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
            ValueError: the folder is missing or cannot be listed, or one has no language's name.
        """
        names = self._folders()
        for name in names:
            try:
                check_language(name)
            except ValueError as error:
                raise ValueError(
                    f"{self.location}: the folder {name!r} holds data files, but {error}; name the "
                    "languages in benchmark.source and benchmark.targets, or rename it"
                ) from None
        return names

    def _folders(self) -> list[str]:
        infos = [info for info in self._infos("") if info.type == pafs.FileType.Directory]
        names = [info.base_name for info in infos if not info.base_name.startswith(".")]
        return sorted(name for name in names if self._listing(name))

    def files(self, language: str) -> list[DataFile]:
        """Data files of one language, sorted by name.

        Raises:
            ValueError: there is no such language.
        """
        if files := self._found(language):
            return files
        languages = ", ".join(self._folders()) or "none"
        raise ValueError(f"no language {language!r} in {self.location}, there are: {languages}")

    def has(self, language: str) -> bool:
        """Whether a folder of that name holds data files."""
        return bool(self._found(language))

    def find(self, language: str, split: str, task: Task) -> DataFile:
        """The file of one split in one of the formats that the task can have.

        Raises:
            ValueError: the language or split is missing, the split has several files, the format
                does not fit the task, or the file is empty.
        """
        files = [file for file in self.files(language) if not file.name.endswith(PARQUET)]
        parsed = [(file, _split_of(file.name.split("/")[-1])) for file in files]
        known = [(file, match) for file, match in parsed if match and match["split"] in SPLITS]
        found = [file for file, match in known if match["split"] == split]
        endings = tuple(ending for ending, known in FORMATS.items() if task in known.tasks)
        expected = f"{split}.{{{','.join(endings)}}} or the same with .gz or .zst"
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

    def _found(self, language: str) -> list[DataFile]:
        # Only a single folder name may be appended to the root: this string comes from the user.
        if language in ("", ".", "..") or "/" in language:
            return []
        try:
            return self._listing(language)
        except FileNotFoundError:
            return []

    def _listing(self, language: str) -> list[DataFile]:
        fs, _ = open_root(self.root, "data folder")
        files = []
        for info in self._infos(language):
            is_data = _split_of(info.base_name) or info.base_name.endswith(f".{PARQUET}")
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


def ending_of(name: str) -> str:
    """The ending that says a file's format."""
    for packed in PACKED:
        name = name.removesuffix(f".{packed}")
    return name.rsplit(".", 1)[-1]


def _ending(file: DataFile) -> str:
    return ending_of(file.name)


def _empty(file: DataFile) -> ValueError:
    return ValueError(f"{file.location}: is empty; needed: {FORMATS[_ending(file)].contents}")


def bytes_of(files: Sequence[DataFile], limit: int | None) -> int:
    """Bytes of text, about, in the first so many rows of some files, or in all of them."""
    packed = (*PACKED, PARQUET)
    size = sum(file.size * (_SHRUNK if file.name.endswith(packed) else 1) for file in files)
    return size if limit is None else min(size, limit * _ROW)


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
        types: The label set's name of each entity type that the tags call otherwise.
        row_bytes: Bytes of a row at most; one that has more is a bad row.
    """

    root: str
    language: str
    split: str
    task: Task
    scheme: Scheme = "bio"
    strip_prefix: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    row_bytes: int = ROW_BYTES

    def locate(self) -> DataFile:
        """Find the file; raises ValueError as `DataFolder.find` does."""
        return DataFolder(self.root).find(self.language, self.split, self.task)

    def identity(self) -> dict[str, Any]:
        """File name, digest and reading options."""
        file = self.locate()
        return {
            "kind": "file",
            **file.digest(),
            "format": FORMATS[_ending(file)].name,
            "task": self.task,
            "scheme": self.scheme,
            "strip_prefix": self.strip_prefix,
            "types": dict(self.types),
            "row_bytes": self.row_bytes,
        }

    def volume(self, limit: int | None = None) -> int:
        """Bytes of text that are gone through for so many rows, about."""
        return bytes_of([self.locate()], limit)

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """Stream the rows, see `xlt_ray.data.readers.base.Source`.

        Args:
            labels: Label set, or None to read the text alone.
            limit: Stop after so many rows with good text.

        Raises:
            ValueError: the file is missing, empty or no intact gzip file.
        """
        if limit == 0:
            return
        file = self.locate()
        rows = self._read(file, self._layout(file), labels, limit)
        row = None
        for row in rows:
            yield row
        if row is None:
            raise _empty(file)

    def _layout(self, file: DataFile) -> LineFormat[Any]:
        prefix = f"{self.language}:" if self.strip_prefix else ""
        notation = Notation(prefix, self.scheme, self.types)
        with file.lines(self.row_bytes) as lines:
            return FORMATS[_ending(file)].layout(lines, notation, self.task)

    def _read(
        self, file: DataFile, layout: LineFormat[Any], labels: LabelSet | None, limit: int | None
    ) -> Iterator[Example | BadRow]:
        def read_labels(raw: Any, text: Text) -> tuple[int, ...] | int:
            assert labels is not None
            return layout.labels(raw, text, labels)

        with file.lines(self.row_bytes) as lines:
            yield from assemble(
                layout.rows(lines, self.row_bytes),
                language=self.language,
                split=self.split,
                file=file.name,
                read_text=layout.text,
                read_labels=None if labels is None else read_labels,
                limit=limit,
                token_line=layout.token_line,
            )
