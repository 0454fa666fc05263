"""The token that a service asks its callers for: of a variable, of a file, or a new one in a file.

It is never a word of a command, which everybody on the machine can list.
"""

import os
import re
from pathlib import Path

from xlt_ray.config.errors import ConfigError
from xlt_ray.engine import token_file

VARIABLE = "XLT_SERVE_TOKEN"
_SOUND = re.compile(r"[!-~]{16,512}")
"""What an HTTP header can hold, and nobody guesses."""
_WHOSE = "the service"


def own_file() -> Path:
    """Where a token is kept that was made here."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config, "xlt_ray", "serve-token").expanduser()


def file_of(named: str | None) -> Path | None:
    """The file that the token is in; None where the variable holds it.

    Args:
        named: ``serve.token_file``.
    """
    if named is not None:
        return Path(named).expanduser()
    return None if os.environ.get(VARIABLE) else own_file()


def token_of(named: str | None) -> str:
    """The token: of the named file, of the variable, or of a file of one's own, which is made.

    Args:
        named: ``serve.token_file``.

    Raises:
        ConfigError: others can read the file, or there is no sound token in it.
    """
    path = file_of(named)
    if path is None:
        return _sound(os.environ[VARIABLE], VARIABLE)
    if named is None:
        token_file.make_private(path, _WHOSE)
    try:
        token_file.refuse_open(path, _WHOSE)
        text = path.read_bytes().decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"serve.token_file: {path}: {error.strerror}") from None
    return _sound(text.strip(), f"serve.token_file: {path}")


def _sound(token: str, where: str) -> str:
    if _SOUND.fullmatch(token) is None:
        raise ConfigError(
            f"{where}: a token has 16 to 512 letters, digits and marks of ASCII, and no blanks"
        )
    return token
