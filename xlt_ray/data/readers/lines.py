"""Lines of files, of which no more is held than a row may have."""

from collections.abc import Iterator
from typing import BinaryIO

from xlt_ray.data.readers.rows import RowError

_BOM = b"\xef\xbb\xbf"
_ENDS = len(b"\r\n")
_CHUNK = 1 << 20
_HEAD = 80


class Overlong(bytes):
    """The beginning of a line that is longer than a row may be; the rest of it is lost."""


def lines_of(reader: BinaryIO, most: int) -> Iterator[bytes]:
    """The lines without their LF or CR LF, and without a byte order mark before the first.

    A file with CR and without any LF in its first lines has CR at the ends of its lines.

    Args:
        reader: The file.
        most: Bytes of a line at most; of a longer one an `Overlong` takes the place.
    """
    room = most + _ENDS
    line = reader.readline(room + len(_BOM)).removeprefix(_BOM)
    if b"\r" in line.removesuffix(b"\n").removesuffix(b"\r") and not line.endswith(b"\n"):
        yield from _ended_by_cr(line, reader, most)
        return
    while line:
        bare = line.removesuffix(b"\n").removesuffix(b"\r")
        if len(bare) > most:
            is_whole = line.endswith(b"\n")
            while not is_whole:
                piece = reader.readline(_CHUNK)
                is_whole = not piece or piece.endswith(b"\n")
            bare = Overlong(bare[:_HEAD])
        yield bare
        line = reader.readline(room)


def _ended_by_cr(held: bytes, reader: BinaryIO, most: int) -> Iterator[bytes]:
    is_long = False
    while True:
        chunk = reader.read(_CHUNK)
        *lines, held = (held + chunk).split(b"\r")
        if not chunk and held:
            lines.append(held)
        for line in lines:
            line = line.removeprefix(b"\n")
            yield Overlong(line[:_HEAD]) if is_long or len(line) > most else line
            is_long = False
        if not chunk:
            return
        if len(held) > most:
            held, is_long = held[:_HEAD], True


def too_long(most: int, what: str = "the row", position: int | None = None) -> RowError:
    """Why a row is not read that is longer than rows may be.

    Args:
        most: Bytes of a row at most.
        what: What is longer.
        position: Index of the token whose line it is, if it is one.
    """
    reason = f"{what} has more than {most:,} bytes; data.max_row_bytes lets more through"
    return RowError(reason, position)
