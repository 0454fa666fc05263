"""Faults that files may have, for the tests that put them into good ones."""

import random
from typing import Any

DEEP = 20_000
"""Brackets in each other."""

ODD = [
    b"\xff", b"\x00", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r", b"\n\n\n", b"\t\t", b'"', b'""',
    b"\\ud800", b"1" * 5000, b"1e999", b"-0", b"NaN", b"[" * DEEP, b'{"a":' * DEEP, b"{", b"}",
    b"\xe2\x80\xa8", b"\xc3", b"x" * 70_000, b"(ORG*(", b"-DOCSTART-", b"#", b"null", b"[[]]",
]  # fmt: skip
ENCODINGS = ("utf-16", "utf-32-le", "latin-1", "utf-7", "cp037")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The data with up to three faults."""
    for _ in range(rng.randint(1, 3)):
        at, end = sorted(rng.choices(range(len(data) + 1), k=2))
        match rng.randrange(8):
            case 0 if data:
                bit = rng.randrange(8 * len(data))
                flipped = data[bit // 8] ^ 1 << bit % 8
                data = data[: bit // 8] + bytes([flipped]) + data[bit // 8 + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:end] + data[at:end] * rng.randint(1, 5) + data[end:]
            case 3:
                data = data[:at] + data[end:]
            case 4:
                data = data[:at] + rng.randbytes(rng.randint(1, 12)) + data[at:]
            case 5:
                text = data.decode("utf-8", "replace")
                data = text.encode(rng.choice(ENCODINGS), "replace")
            case _:
                data = data[:at] + rng.choice(ODD) + data[at:]
    return data


VALUES: list[Any] = [
    None, True, -1, 0, 2**70, 1e308, float("nan"), "", "x", "[/x]", "\ud800", "a" * 3000, [], {},
    [None], [[]], {"": {}}, "../../x", "2024-13-45", [1, "a", {}],
]  # fmt: skip


def spoilt(value: Any, rng: random.Random) -> Any:
    """A JSON value of which one part, somewhere, is another one, or is gone."""
    if not isinstance(value, dict | list) or not value or rng.random() < 0.2:
        return rng.choice(VALUES)
    copy = dict(value) if isinstance(value, dict) else list(value)
    place = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
    if rng.random() < 0.15:
        del copy[place]
    else:
        copy[place] = spoilt(copy[place], rng)
    return copy
