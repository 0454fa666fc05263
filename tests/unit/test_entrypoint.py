"""``cluster/kuberay/entrypoint.sh``: which failures are followed by the same command."""

import json
import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "cluster/kuberay/entrypoint.sh"
JOB = """
import os, pathlib, signal, sys
log, *codes = sys.argv[1:]
path = pathlib.Path(log)
tried = path.read_text().count("x") if path.exists() else 0
path.write_text("x" * (tried + 1))
code = int(codes[min(tried, len(codes) - 1)])
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""
"""Ends with one code after the other, the last of them for ever."""


def run(folder: Path, *codes: int) -> tuple[int, int, str]:
    """Exit code, number of tries, and what a ``ray`` in the path was called with."""
    (folder / "bin").mkdir()
    ray = folder / "bin/ray"
    ray.write_text(f'#!/bin/sh\necho "$@" > {folder}/called\n')
    ray.chmod(0o755)
    config = {"metadata": {"job_submission_id": "job-7"}}
    env = {
        **os.environ,
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(config),
        "XLT_PAUSE": "0",
        "XLT_TRIES": "3",
    }
    env.pop("RAY_API_SERVER_ADDRESS", None)
    done = subprocess.run(
        ["bash", SCRIPT, "python", "-c", JOB, folder / "log", *map(str, codes)],
        env=env, timeout=60, check=False, capture_output=True, text=True,
    )  # fmt: skip
    called = folder / "called"
    said = called.read_text().strip() if called.exists() else ""
    return done.returncode, (folder / "log").read_text().count("x"), said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ((0,), (0, 1)),
        ((3, 0), (0, 2)),
        ((3, -9, 0), (0, 3)),
        ((3,), (3, 3)),
        ((-9,), (137, 3)),
        ((1, 0), (1, 1)),
        ((-15, 0), (143, 1)),
    ],
)
def test_what_can_be_resumed_is_tried_again(
    tmp_path: Path, codes: tuple[int, ...], expected: tuple[int, int]
) -> None:
    assert run(tmp_path, *codes) == (*expected, "")


@pytest.mark.slow
@pytest.mark.parametrize("codes", [(2, 0), (3, 2, 0)])
def test_a_job_that_cannot_be_configured_is_stopped(tmp_path: Path, codes: tuple[int, ...]) -> None:
    said = "job stop --address http://127.0.0.1:8265 job-7"
    assert run(tmp_path, *codes) == (2, codes.index(2) + 1, said)
