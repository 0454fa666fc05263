"""Fingerprints: what a result depends on, as one hash.

The code that computes a step counts by its meaning: the abstract syntax trees, without comments and
docstrings, of the module that defines it and of every ``xlt_ray`` module that one imports.
"""

import ast
import hashlib
import importlib.util
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from xlt_ray.config.schema import RUNTIME
from xlt_ray.store.artifacts import Artifact, canonical_json

PACKAGE = "xlt_ray"
PLUMBING = frozenset({"xlt_ray.config", "xlt_ray.store"})
"""Rooms that move results about and have no part in what they are."""

_PARSING = threading.Lock()
"""CPython counts the depth of its parser per interpreter: two threads at it raise SystemError, when
a garbage collection in the middle of a parse gives way to the other (seen with 3.11)."""


def fingerprint(
    kind: str,
    *,
    params: Any,
    inputs: Iterable[str],
    code: str,
    libraries: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Hash of a step: its kind, parameters, inputs' fingerprints, code and libraries."""
    text = canonical_json([kind, params, list(inputs), code, dict(libraries)])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def code_digest(*modules: str) -> str:
    """Hash of the code of modules and of all modules of the package that they import."""
    with _PARSING:
        sums = {name: _module_digest(name) for name in sorted(closure_of(modules))}
    return hashlib.sha256(canonical_json(sums).encode()).hexdigest()


@cache
def package_digest() -> str:
    """Hash of all code of the package, as it lies on this machine's disk."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def closure_of(modules: Iterable[str]) -> set[str]:
    """Some modules, and all modules of the package that they import, without the plumbing."""
    found: set[str] = set()
    pending = list(modules)
    while pending:
        name = pending.pop()
        if name in found or _room(name) in PLUMBING:
            continue
        found.add(name)
        pending += _imports(name)
    return found


def _room(name: str) -> str:
    return ".".join(name.split(".")[:2])


@cache
def _path(name: str) -> Path | None:
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None and (within := _within(name)):
        return within
    if file is None:
        spec = importlib.util.find_spec(name)
        file = spec.origin if spec else None
    return Path(file) if file else None


@cache
def _within(name: str) -> Path | None:
    """File of a module of the package. It is looked for on disk, as find_spec imports parents."""
    root = importlib.util.find_spec(PACKAGE) if name.startswith(f"{PACKAGE}.") else None
    for place in root.submodule_search_locations or () if root else ():
        path = Path(place, *name.split(".")[1:])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file
    return None


@cache
def tree_of(name: str) -> ast.Module:
    """Syntax tree of a module; empty of one without source."""
    path = _path(name)
    return ast.parse(path.read_text(encoding="utf-8") if path else "")


@cache
def _imports(name: str) -> tuple[str, ...]:
    wanted = []
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Import):
            wanted += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            wanted += [item if _within(item) else node.module for item in inner]
    return tuple(item for item in wanted if item == PACKAGE or item.startswith(f"{PACKAGE}."))


@cache
def _module_digest(name: str) -> str:
    return digest_of_tree(tree_of(name))


def digest_of_tree(tree: ast.Module) -> str:
    """Hash of code by its meaning, without comments and docstrings."""
    tree = ast.parse(ast.unparse(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [item for item in node.body if not _is_text(item)] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@runtime_checkable
class Described(Protocol):
    """Says by itself what it is."""

    def describe(self) -> Any:
        """What stands for it in a fingerprint."""
        ...


def parameters(thing: Any) -> Any:
    """What a value is, as plain JSON, for a fingerprint.

    An artifact is its identity. An object with a method ``describe`` is what that says, any other
    dataclass its class and fields, a section of the configuration its keys and values, a function
    of a module its name. Fields marked as `RUNTIME` are left out.

    Raises:
        TypeError: nobody can tell by the value whether another one is the same.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, Artifact):
        return thing.identity
    if isinstance(thing, FunctionType) and "<" not in thing.__qualname__:
        return f"{thing.__module__}.{thing.__qualname__}"
    if isinstance(thing, list | tuple):
        return [parameters(item) for item in thing]
    if isinstance(thing, Mapping) and all(isinstance(key, str) for key in thing):
        return {key: parameters(value) for key, value in thing.items()}
    if isinstance(thing, BaseModel):
        kept = [name for name, item in type(thing).model_fields.items()
                if not _is_runtime(item.json_schema_extra)]  # fmt: skip
        return {name: parameters(getattr(thing, name)) for name in kept}
    if isinstance(thing, Described) and not isinstance(thing, type):
        return parameters(thing.describe())
    if is_dataclass(thing) and not isinstance(thing, type):
        name = f"{type(thing).__module__}.{type(thing).__qualname__}"
        return {"class": name, "fields": field_parameters(thing)}
    raise TypeError(f"{thing!r} cannot be part of a fingerprint")


def field_parameters(thing: Any) -> dict[str, Any]:
    """`parameters` of each field of a dataclass but those marked as `RUNTIME`."""
    kept = [item.name for item in fields(thing) if not _is_runtime(item.metadata)]
    return {name: parameters(getattr(thing, name)) for name in kept}


def _is_runtime(marks: object) -> bool:
    return isinstance(marks, Mapping) and marks.items() >= RUNTIME.items()
