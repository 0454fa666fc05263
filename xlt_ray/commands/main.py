"""The command ``xlt-ray``: everything that can be done with runs, and with the store they leave.

The jobs, ``run`` to ``export``, take ``--config``, ``--set`` and ``--dry-run`` as their files do.
The other commands look at a store, or tidy it up.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xlt_ray.commands.cli import Job, run_job, run_keys
from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import StoreConfig, first_line, without_credentials
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE, RESUMABLE
from xlt_ray.store.shapes import UnreadableError

if TYPE_CHECKING:
    from xlt_ray.store.artifacts import Store

DAY = 86400.0
_ROOT = StoreConfig().root


@dataclass(frozen=True)
class Command:
    """A command that is a job: it takes ``--config``, ``--set`` and ``--dry-run``.

    Attributes:
        words: What it does, for ``--help``.
        job: Imports what carries it out.
        defaults: Its configuration where nothing else is said.
        takes_preset: Whether its first word may be a preset.
    """

    words: str
    job: Callable[[], Job]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    takes_preset: bool = True


def _run() -> Job:
    from xlt_ray.commands.self_train import JOB

    return JOB


def _sweep() -> Job:
    from xlt_ray.commands.sweep import SPACES, job

    return job(SPACES)


def _compare() -> Job:
    from xlt_ray.commands.compare import JOB

    return JOB


def _predict() -> Job:
    from xlt_ray.commands.predict import JOB

    return JOB


def _export() -> Job:
    from xlt_ray.commands.export import JOB

    return JOB


JOBS: Mapping[str, Command] = {
    "run": Command(
        "Run a method: a preset, your own files, or a benchmark (--set benchmark.name=wikiann).",
        _run,
        {"benchmark": {"name": "files"}},
    ),
    "sweep": Command("Search the settings of a method, by its score on source dev alone.", _sweep),
    "compare": Command("Run several methods with several seeds; one table of them.", _compare),
    "predict": Command(
        "Label files with a finished run or an exported model.", _predict, takes_preset=False
    ),
    "export": Command(
        "Put the model of a finished run into a folder for other programs.",
        _export,
        takes_preset=False,
    ),
}


def _store(flags: argparse.Namespace) -> "Store":
    """The store that is looked at; nothing is made.

    Raises:
        ConfigError: there is none.
    """
    from pyarrow.fs import FileType

    from xlt_ray.store.artifacts import Store

    try:
        store = Store(without_credentials(flags.store))
    except ValueError as error:
        raise ConfigError(f"--store: {error}") from None
    inside = [f"{store.base}/{name}" for name in ("artifacts", "runs")]
    if not any(info.type == FileType.Directory for info in store.fs.get_file_info(inside)):
        raise ConfigError(f"no store at {store.root}")
    return store


def _runs(flags: argparse.Namespace) -> int:
    """List the runs of a store, or the steps of one."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from xlt_ray.run.inventory import runs

    store = _store(flags)
    found = runs(store)
    if flags.name is not None:
        return _show(store, flags.name, [run.name for run in found])
    table = Table(title=escape(f"runs in {store.root}"), title_justify="left")
    for name in ("run", "method", "benchmark", "state", "steps", "average", "last change"):
        table.add_column(name, justify="right" if name in ("steps", "average") else "left")
    for run in found:
        average = "" if run.average is None else f"{100 * run.average:.2f}"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)) if run.changed else ""
        what = run.method or run.kind
        cells = (run.name, what, run.benchmark, run.state, str(run.steps), average, when)
        table.add_row(*(escape(cell) for cell in cells))
    Console().print(table)
    for run in found:
        if run.fault:
            print(f"unreadable: {run.fault}")
    return DONE


def _show(store: "Store", name: str, names: Sequence[str]) -> int:
    """Print the steps of a run."""
    from xlt_ray.store.run_folder import RunFolder

    _check_name(store, name, names)
    folder = RunFolder(store, name, create=False)
    for entry in folder.read_lines("ledger.jsonl"):
        state = "cached" if entry["cached"] else "computed"
        rows = entry["info"].get("rows")
        note = "" if rows is None else f"{rows} rows"
        if "source_dev" in entry["info"]:
            note = f"source dev {100 * entry['info']['source_dev']:.2f}"
        line = f"{entry['step']:4} {entry['title']:36} {entry['kind']:11} {entry['seconds']:9.1f} s"
        print(f"{line}  {state:8}  {note}".rstrip())
    print(f"folder: {folder.path}")
    return DONE


def _check_name(store: "Store", name: str, names: Sequence[str]) -> None:
    if name not in names:
        there = ", ".join(names) or "none"
        raise ConfigError(f"no run {name!r} in {store.root}, there are: {there}")


def _report(flags: argparse.Namespace) -> int:
    """Make the page of a finished run or comparison anew, and say where it is."""
    from xlt_ray.report import Report, run_page
    from xlt_ray.report.compare import Comparison
    from xlt_ray.report.page import comparison_page
    from xlt_ray.run.inventory import runs
    from xlt_ray.store.run_folder import RunFolder

    store = _store(flags)
    _check_name(store, flags.name, [run.name for run in runs(store)])
    folder = RunFolder(store, flags.name, create=False)
    report, comparison = folder.read_json("report.json"), folder.read_json("compare.json")
    steps = f"its steps: xlt-ray runs {flags.name}"
    if report is not None and report["config"] != folder.read_json("config.json"):
        reason = "was started again with another configuration and is not finished"
        raise ConfigError(f"run {flags.name!r} {reason}; {steps}")
    if report is not None:
        ledger, events = folder.read_lines("ledger.jsonl"), folder.read_lines("events.jsonl")
        with _as_written(f"{folder.path}/report.json"):
            page, name = run_page(Report.from_json(report), ledger, events), "report.html"
    elif comparison is not None:
        with _as_written(f"{folder.path}/compare.json"):
            page, name = comparison_page(Comparison.from_json(comparison)), "compare.html"
    else:
        raise ConfigError(f"run {flags.name!r} is not finished; {steps}")
    folder.write(name, page.encode())
    print(f"{folder.path}/{name}")
    return DONE


@contextmanager
def _as_written(path: str) -> Iterator[None]:
    """Around what makes a page of a file, whose parts have to be there and to fit each other.

    Raises:
        UnreadableError: they do not; names the file.
    """
    from jinja2 import TemplateError

    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError,
            TemplateError) as error:  # fmt: skip
        what = f"{type(error).__name__}: {first_line(error)}"
        raise UnreadableError(f"{path}: not what makes a page ({what})") from None


def _gc(flags: argparse.Namespace) -> int:
    """List artifacts that no run refers to; with --delete, remove them."""
    from xlt_ray.run.inventory import delete, unused

    store = _store(flags)
    try:
        found = unused(store, older=flags.days * DAY)
    except (ValueError, OSError) as error:
        reason = f"{first_line(error)}; it may refer to any artifact, so nothing is removed"
        raise UnreadableError(reason) from None
    for item in found:
        when = time.strftime("%Y-%m-%d", time.localtime(item.changed))
        print(f"{item.size / 1e6:10,.1f} MB  {when}  {item.path[len(store.base) + 1 :]}")
        if flags.delete:
            delete(store, item)
    total = sum(item.size for item in found) / 1e6
    done = "removed" if flags.delete else "not referred to by any run; --delete removes them"
    print(f"{len(found)} folders, {total:,.1f} MB: {done}")
    return DONE


def _keys(flags: argparse.Namespace) -> int:
    """List every key of --set, for shells that complete it."""
    from xlt_ray.commands.compare import CompareSection
    from xlt_ray.commands.export import ExportSection
    from xlt_ray.commands.predict import PredictSection
    from xlt_ray.commands.sweep_config import SweepSection
    from xlt_ray.config.layers import describe

    lines = run_keys({"method": {"name": flags.method}})
    sections = {"compare": CompareSection, "export": ExportSection, "predict": PredictSection,
                "sweep": SweepSection}  # fmt: skip
    for name, section in sections.items():
        lines += describe(section, {}, f"{name}.")
    print("\n".join(f"{line.split()[0]}=" for line in lines if line.startswith("  ")))
    return DONE


def _presets(flags: argparse.Namespace) -> int:
    """List the presets: settings of papers and of measured tables."""
    from xlt_ray.commands.presets import presets

    for item in presets():
        command = f"xlt-ray {item.command}" if item.command else "--config"
        print(f"{item.name:32} {command:16} {item.description.partition(chr(10))[0]}".rstrip())
    return DONE


LOOKS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "runs": _runs,
    "report": _report,
    "gc": _gc,
    "keys": _keys,
    "presets": _presets,
}


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command; those of the jobs are made by the jobs."""
    import shtab

    found = argparse.ArgumentParser(prog="xlt-ray", description=(__doc__ or "").partition("\n")[0])
    shtab.add_argument_to(found, "--print-completion", preamble=PREAMBLE)
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    told = {name: command.words for name, command in JOBS.items()}
    told |= {name: (look.__doc__ or "").partition("\n")[0] for name, look in LOOKS.items()}
    for name, words in told.items():
        inner = commands.add_parser(name, help=words, description=words)
        if name in JOBS:
            if JOBS[name].takes_preset:
                inner.add_argument("preset", nargs="?", help="a preset by name, or a file")
            config = inner.add_argument("--config", action="append", metavar="FILE",
                                        help="YAML file of keys")  # fmt: skip
            config.complete = shtab.FILE  # type: ignore[attr-defined]
            key = inner.add_argument("--set", action="append", metavar="KEY=VALUE",
                                     help="one key, wins over files")  # fmt: skip
            key.complete = {"bash": "_xlt_ray_keys", "zsh": "_xlt_ray_keys"}  # type: ignore[attr-defined]
            inner.add_argument("--dry-run", action="store_true", help="check, and run nothing")
        elif name == "presets":
            continue
        elif name == "keys":
            inner.add_argument("--method", default="cltp", help="whose keys are among them")
        else:
            inner.add_argument("--store", default=_ROOT, help=f"root of the store ({_ROOT})")
    choices = commands.choices
    choices["runs"].add_argument("name", nargs="?", help="run whose steps are listed")
    choices["report"].add_argument("name", help="finished run or comparison")
    choices["gc"].add_argument("--days", type=float, default=1.0,
                               help="untouched for so long at least (1)")  # fmt: skip
    choices["gc"].add_argument("--delete", action="store_true", help="remove them")
    return found


PREAMBLE = {
    "bash": """
_xlt_ray_keys() {
  compopt -o nospace 2>/dev/null
  compgen -W "$(xlt-ray keys 2>/dev/null)" -- "$1"
}
""",
    "zsh": """
_xlt_ray_keys() {
  local -a keys
  keys=(${(f)"$(xlt-ray keys 2>/dev/null)"})
  compadd -S '' -a keys
}
""",
}
"""Functions of the shells that list the keys."""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; returns the exit code, as of the jobs.

    Args:
        argv: Words of the command; default: the command line's.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in JOBS:
        name, command = words[0], JOBS[words[0]]
        asked = name if command.takes_preset else None
        job = command.job()
        return run_job(command.defaults, command.words, words[1:], job=job, command=asked)
    flags = parser().parse_args(words)
    try:
        return LOOKS[flags.command](flags)
    except ValueError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        return BAD_CONFIG
    except OSError as error:  # of a disk or a network, which may be back
        print(f"failed: {first_line(error)}", file=sys.stderr)
        return RESUMABLE


if __name__ == "__main__":
    sys.exit(main())
