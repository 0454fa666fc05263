"""A small world for tests that run whole recipes: real files, a tiny encoder, a configuration."""

import hashlib
import json
import random
import shutil
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.toy import LABELS, LANGUAGES, make_source, unlabelled_text
from xlt_ray.labels import LabelSet
from xlt_ray.models.pretrain import PretrainSettings, pretrain
from xlt_ray.run.check import configure_run

SOURCE, TARGETS = LANGUAGES[0], LANGUAGES[1:3]
SIZES = {"train": 300, "dev": 96, "test": 64}
TAGS = LabelSet(("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"))


def write_corpus(
    root: Path, *, noisy_targets: bool = False, sizes: Mapping[str, int] = SIZES
) -> Path:
    """Write toy sentences as two-column files; the targets' tags perhaps replaced by noise."""
    noise = random.Random(7)
    names = LABELS["ner"]
    for language in (SOURCE, *TARGETS):
        for split, size in sizes.items():
            source = make_source("ner", language, split, {split: size})
            lines = []
            for example in source.examples(LabelSet(names)):
                for token, label in zip(example.tokens, example.labels, strict=True):  # type: ignore[union-attr]
                    tag = names[label]
                    if noisy_targets and language != SOURCE:
                        # Nobody may even look at the tags of the unlabelled split.
                        unread = f"no tag {noise.random()}"
                        tag = unread if split == "dev" else noise.choice(TAGS.names)
                    lines.append(f"{token}\t{tag}\n")
                lines.append("\n")
            path = root / language / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(lines), encoding="utf-8")
    return root


def write_backbone(folder: Path) -> Path:
    """Pre-train a tiny encoder for a few steps."""
    text = [
        sentence
        for language in (SOURCE, *TARGETS)
        for sentence in unlabelled_text(language, size=300)
    ]
    settings = PretrainSettings(
        layers=1, hidden=64, heads=2, feed_forward=128, vocab_size=800, steps=150, batch_tokens=1024
    )
    folder.mkdir(parents=True, exist_ok=True)
    pretrain(text, folder, settings=settings, seed=0, threads=1)
    return folder


@dataclass(frozen=True)
class Encoders:
    """Pre-trained encoders as artifacts, which take most of a minute each.

    Attributes:
        folder: Where they are, by fingerprint.
    """

    folder: Path

    def take(self, store: Path) -> None:
        """Put those that are there into a store; a run finds the one that it would train."""
        for found in self.folder.glob("*/"):
            shutil.copytree(found, store / "artifacts/backbone" / found.name, dirs_exist_ok=True)

    def keep(self, store: Path) -> None:
        """Take those that a store has, for other tests."""
        self.folder.mkdir(exist_ok=True)
        for found in (store / "artifacts/backbone").glob("*/manifest.json"):
            if not (self.folder / found.parent.name).exists():
                with TemporaryDirectory(dir=self.folder.parent) as folder:
                    whole = shutil.copytree(found.parent, Path(folder) / "whole")
                    with suppress(OSError):  # another process was sooner
                        whole.rename(self.folder / found.parent.name)


@dataclass(frozen=True)
class World:
    """Folders that every run of a test session reads."""

    corpus: Path
    noisy: Path
    backbone: Path

    def values(self, store: Path, *, noisy: bool = False) -> dict[str, Any]:
        """Nested keys of a small CLTP run: source training and three rounds, one with sets."""
        return {
            "benchmark": {
                "name": "wikiann",
                "root": str(self.noisy if noisy else self.corpus),
                "source": [SOURCE],
                "targets": list(TARGETS),
            },
            "backbone": str(self.backbone),
            "method": {
                "name": "cltp",
                "source_lr": 4e-3,
                "source_epochs": 8,
                "round_lr": 1e-3,
                "round_epochs": 1,
                "final_epochs": 1,
                "rounds": 3,
                "one_hot_rounds": 2,
                "ratio": 0.2,
            },
            "train": {"batch_size": 8, "checkpoint_seconds": 0.2, "max_tokens": 512},
            "data": {"shard_rows": 32, "batch_tokens": 1024},
            "resources": {"annotators": 0, "train_workers": 0, "train_cpus": 1, "num_cpus": 2},
            "store": {"root": str(store)},
            "run": {"name": "test"},
        }

    def config(self, store: Path, *flags: str, noisy: bool = False) -> RunConfig[Any]:
        """The configuration of such a run."""
        return configure_run(self.values(store, noisy=noisy), flags=flags)


def artifacts(
    store: Path, only: Container[tuple[str, str]] | None = None
) -> dict[tuple[str, str], dict[str, str]]:
    """{(kind, fingerprint): {file: sha256}} of what is in a store, checked against the files.

    Args:
        store: A store.
        only: The (kind, fingerprint) that are looked at; None: all.
    """
    found = {}
    for path in sorted(store.glob("artifacts/*/*/manifest.json")):
        if only is not None and (path.parent.parent.name, path.parent.name) not in only:
            continue
        manifest = json.loads(path.read_text())
        sums = {}
        for name, entry in manifest["files"].items():
            data = (path.parent / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"], f"{path.parent}/{name}"
            sums[name] = entry["sha256"]
        found[path.parent.parent.name, path.parent.name] = sums
    return found


def begun_again(
    store: Path, report: Mapping[str, Any], copy: Path, again: Callable[[Mapping[str, Any]], bool]
) -> set[str]:
    """Copy a store, but for some steps of a run, so that a test does these alone once more.

    A step that then gives other bytes has other steps computed after it, so the two stores have
    the same artifacts only if it gives the same.

    Args:
        store: A store.
        report: The report of a run in it.
        copy: Where the copy goes.
        again: Says of a step of the report whether it is left out.

    Returns:
        Titles of the steps that were left out, at least one; of equal ones that of the first.
    """
    shutil.copytree(store / "artifacts", copy / "artifacts")
    titles = set()
    for step in report["steps"]:
        folder = copy / "artifacts" / step["kind"] / step["fingerprint"]
        if again(step) and folder.exists():
            shutil.rmtree(folder)
            titles.add(step["title"])
    assert titles
    return titles


def computed(report: Mapping[str, Any]) -> set[str]:
    """Titles of the steps that a run did not find in its store."""
    return {step["title"] for step in report["steps"] if not step["cached"]}


def without_times(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without what a repeated run may change."""
    steps = [
        {key: value for key, value in step.items() if key not in ("seconds", "driver_mb", "cached")}
        for step in report["steps"]
    ]
    return {**report, "steps": steps}


def jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Lines of a JSONL file."""
    for line in path.read_text().splitlines():
        yield json.loads(line)
