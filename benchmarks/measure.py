"""Comparisons on one machine: the contenders take turns, and medians and ratios are shown."""

import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch

REPEATS = 5


@dataclass(frozen=True)
class Contender:
    """One way to do a piece of work.

    Attributes:
        name: What the table calls it.
        run: Does the work once.
        tokens: Tokens that it puts through a model, padding included; None: not counted.
        note: What has to be known about it.
        share: Which part of the work it does, where all of it would take too long; seconds are
            scaled by it.
        in_fp32: Whether it computes in float32, whose peak its rate is a share of.
    """

    name: str
    run: Callable[[], object]
    tokens: int | None = None
    note: str = ""
    share: float = 1.0
    in_fp32: bool = True


@dataclass(frozen=True)
class Timing:
    """Seconds of one contender, every turn."""

    name: str
    seconds: tuple[float, ...]
    tokens: int | None = None
    note: str = ""
    in_fp32: bool = True

    @property
    def median(self) -> float:
        """Median of the turns."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Comparison:
    """Contenders that did the same work.

    Attributes:
        title: What was done.
        unit: What the work is counted in.
        units: How much of it there was.
        timings: Contenders in order; ratios are to the first one.
        real_tokens: Tokens of the work without padding; None: not counted.
        flops_per_token: Floating-point operations of a model per token, for the share of the peak.
        load: Load of the machine before and after.
        notes: What has to be known about all of it.
    """

    title: str
    unit: str
    units: float
    timings: Sequence[Timing]
    real_tokens: int | None = None
    flops_per_token: float | None = None
    load: tuple[float, float] = (0.0, 0.0)
    notes: Sequence[str] = field(default_factory=tuple)

    def ratio(self, name: str, to: str) -> float:
        """How much faster one contender is than another."""
        medians = {timing.name: timing.median for timing in self.timings}
        return medians[to] / medians[name]

    def to_json(self) -> dict[str, Any]:
        """Plain form, with the derived numbers."""
        plain = asdict(self)
        for timing, kept in zip(self.timings, plain["timings"], strict=True):
            kept["median"] = timing.median
        return plain


def take_turns(
    contenders: Sequence[Contender],
    *,
    repeats: int = REPEATS,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """Time every contender so many times, A B C A B C ..., after one turn that does not count.

    Args:
        contenders: Who takes turns.
        repeats: Turns that count.
        warm: Whether there is the turn that does not.
        clock: What is read: the time of day or, where other work shares the cores and one thread
            computes, the time of this process.
    """
    seconds: dict[str, list[float]] = {item.name: [] for item in contenders}
    for turn in range(repeats + warm):
        for item in contenders:
            start = clock()
            item.run()
            if turn >= warm:
                seconds[item.name].append((clock() - start) / item.share)
    return [Timing(x.name, tuple(seconds[x.name]), x.tokens, x.note, x.in_fp32) for x in contenders]


def peak(dtype: torch.dtype, *, size: int = 1024, repeats: int = 15) -> float:
    """Floating-point operations a second of one large matrix product, median."""
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        torch.matmul(left, right)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times)


def peak_memory() -> float:
    """Most memory that this process held, since the kernel was told to forget it, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def forget_peak() -> float:
    """Let the kernel measure the process's peak from here on; MB in memory now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


class Watch:
    """Looks at the memory of a process and of all below it, twice a second.

    Attributes:
        own_mb: Most memory of the process itself.
        others_mb: Most memory of the others together, without what they share.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.own_mb = self.others_mb = 0.0
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            try:
                self.own_mb = max(self.own_mb, self._process.memory_info().rss / 1e6)
                below = self._process.children(recursive=True)
            except psutil.Error:
                return  # it has ended
            self.others_mb = max(self.others_mb, sum(map(_unshared_mb, below)))


def _unshared_mb(process: psutil.Process) -> float:
    try:
        return process.memory_full_info().uss / 1e6
    except psutil.Error:
        return 0.0  # it has ended


def title(text: str | None) -> str:
    """First line of a module's docstring."""
    return (text or "").partition("\n")[0]


def machine() -> dict[str, Any]:
    """Where the numbers are from."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "?")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "peak_gflops": {
            "fp32": round(peak(torch.float32) / 1e9, 1),
            "bf16": round(peak(torch.bfloat16) / 1e9, 1),
        },
    }


def table(found: Comparison, peak_flops: float | None = None) -> str:
    """The comparison as Markdown."""
    first = found.timings[0].median
    head = ["", "seconds", f"{found.unit}/s", "of the first"]
    shows_tokens = found.real_tokens is not None
    head += ["real / processed tokens"] if shows_tokens else []
    shows_peak = peak_flops is not None and found.flops_per_token is not None
    head += ["of the peak"] if shows_peak else []
    lines = [f"| {' | '.join([*head, 'note'])} |", f"|:--{'|--:' * (len(head) - 1)}|:--|"]
    for item in found.timings:
        cells = [item.name, f"{item.median:.2f}", f"{found.units / item.median:,.0f}"]
        cells.append(f"{first / item.median:.2f}")
        if shows_tokens:
            assert found.real_tokens is not None
            cells.append("" if item.tokens is None else f"{found.real_tokens / item.tokens:.2f}")
        if shows_peak:
            assert found.flops_per_token is not None
            assert peak_flops is not None
            done = (item.tokens or 0) * found.flops_per_token / item.median / peak_flops
            cells.append("" if item.tokens is None or not item.in_fp32 else f"{done:.0%}")
        lines.append(f"| {' | '.join([*cells, item.note])} |")
    turns = len(found.timings[0].seconds)
    told = f"{found.units:,.0f} {found.unit}; median of {turns}; load {found.load[0]:.1f} before, "
    told += f"{found.load[1]:.1f} after."
    return "\n".join([f"### {found.title}", "", " ".join([told, *found.notes]), "", *lines, ""])
