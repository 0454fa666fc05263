"""Reading benchmarks from the Hugging Face hub, or from a folder in the layout of a hub repository.

Rows are streamed from Parquet by the ``datasets`` library, which runs no code of the repository;
in a folder it only says what the columns are.

A hub repository can change under its name, so a run depends on a commit and not on ``main``: a
revision that is no full commit hash (absent, a branch, a tag) is resolved to the commit it stands
for at that moment, and that commit is what is read and what `HubSource.identity` records. To
repeat a run, or to run without a look-up, set the recorded hash as the revision.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

from xlt_ray.config.schema import ROW_BYTES, first_line
from xlt_ray.data.readers.files import PARQUET, DataFile, DataFolder, bytes_of
from xlt_ray.data.readers.records import words_in
from xlt_ray.data.readers.rows import Record, RowError, RowIds, Text, assemble, labels_of, text_of
from xlt_ray.data.readers.tables import rows_of, schema_of, tabled
from xlt_ray.data.readers.words import Cut
from xlt_ray.data.schema import BadRow, Example, Task
from xlt_ray.labels import LabelSet, Scheme
from xlt_ray.store.parquet import check_plain

TIMEOUT = 10.0
"""Seconds to wait for the hub's answer about a revision."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_BATCH = 512
_FIELDS = {
    "token": ("tokens", "labels"),
    "sentence": ("text", "label"),
    "pair": ("text", "text_pair", "label"),
}
_OTHERS: Mapping[Task, Mapping[str, tuple[str, ...]]] = {
    "token": {"labels": ("tags", "ner_tags")},
    "sentence": {},
    "pair": {"text": ("premise",), "text_pair": ("hypothesis",)},
}
"""What fields are called in some datasets, where `HubSource.columns` does not say."""


@dataclass(frozen=True)
class HubSource:
    """One split of one language of a hub dataset; satisfies the Source protocol.

    Attributes:
        hub_id: Owner and name of the dataset.
        config: Configuration of the dataset; in a folder, the folder of that name.
        language: Language code of the rows.
        split: One of train, dev and test.
        task: Kind of task.
        columns: Dataset column of each field: ``tokens``, ``text``, ``text_pair``, and ``labels``
            (of a token task) or ``label``; absent fields have columns of their own name.
        aliases: Names the dataset may use for the split, in order of preference.
        scheme: How its tags are written, see `xlt_ray.data.readers.files.FileSource`.
        types: Entity types that the label set calls otherwise, see there.
        revision: Commit, branch or tag; None is ``main``.
        folder: Local folder with ``<config>/<split>-*.parquet``, read in place of the hub.
        row_bytes: Bytes of a row at most; one that has more is a bad row.
    """

    hub_id: str
    config: str
    language: str
    split: str
    task: Task
    columns: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    scheme: Scheme = "bio"
    types: Mapping[str, str] = field(default_factory=dict)
    revision: str | None = None
    folder: str | None = None
    cut: Cut = "marks"
    row_bytes: int = ROW_BYTES

    def identity(self) -> dict[str, Any]:
        """The commit, or the digests of the files of a folder, and what is read from them."""
        common = {
            "kind": "hub",
            "config": self.config,
            "task": self.task,
            "columns": {name: self._column(name) for name in _FIELDS[self.task]},
            "scheme": self.scheme,
            "types": dict(self.types),
            "row_bytes": self.row_bytes,
            **({"cut": self.cut} if self.task == "token" else {}),
        }
        if self.folder is not None:
            return {**common, "files": [file.digest() for file in self.files()]}
        commit = resolve_revision(self.hub_id, self.revision)
        names = list(self._split_names)
        return {**common, "hub_id": self.hub_id, "revision": commit, "split": names}

    def volume(self, limit: int | None = None) -> float:
        """Bytes of a folder that are gone through, about; of the hub nobody knows."""
        return math.inf if self.folder is None else bytes_of(self.files(), limit)

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """Stream the rows, see `xlt_ray.data.readers.base.Source`; lines are row numbers from 1.

        Args:
            labels: Label set, or None to read the text columns alone.
            limit: Stop after so many rows with good text.

        Raises:
            ValueError: the hub, the split, a column or a file is missing or cannot be read.
        """
        if limit == 0:
            return
        ids = RowIds(self.language, self.split)
        empty = True
        for name, features, records in self._parts():
            wanted = self._wanted(features, labelled=labels is not None)
            self._check_columns(name, features, wanted)
            read_labels = None
            if labels is not None:
                names = _class_names(features[wanted[_FIELDS[self.task][-1]]])
                read_labels = partial(self._labels, labels=labels, names=names)
            for row in assemble(
                records(wanted),
                language=self.language,
                split=self.split,
                file=name,
                read_text=self._text,
                read_labels=read_labels,
                limit=None if limit is None else limit - ids.count,
                ids=ids,
            ):
                empty = False
                yield row
            if ids.count == limit:
                return
        if empty:
            raise ValueError(f"{self._where} has no rows in split {self.split!r}")

    def files(self) -> list[DataFile]:
        """Parquet files of the split, where a folder is read.

        Raises:
            ValueError: the folder, configuration or split is missing, or the folder is not local.
        """
        assert self.folder is not None
        if "://" in self.folder:
            reason = "Parquet is read from local folders only; use JSONL or column files there"
            raise ValueError(f"{DataFolder(self.folder).location}: {reason}")
        parquet = [
            file
            for file in DataFolder(self.folder).files(self.config)
            if file.name.endswith(f".{PARQUET}")
        ]
        for alias in self._split_names:
            pattern = re.compile(rf"{re.escape(alias)}(-\d+-of-\d+)?\.{PARQUET}")
            if found := [file for file in parquet if pattern.fullmatch(file.name.split("/")[-1])]:
                return found
        there = ", ".join(file.name.split("/")[-1] for file in parquet) or "none"
        needed = " or ".join(f"{alias}-*.{PARQUET}" for alias in self._split_names)
        message = (
            f"no split {self.split!r} in {self._where}, files there: {there}; needed: {needed}"
        )
        raise ValueError(message)

    @property
    def _split_names(self) -> tuple[str, ...]:
        return self.aliases or (self.split,)

    @property
    def _where(self) -> str:
        return f"{self.folder or self.hub_id}/{self.config}"

    def _column(self, name: str) -> str:
        return self.columns.get(name, name)

    def _wanted(self, there: Iterable[str], *, labelled: bool) -> dict[str, str]:
        fields, found = _FIELDS[self.task], dict[str, str]()
        for name in fields if labelled else fields[:-1]:
            others = () if name in self.columns else _OTHERS[self.task].get(name, ())
            usual = (self._column(name), *others)
            found[name] = next((column for column in usual if column in there), usual[0])
        if self.task == "token" and found["tokens"] not in there and not labelled:
            return {"text": self._column("text")} if self._column("text") in there else found
        return found

    def _parts(self) -> Iterator[tuple[str, Mapping[str, Any], "_Records"]]:
        """Name, features by column, and what reads the rows, of each file or the hub's split."""
        import datasets

        if self.folder is not None:
            for file in self.files():
                schema = schema_of(file)
                with _explained(file.location):
                    features = datasets.Features.from_arrow_schema(schema)
                yield file.name, features, partial(_in_file, file, self.row_bytes)
            return
        commit = resolve_revision(self.hub_id, self.revision)
        _commit_of(self.hub_id, commit)
        with _explained(self._where):
            splits = datasets.load_dataset(
                self.hub_id, self.config, revision=commit, streaming=True
            )
        for alias in self._split_names:
            if alias in splits:
                name, data = f"{self._where}/{alias}", splits[alias]
                features = data.features
                if features is None:
                    reason = "is not of Parquet files; fetch it, and name its files by files.paths"
                    raise ValueError(f"{name}: {reason}")
                check_plain(features.arrow_schema, name)
                yield name, features, partial(_on_hub, name, data, self.row_bytes)
                return
        there = ", ".join(map(str, splits))
        needed = " or ".join(self._split_names)
        message = f"no split {self.split!r} in {self._where}, there are: {there}; needed: {needed}"
        raise ValueError(message)

    def _check_columns(self, name: str, there: Iterable[str], wanted: Mapping[str, str]) -> None:
        missing = [column for column in wanted.values() if column not in there]
        if missing:
            raise ValueError(f"{name}: no column {missing[0]!r}, there are: {', '.join(there)}")

    def _text(self, raw: Record | RowError) -> Text:
        if isinstance(raw, RowError):
            raise raw
        if self.task == "token" and "text" in raw:
            return words_in(raw, self.cut)
        return text_of(raw, self.task)

    def _labels(
        self, raw: Record | RowError, text: Text, *, labels: LabelSet, names: Sequence[str] | None
    ) -> tuple[int, ...] | int:
        assert not isinstance(raw, RowError), "it has no text"
        return labels_of(
            raw, self.task, text, labels, scheme=self.scheme, types=self.types, names=names
        )


def resolve_revision(hub_id: str, revision: str | None) -> str:
    """The commit that a revision stands for now; a full commit hash is not looked up.

    Args:
        hub_id: Owner and name of the dataset.
        revision: Commit, branch or tag; None is ``main``.

    Raises:
        ValueError: the hub cannot be reached, or has no such dataset or revision.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    return _commit_of(hub_id, revision or "main")


@lru_cache
def _commit_of(hub_id: str, revision: str) -> str:
    """Ask the hub once per process: failing here is quick, the reader itself would retry."""
    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    tried = f"{hub_id} at revision {revision!r}"
    try:
        info = huggingface_hub.HfApi().dataset_info(hub_id, revision=revision, timeout=TIMEOUT)
    except RepositoryNotFoundError:
        reason = f"{tried}: the hub has no such dataset, or it needs a login; check benchmark.name"
        raise ValueError(f"{reason} or set benchmark.root to a folder with the data") from None
    except RevisionNotFoundError:
        raise ValueError(f"{tried}: no such revision; mend benchmark.revision") from None
    # Offline mode, time-outs, proxies: the HTTP client's errors have no base class of their own.
    except Exception as error:
        reason = f"{tried}: the hub cannot be reached ({first_line(error)})"
        remedy = (
            f"unset HF_HUB_OFFLINE if it is set and check the network, or set benchmark.root to a "
            f"folder; `hf download {hub_id} --repo-type dataset --local-dir FOLDER`, run where "
            f"there is a network, makes one"
        )
        raise ValueError(f"{reason}; {remedy}") from None
    assert info.sha is not None
    return info.sha


@contextmanager
def _explained(where: str) -> Iterator[None]:
    # What is raised below comes from datasets, pyarrow, fsspec or an HTTP client.
    try:
        yield
    except Exception as error:
        raise ValueError(f"{where}: cannot be read ({first_line(error)})") from None


def _class_names(feature: Any) -> Sequence[str] | None:
    """Names of a column of classes or lists of classes; None for plain strings or integers."""
    return getattr(getattr(feature, "feature", feature), "names", None)


_Records = Callable[[Mapping[str, str]], Iterator[tuple[int, Record | RowError]]]
"""Reads the rows: number, and values of the columns that some fields are called."""


def _in_file(
    file: DataFile, row_bytes: int, wanted: Mapping[str, str]
) -> Iterator[tuple[int, Record | RowError]]:
    for number, row in rows_of(file, row_bytes, sorted(set(wanted.values()))):
        yield number, _named(row, wanted)


def _on_hub(
    name: str, data: Any, row_bytes: int, wanted: Mapping[str, str]
) -> Iterator[tuple[int, Record | RowError]]:
    number = 0
    with _explained(name):
        selected = data.select_columns(sorted(set(wanted.values()))).with_format("arrow")
        for table in selected.iter(batch_size=_BATCH):
            for row in tabled(table, row_bytes, name):
                number += 1
                yield number, _named(row, wanted)


def _named(row: Record | RowError, wanted: Mapping[str, str]) -> Record | RowError:
    if isinstance(row, RowError):
        return row
    return {name: row[column] for name, column in wanted.items()}
