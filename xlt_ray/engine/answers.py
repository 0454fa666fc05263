"""Answers of labellers, kept by what was asked, so that no request is paid twice.

``<store>/answers/<labeller>/<two digits>/<key>.json`` has what one labeller said of one text. The
labeller is known by its code, arguments, version and the classes of the task, which
``labeller.json`` beside them tells; the text by its words and its language. An answer is written as
soon as it is there, each to a file of its own, so a kill loses those that are under way and no
others, and another run that asks the same finds them.
"""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from xlt_ray.store.artifacts import canonical_json
from xlt_ray.store.files import open_root, read_bytes, write_bytes

FOLDER = "answers"
_READERS = 16
"""Files that are read at a time; a store may be far away."""


class Answers:
    """Those of one labeller."""

    def __init__(self, root: str, labeller: Mapping[str, Any]):
        """Of a labeller in a store.

        Args:
            root: Root of the store.
            labeller: What tells its answers from those of others.
        """
        self.fs, base = open_root(root)
        self.labeller = dict(labeller)
        self.folder = f"{base}/{FOLDER}/{key_of(labeller)}"

    def describe(self) -> None:
        """Say beside the answers whose they are."""
        data = json.dumps(self.labeller, ensure_ascii=False, indent=1)
        write_bytes(self.fs, f"{self.folder}/labeller.json", f"{data}\n".encode())

    def put(self, key: str, answer: Any) -> None:
        """Keep an answer.

        Raises:
            TypeError: it is no JSON; so does ValueError.
        """
        data = json.dumps({"answer": answer}, ensure_ascii=False, allow_nan=False)
        write_bytes(self.fs, self._path(key), data.encode())

    def drop(self, keys: Iterable[str]) -> None:
        """Forget answers, those that are there."""
        for key in keys:
            with suppress(FileNotFoundError):
                self.fs.delete_file(self._path(key))

    def of(self, keys: Iterable[str]) -> dict[str, Any]:
        """The answers that are there, by key."""
        keys = list(keys)
        with ThreadPoolExecutor(_READERS) as readers:
            files = readers.map(lambda key: read_bytes(self.fs, self._path(key)), keys)
            return {
                key: json.loads(data)["answer"]
                for key, data in zip(keys, files, strict=True)
                if data is not None
            }

    def _path(self, key: str) -> str:
        return f"{self.folder}/{key[:2]}/{key}.json"


def key_of(question: Mapping[str, Any]) -> str:
    """Hash of a text as it is asked about, or of what a labeller is."""
    return blake2b(canonical_json(dict(question)).encode(), digest_size=16).hexdigest()
