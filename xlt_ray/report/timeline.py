"""When the steps of a run were computed, from its history, without the time between sessions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

IDLE = 5.0
"""Seconds without any step that are left out, but for this many."""


@dataclass(frozen=True)
class Bar:
    """A step on the time line.

    Attributes:
        title: Its title.
        kind: Its kind.
        seconds: What it took when it was computed.
        start: When it began, in seconds of the time line; None: it was computed by another run, or
            the history does not tell.
        end: When it ended.
        cached: Whether the last session found it in the store.
    """

    title: str
    kind: str
    seconds: float
    start: float | None
    end: float | None
    cached: bool


def timeline(
    ledger: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
) -> tuple[list[Bar], float]:
    """The steps of a run in the order of its ledger, and the length of the time line in seconds.

    Args:
        ledger: Entries of the ledger.
        events: The history, oldest first.
    """
    began: dict[str, float] = {}
    known: dict[str, tuple[float, float]] = {}
    for event in events:
        name = event.get("fingerprint", "")
        if event["event"] == "started":
            began[name] = event["time"]
        elif event["event"] == "finished" and not event.get("cached") and name in began:
            known[name] = (began[name], event["time"])
    shift = _without_idle(sorted(known.values()))
    bars = []
    for entry in ledger:
        found = known.get(entry["fingerprint"])
        start, end = (shift(found[0]), shift(found[1])) if found else (None, None)
        bars.append(
            Bar(entry["title"], entry["kind"], entry["seconds"], start, end, entry["cached"])
        )
    length = max((bar.end for bar in bars if bar.end is not None), default=0.0)
    return bars, length


def _without_idle(spans: Sequence[tuple[float, float]]) -> Callable[[float], float]:
    """Maps times to times in which pauses between spans are no longer than `IDLE`."""
    covered = less = spans[0][0] if spans else 0.0
    removed = [(covered, less)]  # from when on how much less
    for start, end in spans:
        if start > covered + IDLE:
            less += start - covered - IDLE
            removed.append((start, less))
        covered = max(covered, end)

    def shift(time: float) -> float:
        return time - [amount for since, amount in removed if since <= time][-1]

    return shift
