"""What code made a result: the commit of a checkout, and a digest of what its steps rest on.

Pages of results quote both, so that a reader, and ``make results-check``, can tell which of them
are older than the code.
"""

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from xlt_ray.recipe.method import Method
from xlt_ray.store.fingerprint import code_digest

STEPS = (
    "xlt_ray.engine.read",
    "xlt_ray.engine.train.processes",
    "xlt_ray.engine.annotate",
    "xlt_ray.engine.derive",
)
"""Modules of the steps that every method has."""
SHOWN = 12
"""Digits of a digest that are shown."""


def made_by(method: type[Method]) -> Mapping[str, str]:
    """``code``, the digest of `code_of`, and ``commit``, where the package lies in a checkout."""
    commit = commit_of(Path(__file__).parents[2])
    return {"code": code_of(method)} | ({"commit": commit} if commit else {})


def code_of(method: type[Method]) -> str:
    """Digest of the code of a method and of the steps that it is made of, by meaning: comments and
    docstrings do not count. 12 hexadecimal digits."""
    return code_digest(method.__module__, *STEPS)[:SHOWN]


@cache
def commit_of(root: Path) -> str | None:
    """Commit of a checkout, with a plus sign where files differ from it; None if it is none."""
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", "xlt_ray")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}+" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments],
        capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    return done.stdout.strip()
