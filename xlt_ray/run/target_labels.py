"""Which labels of targets the models know that a run starts from, so that it says so as well."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter

from xlt_ray.config.errors import ConfigError
from xlt_ray.run.saved_models import MODELS_FILE, RECORD, record_of
from xlt_ray.store.artifacts import Store

KEY = "target_labels"
"""In the file of a run's models, and in the record of an exported one."""


@dataclass(frozen=True)
class TargetLabels:
    """Labels of targets that went into models.

    Attributes:
        few: Labelled rows that were learned from, by target.
        dev: Targets whose labelled dev rows chose models.
        labellers: Who gave labels of unlabelled text that were learned from.
    """

    few: Mapping[str, int] = field(default_factory=dict)
    dev: tuple[str, ...] = ()
    labellers: tuple[str, ...] = ()

    def with_those_of(self, others: Iterable["TargetLabels"]) -> Self:
        """These and those of other models. Of a language that several learned some rows of there
        are as many as the one with most has: the fewer rows of a draw are among the more."""
        few, dev, labellers = dict(self.few), list(self.dev), list(self.labellers)
        for other in others:
            for name, rows in other.few.items():
                few[name] = max(rows, few.get(name, 0))
            dev += other.dev
            labellers += other.labellers
        return type(self)(few, tuple(dict.fromkeys(dev)), tuple(dict.fromkeys(labellers)))

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        found = {"few": dict(self.few), "dev": list(self.dev)}
        return {**found, "labellers": list(self.labellers)}

    def notes(self, reference: str) -> list[str]:
        """What the reader of scores has to know of a run that started from these models.

        Args:
            reference: The run, or checkpoint, that they are of.
        """
        notes, begun = [], f"{reference!r}, which it started from"
        if self.few:
            counts = ", ".join(f"{count} of {name}" for name, count in self.few.items())
            notes.append(f"not zero-shot: {begun}, learned labelled rows of targets: {counts}")
        if self.dev:
            names = ", ".join(self.dev)
            notes.append(f"{begun}, was chosen on labelled dev rows of targets: {names}")
        if self.labellers:
            names = ", ".join(self.labellers)
            notes.append(f"not zero-shot: {begun}, learned labels of target text, given by {names}")
        return notes


def labels_known(store: Store, reference: str, key: str = "method.start_from") -> TargetLabels:
    """Labels of targets that the models of a finished run know, or a checkpoint of one; none, if
    nobody wrote any down.

    Args:
        store: The store.
        reference: Name of the run, or folder of the checkpoint.
        key: The key that names it, for messages.

    Raises:
        ConfigError: it is a run of an older version that may know some, an upper bound, or what was
            written down cannot be read.
    """
    found, where = record_of(store, reference), f"{key}: run {reference!r}"
    if found is None:
        return labels_beside(reference, key)
    if KEY not in found and _may_know_some(found.get("config") or {}):
        raise ConfigError(
            f"{where} is of an older version, which did not write down the labels of targets that "
            "its models know; run it again"
        )
    return _labels_in(found, where)


def labels_beside(folder: str, key: str) -> TargetLabels:
    """The same of the model in a folder: an exported one, or that of a run.

    Args:
        folder: The folder; there need not be one.
        key: The key that names it, for messages.

    Raises:
        ConfigError: as `labels_known` does.
    """
    where = f"{key}: {folder!r}"
    found = _beside(Path(folder).expanduser(), where)
    if found.get("knows_targets"):
        raise ConfigError(f"{where} is of an upper bound, which knows labels of the targets")
    return _labels_in(found, where)


def _labels_in(found: Mapping[str, Any], where: str) -> TargetLabels:
    try:
        return TypeAdapter(TargetLabels).validate_python(found.get(KEY) or {})
    except ValueError as error:
        raise ConfigError(f"{where}: {KEY}: {error}") from None


def _may_know_some(config: Mapping[str, Any]) -> bool:
    """Whether models of a configuration can know labels of targets."""
    benchmark, method = config.get("benchmark") or {}, config.get("method") or {}
    paths = (config.get("files") or {}).get("paths") or {}
    given = benchmark.get("few") or any("few" in splits for splits in paths.values())
    chosen = benchmark.get("select_on") == "target_dev"
    return bool(given or chosen or method.get("start_from") or method.get("given"))


def _beside(folder: Path, where: str) -> dict[str, Any]:
    """What is written down of the model in a folder: an exported one, or that of a run."""
    path = folder / RECORD
    if not path.is_file() and folder.name == "model":
        path = folder.parent / MODELS_FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{where}: {path} is no JSON: {error}") from None
    return found if isinstance(found, dict) else {}
