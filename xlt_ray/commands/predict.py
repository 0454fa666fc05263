"""Labelling a corpus of any size with a finished run or an exported model.

Reading, tokenising and labelling are the durable steps of every run; then each input file is
written anew, with predictions, in its order and format. A run that was killed goes on.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs
from pydantic import Field

from xlt_ray.commands.cli import Job
from xlt_ray.commands.trained_models import Finished, check_precision, chosen
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import describe, merge, settings, to_dict, validate
from xlt_ray.config.schema import (
    DataConfig,
    Language,
    ResourcesConfig,
    Section,
    StoreConfig,
    Text,
    Uri,
    Uris,
    Words,
)
from xlt_ray.data.readers.files import PACKED, ending_of
from xlt_ray.data.readers.globs import matching
from xlt_ray.data.readers.user_source import ENDINGS
from xlt_ray.data.schema import Task
from xlt_ray.run.exit_codes import DONE
from xlt_ray.run.saved_models import RECORD
from xlt_ray.run.session import connected, open_session
from xlt_ray.store.artifacts import Store
from xlt_ray.store.files import open_root, read_json, write_bytes

if TYPE_CHECKING:
    from xlt_ray.run.session import Session
    from xlt_ray.store.artifacts import Artifact


class PredictSection(Section, frozen=True):
    """What labels which files."""

    model: Uri
    """Name of a finished run of the store, or folder of a model, exported or stock."""
    files: Uris
    """Files to label, comma separated: paths or URIs, with *, ** and ?."""
    to: Uri
    """Folder or URI to write into: new, empty, or one that this very command has begun."""
    language: Language | None = None
    """The target whose model labels, in runs that have one for each."""
    task: Task | None = None
    """What a stock classifier of texts is for, sentence or pair; other models say so themselves."""
    format: Text | None = Field(default=None, pattern="^(conll|csv|jsonl|parquet)$")
    """How to write, conll, csv, jsonl or parquet; absent: as the file was, plain text as conll."""
    alone: bool = False
    """The final model labels alone, also of a run whose source models helped it."""
    columns: dict[Text, Text] | None = None
    """Fields of JSON, CSV and Parquet files with another name, or numbers of columns, as in
    files.columns: predict.columns.text=body; absent: as in the run."""
    words: Words | None = None
    """Where words of running text end in token tasks, as in files.words; absent: as in the run."""


class _Document(Section, frozen=True):
    predict: PredictSection
    resources: ResourcesConfig = ResourcesConfig()
    store: StoreConfig = StoreConfig()
    data: DataConfig = DataConfig()


@dataclass(frozen=True)
class InputFile:
    """A file to label.

    Attributes:
        key: What the steps know it by. A text artifact has a file for each language; here it has
            one for each input, which is told apart by its key in place of a language.
        place: Where it is.
        name: Of what is written for it.
    """

    key: str
    place: str
    name: str


@dataclass(frozen=True)
class PredictConfig:
    """Everything that predictions depend on.

    Attributes:
        document: The sections that were given.
        finished: The model, and how it labels.
        files: What is labelled.
    """

    document: _Document
    finished: Finished
    files: tuple[InputFile, ...]

    @property
    def section(self) -> PredictSection:
        """The section ``predict``."""
        return self.document.predict

    @property
    def resources(self) -> ResourcesConfig:
        """What is asked of the cluster."""
        return self.document.resources

    @property
    def data(self) -> DataConfig:
        """How text is read: unless the share of bad rows is limited, they keep their places."""
        data = self.document.data
        if "max_bad_fraction" in data.model_fields_set:
            return data
        return data.model_copy(update={"max_bad_fraction": 1.0})

    @property
    def columns(self) -> Mapping[str, str]:
        """Fields that are called otherwise: as named, or as in the run."""
        named = self.section.columns
        return self.finished.columns if named is None else named

    @property
    def words(self) -> Words:
        """Where words end: as named, or as in the run."""
        return self.section.words or self.finished.words

    @property
    def run_name(self) -> str:
        """Name of the folder with the steps: another one for other files, or another place."""
        places = sorted(file.place for file in self.files)
        read = [dict(self.columns), self.words]
        told = json.dumps([to_dict(self.section), places, read], sort_keys=True)
        return f"predict-{blake2b(told.encode(), digest_size=4).hexdigest()}"


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> PredictConfig:
    """The configuration of predictions.

    Raises:
        ConfigError: there is no such model or file, or a key is wrong.
    """
    values, origins = merge(defaults, files=files, flags=flags)
    document = validate(_Document, values, origins)
    section, store = document.predict, Store(document.store.root)
    finished = chosen(
        store, section.model, language=section.language, task=section.task, section="predict"
    )
    precision = document.resources.precision
    check_precision(finished, section.model, precision, key="predict.model")
    if section.format == "conll" and finished.task != "token":
        raise ConfigError(f"predict.format: {section.format} is none of a {finished.task} task")
    return PredictConfig(document, finished, _files(section, finished.task))


def _files(section: PredictSection, task: Task) -> tuple[InputFile, ...]:
    """The files that a section names, without those that are empty."""
    from xlt_ray.engine.write_predictions import format_of

    to, ours = open_root(section.to, "predict.to")
    files, places = list[InputFile](), dict[str, str]()
    for pattern in section.files:
        try:
            found = matching(pattern, "predict.files")
        except ValueError as error:
            raise ConfigError(str(error)) from None
        for file in found:
            if file.location in places.values():
                continue
            if file.fs.equals(to) and file.path.startswith(f"{ours}/"):
                continue  # what an earlier start has written
            if ending_of(file.name) not in ENDINGS:
                allowed = ", ".join(f".{ending}" for ending in ENDINGS)
                raise ConfigError(
                    f"predict.files: {file.location} is of no format that can be read; allowed: "
                    f"{allowed}, also with .gz or .zst"
                )
            if not file.size:
                print(f"left out: {file.location} is empty", flush=True)
                continue
            if ".." in file.name.split("/"):  # a key of object storage may have any parts
                raise ConfigError(
                    f"predict.files: {file.location} would be written outside of {section.to}"
                )
            name = _renamed(file.name, section.format or format_of(file.name, task))
            if name in places:
                both = f"{places[name]} and {file.location}"
                raise ConfigError(f"predict.files: {both} would both be written as {name}")
            places[name] = file.location
            files.append(InputFile(f"f{len(files):06d}", file.location, name))
    if not files:
        raise ConfigError(f"predict.files: {', '.join(section.files)}: nothing in them to label")
    return tuple(files)


def _renamed(name: str, kind: str) -> str:
    """The name of an input with the ending of what is written."""
    for ending in (*PACKED, ending_of(name)):
        name = name.removesuffix(f".{ending}")
    return f"{name}.{kind}"


def predict(config: PredictConfig) -> dict[str, Any]:
    """Label and write everything; returns counts."""
    from xlt_ray.commands import labelling  # reaches Ray, which has to come after the environment
    from xlt_ray.data.quarantine import lost_rows
    from xlt_ray.engine.write_predictions import run_write

    fs, base = _check_folder(config)
    with connected(config), _session(config) as begun:
        labelled = labelling.label(config, begun)
        _check_readable(labelled.text, labelling.faults_of)
        annotation = labelled.annotation.fingerprint
        record = {"model": config.section.model, "annotation": annotation}
        record |= {"labels": list(config.finished.labels), "task": config.finished.task}
        there = read_json(fs, f"{base}/{RECORD}")
        if there is not None and there["annotation"] != annotation:
            raise ConfigError(
                f"predict.to: {config.section.to} holds predictions of model {there['model']!r} or "
                "of other text; name another folder"
            )
        write_bytes(fs, f"{base}/{RECORD}", (json.dumps(record, indent=1) + "\n").encode())
        done = run_write(labelling.writing(config, labelled))
        begun.runner.lease.check()
        begun.folder.event("done")
    bad, rows = labelled.text.info["quarantined"], labelled.text.info["rows"]
    written = sum(item["rows"] is not None for item in done)
    counts = {"files": len(done), "written": written, "rows": rows + bad, "unreadable": bad}
    counts["fatal"] = len(lost_rows(labelled.annotation))
    print("\n".join(_summary(config, counts)), flush=True)
    return counts


def _session(config: PredictConfig) -> AbstractContextManager["Session"]:
    """The folder with the steps, on the cluster at hand."""
    return open_session(
        root=config.document.store.root,
        name=config.run_name,
        resources=config.resources,
        data=config.data,
        record={**to_dict(config.document), "data": to_dict(config.data)},
    )


def _check_readable(text: "Artifact", faults_of: Callable[["Artifact"], object]) -> None:
    """Raise ConfigError where no row could be read: nothing is written then."""
    if text.info["rows"]:
        return
    raise ConfigError(
        f"predict.files: none of {text.info['quarantined']:,} rows could be read: {faults_of(text)}"
    )


def _check_folder(config: PredictConfig) -> tuple[pafs.FileSystem, str]:
    """Where predictions go: what is there besides them is not written into."""
    fs, base = open_root(config.section.to, "predict.to")
    there = fs.get_file_info(pafs.FileSelector(base, recursive=True, allow_not_found=True))
    files = [info.path for info in there if info.type == pafs.FileType.File]
    if files and "annotation" not in (read_json(fs, f"{base}/{RECORD}") or {}):
        raise ConfigError(f"predict.to: {config.section.to} has other files in it: {files[0]}")
    return fs, base


def _summary(config: PredictConfig, counts: Mapping[str, Any]) -> list[str]:
    kept = counts["files"] - counts["written"]
    before = f", {kept} of them were there already" if kept else ""
    lines = [f"{counts['rows']:,} rows in {counts['files']} files{before}: {config.section.to}"]
    if counts["unreadable"]:
        lines.append(f"{counts['unreadable']:,} rows could not be read; they have no prediction")
    if counts["fatal"]:
        lines.append(
            f"{counts['fatal']:,} rows killed the process that labelled them; they have no "
            "prediction. See docs/recover.md"
        )
    return lines


def dry_run(config: PredictConfig) -> int:
    """Print what would be labelled by what; returns the exit code."""
    print("\n".join(settings({"predict": to_dict(config.section)})), end="\n\n")
    finished = config.finished
    told = ", ".join(("label", *finished.annotator.columns))
    print(f"task:   {finished.task}\nlabels: {', '.join(finished.labels)}\ntold:   {told}")
    for file in config.files:
        print(f"  {file.place} -> {file.name}")
    _check_folder(config)
    return DONE


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about keys."""
    own = describe(PredictSection, defaults.get("predict", {}), "predict.")
    rest = [
        line
        for name, section in (("data", DataConfig), ("resources", ResourcesConfig),
                              ("store", StoreConfig))
        for line in describe(section, {}, f"{name}.")
    ]  # fmt: skip
    return ["keys, with their defaults:", *own, *rest]


JOB = Job(configure, predict, dry_run, keys)
"""What ``jobs/predict.py`` does with its flags."""
