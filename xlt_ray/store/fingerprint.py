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
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from xlt_ray.store.artifacts import canonical_json

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
    seed: int,
    code: str,
    libraries: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Hash of a step: its kind, parameters, inputs' fingerprints, seed, code and libraries."""
    text = canonical_json([kind, params, list(inputs), seed, code, dict(libraries)])
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
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    if file is None:
        spec = importlib.util.find_spec(name)
        file = spec.origin if spec else None
    return Path(file) if file else None


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
            wanted += [item if _is_module(item) else node.module for item in inner]
    return tuple(item for item in wanted if item == PACKAGE or item.startswith(f"{PACKAGE}."))


@cache
def _is_module(name: str) -> bool:
    if not name.startswith(f"{PACKAGE}."):
        return False
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@cache
def _module_digest(name: str) -> str:
    tree = ast.parse(ast.unparse(tree_of(name)))
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


def describe(thing: Any) -> dict[str, Any]:
    """Class and fields of an objective, annotator or schedule, for a fingerprint."""
    assert is_dataclass(thing)
    assert not isinstance(thing, type)
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return {"class": name, "fields": asdict(thing)}
