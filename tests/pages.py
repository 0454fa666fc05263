"""What README and docs show: their code blocks, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its page and first line, the word after the fence, what is in it."""

    page: Path
    line: int
    kind: str
    text: str


@cache
def blocks() -> list[Block]:
    """All blocks, in the order of the pages."""
    found = []
    for page in PAGES:
        content = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(content):
            line = content.count("\n", 0, match.start()) + 1
            found.append(Block(page, line, match[1].strip(), match[2]))
    return found


def of_kind(kind: str) -> list[Block]:
    """The blocks of one kind."""
    return [block for block in blocks() if block.kind == kind]


def place(value: Any) -> str:
    """The name of a test of a block."""
    return f"{value.page.name}:{value.line}" if isinstance(value, Block) else str(value)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command, without comments and settings of the environment."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if words:
            yield words
