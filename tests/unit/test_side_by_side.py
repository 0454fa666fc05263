"""Where tests run in several processes, those of a file share one, and its fixtures."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file named after this process, beside those of the others."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "side-by-side" / str(os.getpid())
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize("number", range(6))
def test_a_file_has_one_process(process: Path, number: int) -> None:
    assert list(process.parent.iterdir()) == [process]
