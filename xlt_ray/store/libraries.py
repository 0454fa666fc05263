"""The libraries that a step computes with, and their versions.

A step's fingerprint holds major and minor version of each: 2.13.0 and 2.13.1 count as one, since
their authors promise so, 2.13 and 2.14 do not.
"""

import ast
import importlib.metadata
import platform
import sys
from collections.abc import Iterable, Mapping
from functools import cache

from xlt_ray import __version__
from xlt_ray.store.fingerprint import PACKAGE, closure_of, tree_of

COMPUTE: Mapping[str, tuple[str, ...]] = {
    "text": ("tokenizers",),  # ends words at punctuation marks
    "gold": (),
    "tokens": ("tokenizers", "transformers"),
    "backbone": ("tokenizers", "torch", "transformers"),
    "translation": ("sacremoses", "sentencepiece", "tokenizers", "torch", "transformers"),
    "marked": ("tokenizers",),
    "projection": ("numpy", "tokenizers", "torch", "transformers"),
    "labelled": (),
    "replaced": (),
    "brought-back": ("numpy", "tokenizers", "torch", "transformers"),
    "model": ("numpy", "torch", "transformers"),
    "mean": ("torch",),
    "int8": ("numpy", "openvino", "torch", "transformers"),
    "annotation": ("numpy", "torch", "transformers"),
    "derived": ("numpy",),
    "oracle": ("numpy",),
    "scores": ("numpy", "seqeval"),
}
"""What steps of a kind compute with, whatever their method."""
SPECIAL: Mapping[str, tuple[str, ...]] = {
    "clarabel": ("clarabel",),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "qpsolvers": ("qpsolvers", "clarabel"),
    "scipy": ("scipy",),
    "torch": ("torch",),
    "transformers": ("transformers",),
    "sklearn": ("scikit-learn",),
}
"""What some methods compute with besides, by the name that they import: its distributions."""
_REPORTED = (
    "ray",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "pyarrow",
    "numpy",
    "openvino",
    "seqeval",
)
ABSENT = "absent"


@cache
def version_of(distribution: str) -> str:
    """Version of an installed distribution, or "absent"."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def versions() -> dict[str, str]:
    """Versions of everything that results may depend on; of the special ones, those installed."""
    special = sorted({name for names in SPECIAL.values() for name in names})
    found = {name: version_of(name) for name in (*_REPORTED, *special)}
    there = {name: version for name, version in found.items() if version != ABSENT}
    return {"xlt_ray": __version__, "python": platform.python_version(), **there}


def computing(kind: str, modules: Iterable[str]) -> dict[str, str]:
    """Major and minor versions of what a step computes with, by distribution.

    Args:
        kind: Kind of the step.
        modules: Modules that compute it. What they and the modules of this package that they stand
            on import of `SPECIAL` counts, and all that modules of a user's own import.
    """
    names = set(COMPUTE[kind])
    for module in closure_of(modules):
        own = not (module == PACKAGE or module.startswith(f"{PACKAGE}."))
        for library in _libraries(module):
            if library in SPECIAL:
                names |= set(SPECIAL[library])
            elif own and library not in sys.stdlib_module_names and library != PACKAGE:
                names |= set(_distributions().get(library, ()))
    found = {name: version_of(name) for name in sorted(names)}
    return {name: _minor(version) for name, version in found.items() if version != ABSENT}


def _minor(version: str) -> str:
    return ".".join(version.partition("+")[0].split(".")[:2])


@cache
def _libraries(module: str) -> frozenset[str]:
    """Top-level names that a module imports, anywhere in it."""
    found = set[str]()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


@cache
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()
