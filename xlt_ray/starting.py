"""Models that finished runs have left in a store, for others to start from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlt_ray.config import ConfigError
from xlt_ray.data.corpus import OPTIMISER, SPAN_SETTINGS, Model, Start
from xlt_ray.data.registry import benchmark_of
from xlt_ray.data.schema import Task
from xlt_ray.engine.backbone import Backbone, checkpoint_of
from xlt_ray.labels import LabelSet
from xlt_ray.ledger import RunFolder
from xlt_ray.methods.predicting import Confident, ConfidentSpans
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.store import Artifact, Store

MODELS_FILE = "models.json"
"""Which artifacts of the store are the models of a run."""
RECORD = "xlt_ray.json"
"""In the folder of an exported model, where it comes from and how it labels."""


def models_of(start: Start, *, knows_targets: bool) -> dict[str, Any]:
    """Content of the file.

    Args:
        start: What the run leaves to others.
        knows_targets: Whether labels of target text went into it.
    """
    return {
        "knows_targets": knows_targets,
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
    """
    if "/" in name:
        return None
    found = RunFolder(store, name).read_json(MODELS_FILE)
    if found is None:
        return None
    where = f"{key}: run {name!r}"
    if "zero_shot" not in found:
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


def files_of(model: Artifact) -> dict[str, Path]:
    """The files of a trained model that others load: without its optimiser and its findings."""
    own = {"manifest.json", OPTIMISER}
    files = [path for path in model.local().iterdir() if path.suffix != ".parquet"]
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
    name = "tokenizer.json"
    there = [item.manifest["files"].get(name, {}).get("sha256") for item in (model.artifact, ours)]
    if there[0] != there[1]:
        raise ConfigError(f"{where} has another tokenizer than the backbone, whose text is read")


@dataclass(frozen=True)
class Finished:
    """A model that labels text, and how it does.

    Attributes:
        model: It, or what is to be copied into the store.
        task: Kind of task.
        labels: Names of its classes.
        max_length: Longest input in sub-words that it was trained on.
        dim_reduce: Fraction of its width that the head of a text classifier projects to first.
        annotator: What is said of text.
    """

    model: Model | Backbone
    task: Task
    labels: tuple[str, ...]
    max_length: int
    dim_reduce: int | None
    annotator: Confident | ConfidentSpans


def finished_run(store: Store, name: str, language: str | None) -> Finished | None:
    """The final model of a run; None if the store has no such run.

    Args:
        store: The store.
        name: Name of the run.
        language: The target whose model it is, in runs that have one for each.

    Raises:
        ConfigError: the run is not finished, or has other models.
    """
    from xlt_ray import cli

    start = run_named(store, name, "predict.model")
    if start is None:
        return None
    config = cli.of_values(RunFolder(store, name).read_json("config.json") or {})
    there = ", ".join(start.by_language)
    if start.by_language:
        if language not in start.by_language:
            asked = f"{language!r} has no model" if language else f"run {name!r} has one for each"
            raise ConfigError(f"predict.language: {asked}: {there}")
        model = start.by_language[language]
    elif language is not None:
        raise ConfigError(f"predict.language: run {name!r} has one model for all languages")
    else:
        model = start.model
    evidential = cli.recipes()[config.method.name].is_evidential
    labels, annotator = _labelling(model.artifact.local(), evidential)
    train, task = config.train, benchmark_of(config).task
    return Finished(model, task, labels, train.max_length, train.dim_reduce, annotator)


def finished_in(folder: str, task: Task | None) -> Finished:
    """The model in a folder, exported or stock.

    Args:
        folder: The folder, or the id of a model on the hub.
        task: Kind of task, of a stock classifier of texts.

    Raises:
        ConfigError: there is no such folder, or it does not say what it labels.
    """
    found = checkpoint_of(folder, key="predict.model")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"predict.model: {folder} is no folder; fetch it: hf download {folder} --local-dir ..."
        )
    record = json.loads((path / RECORD).read_bytes()) if (path / RECORD).exists() else {}
    config = json.loads((path / "config.json").read_bytes())
    labels, annotator = _labelling(path, bool(record.get("evidential")))
    known: Task | None = record.get("task")
    if known is None and (path / SPAN_SETTINGS).exists():
        known = "token"
    if known is None:
        names = " ".join(config.get("architectures") or ())
        known = "token" if "TokenClassification" in names else task
    if known is None:
        raise ConfigError(f"predict.task: {folder} does not say; set it to sentence or pair")
    if task not in (None, known):
        raise ConfigError(f"predict.task: {folder} is of a {known} task")
    longest = int(record.get("max_length") or 128)
    return Finished(found, known, labels, longest, record.get("dim_reduce"), annotator)


def _labelling(
    folder: Path, evidential: bool
) -> tuple[tuple[str, ...], Confident | ConfidentSpans]:
    """Names of the classes of a saved model, and what it says of text."""
    if (folder / SPAN_SETTINGS).exists():
        settings = json.loads((folder / SPAN_SETTINGS).read_bytes())
        labels = tuple(settings.pop("labels"))
        return labels, ConfidentSpans(SpanHead(**settings))
    known = json.loads((folder / "config.json").read_bytes()).get("id2label", {})
    return tuple(known[key] for key in sorted(known, key=int)), Confident(evidential)
