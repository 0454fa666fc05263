"""Where the pre-trained encoder comes from: a local folder, the hub, or the embedded benchmark.

Whatever the origin, it becomes an artifact in the store, so that every node reaches it and a run
names its bytes. Only safetensors weights are taken.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ray

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.batches.layout import longest_input
from xlt_ray.data.schema import Task
from xlt_ray.engine.local_ray import is_own
from xlt_ray.engine.same_code import guarded
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.fingerprint import RUNTIME
from xlt_ray.store.step_task import StepTask

if TYPE_CHECKING:
    from xlt_ray.models.pretrain import PretrainSettings

TOY = "toy"
_KEPT = (".json", ".safetensors", ".model", ".spm", ".txt")
_NEEDED = (  # a tokenizer of characters has no files
    ("config.json",),
    ("*.safetensors",),
    ("tokenizer.json", "*.model", "vocab.txt", "vocab.json", "*.spm"),
)


@dataclass(frozen=True, kw_only=True)
class Backbone(StepTask):
    """A backbone before it is in the store.

    Attributes:
        identity: What its bytes depend on.
        code: Modules whose code its bytes depend on.
        write: Fills an attempt and returns facts.
        seed: Seed of its training, if it is trained here.
    """

    kind = "backbone"

    identity: Mapping[str, Any]
    code: tuple[str, ...]
    write: Callable[[Attempt], Mapping[str, Any]] = field(metadata=RUNTIME)
    seed: int = 0

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Nothing of the store."""
        return ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules that its bytes depend on."""
        return self.code


def run_write(task: Backbone) -> Mapping[str, Any]:
    """Put a backbone into the store; returns facts for the manifest."""
    return task.write(task.out)


def backbone_of(config: RunConfig[Any], task: Task | None = None) -> Backbone:
    """Find the backbone that a configuration names.

    Args:
        config: The configuration.
        task: What its family has to have a stock classifier for; None: it needs none.

    Raises:
        ConfigError: there is no such folder or hub id, or it lacks files, or takes less than
            train.max_length, or has no classifier for the task, or a revision is asked of what has
            none.
    """
    name, revision = config.backbone, config.backbone_revision
    folder = Path(name).expanduser()
    if revision and (name == TOY or folder.is_dir()):
        raise ConfigError(f"backbone_revision {revision!r}: backbone {name!r} is not on the hub")
    if name == TOY:
        return _toy(config)
    if folder.is_dir():
        return _folder(folder, config.train.max_length, "backbone ", task)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConfigError(f"backbone {name!r}: no such folder")
    return _hub(name, revision, config.train.max_length, "backbone ", task)


def checkpoint_of(
    reference: str,
    max_length: int = 0,
    *,
    revision: str | None = None,
    key: str = "method.start_from",
    nor: str = "no finished run of the store, ",
) -> Backbone:
    """Find a checkpoint by its folder or hub id.

    Args:
        reference: Folder or hub id.
        max_length: Longest input in sub-words that it has to take.
        revision: Hub revision; None: the current commit.
        key: What the configuration calls it.
        nor: What else the reference is not.

    Raises:
        ConfigError: as `backbone_of` does.
    """
    folder = Path(reference).expanduser()
    if folder.is_dir():
        return _folder(folder, max_length, f"{key}: ")
    if reference.startswith((".", "/", "~")) or reference.count("/") != 1:
        raise ConfigError(f"{key}: {reference!r} is {nor}no folder and no hub id")
    return _hub(reference, revision, max_length, f"{key}: ")


def _files(folder: Path, what: str) -> list[Path]:
    """The files of a checkpoint, which can be loaded.

    Args:
        folder: Where they are.
        what: What messages begin with.
    """
    from xlt_ray.models.whole import check_whole

    found = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _KEPT)
    names = [path.name for path in found]
    config = folder / "config.json"
    of_characters = b'"canine"' in (config.read_bytes() if config in found else b"")
    missing = [
        " or ".join(patterns)
        for patterns in (_NEEDED[:-1] if of_characters else _NEEDED)
        if not any(fnmatch(name, pattern) for name in names for pattern in patterns)
    ]
    if missing:
        raise ConfigError(
            f"{what}{folder}: has no {', no '.join(missing)}; there is "
            f"{', '.join(names) or 'nothing'}"
        )
    files = [path for path in found if path.name != "manifest.json"]
    check_whole(files, what)
    return files


def check_length(name: str, files: Sequence[Path], max_length: int) -> None:
    """Compare the longest input asked for with what an encoder takes.

    Raises:
        ConfigError: naming both numbers.
    """
    (config,) = (json.loads(path.read_bytes()) for path in files if path.name == "config.json")
    longest = longest_input(config)
    if longest is not None and max_length > longest:
        raise ConfigError(
            f"train.max_length: {max_length} is more than the {longest} sub-words that the "
            f"backbone {name} takes"
        )


def _check(name: str, files: Sequence[Path], max_length: int, what: str, task: Task | None) -> None:
    """See that an encoder takes rows of a length, and has a classifier for a task."""
    from xlt_ray.models.families import check_class

    check_length(name, files, max_length)
    if task is not None:
        (config,) = (json.loads(path.read_bytes()) for path in files if path.name == "config.json")
        try:
            check_class(config, f"{what}{name}", task)
        except ValueError as error:
            raise ConfigError(str(error)) from None


def _folder(folder: Path, max_length: int, what: str, task: Task | None = None) -> Backbone:
    files = _files(folder, what)
    _check(str(folder), files, max_length, what, task)
    sums = {path.name: _sha256(path) for path in files}

    def write(attempt: Attempt) -> dict[str, Any]:
        for path in files:
            if attempt.copy(path.name, path) != sums[path.name]:
                raise ValueError(
                    f"{path}: has changed while the run was reading it; the same command reads the "
                    "folder anew"
                )
        return {"origin": folder.name, **_padding(folder)}

    return Backbone(identity={"folder": sums}, code=(__name__,), write=write)


def _padding(folder: Path) -> dict[str, str]:
    """The token that fills up rows, of a tokenizer that has none for it: a fact for the run."""
    from xlt_ray.data.batches.subwords import padding_of
    from xlt_ray.data.batches.tokenise import load_tokenizer

    settings = folder / "tokenizer_config.json"
    if settings.exists() and json.loads(settings.read_bytes()).get("pad_token"):
        return {}
    tokenizer = load_tokenizer(str(folder))
    if tokenizer.pad_token_id is not None:
        return {}
    return {"padding": str(tokenizer.convert_ids_to_tokens(padding_of(tokenizer)))}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hub(
    name: str, revision: str | None, max_length: int, what: str, task: Task | None = None
) -> Backbone:
    from huggingface_hub import HfApi, snapshot_download

    patterns = [f"*{suffix}" for suffix in _KEPT]
    fetch = partial(snapshot_download, name, allow_patterns=patterns)
    # Offline mode, time-outs, proxies: the HTTP client's errors have no base class of their own.
    try:
        commit = HfApi().model_info(name, revision=revision, timeout=20).sha or "main"
    except Exception as unreachable:
        try:
            # What an earlier run has fetched.
            commit = Path(fetch(revision=revision, local_files_only=True)).name
        except Exception:
            raise ConfigError(
                f"backbone {name!r}{f' at {revision!r}' if revision else ''}: neither a folder nor "
                f"a model that the hub gives ({type(unreachable).__name__}). Give a folder with "
                "config.json, *.safetensors and tokenizer files, or make the hub reachable"
            ) from None

    def write(attempt: Attempt) -> dict[str, Any]:
        files = _files(Path(fetch(revision=commit)), what)
        _check(name, files, max_length, what, task)
        for file in files:
            attempt.copy(file.name, file)
        return {"origin": name, "revision": commit, **_padding(files[0].parent)}

    return Backbone(identity={"hub": name, "revision": commit}, code=(__name__,), write=write)


def _toy(config: RunConfig[Any]) -> Backbone:
    from xlt_ray.data.benchmarks.toy import LANGUAGES, VERSION
    from xlt_ray.models.pretrain import PretrainSettings

    settings = PretrainSettings()
    name = config.benchmark.name  # on files of one's own the words are those of entities
    task = name.removeprefix("toy").removeprefix("_") if name.startswith("toy_") else "ner"
    options = {key: value for key, value in config.benchmark.toy.items() if key in TEXT_OPTIONS}
    seed = int(options.get("seed", 0))
    identity = {
        "toy": VERSION,
        "languages": list(LANGUAGES),
        "settings": asdict(settings),
        "sentences": SENTENCES,
        "task": task,
        "options": options,
        "threads": THREADS,
    }

    def write(attempt: Attempt) -> dict[str, Any]:
        if is_own():  # a task would begin with Ray's start and imports
            with _DRAWING:
                return _pretrain(attempt, settings, SENTENCES, task, options, seed)
        hired: Any = ray.remote(num_cpus=THREADS, max_retries=3)(_pretrain_there)
        return ray.get(
            hired.remote(guarded(_pretrain), attempt, settings, SENTENCES, task, options, seed)
        )

    modules = ("xlt_ray.models.pretrain", "xlt_ray.data.benchmarks.toy")
    return Backbone(identity=identity, code=modules, write=write, seed=seed)


_DRAWING = threading.Lock()
"""Held by the thread that pre-trains: PyTorch's random numbers are the process's."""

THREADS = 1
"""Threads of the pre-training; the bytes depend on it, so it is not the machine's number."""


TEXT_OPTIONS = ("seed", "knobs")
"""Options of the embedded benchmark that its text depends on; one backbone serves every seed."""

SENTENCES = 4000
"""Sentences per toy language for the tokenizer and the masked-LM pre-training."""


def _pretrain_there(pretrain: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    return pretrain(*arguments)


def _pretrain(
    attempt: Attempt,
    settings: "PretrainSettings",
    size: int,
    task: str,
    options: Mapping[str, Any],
    seed: int,
) -> dict[str, Any]:
    from xlt_ray.data.benchmarks.toy import LANGUAGES, unlabelled_text
    from xlt_ray.models.pretrain import pretrain

    text = [
        sentence
        for language in LANGUAGES
        for sentence in unlabelled_text(language, size=size, task=task, options=options)
    ]
    with TemporaryDirectory() as folder:
        facts = pretrain(text, Path(folder), settings=settings, seed=seed, threads=THREADS)
        attempt.write_folder(Path(folder))
    return {"origin": TOY, **facts}
