"""How YAML files and ``--set`` flags become one frozen configuration.

Files merge left to right over a job's defaults, then the flags. Every key is checked against the
schema; an error names the key, the value, what is allowed and where the value came from.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from xlt_ray.config import ConfigError, MethodConfig, RunConfig, redacted


class _Loader(yaml.SafeLoader):
    """YAML in which ``no``, ``on`` and their kin stay strings: "no" is a language code."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _first in "tTfF":
    _Loader.yaml_implicit_resolvers[_first].append(
        (_BOOL, re.compile(r"^(?:true|false|True|False)$"))
    )


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Parse one YAML file of nested keys.

    Raises:
        ConfigError: the file is missing, is no YAML, or is not a mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path}: no valid YAML: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"--config {path}: expected keys and values, found {content!r}")
    return cast("dict[str, Any]", content)


def parse_set(flag: str) -> dict[str, Any]:
    """Turn ``a.b=value`` into ``{"a": {"b": value}}``; the value is JSON if it parses as JSON."""
    key, found, text = flag.partition("=")
    parts = key.strip().split(".")
    if not found or not all(parts):
        raise ConfigError(f"--set {flag}: expected key=value, such as train.batch_size=16")
    try:
        value: Any = json.loads(text)
    except json.JSONDecodeError:
        value = text
    nested: dict[str, Any] = {parts[-1]: value}
    for part in reversed(parts[:-1]):
        nested = {part: nested}
    return nested


def _nested(value: Any) -> dict[str, Any] | None:
    """A copy of the keys below a key, or None where there is a value."""
    return json.loads(json.dumps(value)) if isinstance(value, Mapping) else None


@dataclass(frozen=True)
class _Layer:
    origin: str
    values: Mapping[str, Any]


def _merge(base: dict[str, Any], layer: _Layer, origins: dict[str, str], prefix: str = "") -> None:
    for key, value in layer.values.items():
        path = f"{prefix}{key}"
        inner, before = _nested(value), base.get(key)
        if inner is not None and isinstance(before, str | list | tuple):
            raise ConfigError(
                f"{path}: {layer.origin} gives keys, but {origin_of(path, origins)} has {before!r} "
                "there; give all of it as keys"
            )
        if inner is not None and isinstance(before, dict):
            _merge(base[key], _Layer(layer.origin, inner), origins, f"{path}.")
        else:
            base[key] = value if inner is None else inner
            origins[path] = layer.origin


def origin_of(path: str, origins: Mapping[str, str]) -> str:
    """Where a dotted key, or else the nearest key above it, came from."""
    while path:
        if path in origins:
            return origins[path]
        path = path.rpartition(".")[0]
    return "defaults"


def _explain(
    error: ValidationError,
    values: Mapping[str, Any],
    origins: Mapping[str, str],
    schema: type[BaseModel],
) -> str:
    lines: list[str] = []
    seen: set[str] = set()
    for item in error.errors():
        keys = _keys_of(item["loc"], values)
        path = ".".join(keys)
        if item["type"] == "extra_forbidden":
            text = f"{path}: unknown key; allowed: {', '.join(_siblings(schema, keys[:-1]))}"
        elif item["type"] == "missing" and isinstance(item["loc"][-1], str):
            path = ".".join([*keys, item["loc"][-1]])
            text = f"{path}: is required"
        else:
            path, said, value = _said(path, item["msg"], item["input"])
            text = f"{path}: {said}" + (f", got {value!r}" if value is not None else "")
        if text not in seen:
            seen.add(text)
            lines.append(redacted(f"{text} (from {origin_of(path, origins)})"))
    return "\n".join(lines)


def _said(path: str, message: str, value: Any) -> tuple[str, str, Any]:
    """Key, message and value of an error; what a section says of itself begins with the key, whose
    value may be a default."""
    message = message.removeprefix("Value error, ")
    key, mark, rest = message.partition(": ")
    if not isinstance(value, Mapping) or not mark or " " in key:
        return path, message, value
    return f"{path}.{key}", rest, cast("Mapping[str, Any]", value).get(key)


def _keys_of(places: Sequence[int | str], values: Mapping[str, Any]) -> list[str]:
    """The keys of an error's location: without list positions and names of alternatives."""
    keys: list[str] = []
    here: Any = values
    for place in places:
        if isinstance(here, dict) and place in here:
            keys.append(str(place))
            here = cast("dict[Any, Any]", here)[place]
    return keys


def _siblings(schema: type[BaseModel], parts: Sequence[str]) -> list[str]:
    for part in parts:
        fields = {field.alias or name: field for name, field in schema.model_fields.items()}
        inner = fields[part].annotation if part in fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        schema = inner
    return sorted(field.alias or name for name, field in schema.model_fields.items())


def load(
    defaults: Mapping[str, Any],
    *,
    files: Sequence[str | Path] = (),
    flags: Sequence[str] = (),
    methods: Mapping[str, type[MethodConfig]],
) -> RunConfig[Any]:
    """Merge defaults, files and flags, and validate the result.

    Args:
        defaults: Nested keys of the job.
        files: YAML files, later ones override earlier ones.
        flags: ``key=value`` texts of ``--set``, applied last.
        methods: Configuration class of every method by ``method.name``.

    Raises:
        ConfigError: one line per wrong key, with the value, what is allowed and its origin.
    """
    values, origins = merge(defaults, files=files, flags=flags)
    return validate(schema_for(values, methods, origins), values, origins)


def merge(
    defaults: Mapping[str, Any],
    *,
    files: Sequence[str | Path] = (),
    flags: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge defaults, files and flags.

    Args:
        defaults: Nested keys of the job.
        files: YAML files, later ones override earlier ones.
        flags: ``key=value`` texts of ``--set``, applied last.

    Returns:
        The nested keys, and where the value of each dotted key came from.

    Raises:
        ConfigError: a file or flag cannot be read.
    """
    layers = [_Layer("the job's defaults", defaults)]
    layers += [_Layer(str(path), read_yaml(path)) for path in files]
    layers += [_Layer(f"--set {flag}", parse_set(flag)) for flag in flags]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _merge(merged, layer, origins)
    return merged, origins


S = TypeVar("S", bound=BaseModel)


def validate(schema: type[S], values: Mapping[str, Any], origins: Mapping[str, str]) -> S:
    """The values as an object of the schema.

    Args:
        schema: What is allowed.
        values: Nested keys.
        origins: Where the value of each dotted key came from, as `merge` says.

    Raises:
        ConfigError: one line per wrong key, with the value, what is allowed and its origin.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, values, origins, schema)) from None


def schema_for(
    values: Mapping[str, Any],
    methods: Mapping[str, type[MethodConfig]],
    origins: Mapping[str, str] | None = None,
) -> type[RunConfig[Any]]:
    """Pick the run schema of the method that ``method.name`` asks for."""
    name = (_nested(values.get("method")) or {}).get("name")
    if not isinstance(name, str) or name not in methods:
        origin = origin_of("method.name", origins or {})
        known = ", ".join(sorted(methods))
        raise ConfigError(f"method.name: unknown method {name!r}; allowed: {known} (from {origin})")
    return RunConfig[methods[name]]


def to_dict(config: BaseModel) -> dict[str, Any]:
    """Plain JSON form of a configuration, keyed as the user writes it."""
    return config.model_dump(mode="json", by_alias=True)


def settings(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line ``key: value`` per value of a nested configuration, keys as in ``--set``."""
    lines: list[str] = []
    for key, value in values.items():
        if inner := _nested(value):
            lines += settings(inner, f"{prefix}{key}.")
        else:
            lines.append(f"{prefix}{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return lines


def describe(schema: type[BaseModel], defaults: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One line per key: name, default and meaning, for ``--help``."""
    lines: list[str] = []
    for name, field in schema.model_fields.items():
        key = field.alias or name
        inner = field.annotation
        given = defaults.get(key)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            lines += describe(inner, _nested(given) or {}, f"{prefix}{key}.")
            continue
        if given is None:
            given = (
                "(required)"
                if field.is_required()
                else field.get_default(call_default_factory=True)
            )
        shown = json.dumps(given, default=str) if not isinstance(given, str) else given
        lines.append(f"  {prefix + key:36} {shown:24} {field.description or ''}".rstrip())
    return lines
