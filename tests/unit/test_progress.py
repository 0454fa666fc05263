"""Progress on files, broken streams and terminals."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from xlt_ray.report.progress import LiveProgress, PlainProgress, open_progress, step_line
from xlt_ray.run.at_work import bar


def run_steps(progress: PlainProgress | LiveProgress) -> None:
    progress.started("source", "model", "3 epochs")
    progress.note("a note\nof two lines")
    progress.finished("source", "model", 12.34, False, "source dev 81.00")
    progress.started("round 1 [x]", "annotation")
    progress.finished("round 1 [x]", "annotation", 3.0, True)


def test_file_gets_one_line_per_step(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with path.open("w", encoding="utf-8") as stream, open_progress(stream) as progress:
        assert isinstance(progress, PlainProgress)
        run_steps(progress)
        assert path.read_text(encoding="utf-8").count("\n") == 3  # nothing waits in a buffer
    assert path.read_text(encoding="utf-8").splitlines() == [
        "a note of two lines",
        "   12.3 s  model       source  source dev 81.00",
        "   cached  annotation  round 1 [x]",
    ]


def test_stream_of_few_characters(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with path.open("w", encoding="ascii") as stream:
        PlainProgress(stream).note("caf\u00e9")
    assert path.read_text(encoding="ascii") == "caf\\xe9\n"


def test_run_outlives_its_reader(tmp_path: Path) -> None:
    stream = (tmp_path / "log.txt").open("w", encoding="utf-8")
    progress = PlainProgress(stream)
    stream.close()
    run_steps(progress)

    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    run_steps(PlainProgress(Full()))


def test_line_of_a_step_is_one_line() -> None:
    assert step_line("a\nb", "model", 1.0, False, "") == "    1.0 s  model       a b"


def test_standard_output_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with open_progress() as progress:
        progress.note("hello")
    assert capsys.readouterr().out == "hello\n"


def test_terminal_shows_finished_steps_and_gives_the_terminal_back() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    display = LiveProgress(console)
    run_steps(display)
    display.close()
    text = out.getvalue()
    assert "a note" in text
    assert "12.3 s  model       source  source dev 81.00" in text
    assert "round 1 [x]" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # cursor hidden, then shown


def test_a_step_that_takes_long_has_a_line_now_and_then() -> None:
    out = io.StringIO()
    often, seldom = PlainProgress(out, every=0.0), PlainProgress(out, every=30.0)
    for progress in (often, seldom):
        progress.started("source", "model")
        progress.update("source", "model", "[###.......] epoch 1/4")
        progress.update("other", "model", "is not at work")
    assert out.getvalue().splitlines()[0] == "  at work  model       source  [###.......] epoch 1/4"
    assert out.getvalue().count("epoch 1/4") == 1


def test_a_terminal_shows_how_far_a_step_is() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, _environ={"TERM": "xterm"})
    display = LiveProgress(console)
    display.started("source", "model")
    display.update("source", "model", "[###.......] epoch 1/4, loss 0.5")
    display._live.refresh()
    display.close()
    assert "[###.......] epoch 1/4, loss 0.5" in out.getvalue()


def test_narrow_terminals_cut_nothing_and_the_run_has_a_line() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, _environ={"TERM": "xterm"})
    display = LiveProgress(console)
    display.started("source", "model")
    display.run_left(754.0)
    display.update(
        "source", "model", "[###.......] epoch 1/4, step 20/90, loss 0.5, 3 min 02 s left"
    )
    display._live.refresh()
    display.close()
    shown = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue()).split())
    assert "step 20/90, loss 0.5, 3 min 02 s left about 13 minutes left of the run" in shown
    assert "\u2026" not in shown


def test_a_line_of_a_long_step_says_what_is_left_of_the_run() -> None:
    out = io.StringIO()
    progress = PlainProgress(out, every=0.0)
    progress.started("source", "model")
    for seconds in (None, 20.0, 3000.0, 20_000.0):
        progress.run_left(seconds)
        progress.update("source", "model", "[###.......]")
    told = [line.partition("[###.......]")[2] for line in out.getvalue().splitlines()]
    assert told == [
        "", "; about a minute left of the run", "; about 50 minutes left of the run",
        "; about 6 hours left of the run",
    ]  # fmt: skip


def test_bars() -> None:
    assert [bar(share) for share in (-1, 0, 0.5, 1, 2)] == [
        "[..........]", "[..........]", "[#####.....]", "[##########]", "[##########]",
    ]  # fmt: skip
