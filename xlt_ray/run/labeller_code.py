"""Code of labellers that are called: where it is, and what it is known by."""

import ast
import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from xlt_ray.config.errors import ConfigError
from xlt_ray.store.fingerprint import digest_of_tree

CHAT = "openai"
"""Name of the class that is there already, `xlt_ray.engine.chat.Chat`."""


@dataclass(frozen=True)
class Code:
    """Where a class is.

    Attributes:
        call: Its name.
        module: Module that has it, or name of the file that it is in.
        source: Code of the file; None: it is in a module.
        digest: Hash of the code by its meaning; of the class that is there already, the version of
            what it asks.
    """

    call: str
    module: str
    source: str | None
    digest: str


def code_of(key: str, reference: str) -> Code:
    """Find the class that a configuration names; nothing of it runs.

    Args:
        key: The key that names it, for messages.
        reference: ``openai``, ``MODULE:CLASS`` or ``FILE.py:CLASS``.

    Raises:
        ConfigError: there is none.
    """
    if reference == CHAT:
        from xlt_ray.engine.chat import PROTOCOL, Chat

        return Code(Chat.__name__, Chat.__module__, None, f"{CHAT} {PROTOCOL}")
    place, _, name = reference.rpartition(":")
    if not place or not name.isidentifier():
        raise ConfigError(f"{key}: {reference!r}, needed: MODULE:CLASS, FILE.py:CLASS or {CHAT}")
    file = Path(place).expanduser() if place.endswith(".py") else _file_of(key, place)
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError) as error:
        raise ConfigError(f"{key}: {file} cannot be read ({error})") from None
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if name not in classes:
        there = ", ".join(classes) or "none"
        raise ConfigError(f"{key}: {file.name} has no class {name}, there are: {there}")
    digest = digest_of_tree(tree)
    if place.endswith(".py"):
        return Code(name, file.name, text, digest)
    return Code(name, place, None, hashlib.sha256(f"{place} {digest}".encode()).hexdigest())


def _file_of(key: str, module: str) -> Path:
    """The file of a module, which is not imported; its parents are."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or not found.origin.endswith(".py"):
        raise ConfigError(f"{key}: no module {module!r} of Python code that is installed here")
    return Path(found.origin)
