"""The most memory of a block, where the kernel says it."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from xlt_ray.run import peak_memory

MB = 1_000_000
linux = pytest.mark.skipif(not peak_memory._FORGET.exists(), reason="the kernel does not say it")


def held(size: int) -> None:
    """So many MB, for a moment; of the kernel's own, as allocators may keep what is given back."""
    with mmap.mmap(-1, size * MB) as memory:
        np.frombuffer(memory, np.uint8)[:] = 1


def resident() -> float:
    """MB of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


@pytest.mark.slow
@linux
def test_the_peak_is_that_of_the_block_alone() -> None:
    held(400)
    with peak_memory.watched() as peak:
        held(100)
    assert peak.mb is not None
    assert 90 < peak.mb - resident() < 300


@linux
def test_a_block_within_another_does_not_forget_its_peak() -> None:
    with peak_memory.watched() as outer:
        held(200)
        with peak_memory.watched() as inner:
            pass
    assert outer.mb is not None
    assert inner.mb is not None
    assert outer.mb >= inner.mb > resident() + 150


@linux
def test_what_was_before_a_block_is_not_forgotten() -> None:
    held(300)
    most = peak_memory.most_mb()
    with peak_memory.watched() as peak:
        pass
    assert peak.mb is not None
    assert peak.mb < most - 200
    assert peak_memory.most_mb() == most


def test_where_the_kernel_does_not_say_it_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_memory, "_FORGET", Path("/nowhere/clear_refs"))
    with peak_memory.watched() as peak:
        pass
    assert peak.mb is None
