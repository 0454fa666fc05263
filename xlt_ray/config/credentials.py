"""Credentials in URIs: how they are found, kept out of configurations, and masked in messages.

What pyarrow, fsspec and the stores themselves take in a URI or a connection string is known by its
place, before the host, or by the name of its parameter, in whatever case and percent notation. A
URI in a message has no clear end and a secret may hold any sign that its writer forgot to quote, so
that masks are wide: they may hide what is no secret, and never leave the rest of one.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

_PARTS = ("secret", "token", "password", "passwd", "passphrase", "key", "credential", "signature",
          "connectionstring")  # fmt: skip
"""Parts of the names of secret parameters, without case and punctuation."""
_WHOLE = {"sig", "sas", "pass", "pwd", "auth", "authorization", "bearer", "jwt", "pat"}
"""Whole names of others."""
_ORDINARY = {"credentialkind"}
"""Names that hold such a part and say nothing secret."""

_LONGEST = 8000
"""Letters of a message at most."""

_COLON, _SLASH, _AT = r"(?::|%(?:25)*3a)", r"(?:/|%(?:25)*2f)", r"(?:@|%(?:25)*40)"
_EQUALS, _MARK = r"(?:=|%(?:25)*3d)", r"(?:[?&;#]|%(?:25)*(?:3f|26|3b|23))"
"""Signs, as they are or in percent notation, which one URI within another has several times."""

_PARAMETER = re.compile(
    rf"(?:{_MARK}(?P<name>(?:(?!{_MARK}|{_EQUALS})\S)*)|\b(?P<azure>AccountKey|SharedAccess\w+))"
    rf"{_EQUALS}",
    re.IGNORECASE,
)
_VALUE = re.compile(r"[^\s&]*")
_AFTER = "'\"),.;:]}>"
"""What may follow a URI in a message, with no blank between."""
_USER = re.compile(
    rf"(?<![\w+.-])(?P<scheme>[\w+.-]{{0,64}}){_COLON}{_SLASH}{_SLASH}"
    rf"(?P<who>(?P<name>(?:(?!{_SLASH}|{_COLON}|{_AT})\S)*)(?P<password>{_COLON}\S*)?){_AT}",
    re.IGNORECASE,
)
_BARE_USER = re.compile(
    rf"{_EQUALS}(?P<who>(?:(?!{_SLASH}|{_EQUALS}|{_COLON})[^\s&])+"
    rf"{_COLON}(?!{_SLASH}{_SLASH})[^\s&]*){_AT}",
    re.IGNORECASE,
)
"""User and password of an address without a scheme, as in ``endpoint_override=me:SECRET@host``."""
_PORT = re.compile(rf"{_COLON}\d+(?:{_SLASH}|[?#]|$)", re.IGNORECASE)
_BUCKETS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl")
"""Schemes whose URIs have no ports."""


def redacted(text: str) -> str:
    """A URI, or a message with URIs, without user names, passwords and secret parameters.

    Nobody reads more than the first 8,000 letters, and a line without a blank takes long.
    """
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]} ..."
    for pattern in (_USER, _BARE_USER):
        text = pattern.sub(_masked, text)
    found, at = "", 0
    for start, end in _secrets(text):
        found, at = f"{found}{text[at:start]}***", end
    return found + text[at:]


def has_credentials(uri: str) -> bool:
    """Whether a URI holds a password or a parameter that is secret by its name."""
    if _BARE_USER.search(uri) or next(_secrets(uri), None) is not None:
        return True
    for found in _USER.finditer(uri):
        scheme, password = found["scheme"].lower(), found["password"]
        if password is None and scheme in ("http", "https"):  # a token in the place of a user
            return True
        has_port = password is not None and _PORT.match(uri, found.start("password"))
        if password is not None and not (has_port and scheme not in _BUCKETS):
            return True
    return False


def _masked(found: re.Match[str]) -> str:
    start, end = (place - found.start() for place in found.span("who"))
    return f"{found[0][:start]}***{found[0][end:]}"


def _secrets(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of secret parameters begin and end."""
    at = 0
    while parameter := _PARAMETER.search(text, at):
        at = parameter.end()
        if parameter["azure"] or _is_secret(parameter["name"]):
            value = _VALUE.match(text, at)
            assert value is not None
            bare = value[0].rstrip(_AFTER) or value[0]
            yield at, at + len(bare)
            at += len(value[0])


def _is_secret(name: str) -> bool:
    """Whether a parameter of this name holds a secret."""
    while (plain := unquote(name)) != name:
        name = plain
    bare = re.sub(r"[\W_]", "", name.lower())
    return bare not in _ORDINARY and (bare in _WHOLE or any(part in bare for part in _PARTS))
