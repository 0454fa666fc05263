"""Free memory goes back to the machine."""

import platform
from pathlib import Path

import pytest
import torch

from xlt_ray.engine import memory

MB = 1 << 20


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_gaps_between_tensors_are_handed_back() -> None:
    """Many that are freed between some that stay, as after steps over sentences of all lengths."""
    tensors = [torch.ones(32 * 1024) for _ in range(2000)]  # too small to be mapped each by itself
    kept = tensors[::20]
    del tensors
    before = resident()
    assert memory.hand_back()
    assert before - resident() > 100 * MB
    assert all(bool(tensor.sum() == 32 * 1024) for tensor in kept)


def test_a_c_library_without_it_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_libc", lambda: None)
    assert not memory.hand_back()


def test_it_is_not_done_again_a_moment_later(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[float] = []
    clock = iter([20.0, 20.5, 29.0, 30.6, 30.7])
    monkeypatch.setattr(memory, "_last", -memory.SECONDS)
    monkeypatch.setattr(memory, "hand_back", lambda: done.append(1.0))
    monkeypatch.setattr(memory.time, "monotonic", lambda: next(clock))
    assert [memory.hand_back_at_times() for _ in range(3)] == [True, False, True]
    assert len(done) == 2
