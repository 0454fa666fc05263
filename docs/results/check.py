"""Which pages of results are older than the code that their numbers rest on.

A page of a comparison quotes what made it, as ``compare.md`` has it in its last line:

    Made by commit `1a2b3c4d5e6f` with ray 2.60.0, torch 2.13.0. Code: cltp `0123456789ab`.

The digests are those of `xlt_ray.run.made_by`: they change when the code does, and not with
comments, docstrings or formatting. A page that names no code was made before any was noted.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from xlt_ray.run.check import known_methods
from xlt_ray.run.made_by import code_of

LINE = re.compile(r"^Made by commit `([^`]*)`.*?(?: Code: (.*))?$", re.MULTILINE)
CODE = re.compile(r"(\w+) `([0-9a-f]{12})`")


@dataclass(frozen=True)
class Page:
    """A page of results.

    Attributes:
        name: Its file name.
        commits: The commits that it names.
        codes: Digest of the code of each method that it has numbers of.
    """

    name: str
    commits: tuple[str, ...]
    codes: tuple[tuple[str, str], ...]

    @property
    def older(self) -> list[str]:
        """Methods whose code is another one today, or that are gone."""
        now = {name: code_of(method) for name, method in known_methods().items()}
        return sorted({name for name, code in self.codes if now.get(name) != code})

    @property
    def verdict(self) -> str:
        """What a reader has to know of the page."""
        if not self.commits:
            return "names no commit"
        made = ", ".join(self.commits)
        if not self.codes:
            return f"made by {made}, before code was noted"
        if older := self.older:
            return f"made by {made}; older than the code of {', '.join(older)}"
        return "as the code is"


def read_page(path: Path) -> Page:
    """What a page says of how it was made."""
    found = LINE.findall(path.read_text(encoding="utf-8"))
    codes = [pair for _, listed in found for pair in CODE.findall(listed)]
    return Page(path.name, tuple(commit for commit, _ in found), tuple(codes))


def table(pages: Iterable[Page]) -> str:
    """A line for each page."""
    pages = list(pages)
    width = max((len(page.name) for page in pages), default=0)
    return "\n".join(f"{page.name:{width}}  {page.verdict}" for page in pages)


def main(folder: Path) -> int:
    """Print the table; 1 if a page names no commit, which a page of results has to."""
    pages = [read_page(path) for path in sorted(folder.glob("*.md"))]
    print(table(pages))
    return int(any(not page.commits for page in pages))


if __name__ == "__main__":
    sys.exit(main(Path(__file__).parent))
