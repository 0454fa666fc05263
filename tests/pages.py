"""What README and docs show: their code blocks, and the commands in them."""

import re
import runpy
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from xlt_ray.commands.cli import Job, dry_run_job, run_keys
from xlt_ray.commands.main import JOBS
from xlt_ray.commands.presets import preset
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

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


class Called(NamedTuple):
    """A job as some words call it: what it does, its defaults and description, and its flags."""

    job: Job
    defaults: Mapping[str, Any]
    description: str
    flags: list[str]


def called(words: list[str]) -> Called | None:
    """The job that a command calls, be it handed to a cluster; None if it calls none.

    Raises:
        FileNotFoundError: it names a job that is not there.
    """
    for at, word in enumerate(words[:-1]):
        name, flags = words[at + 1], words[at + 2 :]
        if word.endswith("python") and name.startswith("jobs/"):
            names = runpy.run_path(str(ROOT / name))
            job = names.get("JOB") or Job(configure_run, run, dry_run_job, run_keys)
            return Called(job, names["DEFAULTS"], names["__doc__"], flags)
        if word.rpartition("/")[2] == "xlt-ray" and name in JOBS:
            command = JOBS[name]
            if command.takes_preset and flags and not flags[0].startswith("-"):
                flags = ["--config", str(preset(flags[0]).path), *flags[1:]]
            if command.first and flags and not flags[0].startswith("-"):
                flags = ["--set", f"{command.first}={flags[0]}", *flags[1:]]
            return Called(command.job(), command.defaults, command.words, flags)
    return None
