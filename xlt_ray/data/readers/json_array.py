"""Rows of a file that is one JSON array, or JSON objects after one another; read as they come."""

import codecs
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from xlt_ray.data.readers.lines import too_long

_BETWEEN = " \t\r\n,"
_PIECE = 1 << 20
"""Characters beyond those of a row in which its end is looked for."""


def json_rows(chunks: Iterable[bytes], most: int) -> Iterator[tuple[int, Any]]:
    """Number, from 1, and value of each row.

    Args:
        chunks: The bytes of the file.
        most: Bytes of a row at most; a larger one is an error of the row.

    Raises:
        ValueError: it is no valid JSON, or a row is so large that its end is not looked for.
    """
    decoder, parser = codecs.getincrementaldecoder("utf-8")("surrogateescape"), json.JSONDecoder()
    held, number, gone, is_array = "", 0, 0, None
    for chunk in itertools.chain(chunks, [None]):
        held += decoder.decode(chunk or b"", final=chunk is None)
        at = 0
        while True:
            while at < len(held) and held[at] in _BETWEEN + "\ufeff":
                at += 1
            if at == len(held):
                break
            if is_array is None:
                is_array = held[at] == "["
                at += is_array
                continue
            if is_array and held[at] == "]":
                return
            try:
                value, end = parser.raw_decode(held, at)
            except (json.JSONDecodeError, RecursionError) as error:
                if isinstance(error, json.JSONDecodeError) and chunk is not None:
                    break  # the rest of it may be to come
                reason = getattr(error, "msg", str(error))
                where = gone + getattr(error, "pos", at) + 1
                raise ValueError(f"no valid JSON: {reason} at character {where}") from None
            number += 1
            is_large = end - at > most
            yield number, too_long(most) if is_large else value
            at = end
        gone += at
        held = held[at:]
        if len(held) > most + _PIECE:
            raise ValueError(f"row {number + 1}: {too_long(most).reason}")
    if is_array:
        raise ValueError("no valid JSON: the array does not end")
