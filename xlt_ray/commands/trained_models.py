"""Models that label text: of finished runs, exported ones, and stock ones, and how each does it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xlt_ray.commands.confidence import Confident, ConfidentSpans
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.extras import require_precision
from xlt_ray.config.schema import FilesConfig, Words
from xlt_ray.data.schema import Task
from xlt_ray.engine.backbone import Backbone, checkpoint_of
from xlt_ray.models.files import SPAN_SETTINGS
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.method import WithSources
from xlt_ray.run.saved_models import (
    RECORD,
    config_of,
    labelling_of_run,
    run_named,
    with_sources_of_run,
)
from xlt_ray.store.artifacts import Store

if TYPE_CHECKING:
    from xlt_ray.engine.labeller import Labeller

_TOKENS = 4096
"""Token budget of a forward pass in the caller's process."""


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
        with_sources: Source models that help, where those of the run did; None: it labels alone.
        columns: Fields that the files of its run call otherwise.
        words: Where the words of its run's texts end.
    """

    model: Model | Backbone
    task: Task
    labels: tuple[str, ...]
    max_length: int
    dim_reduce: int | None
    annotator: Confident | ConfidentSpans
    with_sources: WithSources | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    words: Words = "marks"


def chosen(
    store: Store, name: str, *, language: str | None, task: Task | None, section: str
) -> Finished:
    """The model that a command names: that of a finished run, or one in a folder.

    Args:
        store: The store.
        name: Name of the run, or the folder.
        language: The target whose model it is, in runs that have one for each.
        task: Kind of task, of a stock classifier of texts.
        section: Section of the keys that messages name.

    Raises:
        ConfigError: there is none, or it is of another task.
    """
    finished = finished_run(store, name, language, section=section)
    if finished is None:
        finished = finished_in(name, task, section=section)
        if language is not None:
            raise ConfigError(f"{section}.language: {name} is one model, for all languages")
    elif task not in (None, finished.task):
        raise ConfigError(f"{section}.task: run {name!r} is a {finished.task} task")
    return finished


def finished_run(
    store: Store, name: str, language: str | None, *, section: str = "predict"
) -> Finished | None:
    """The final model of a run; None if the store has no such run.

    Args:
        store: The store.
        name: Name of the run.
        language: The target whose model it is, in runs that have one for each.
        section: Section of the keys that messages name.

    Raises:
        ConfigError: the run is not finished, or has other models.
    """
    start = run_named(store, name, f"{section}.model")
    if start is None:
        return None
    how = labelling_of_run(store, name)
    if how is None:
        raise ConfigError(f"{section}.model: run {name!r} is of an older version; run it again")
    there = ", ".join(start.by_language)
    if start.by_language:
        if language is None or language not in start.by_language:
            asked = f"{language!r} has no model" if language else f"run {name!r} has one for each"
            raise ConfigError(f"{section}.language: {asked}: {there}")
        model = start.by_language[language]
    elif language is not None:
        raise ConfigError(f"{section}.language: run {name!r} has one model for all languages")
    else:
        model = start.model
    labels, annotator = _labelling(model.artifact.local(), how["evidential"])
    helped = with_sources_of_run(store, name, language) if language is not None else None
    longest, reduced = how["max_length"], how["dim_reduce"]
    read = _how_files_were_read(store, name, language)
    return Finished(model, how["task"], labels, longest, reduced, annotator, helped, *read)


def models_of_run(store: Store, name: str, language: str) -> tuple[Finished, Finished]:
    """The models of a run that label a target: that of the source alone, and the final one.

    Args:
        store: The store.
        name: Name of the run.
        language: The target.

    Raises:
        ConfigError: the run is not finished, is of an older version, or is an upper bound.
    """
    start, how = run_named(store, name, "run"), labelling_of_run(store, name)
    if start is None or start.zero_shot is None or how is None:
        raise ConfigError(f"run {name!r} is not finished, or of an older version; run it again")

    def finished(model: Model) -> Finished:
        labels, annotator = _labelling(model.artifact.local(), how["evidential"])
        longest, reduced = how["max_length"], how["dim_reduce"]
        return Finished(model, how["task"], labels, longest, reduced, annotator)

    before = start.zero_shot
    return (
        finished(before.by_language.get(language, before.model)),
        finished(start.by_language.get(language, start.model)),
    )


def check_precision(finished: Finished, name: str, precision: str, *, key: str) -> None:
    """See that a model can compute as it is asked to.

    Args:
        finished: The model.
        name: What the configuration calls it.
        precision: ``resources.precision``.
        key: The key that names it, for messages.

    Raises:
        ConfigError: it is int8, and OpenVINO is not installed, or has no graph of its family.
    """
    require_precision(precision)
    if precision != "int8":
        return
    from xlt_ray.run.int8 import check_encoder  # reaches PyTorch

    if isinstance(finished.model, Model):
        shape = finished.model.artifact.json("config.json")
    else:
        shape = json.loads((Path(name).expanduser() / "config.json").read_bytes())
    check_encoder(shape, f"{key} {name}", finished.task)


def _how_files_were_read(
    store: Store, name: str, language: str | None
) -> tuple[dict[str, str], Words]:
    """``files.columns`` of a run without those of labels, and ``files.words``."""
    files = FilesConfig.model_validate(config_of(store, name).get("files") or {})
    columns = {key: value for key, value in files.columns.items() if key in _TEXTS}
    words = files.words
    if not isinstance(words, str):
        words = words.get(language or "", "marks")
    return columns, words


_TEXTS = ("token", "tokens", "text", "text_pair", "premise", "hypothesis")


def finished_in(folder: str, task: Task | None, *, section: str = "predict") -> Finished:
    """The model in a folder, exported or stock.

    Args:
        folder: The folder, or the id of a model on the hub.
        task: Kind of task, of a stock classifier of texts.
        section: Section of the keys that messages name.

    Raises:
        ConfigError: there is no such folder, or it does not say what it labels.
    """
    found = checkpoint_of(folder, key=f"{section}.model")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"{section}.model: {folder} is no folder; fetch it: hf download {folder} "
            "--local-dir ..."
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
        raise ConfigError(f"{section}.task: {folder} does not say; set it to sentence or pair")
    if task not in (None, known):
        raise ConfigError(f"{section}.task: {folder} is of a {known} task")
    longest = int(record.get("max_length") or min(LONGEST, _longest_of(path)))
    return Finished(found, known, labels, longest, record.get("dim_reduce"), annotator)


LONGEST = 128
"""Sub-words of an input of a stock model at most: as of ours."""


def _longest_of(folder: Path) -> int:
    """What the tokenizer of a stock model says of the longest input, in sub-words."""
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_bytes()) if path.exists() else {}
    return int(told.get("model_max_length") or LONGEST)


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


def load_here(finished: Finished, folder: Path) -> "Labeller":
    """A model in this process, on its GPU if there is one.

    Args:
        finished: How it labels.
        folder: Its weights and tokenizer.
    """
    import torch

    from xlt_ray.engine.arithmetic import Arithmetic
    from xlt_ray.engine.labeller import Labeller

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    return Labeller(
        folder,
        labels=finished.labels,
        task=finished.task,
        max_length=finished.max_length,
        dim_reduce=finished.dim_reduce,
        annotator=finished.annotator,
        arithmetic=Arithmetic(kind, "fp32", torch.get_num_threads()),
        batch_tokens=_TOKENS,
    )


class Labellers:
    """Loaded models, the last two of them: that of the source alone and the final one."""

    def __init__(self) -> None:
        self._loaded = dict[str, "Labeller"]()

    def of(self, finished: Finished) -> "Labeller":
        """A model, loaded."""
        assert isinstance(finished.model, Model)
        artifact = finished.model.artifact
        if artifact.fingerprint not in self._loaded:
            while len(self._loaded) > 1:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[artifact.fingerprint] = load_here(finished, artifact.local())
        return self._loaded[artifact.fingerprint]
