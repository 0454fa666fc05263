"""What went wrong, in the words of `xlt_ray.config.errors`."""

import json

import pyarrow as pa

from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import DataError, RunInterrupted, XltError

GOES_ON = "The same command goes on from the last finished step"


def public_error(error: Exception) -> XltError:
    """An error as callers of this package know it, without credentials.

    A `ValueError` with a message of this project is about the user's input: trying again cannot
    help. What Arrow, JSON and text decoding say about a file of the store, and what a task of Ray
    raised, are values gone wrong, too, but may be a disk or a machine gone wrong.
    """
    text = redacted(str(error))
    if isinstance(error, XltError):
        return error if text == str(error) else type(error)(text)
    others = (pa.ArrowException, json.JSONDecodeError, UnicodeError)
    if isinstance(error, ValueError) and not isinstance(error, others) and not _is_rays(error):
        return DataError(text)
    return RunInterrupted(f"{redacted(first_cause(error))}\n{GOES_ON}")


def _is_rays(error: Exception) -> bool:
    return hasattr(error, "as_instanceof_cause")


def _says_nothing(error: BaseException) -> bool:
    """Whether it is what Ray Data names as the cause of an error that did not arise in a task: an
    actor that could not begin, for one. It has no message."""
    return type(error).__name__ == "SystemException" and not str(error)


def first_cause(error: BaseException) -> str:
    """Type and last line of the first user-readable cause under Ray's wrappers."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "cause", None) or seen.__cause__
        if not isinstance(inner, BaseException) or inner is seen or _says_nothing(inner):
            break
        seen = inner
    text = str(seen).strip() or type(seen).__name__
    return f"{type(seen).__name__}: {text.splitlines()[-1]}"
