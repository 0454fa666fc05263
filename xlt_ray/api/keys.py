"""Keyword arguments of a call as keys of the configuration."""

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from xlt_ray.api.inputs import places_of
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import Keys
from xlt_ray.config.schema import MethodConfig, RunConfig, StoreConfig
from xlt_ray.data.readers.user_source import NAME
from xlt_ray.recipe.method import Method
from xlt_ray.run.check import register
from xlt_ray.store.artifacts import Store

Data = Mapping[str, Any]
"""Rows or paths by language; see `xlt_ray.api.inputs.KINDS`."""
SPLITS = {
    "source": "train",
    "dev": "dev",
    "few": "few",
    "unlabelled": "unlabelled",
    "test": "test",
}
"""Splits of the files by the arguments that give them."""
SECTIONS = frozenset(RunConfig[MethodConfig].model_fields) - {"method"}
"""Arguments that are sections or keys of the configuration; all others are the method's."""
_CALL = "the call"


def keys_of(
    arguments: Mapping[str, Any],
    *,
    data: Mapping[str, Data | None],
    name: str | None,
    store: str | PathLike[str] | None,
    rest: str,
) -> Keys:
    """The nested keys of a call.

    Args:
        arguments: Keyword arguments: sections, dotted keys (``**{"train.batch_size": 8}``), and
            others, which are keys of ``rest``.
        data: Rows or paths by argument and language.
        name: Name of the run.
        store: Root of the store.
        rest: Section that other keys are of, such as ``method``.

    Raises:
        ConfigError: a language is given text in a form that does not fit, or the store is no path.
    """
    values: dict[str, Any] = {}
    for key, value in arguments.items():
        parts = key.split(".")
        if parts[0] not in SECTIONS and len(parts) == 1:
            parts = [*rest.split("."), key]
        _put(values, parts, _without_paths(value))
    if isinstance(values.get("benchmark"), str):
        values["benchmark"] = {"name": values["benchmark"]}
    if name is not None:
        _put(values, ["run", "name"], name)
    if store is not None:
        _put(values, ["store", "root"], root_of(store))
    if any(data.values()):
        benchmark = values.setdefault("benchmark", {})
        if benchmark.setdefault("name", NAME) != NAME:
            raise ConfigError(
                f"benchmark.name: {benchmark['name']}, but source, dev, few, unlabelled and test "
                "give text of your own; leave one of them out"
            )
        root = values.get("store", {}).get("root") or StoreConfig().root
        _place(values, data, Store(root))
    return Keys(values, _CALL)


def _place(values: dict[str, Any], data: Mapping[str, Data | None], store: Store) -> None:
    paths: dict[str, dict[str, list[str]]] = {}
    for argument, by_language in data.items():
        if by_language is not None and not isinstance(by_language, Mapping):
            raise ConfigError(f"{argument}: give text by language, such as {{'en': rows}}")
        for language, rows in (by_language or {}).items():
            where = f"{argument}[{language!r}]"
            split = SPLITS[argument]
            paths.setdefault(language, {})[split] = places_of(rows, store, where)
    for language, splits in paths.items():
        _put(values, ["files", "paths", language], splits)


def _put(values: dict[str, Any], parts: list[str], value: Any) -> None:
    *above, last = parts
    for part in above:
        values = values.setdefault(part, {})
    if isinstance(value, Mapping) and isinstance(values.get(last), dict):
        value = {**values[last], **value}
    values[last] = value


def _without_paths(value: Any) -> Any:
    """A value with text in place of paths, also within lists and mappings."""
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items()}
    return [_without_paths(item) for item in value] if isinstance(value, list) else value


def root_of(store: str | PathLike[str] | None) -> str:
    """Root of the store that a call names; absent: the default.

    Raises:
        ConfigError: it is neither a path nor a URI.
    """
    if store is None:
        return StoreConfig().root
    if not isinstance(store, str | PathLike):
        raise ConfigError(f"store: a folder or URI, such as 'xlt/store', got {store!r}")
    return fspath(store)


def named(method: "str | type[Method[Any]]") -> str:
    """The name of a method; a class is made known under the name in its configuration."""
    return method if isinstance(method, str) else register(method)
