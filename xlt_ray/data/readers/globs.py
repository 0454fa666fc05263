"""Files by pattern, on local disks and object storage."""

import re
from pathlib import PurePosixPath
from urllib.parse import quote

import pyarrow.fs as pafs

from xlt_ray.config.credentials import redacted
from xlt_ray.data.readers.files import DataFile
from xlt_ray.store.files import open_root

_WILD = re.compile(r"[*?]")


def matching(pattern: str, key: str) -> list[DataFile]:
    """The files that a pattern names, sorted by path.

    Args:
        pattern: Path or URI; ``*`` and ``?`` stand for characters within a folder's name or a
            file's, ``**`` for any number of folders; in a URI ``?`` begins its parameters.
        key: What messages call it.

    Raises:
        ValueError: there is no such file, or the place cannot be listed.
    """
    shown = redacted(pattern)
    fs, path = open_root(pattern, key)
    try:
        infos = _listed(fs, path)
    except OSError as error:
        raise ValueError(f"{key}: {shown} cannot be listed ({redacted(str(error))})") from None
    base, _ = _fixed(path)
    found = [info for info in infos if info.type == pafs.FileType.File]
    if not found:
        advice = f"is a folder, name its files: {shown.rstrip('/')}/*.txt"
        raise ValueError(f"{key}: {shown} {advice if infos else 'is no file'}")
    files = []
    for info in sorted(found, key=lambda info: info.path):
        name = info.path[len(base) :].lstrip("/")
        location = info.path
        if "://" in shown:  # what stands around the path stays: scheme and parameters
            bare, mark, parameters = shown.partition("?")
            place = bare.rsplit("/", path[len(base) :].lstrip("/").count("/") + 1)[0]
            location = f"{place}/{quote(name)}{mark}{parameters}"
        changed = info.mtime_ns or 0
        files.append(DataFile(fs, info.path, name, location, info.size or 0, changed))
    return files


def absolute(pattern: str) -> str:
    """A pattern that means the same in every process of this machine."""
    return pattern if "://" in pattern else open_root(pattern)[1]


def _fixed(path: str) -> tuple[str, bool]:
    """The folder that all matches are in, and whether there are wildcards below it."""
    parts = PurePosixPath(path).parts
    wild = next((at for at, part in enumerate(parts) if _WILD.search(part)), None)
    end = len(parts) - 1 if wild is None else wild
    return str(PurePosixPath(*parts[:end])) if end else "", wild is not None


def _listed(fs: pafs.FileSystem, path: str) -> list[pafs.FileInfo]:
    base, is_wild = _fixed(path)
    if is_wild and (info := fs.get_file_info(path)).type == pafs.FileType.File:
        return [info]  # a name with such characters in it
    if not is_wild:
        info = fs.get_file_info(path)
        return [] if info.type == pafs.FileType.NotFound else [info]
    tail = path[len(base) :].lstrip("/")
    deep = "/" in tail or "**" in tail
    selector = pafs.FileSelector(base, recursive=deep, allow_not_found=True)
    expression = re.compile(_expression(path))
    return [
        info
        for info in fs.get_file_info(selector)
        if info.type == pafs.FileType.File and expression.fullmatch(info.path)
    ]


def _expression(path: str) -> str:
    """A path with wildcards as a regular expression."""
    found = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", path):
        found += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(
            part, re.escape(part)
        )
    return found
