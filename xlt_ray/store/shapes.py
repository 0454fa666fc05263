"""What the JSON files of runs hold: each is checked when it is read, and not where it is used.

A store outlives versions of this project, disks that were full, and people who look into files with
an editor. What is checked is what others rely on; there may be more. A file that does not fit is an
`UnreadableError`, which names it.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from xlt_ray.config.errors import DataError


class UnreadableError(DataError):
    """A file of a store that is not what this project writes there."""


Time = Annotated[float, Field(ge=0, lt=1e11, allow_inf_nan=False)]
"""Seconds since 1970, or as many that something took; clocks write no year after 5000."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())


class _Named(_Part):
    name: str = ""


class _Config(_Part):
    """config.json: of a run, a comparison, a sweep or predictions."""

    method: _Named = _Named()
    benchmark: _Named = _Named()


class _Info(_Part):
    rows: int | None = None
    quarantined: int | None = None
    source_dev: float | None = None


class _Entry(_Part):
    """A line of ledger.jsonl: one step."""

    step: int
    title: str
    kind: str
    fingerprint: str
    seconds: Time
    cached: bool
    info: _Info


class _Resources(_Part):
    annotators: Annotated[list[int], Field(min_length=2, max_length=2)]
    annotator_cpus: int
    annotator_gpus: float
    train_workers: int
    train_processes: int | None = None
    train_cpus: int


class _Event(_Part):
    """A line of events.jsonl: something that happened."""

    event: str
    time: Time
    title: str = ""
    kind: str = ""
    fingerprint: str = ""
    cached: bool = False
    resources: _Resources | None = None
    driver_mb: float | None = None


class _Held(_Part):
    """lease.json."""

    owner: str = ""
    host: str = ""
    pid: Annotated[int, Field(ge=1, lt=2**31)] = 1
    seconds: Annotated[float, Field(gt=0, lt=1e6)] = 1.0
    renewed: Time = 0.0


class _Model(_Part):
    kind: str
    fingerprint: str
    folder: str = ""


class _Start(_Part):
    final: _Model
    by_language: dict[str, _Model] = Field(default_factory=dict)


class _Labelling(_Part):
    task: Literal["token", "sentence", "pair"]
    max_length: int
    dim_reduce: int | None
    evidential: bool


class _TargetLabels(_Part):
    few: dict[str, int] = Field(default_factory=dict)
    dev: list[str] = Field(default_factory=list)
    labellers: list[str] = Field(default_factory=list)


class _Models(_Start):
    """models.json: those that a run has left."""

    labelling: _Labelling | None = None
    zero_shot: _Start | None = None
    config: _Config | None = None
    knows_targets: bool = False
    target_labels: _TargetLabels | None = None


class _Report(_Part):
    """report.json, as far as lists of runs show it; `record.Report` has all of it."""

    average: float | None = None
    config: dict[str, JsonValue]


_OBJECT = TypeAdapter[Any](dict[str, JsonValue])
_TRIALS = TypeAdapter[Any](list[dict[str, JsonValue]])
_SHAPES: Mapping[str, TypeAdapter[Any]] = {
    "config.json": TypeAdapter(_Config),
    "events.jsonl": TypeAdapter(_Event),
    "ledger.jsonl": TypeAdapter(_Entry),
    "lease.json": TypeAdapter(_Held),
    "models.json": TypeAdapter(_Models),
    "report.json": TypeAdapter(_Report),
}
"""By name of the file; others are objects."""


def parsed(path: str, data: bytes | None) -> Any:
    """The value of a JSON file, an object in most; None if it is empty, or there is no such file.

    Args:
        path: Of the file, whose name says what it holds.
        data: Its content.

    Raises:
        UnreadableError: it is no JSON, or something else than such a file holds.
    """
    return _loaded(path, data) if data else None


def parsed_lines(path: str, data: bytes | None, *, torn: bool) -> list[dict[str, Any]]:
    """The objects in a JSONL file; none, if there is no such file.

    Args:
        path: Of the file, whose name says what its lines hold.
        data: Its content.
        torn: Whether the last line may be a part of one, and is left out then: whoever wrote it was
            killed.

    Raises:
        UnreadableError: a line is no JSON, or something else than such a file holds.
    """
    found: list[dict[str, Any]] = []
    *lines, last = (data or b"").split(b"\n")
    for number, line in enumerate(lines, 1):
        if line:
            found.append(_loaded(path, line, f", line {number}"))
    if last and not (torn and not _is_json(last)):
        found.append(_loaded(path, last, f", line {len(lines) + 1}"))
    return found


def check_shape(path: str, value: Any, where: str = "") -> Any:
    """A value that was read from a file, if it is what such a file holds.

    Raises:
        UnreadableError: it is not.
    """
    name = path.rpartition("/")[2]
    shape = _TRIALS if name.startswith("trials-") else _SHAPES.get(name, _OBJECT)
    try:
        shape.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        said = "no object" if first["type"] in ("model_type", "dict_type") else first["msg"]
        reason = f"{key}: {said}" if key else said
        raise UnreadableError(f"{path}{where}: {reason}") from None
    return value


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _loaded(path: str, data: bytes, where: str = "") -> Any:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        raise UnreadableError(f"{path}{where}: no JSON") from None
    return check_shape(path, value, where)
