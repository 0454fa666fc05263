"""The tests leave a user's home alone: what lies in it changes nothing, and nothing is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT

SESSION = [
    "tests/unit/test_docs.py::test_commands_are_right",
    "tests/unit/test_main.py",
]
"""Tests that run the commands with their default store."""


def a_home(folder: Path) -> Path:
    """A home with a run called quickstart, a Ray token and caches, none of them as they should."""
    for name, content in {
        "xlt_ray/runs/quickstart/config.json": "[]",
        "xlt_ray/runs/quickstart/models.json": json.dumps({"final": 1}),
        "xlt_ray/runs/quickstart/events.jsonl": '{"event": "done"}\n',
        "xlt_ray/artifacts/model/0/manifest.json": "{",
        ".ray/auth_token": "not-a-token",
        ".cache/xlt_ray/x": "",
        ".cache/huggingface/token": "hf_none",
        ".config/pip/pip.conf": "",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file and folder."""
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *folder.rglob("*"))
    }


@pytest.mark.slow
def test_a_home_changes_nothing(tmp_path: Path) -> None:
    """A session of tests in a home with runs, whose folders cannot be written to."""
    home = a_home(tmp_path / "home")
    folders = [home, *(path for path in home.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    before = content(home)
    hidden = {"XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HF_HOME", "RAY_AUTH_TOKEN"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    session = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *SESSION],
        cwd=ROOT,
        env={**environment, "HOME": str(home), "RAY_TMPDIR": str(home / "ray")},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    for folder in folders:
        folder.chmod(0o755)
    assert session.returncode == 0, session.stdout[-4000:]
    assert content(home) == before
