"""A job that labels files, killed in each of its steps: every row is there, in order."""

from pathlib import Path

import pytest

from benchmarks.predictions import KILLS, killed_and_resumed

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.long]


def test_killed_in_every_step(tmp_path: Path) -> None:
    small = ["data.shard_rows=640", "resources.annotators=0"]
    rows, sessions = killed_and_resumed(tmp_path, 40_000, 0.2, small)
    assert rows == 40_000
    assert [item.killed for item in sessions] == [*KILLS, None]
