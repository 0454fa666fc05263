"""What a system outside says about a text, read from a file of its predictions.

One JSON object per line: ``tokens``, or ``text`` and perhaps ``text_pair``, as in the text; the
labels as ``prediction`` (as ``xlt-ray predict`` writes it) or ``labels``, names of classes; and
perhaps ``probs``, a probability per class for each word or for the text. Either of the two may be
absent: labels are then the likeliest, or probabilities are all on the label. Rows of the file that
the text does not have are left aside, so one file can serve several texts.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.lines import Overlong, lines_of
from xlt_ray.engine.annotate import to_table
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.labels import LabelSet
from xlt_ray.recipe.annotator import Columns
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.fingerprint import RUNTIME
from xlt_ray.store.step_task import StepTask

Key = tuple[str, ...]
Said = tuple[np.ndarray, np.ndarray]
"""Labels [n] and probabilities [n, K] of a row's items."""


@dataclass(frozen=True, kw_only=True)
class GivenTask(StepTask):
    """A file of predictions, and the text that they are about.

    Attributes:
        text: The text.
        languages: Languages of the rows that need a prediction; others are left aside.
        labels: Classes of the task.
        sha256: Digest of the file.
        row_bytes: Bytes of a line at most.
        path: Where the file is.
        key: The key that names it, for messages.
    """

    kind = "annotation"

    text: Artifact
    languages: tuple[str, ...]
    labels: LabelSet
    sha256: str
    row_bytes: int = field(metadata=RUNTIME)
    path: str = field(metadata=RUNTIME)
    key: str = field(metadata=RUNTIME)

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The text."""
        return (self.text,)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one."""
        return (__name__,)


def is_file_of_predictions(reference: str) -> bool:
    """Whether what is named is such a file, and no run, folder or hub id."""
    return reference.endswith(".jsonl")


def digest_of(path: str, key: str) -> str:
    """SHA-256 of a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with Path(path).expanduser().open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{key}: {path} cannot be read ({error.strerror})") from None


def run_given(task: GivenTask) -> dict[str, Any]:
    """Write an annotation of every shard of the text; returns facts for the manifest.

    Raises:
        ConfigError: a row of the text has no prediction, a line is none, or the file was edited.
    """
    shards = shards_of(task.text)
    asked = [shard for shard in shards if shard.language in task.languages]
    wanted = {_key(row) for shard in asked for row in shard.rows(task.text).to_pylist()}
    said: dict[Key, Said] = {}
    for number, row in _lines(task):
        key = _key(row)
        if key in wanted:
            count = 1 if row.get("tokens") is None else len(row["tokens"])
            said[key] = _said(task, number, row, count)
    if digest_of(task.path, task.key) != task.sha256:
        raise ConfigError(f"{task.key}: {task.path} has changed while it was read")
    if missing := sorted(wanted - said.keys()):
        raise ConfigError(
            f"{task.key}: {task.path} has no prediction for {len(missing)} of {len(wanted)} "
            f"different rows, such as {' '.join(missing[0])[:80]!r}"
        )
    rows = 0
    for shard in shards:
        table = shard.rows(task.text)
        table = table if shard.language in task.languages else table.slice(0, 0)
        found = [said[_key(row)] for row in table.to_pylist()]
        offsets = np.cumsum([0, *(len(labels) for labels, _ in found)])
        empty = np.zeros((0, len(task.labels)), np.float16)
        items = {
            "labels": np.concatenate([np.zeros(0, np.int16), *(labels for labels, _ in found)]),
            "probs": np.concatenate([empty, *(probs for _, probs in found)]),
        }
        task.out.write_table(shard.name, to_table(table, offsets, Columns(items=items)))
        rows += len(table)
    return {"rows": rows}


def _lines(task: GivenTask) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of the file with the numbers of their lines."""
    with Path(task.path).expanduser().open("rb") as stream:
        for number, line in enumerate(lines_of(stream, task.row_bytes), start=1):
            if not line.strip():
                continue
            try:
                row = None if isinstance(line, Overlong) else json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict) or not _has_text(row):
                raise _bad(task, number, "no JSON object with tokens or text")
            yield number, row


def _has_text(row: Mapping[str, Any]) -> bool:
    """Whether an object has words, or else a text, that a row can be found by."""
    if (words := row.get("tokens")) is None:
        return isinstance(row.get("text"), str)
    return isinstance(words, list) and all(isinstance(word, str | int | float) for word in words)


def _key(row: Mapping[str, Any]) -> Key:
    """What a row of text and its prediction have in common."""
    if row.get("tokens") is not None:
        return tuple(map(str, row["tokens"]))
    pair = row.get("text_pair")
    return (str(row["text"]),) if pair is None else (str(row["text"]), str(pair))


def _said(task: GivenTask, number: int, row: Mapping[str, Any], count: int) -> Said:
    """Labels and probabilities of a line.

    Raises:
        ConfigError: they are not of these classes, or not as many as the items.
    """
    k, names = len(task.labels), row.get("prediction", row.get("labels", row.get("label")))
    probs_NK: np.ndarray | None = None
    if row.get("probs") is not None:
        try:
            probs_NK = np.asarray(row["probs"], dtype=np.float64).reshape(count, k)
        except (TypeError, ValueError, OverflowError):
            raise _bad(task, number, f"probs are not {count} times {k} numbers") from None
        sums = probs_NK.sum(axis=1)
        if not (np.isfinite(probs_NK).all() and (probs_NK >= 0).all()):
            raise _bad(task, number, "probs are not all finite and at least 0")
        if (np.abs(sums - 1) > 0.01).any():
            raise _bad(task, number, "probs of an item do not sum to 1")
    if names is None and probs_NK is None:
        raise _bad(task, number, "neither prediction, labels nor probs")
    if names is None:
        assert probs_NK is not None
        return probs_NK.argmax(axis=1).astype(np.int16), probs_NK.astype(np.float16)
    given: Sequence[Any] = [names] if isinstance(names, str) else names
    if not isinstance(given, list) or len(given) != count:
        raise _bad(task, number, f"not a label for each of {count} items")
    known = {name: index for index, name in enumerate(task.labels.names)}
    unknown = [name for name in given if not isinstance(name, str) or name not in known]
    if unknown:
        classes = ", ".join(task.labels.names)
        raise _bad(task, number, f"label {unknown[0]!r} is none of the classes: {classes}")
    labels_N = np.array([known[name] for name in given], dtype=np.int16)
    if probs_NK is None:
        probs_NK = np.eye(k)[labels_N]
    return labels_N, probs_NK.astype(np.float16)


def _bad(task: GivenTask, number: int, reason: str) -> ConfigError:
    return ConfigError(f"{task.key}: {task.path}, line {number}: {reason}")
