"""Files that hold a token: nobody but their owner may read them.

Who has the token of a cluster can run code on it. Ray itself makes its file with the rights that
the process's umask leaves to all, and reads one that everybody can read. A service of
`xlt-ray serve` has a token of its own, which does not open the cluster.
"""

import os
import secrets
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from xlt_ray.config.errors import ConfigError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_STRANGERS = stat.S_IRWXO


def check() -> None:
    """Before a cluster is joined: see that others cannot read its token.

    A file of another user, as an administrator or Kubernetes puts there, may be for its group.

    Raises:
        ConfigError: they can; says what to do.
    """
    path = _read_by_ray()
    if path is None:
        return
    with suppress(OSError):  # Ray says itself what it lacks
        refuse_open(path, "the cluster")


def refuse_open(path: Path, whose: str) -> None:
    """See that others cannot read a token.

    Args:
        path: The file.
        whose: What it is the token of.

    Raises:
        ConfigError: they can.
        OSError: the file is not there.
    """
    found = path.stat()
    if found.st_mode & (_OTHERS if found.st_uid == os.getuid() else _STRANGERS):
        raise ConfigError(
            f"{path}: others can read the token of {whose}; chmod 600 {path} (and make a "
            "new token if somebody may have)"
        )


def make() -> None:
    """Before a Ray of this process's own starts: have a token that its owner alone can read.

    Raises:
        ConfigError: others can read a file that RAY_AUTH_TOKEN_PATH names.
    """
    path = _read_by_ray()
    if path is None:
        return
    if path != _own():
        check()
        return
    make_private(path, "a Ray of one's own")


def make_private(path: Path, whose: str) -> None:
    """Have a file with a token that its owner alone can read; one that is there is tightened.

    Args:
        path: The file.
        whose: What it is the token of.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write(path)
        if path.stat().st_uid == os.getuid():
            path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"{path}: the token of {whose}: {error.strerror}") from None


def _own() -> Path:
    return Path("~/.ray/auth_token").expanduser()


def _read_by_ray() -> Path | None:
    """The file that Ray takes a token from; None if it takes none, or one of the environment."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return None
    if os.environ.get("RAY_AUTH_TOKEN"):
        return None
    given = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return Path(given).expanduser() if given else _own()


def _write(path: Path) -> None:
    """A new token, whole at once: of several processes that start, one makes it."""
    fresh = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(32))
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
