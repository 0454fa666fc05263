"""Models that finished runs have left in a store, for others to start from."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet
from xlt_ray.models.files import (
    ADAPTER_SETTINGS,
    ADAPTERS,
    OPTIMISER,
    SNAPSHOT,
    SPAN_SETTINGS,
)
from xlt_ray.recipe.corpus import Model, Start
from xlt_ray.recipe.method import WithSources
from xlt_ray.store.artifacts import BASE, Artifact, Store, own_cache
from xlt_ray.store.manifest import is_inside
from xlt_ray.store.shapes import parsed

MODELS_FILE = "models.json"
"""Which artifacts of the store are the models of a run."""
RECORD = "xlt_ray.json"
"""In the folder of an exported model, where it comes from and how it labels."""


class Labelling(TypedDict):
    """How the models of a run label text, for whoever does not know its method."""

    task: Task
    max_length: int
    dim_reduce: int | None
    evidential: bool


def models_of(
    start: Start,
    config: Mapping[str, Any],
    labelling: Labelling,
    *,
    knows_targets: bool,
    target_labels: Mapping[str, Any],
    with_sources: Mapping[str, WithSources] | None = None,
) -> dict[str, Any]:
    """Content of the file.

    Args:
        start: What the run leaves to others.
        config: Configuration that they came of; that of the run may be another one by now.
        labelling: How they label text.
        knows_targets: Whether labels of target text went into it, as into an upper bound.
        target_labels: The few labels of targets that went into it, or into what it started from.
        with_sources: How source models help to label text, by target.
    """
    helped = {
        target: {
            "sources": {name: _entry(model) for name, model in found.sources.items()},
            "many": found.many,
            "channel": dict(found.channel),
        }
        for target, found in (with_sources or {}).items()
    }
    return {
        "config": dict(config),
        "labelling": labelling,
        "knows_targets": knows_targets,
        "target_labels": dict(target_labels),
        "with_sources": helped,
        **_entries(start),
        "zero_shot": _entries(start.zero_shot),
    }


def _entries(start: Start) -> dict[str, Any]:
    by_language = {name: _entry(model) for name, model in start.by_language.items()}
    return {"final": _entry(start.model), "by_language": by_language}


def _entry(model: Model) -> dict[str, str]:
    artifact = model.artifact
    return {
        "kind": artifact.kind,
        "fingerprint": artifact.fingerprint,
        "folder": artifact.folder,
    }


def run_named(store: Store, name: str, key: str = "method.start_from") -> Start | None:
    """The models of a finished run, or None if the store has no such run.

    Args:
        store: The store.
        name: Name of the run.
        key: The key that names it, for messages.

    Raises:
        ConfigError: the store has the run, but not its models, or they know labels of targets.
        UnreadableError: the file of its models cannot be read.
    """
    found = record_of(store, name)
    if found is None:
        return None
    where = f"{key}: run {name!r}"
    if not {"zero_shot", "config"} <= found.keys():
        raise ConfigError(f"{where} is of an older version; run it again")
    if found["knows_targets"]:
        raise ConfigError(f"{where} is an upper bound, which knows labels of the targets")

    def model(entry: Mapping[str, str]) -> Model:
        artifact = store.find(entry["kind"], entry["fingerprint"])
        if artifact is None:
            raise ConfigError(
                f"{key}: the model {entry['folder']} of run {name!r} is not in the "
                "store any more; run it again"
            )
        return Model(artifact)

    def start(entries: Mapping[str, Any], before: Start | None = None) -> Start:
        by_language = {name: model(entry) for name, entry in entries["by_language"].items()}
        return Start(model(entries["final"]), by_language, before)

    return start(found, start(found["zero_shot"]))


def record_of(store: Store, name: str) -> dict[str, Any] | None:
    """What a finished run wrote down of its models; None if the store has no such run.

    Raises:
        UnreadableError: it cannot be read.
    """
    return _models(store, name) if is_inside(name) and "/" not in name else None


def config_of(store: Store, name: str) -> dict[str, Any]:
    """The configuration that the models of a finished run came of."""
    return dict((_models(store, name) or {}).get("config", {}))


def labelling_of_run(store: Store, name: str) -> Labelling | None:
    """How the models of a finished run label text; None if it is of an older version."""
    return (_models(store, name) or {}).get("labelling")


def with_sources_of_run(store: Store, name: str, language: str) -> WithSources | None:
    """How source models helped a finished run to label a language; None: they did not.

    Raises:
        ConfigError: one of them is not in the store any more.
    """
    found = ((_models(store, name) or {}).get("with_sources") or {}).get(language)
    if found is None:
        return None
    models: dict[str, Model] = {}
    for source, entry in found["sources"].items():
        artifact = store.find(entry["kind"], entry["fingerprint"])
        if artifact is None:
            raise ConfigError(
                f"predict.model: the source model {entry['folder']} of run {name!r} is not in the "
                "store any more; run it again, or set predict.alone=true"
            )
        models[source] = Model(artifact)
    return WithSources(models, found["many"], found["channel"])


def _models(store: Store, name: str) -> dict[str, Any] | None:
    path = f"{store.base}/runs/{name}/{MODELS_FILE}"
    return parsed(path, store.read(path))


def files_of(model: Artifact) -> dict[str, Path]:
    """The files of a trained model that others load: without its optimiser, its findings and what
    it kept along its way, and with adapters merged."""
    files = _plain_files(model.local())
    if ADAPTERS not in files:
        return files
    from xlt_ray.models.lora import write_merged  # reaches PyTorch

    merged = own_cache() / "merged" / f"{model.digest}-{model.info[BASE]['fingerprint']}"
    if not merged.exists():
        with TemporaryDirectory(dir=own_cache()) as folder:
            write_merged(model.local(), Path(folder) / "whole")
            merged.parent.mkdir(exist_ok=True)
            with suppress(OSError):  # another process was sooner
                (Path(folder) / "whole").rename(merged)
    adapters = {ADAPTERS, ADAPTER_SETTINGS}
    return {k: v for k, v in files.items() if k not in adapters} | _plain_files(merged)


def adapters_of(model: Artifact) -> dict[str, Path]:
    """The files of a model that is adapters, as peft loads it.

    Raises:
        ConfigError: it is a whole one.
    """
    files = _plain_files(model.local())
    if ADAPTERS not in files:
        raise ConfigError("export.adapters: the model has none; it was trained whole (train.lora)")
    return files


def _plain_files(folder: Path) -> dict[str, Path]:
    own = {"manifest.json", OPTIMISER}
    files = [path for path in folder.iterdir() if path.suffix != ".parquet" and path.is_file()]
    files = [path for path in files if not path.name.startswith(SNAPSHOT)]
    return {path.name: path for path in sorted(files) if path.name not in own}


def check_start(model: Model, reference: str, labels: LabelSet, backbone: Model) -> None:
    """See whether a model can be gone on with.

    Raises:
        ConfigError: its classes or its tokenizer are not those of the run.
    """
    where, ours = f"method.start_from: {reference!r}", backbone.artifact
    if "config.json" not in model.artifact.names or "config.json" not in ours.names:
        return  # one of the two is planned only
    if SPAN_SETTINGS in model.artifact.names:
        raise ConfigError(f"{where} is a tagger of spans, from which other methods cannot go on")
    known = model.artifact.json("config.json").get("id2label", {})
    names = [known[key] for key in sorted(known, key=int)]
    if names != list(labels.names):
        raise ConfigError(f"{where} has the classes {names}, needed: {list(labels.names)}")
    there = [_tokenizer(item) for item in (model.artifact, ours)]
    if there[0] != there[1]:
        raise ConfigError(f"{where} has another tokenizer than the backbone, whose text is read")


def _tokenizer(model: Artifact) -> str | None:
    """Hash of a model's tokenizer; adapters have that of the encoder that they adapt."""
    path = model.local() / "tokenizer.json"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
