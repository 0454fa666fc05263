"""Progress of a run: a live line on a terminal, one plain line per finished step elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Progress(Protocol):
    """What a run tells about its steps."""

    def started(self, title: str, kind: str, detail: str = "") -> None:
        """A step begins."""
        ...

    def update(self, title: str, kind: str, detail: str) -> None:
        """A step that is at work is so far, in a few words."""
        ...

    def run_left(self, seconds: float | None) -> None:
        """The whole run will take so long, about; None: it is not known."""
        ...

    def finished(
        self, title: str, kind: str, seconds: float, cached: bool, detail: str = ""
    ) -> None:
        """A step is done.

        Args:
            title: Title of the step.
            kind: Kind of the step.
            seconds: What computing it took, now or when it was first computed.
            cached: Whether it was found, not computed.
            detail: What it gave, in a few words.
        """
        ...

    def note(self, text: str) -> None:
        """Something else that the user should see."""
        ...


@contextmanager
def open_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """Progress on a stream, standard output by default; a terminal gets the live display."""
    out = sys.stdout if stream is None else stream
    console = Console(file=out)
    if not console.is_terminal or console.is_dumb_terminal:
        yield PlainProgress(out)
        return
    display = LiveProgress(console)
    try:
        yield display
    finally:
        display.close()


class PlainProgress:
    """One line per finished step, flushed at once. A stream that fails is given up, not the run."""

    def __init__(self, stream: TextIO, every: float = 30.0):
        self._stream: TextIO | None = stream
        self._every, self._told = every, dict[tuple[str, str], float]()
        self._left = ""

    def started(self, title: str, kind: str, detail: str = "") -> None:
        """Prints nothing: a step has one line, when it is done."""
        self._told[title, kind] = time.monotonic()

    def update(self, title: str, kind: str, detail: str) -> None:
        """Prints a line of a step that takes long, every half minute."""
        now = time.monotonic()
        if now - self._told.get((title, kind), now) >= self._every:
            self._told[title, kind] = now
            self._print(f"{'at work':>9}  {kind:<10}  {title}  {detail}{self._left}")

    def run_left(self, seconds: float | None) -> None:
        """Is told with the next line of a step at work."""
        self._left = "" if seconds is None else f"; {left_line(seconds)}"

    def finished(
        self, title: str, kind: str, seconds: float, cached: bool, detail: str = ""
    ) -> None:
        """Prints the step's line."""
        self._print(step_line(title, kind, seconds, cached, detail))

    def note(self, text: str) -> None:
        """Prints the text on a line of its own."""
        self._print(" ".join(text.split()))

    def _print(self, line: str) -> None:
        if self._stream is None:
            return
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # The reader is gone (a closed pipe or file, a full disk); the run goes on without it.
            self._stream = None


class LiveProgress:
    """Finished steps scroll by; the running ones stay below them with a clock."""

    def __init__(self, console: Console):
        self._console = console
        self._running: dict[tuple[str, str], tuple[float, str]] = {}
        self._left = ""
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=4,
            transient=True,
        )

    def started(self, title: str, kind: str, detail: str = "") -> None:
        """Shows the step with a running clock."""
        self._running[title, kind] = (time.monotonic(), detail)
        self._live.start()

    def update(self, title: str, kind: str, detail: str) -> None:
        """Shows how far the step is."""
        if (title, kind) in self._running:
            self._running[title, kind] = (self._running[title, kind][0], detail)

    def run_left(self, seconds: float | None) -> None:
        """Stands below the steps."""
        self._left = "" if seconds is None else left_line(seconds)

    def finished(
        self, title: str, kind: str, seconds: float, cached: bool, detail: str = ""
    ) -> None:
        """Turns the step into a printed line."""
        self._running.pop((title, kind), None)
        style = "dim" if cached else ""
        self._console.print(Text(step_line(title, kind, seconds, cached, detail), style=style))

    def note(self, text: str) -> None:
        """Prints the text above the running steps."""
        self._console.print(Text(text, style="yellow"))

    def close(self) -> None:
        """Takes the live lines away and gives the terminal back."""
        self._running.clear()
        self._live.stop()

    def _render(self) -> Table:
        now = time.monotonic()
        grid = Table.grid(padding=(0, 1))
        for (title, kind), (since, detail) in list(self._running.items()):
            line = f"{now - since:5.0f} s  {kind:<10}  {title}  {detail}".rstrip()
            grid.add_row(self._spinner, Text(line, style="cyan", overflow="fold"))
        if self._left and self._running:
            grid.add_row("", Text(self._left, style="cyan"))
        return grid


def left_line(seconds: float) -> str:
    """How long the run will still take, as it is told: a rough number has one unit."""
    if seconds < 90:
        return "about a minute left of the run"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes left of the run"
    return f"about {round(seconds / 3600)} hours left of the run"


def step_line(title: str, kind: str, seconds: float, cached: bool, detail: str) -> str:
    """The line of a finished step."""
    took = "cached" if cached else f"{seconds:.1f} s"
    return " ".join(f"{took:>9}  {kind:<10}  {title}  {detail}".splitlines()).rstrip()
