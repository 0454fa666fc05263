"""How YAML files and ``--set`` flags become one frozen configuration.

Files merge left to right over a job's defaults, then the flags. Every key is checked against the
schema; an error names the key, the value, what is allowed and where the value came from.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import MethodConfig, RunConfig, shown

_DEEPEST, _MOST, _LONGEST = 32, 100_000, 200
"""Keys below each other, values of a file or flag, and letters of a key, at most: more is a slip,
or is meant to fill the memory."""
_ALIASES, _FILE = 1000, 10_000_000
"""Aliases in a YAML file, and its bytes, at most."""
_BITS = 1024
"""Of a number at most; Python does not even print much longer ones."""
RENAMED = {
    "benchmark.limit": "benchmark.max_rows",
    "own": "files, and own.files files.paths",
    "train.clip": "train.max_grad_norm",
    "train.warmup": "train.warmup_ratio",
}
"""What keys of older versions are called now; an old key is an error that says so."""
_LINES = 20
"""Wrong keys that are told at most."""


class _Loader(yaml.SafeLoader):
    """YAML in which ``no``, ``on`` and their kin stay strings: "no" is a language code.

    What aliases stand for is bounded: nine of them, nine levels deep, are 400 million values.
    """

    def __init__(self, stream: str):
        super().__init__(stream)
        self.aliases = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """As the base does, up to so many aliases."""
        self.aliases += bool(self.check_event(yaml.AliasEvent))
        if self.aliases > _ALIASES:
            raise yaml.YAMLError(f"more than {_ALIASES} aliases")
        return super().compose_node(parent, index)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """As the base does, up to so many keys of merged mappings."""
        super().flatten_mapping(node)
        if len(node.value) > _MOST:
            raise yaml.YAMLError(f"more than {_MOST} keys in one mapping")


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
        with Path(path).open(encoding="utf-8") as stream:
            text = stream.read(_FILE + 1)
        content = yaml.load(text, Loader=_Loader) if len(text) <= _FILE else None  # noqa: S506
    except OSError as error:
        raise ConfigError(f"--config {path}: cannot be read ({error.strerror})") from None
    except RecursionError:
        raise ConfigError(f"--config {path}: {_TOO_DEEP}") from None
    except (yaml.YAMLError, ValueError) as error:  # of numbers and dates that are none, too
        reason = " ".join(str(error).split())
        raise ConfigError(f"--config {path}: no valid YAML: {reason}") from None
    if len(text) > _FILE:
        raise ConfigError(f"--config {path}: has more than {_FILE:,} letters")
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ConfigError(f"--config {path}: expected keys and values, found a {kind}")
    return cast("dict[str, Any]", content)


_TOO_DEEP = f"values are nested more than {_DEEPEST} levels deep"


def _plain(values: Mapping[Any, Any], origin: str) -> dict[str, Any]:
    """A copy of nested keys whose values are those of JSON.

    Raises:
        ConfigError: one of them is something else, or they are too many or too deep.
    """
    count = 0

    def key_of(key: Any, path: str) -> str:
        if not (key is None or isinstance(key, str | int | float)):
            raise ConfigError(
                f"{path}{shown(key)}: a {type(key).__name__} is no key (from {origin})"
            )
        text = copied(key, path) if isinstance(key, str) else json.dumps(copied(key, path))
        if len(text) > _LONGEST:
            raise ConfigError(
                f"{path}{text[:_LONGEST]}...: a key has {_LONGEST} letters at most (from {origin})"
            )
        return text

    def copied(value: Any, path: str, depth: int = 0) -> Any:
        nonlocal count
        count += 1
        if depth > _DEEPEST:
            raise ConfigError(f"{path.partition('.')[0]}: {_TOO_DEEP} (from {origin})")
        if count > _MOST:
            raise ConfigError(f"{origin}: has more than {_MOST:,} values")
        if isinstance(value, Mapping):
            below = f"{path}." if path else ""
            found = {key_of(key, below): item for key, item in value.items()}
            return {key: copied(item, f"{below}{key}", depth + 1) for key, item in found.items()}
        if isinstance(value, list | tuple):
            return [copied(item, path, depth + 1) for item in value]
        if isinstance(value, int) and value.bit_length() > _BITS:
            raise ConfigError(f"{path}: a number of more than {_BITS} bits (from {origin})")
        if isinstance(value, str) and not _is_unicode(value):
            raise ConfigError(f"{path}: {shown(value)} is no valid UTF-8 (from {shown(origin)})")
        if value is None or isinstance(value, str | int | float):
            return value
        raise ConfigError(
            f"{path}: a {type(value).__name__} is no value of a key; texts like that have to be "
            f"in quotes (from {origin})"
        )

    return copied(values, "")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def parse_set(flag: str) -> dict[str, Any]:
    """Turn ``a.b=value`` into ``{"a": {"b": value}}``.

    The value is JSON if it parses as JSON; lists and keys in brackets may be YAML, which needs no
    quotes: ``benchmark.targets=[ar, ru]``. Anything else is text.
    """
    key, found, text = flag.partition("=")
    parts = key.strip().split(".")
    origin = _origin_of_flag(flag)
    if not found or not all(parts):
        raise ConfigError(f"{origin}: expected key=value, such as train.batch_size=16")
    if len(parts) > _DEEPEST:
        raise ConfigError(f"{origin}: {_TOO_DEEP}")
    try:
        value: Any = json.loads(text)
    except json.JSONDecodeError:
        value = _in_brackets(text, origin)
    except RecursionError:
        raise ConfigError(f"{origin}: {_TOO_DEEP}") from None
    except ValueError as error:  # a number of thousands of digits
        raise ConfigError(f"{origin}: {error}") from None
    nested: dict[str, Any] = {parts[-1]: value}
    for part in reversed(parts[:-1]):
        nested = {part: nested}
    return nested


def _in_brackets(text: str, origin: str) -> Any:
    """YAML in brackets; other text, also a glob that only begins with one, as it is."""
    if not text.strip().startswith(("[", "{")):
        return text
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except RecursionError:
        raise ConfigError(f"{origin}: {_TOO_DEEP}") from None
    except (yaml.YAMLError, ValueError):
        return text


def _origin_of_flag(flag: str) -> str:
    return f"--set {flag if len(flag) <= _LONGEST else f'{flag[:_LONGEST]}...'}"


def _nested(value: Any) -> dict[str, Any] | None:
    """A copy of the keys below a key, or None where there is a value."""
    return json.loads(json.dumps(value)) if isinstance(value, Mapping) else None


class Keys(dict[str, Any]):
    """Nested keys, and what messages call the place that they are from."""

    def __init__(self, values: Mapping[str, Any], origin: str = "the job's defaults"):
        super().__init__(values)
        self.origin = origin


def with_keys(keys: Mapping[str, Any], **changes: Any) -> Keys:
    """Nested keys with some of the top ones in place of theirs; messages name the same place."""
    return Keys({**keys, **changes}, _origin_of_keys(keys))


def _origin_of_keys(keys: Mapping[str, Any]) -> str:
    return (keys if isinstance(keys, Keys) else Keys({})).origin


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
                f"{path}: {layer.origin} gives keys, but {origin_of(path, origins)} has "
                f"{shown(before)} there; give all of it as keys"
            )
        if inner is not None and isinstance(before, dict):
            _merge(base[key], _Layer(layer.origin, inner), origins, f"{path}.")
        else:
            base[key] = value if inner is None else inner
            origins[path] = layer.origin


class Origins(dict[str, str]):
    """Where the value of each dotted key came from.

    Attributes:
        beside_former_name: Keys of a method, from the layer that named another method than the one
            that is named now.
    """

    def __init__(self) -> None:
        super().__init__()
        self.beside_former_name: set[str] = set()

    def name_changes(self, merged: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        """Take note of the keys beside the name that a layer with these values replaces."""
        name = (_nested(values.get("method")) or {}).get("name")
        before = _nested(merged.get("method")) or {}
        if name is None or before.get("name") in (None, name):
            return
        origin = origin_of("method.name", self)
        keys = {key for key in before if origin_of(f"method.{key}", self) == origin}
        self.beside_former_name |= keys - {"name"}

    def given(self, values: Mapping[str, Any]) -> None:
        """A layer gives keys of the method that is named now."""
        self.beside_former_name -= {*(_nested(values.get("method")) or {})}


def of_method(
    values: Mapping[str, Any], origins: Mapping[str, str], schema: type[BaseModel]
) -> dict[str, Any]:
    """Nested keys without those that stood beside the name of another method and that the method
    does not have, such as a job's own keys where the user names a method of less.

    Args:
        values: Nested keys.
        origins: Where they came from, as `merge` says.
        schema: What is allowed.
    """
    method = _nested(values.get("method"))
    if method is None or not isinstance(origins, Origins):
        return dict(values)
    known = _siblings(schema, ["method"])
    left = {key for key in origins.beside_former_name if key not in known}
    return {**values, "method": {key: item for key, item in method.items() if key not in left}}


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
            now = RENAMED.get(path)
            allowed = ", ".join(_siblings(schema, keys[:-1]))
            text = f"{path}: {f'is called {now}' if now else f'unknown key; allowed: {allowed}'}"
        elif item["type"] == "missing" and isinstance(item["loc"][-1], str):
            path = ".".join([*keys, item["loc"][-1]])
            text = f"{path}: is required"
        else:
            path, said, value = _said(path, item["msg"], item["input"])
            got = "" if value is None else f", got {shown(value, _LONGEST)}"
            text = f"{path}: {said}{got}"
        if text not in seen:
            seen.add(text)
            lines.append(redacted(f"{text} (from {origin_of(path, origins)})"))
    if len(lines) > _LINES:
        lines[_LINES:] = [f"and {len(lines) - _LINES} more"]
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
    schema = schema_for(values, methods, origins)
    return validate(schema, of_method(values, origins, schema), origins)


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
    layers = [_Layer(_origin_of_keys(defaults), defaults)]
    layers += [_Layer(str(path), read_yaml(path)) for path in files]
    layers += [_Layer(_origin_of_flag(flag), parse_set(flag)) for flag in flags]
    merged: dict[str, Any] = {}
    origins = Origins()
    for layer in layers:
        values = _plain(layer.values, layer.origin)
        origins.name_changes(merged, values)
        origins.given(values)
        _merge(merged, _Layer(layer.origin, values), origins)
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
        made = schema.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error, values, origins, schema)) from None
    for path, number in _numbers(to_dict(made)):
        if not -(2**63) <= number < 2**63:
            origin = origin_of(path, origins)
            raise ConfigError(f"{path}: {number} does not fit into 64 bits (from {origin})")
    return made


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, int]]:
    """All whole numbers with their keys."""
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[str, Any]", value).items():
            yield from _numbers(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _numbers(item, path)
    elif isinstance(value, int):
        yield path, value


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
        raise ConfigError(
            f"method.name: unknown method {shown(name)}; allowed: {known} (from {origin})"
        )
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
