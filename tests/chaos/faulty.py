"""A file system that fails on order: a `pyarrow.fs.FileSystemHandler` over a local folder.

`install` makes the project open URIs ``faulty:///folder`` with it, in a driver and, as a setup hook
of Ray, in every worker. The orders are files beside the folder, so that all processes see them.
"""

import errno
import json
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

SCHEME = "faulty://"


def orders(root: Path) -> Path:
    """Folder of what is to go wrong below a root, and of how often it did."""
    return root.with_name(f"{root.name}.orders")


def order(root: Path, **rule: Any) -> None:
    """Have something go wrong from now on.

    Args:
        root: The store's folder.
        rule: ``do`` (``write``, ``read``), ``path`` (a pattern), the number of them to ``skip`` and
            then the ``times`` it holds, and what is wrong: ``error`` (a number of `errno`), for
            writes after the share ``part`` of the data, or ``delay`` in seconds.
    """
    folder = orders(root)
    folder.mkdir(exist_ok=True)
    (folder / f"rule-{len(list(folder.iterdir()))}.json").write_text(json.dumps(rule))


def hits(root: Path) -> int:
    """How often something went wrong."""
    return len(list(orders(root).glob("*.hit-*")))


def withdraw(root: Path) -> int:
    """Nothing goes wrong any more; returns how often it did."""
    count = hits(root)
    for path in orders(root).iterdir():
        path.unlink()
    return count


def install() -> None:
    """Let the project open the scheme."""
    from xlt_ray.engine import deaths
    from xlt_ray.engine.train import checkpoints
    from xlt_ray.store import artifacts, attempt, files

    real = files.open_root

    def open_root(root: str, what: str = "store.root") -> tuple[pafs.FileSystem, str]:
        if not root.startswith(SCHEME):
            return real(root, what)
        folder = root.removeprefix(SCHEME)
        return pafs.PyFileSystem(Faulty(Path(folder))), folder

    for module in (artifacts, attempt, checkpoints, deaths):
        module.open_root = open_root


class Faulty(pafs.FileSystemHandler):
    """A local folder that does not look like one, and fails on order."""

    def __init__(self, root: Path):
        self.root = root
        self.disk = pafs.LocalFileSystem()

    def _rule(self, do: str, path: str) -> dict[str, Any] | None:
        """The rule that holds for this access; counts it, over all processes."""
        for file in sorted(orders(self.root).glob("rule-*.json")):
            rule = json.loads(file.read_text())
            if rule["do"] != do or not re.search(rule["path"], path):
                continue
            skip = rule.get("skip", 0)
            for number in range(skip + rule.get("times", 1)):
                name = "hit" if number >= skip else "seen"
                with suppress(FileExistsError):
                    os.close(os.open(f"{file}.{name}-{number}", os.O_CREAT | os.O_EXCL))
                    return rule if number >= skip else None
        return None

    def _obey(self, do: str, path: str) -> dict[str, Any] | None:
        rule = self._rule(do, path)
        if rule is not None and "delay" in rule:
            time.sleep(rule["delay"])
            return None
        if rule is not None and "part" not in rule:
            raise OSError(rule["error"], os.strerror(rule["error"]), path)
        return rule

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        rule = self._obey("write", path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if rule is None:
            return self.disk.open_output_stream(path)
        return pa.PythonFile(TornFile(path, rule), mode="w")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        self._obey("read", path)
        return self.disk.open_input_stream(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        self._obey("read", path)
        return self.disk.open_input_file(path)

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        raise OSError(errno.ENOTSUP, "no appending, as on object storage", path)

    def get_type_name(self) -> str:
        return "faulty"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return self.disk.get_file_info(paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        return self.disk.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self.disk.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self.disk.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.disk.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise OSError(errno.EPERM, "not the root")

    def delete_file(self, path: str) -> None:
        self.disk.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        raise OSError(errno.ENOTSUP, "no moving, as on object storage", src)

    def copy_file(self, src: str, dest: str) -> None:
        self.disk.copy_file(src, dest)


class TornFile:
    """A file that takes a part of what is written to it, then fails; the part stays visible."""

    closed = False

    def __init__(self, path: str, rule: dict[str, Any]):
        self.path, self.rule = path, rule

    def write(self, data: bytes) -> int:
        """Write a part."""
        content = bytes(data)
        Path(self.path).write_bytes(content[: int(len(content) * self.rule["part"])])
        raise OSError(self.rule["error"], os.strerror(self.rule["error"]), self.path)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Leave it as it is."""
        self.closed = True
