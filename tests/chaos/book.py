"""The table of what was done to runs, and what became of them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Entry:
    """One line of the table; identical once everything was compared."""

    fault: str
    where: str
    times: int
    lost: float = 0.0
    identical: bool = False


ENTRIES: list[Entry] = []


@contextmanager
def fault(name: str, where: str = "local disk", *, times: int = 1) -> Iterator[Entry]:
    """A fault that is injected; what is compared in the block decides what the table says."""
    entry = Entry(name, where, times)
    ENTRIES.append(entry)
    yield entry
    entry.identical = True


def table() -> str:
    """The table of all injections."""
    lines = [
        "| Fault | Where | Times | Artifacts identical | Seconds lost |",
        "|:--|:--|--:|:--|--:|",
    ]
    for entry in ENTRIES:
        equal, lost = "yes" if entry.identical else "**no**", max(0.0, entry.lost)
        lines.append(f"| {entry.fault} | {entry.where} | {entry.times} | {equal} | {lost:.0f} |")
    times = sum(entry.times for entry in ENTRIES)
    equal = sum(entry.times for entry in ENTRIES if entry.identical)
    lost = sum(max(0.0, entry.lost) for entry in ENTRIES)
    lines.append(f"| all | | {times} | {equal} of {times} | {lost:.0f} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The table with its explanation."""
    return _PAGE.format(day=time.strftime("%Y-%m-%d"), cpus=os.cpu_count(), table=table())


_PAGE = """# Faults

The chaos suite injects faults into small runs of CLTP and restarts them; each line is a fault.
"Identical" means that the store then held the same artifacts as an undisturbed run (fingerprints,
and sha256 of every file), the same model and the same report, that every row was accounted for, and
that nothing half-written was visible in between. Seconds lost are the wall time of all sessions of
the disturbed run minus that of the undisturbed one; each session includes its own start.

Measured on {day} with {cpus} CPU cores by `make chaos TABLE=docs/results/chaos.md`.

{table}"""
