"""Where the pre-trained encoder comes from: a local folder, the hub, or the embedded benchmark.

Whatever the origin, it becomes an artifact in the store, so that every node reaches it and a run
names its bytes. Only safetensors weights are taken.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray

from xlt_ray.config import ConfigError, RunConfig
from xlt_ray.store import Attempt

TOY = "toy"
_KEPT = (".json", ".safetensors", ".model", ".txt")


@dataclass(frozen=True)
class Backbone:
    """A backbone before it is in the store.

    Attributes:
        identity: What its bytes depend on.
        module: Module whose code its bytes depend on.
        write: Fills an attempt and returns facts.
        seed: Seed of its training, if it is trained here.
    """

    identity: Mapping[str, Any]
    module: str
    write: Callable[[Attempt], Mapping[str, Any]]
    seed: int = 0


def backbone_of(config: RunConfig[Any]) -> Backbone:
    """Find the backbone that a configuration names.

    Raises:
        ConfigError: there is no such folder or hub id, or it has no safetensors weights.
    """
    name = config.backbone
    if name == TOY:
        return _toy(config)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _folder(folder)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConfigError(f"backbone {name!r}: no such folder")
    return _hub(name)


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _KEPT)
    names = {path.name for path in found}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        raise ConfigError(
            f"backbone {folder}: needs config.json, *.safetensors and tokenizer files, has "
            f"{', '.join(sorted(names)) or 'nothing'}"
        )
    return [path for path in found if path.name != "manifest.json"]


def _folder(folder: Path) -> Backbone:
    files = _files(folder)
    sums = {path.name: _sha256(path) for path in files}

    def write(attempt: Attempt) -> dict[str, Any]:
        for path in files:
            attempt.copy(path.name, path)
        return {"origin": folder.name}

    return Backbone({"folder": sums}, __name__, write)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _hub(name: str) -> Backbone:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    patterns = [f"*{suffix}" for suffix in _KEPT]
    try:
        if os.environ.get("HF_HUB_OFFLINE") == "1":
            path = snapshot_download(name, allow_patterns=patterns, local_files_only=True)
            revision = Path(path).name
        else:
            revision = HfApi().model_info(name, timeout=20).sha or "main"
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise ConfigError(
            f"backbone {name!r}: neither a folder nor a model that the hub gives "
            f"({type(error).__name__}). Give a folder with config.json, *.safetensors and "
            "tokenizer files, or make the hub reachable"
        ) from None

    def write(attempt: Attempt) -> dict[str, Any]:
        local = os.environ.get("HF_HUB_OFFLINE") == "1"
        path = snapshot_download(
            name, revision=revision, allow_patterns=patterns, local_files_only=local
        )
        for file in _files(Path(path)):
            attempt.copy(file.name, file)
        return {"origin": name, "revision": revision}

    return Backbone({"hub": name, "revision": revision}, __name__, write)


def _toy(config: RunConfig[Any]) -> Backbone:
    from xlt_ray.data.toy import LANGUAGES, VERSION
    from xlt_ray.models.pretrain import PretrainSettings

    settings = PretrainSettings()
    task = config.benchmark.name.removeprefix("toy").removeprefix("_") or "ner"
    options = {key: value for key, value in config.benchmark.toy.items() if key in TEXT_OPTIONS}
    seed = int(options.get("seed", 0))
    identity = {
        "toy": VERSION,
        "languages": list(LANGUAGES),
        "settings": asdict(settings),
        "sentences": SENTENCES,
        "task": task,
        "options": options,
    }

    def write(attempt: Attempt) -> dict[str, Any]:
        return ray.get(_pretrain.remote(attempt, task, options, seed))

    return Backbone(identity, "xlt_ray.models.pretrain", write, seed)


TEXT_OPTIONS = ("seed", "knobs")
"""Options of the embedded benchmark that its text depends on; one backbone serves every seed."""

SENTENCES = 4000
"""Sentences per toy language for the tokenizer and the masked-LM pre-training."""


@ray.remote(num_cpus=1, max_retries=3)
def _pretrain(attempt: Attempt, task: str, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
    from xlt_ray.data.toy import LANGUAGES, unlabelled_text
    from xlt_ray.models.pretrain import PretrainSettings, pretrain

    text = [
        sentence
        for language in LANGUAGES
        for sentence in unlabelled_text(language, size=SENTENCES, task=task, options=options)
    ]
    with TemporaryDirectory() as folder:
        facts = pretrain(
            text, Path(folder), settings=PretrainSettings(), seed=seed, threads=os.cpu_count() or 1
        )
        attempt.write_folder(Path(folder))
    return {"origin": TOY, **facts}
