"""A folder that shows an artifact together with what it adds to, as adapters to an encoder."""

import hashlib
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from xlt_ray.store.manifest import MANIFEST

_OWN = (".safetensors", ".safetensors.index.json", MANIFEST)
"""Endings of what is not inherited: weights, and the manifest."""


def beside(own: Path, below: Path, cache: Path, name: str) -> Path:
    """A folder of links: an artifact's files, the other's that it lacks, and the other whole.

    Args:
        own: Folder of the artifact.
        below: Folder of the one that it adds to.
        cache: Where such folders are kept.
        name: Name of the other in there.
    """
    key = hashlib.sha256(f"{own}\n{below}".encode()).hexdigest()
    found = cache / key
    if found.exists() and all(path.exists() for path in found.iterdir()):
        return found
    shutil.rmtree(found, ignore_errors=True)
    linked = cache / f"{key}.tmp-{uuid.uuid4().hex}"
    linked.mkdir(parents=True)
    for path in (*own.iterdir(), *below.iterdir()):
        inherited = path.parent == below and path.name.endswith(_OWN)
        if not inherited and not (linked / path.name).is_symlink():
            (linked / path.name).symlink_to(path)
    (linked / name).symlink_to(below)
    with suppress(OSError):  # another process may have been faster
        linked.rename(found)
    shutil.rmtree(linked, ignore_errors=True)
    return found
