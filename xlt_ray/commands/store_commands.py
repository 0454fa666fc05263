"""Commands that look at a store, or tidy it up."""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from xlt_ray.commands.cli import run_keys
from xlt_ray.commands.presets import presets as all_presets
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import StoreConfig, first_line, without_credentials
from xlt_ray.run import inventory
from xlt_ray.run.exit_codes import DONE
from xlt_ray.store.artifacts import Store
from xlt_ray.store.shapes import UnreadableError

if TYPE_CHECKING:
    from xlt_ray.report import Report
    from xlt_ray.store.run_folder import RunFolder

DAY = 86400.0


def _store(flags: argparse.Namespace) -> Store:
    """The store that is looked at; nothing is made.

    Raises:
        ConfigError: there is none.
    """
    from pyarrow.fs import FileType

    try:
        store = Store(without_credentials(flags.store or StoreConfig().root))
    except ValueError as error:
        raise ConfigError(f"--store: {error}") from None
    inside = [f"{store.base}/{name}" for name in ("artifacts", "runs")]
    if not any(info.type == FileType.Directory for info in store.fs.get_file_info(inside)):
        raise ConfigError(f"no store at {store.root}")
    return store


def runs(flags: argparse.Namespace) -> int:
    """List the runs of a store, or the steps of one."""
    from xlt_ray.report.screen import Screen
    from xlt_ray.report.wide_table import WideTable

    store = _store(flags)
    found = inventory.runs(store)
    if flags.name is not None:
        return _show(store, flags.name, [run.name for run in found])
    rows = []
    for run in found:
        average = "" if run.average is None else f"{100 * run.average:.2f}"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.changed)) if run.changed else ""
        what = run.method or run.kind
        cells = (run.name, what, run.benchmark, run.state, str(run.steps), average, when)
        rows.append(cells)
    Screen().print(WideTable(f"runs in {store.root}", _RUNS, rows))
    for run in found:
        if run.fault:
            print(f"unreadable: {run.fault}")
    return DONE


_RUNS = ("run", "method", "benchmark", "state", "steps", "average", "last change")


def _show(store: Store, name: str, names: Sequence[str]) -> int:
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


def _check_name(store: Store, name: str, names: Sequence[str]) -> None:
    if name not in names:
        there = ", ".join(names) or "none"
        raise ConfigError(f"no run {name!r} in {store.root}, there are: {there}")


def report(flags: argparse.Namespace) -> int:
    """Make the page of a finished run or comparison anew, and say where it is."""
    from xlt_ray.report import Report, run_page
    from xlt_ray.report.comparison import Comparison
    from xlt_ray.report.page import comparison_page

    store = _store(flags)
    folder = _folder(store, flags.name)
    report, comparison = _report_of(folder), folder.read_json("compare.json")
    if report is not None:
        ledger, events = folder.read_lines("ledger.jsonl"), folder.read_lines("events.jsonl")
        with _as_written(f"{folder.path}/report.json"):
            page, name = run_page(Report.from_json(report), ledger, events), "report.html"
    elif comparison is not None:
        with _as_written(f"{folder.path}/compare.json"):
            page, name = comparison_page(Comparison.from_json(comparison)), "compare.html"
    else:
        raise _unfinished(flags.name)
    folder.write(name, page.encode())
    print(f"{folder.path}/{name}")
    return DONE


def look(flags: argparse.Namespace) -> int:
    """Make pages with sentences of a finished run: labels before, after, by round, and gold."""
    from xlt_ray.commands.look import write_pages

    store, report, folder = _finished(flags, "rows")
    print(write_pages(store, report, folder, flags.rows))
    return DONE


def ask(flags: argparse.Namespace) -> int:
    """Choose rows of a finished run's unlabelled text that are worth a person's time."""
    from xlt_ray.commands.ask import lines, write_files

    store, report, folder = _finished(flags, "rows", "of")
    print("\n".join(lines(write_files(store, report, folder, rows=flags.rows, of=flags.of))))
    return DONE


def _finished(flags: argparse.Namespace, *numbers: str) -> tuple[Store, "Report", "RunFolder"]:
    """The store, the report and the folder of the finished run that a command names.

    Args:
        flags: The command's.
        *numbers: Those of them that are 1 at least.

    Raises:
        ConfigError: one of them is less, or there is no such run.
    """
    from xlt_ray.report import Report

    for name in numbers:
        if (value := getattr(flags, name)) < 1:
            raise ConfigError(f"--{name}: {value}; at least 1")
    store = _store(flags)
    folder = _folder(store, flags.name)
    content = _report_of(folder)
    if content is None:
        kind = "is a comparison or a sweep: name one of its runs"
        if folder.read_json("compare.json") or folder.read_json("sweep.json"):
            raise ConfigError(f"{flags.name!r} {kind}; there are: xlt-ray runs")
        raise _unfinished(flags.name)
    with _as_written(f"{folder.path}/report.json"):
        return store, Report.from_json(content), folder


def _folder(store: Store, name: str) -> "RunFolder":
    from xlt_ray.store.run_folder import RunFolder

    _check_name(store, name, [run.name for run in inventory.runs(store)])
    return RunFolder(store, name, create=False)


def _unfinished(name: str) -> ConfigError:
    return ConfigError(f"run {name!r} is not finished; its steps: xlt-ray runs {name}")


def _report_of(folder: "RunFolder") -> dict[str, Any] | None:
    """The report of a run as it is configured now; None: there is none.

    Raises:
        ConfigError: it is of another configuration.
    """
    report = folder.read_json("report.json")
    if report is not None and report["config"] != folder.read_json("config.json"):
        reason = "was started again with another configuration and is not finished"
        raise ConfigError(f"run {folder.name!r} {reason}; its steps: xlt-ray runs {folder.name}")
    return report


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


def gc(flags: argparse.Namespace) -> int:
    """List artifacts that no run refers to; with --delete, remove them."""
    store = _store(flags)
    try:
        found = inventory.unused(store, older=flags.days * DAY)
    except (ValueError, OSError) as error:
        reason = f"{first_line(error)}; it may refer to any artifact, so nothing is removed"
        raise UnreadableError(reason) from None
    for item in found:
        when = time.strftime("%Y-%m-%d", time.localtime(item.changed))
        print(f"{item.size / 1e6:10,.1f} MB  {when}  {item.path[len(store.base) + 1 :]}")
        if flags.delete:
            inventory.delete(store, item)
    total = sum(item.size for item in found) / 1e6
    done = "removed" if flags.delete else "not referred to by any run; --delete removes them"
    print(f"{len(found)} folders, {total:,.1f} MB: {done}")
    return DONE


def keys(flags: argparse.Namespace) -> int:
    """List every key of --set, for shells that complete it."""
    from xlt_ray.commands.compare import CompareSection
    from xlt_ray.commands.export import ExportSection
    from xlt_ray.commands.predict import PredictSection
    from xlt_ray.commands.serve import ServeSection
    from xlt_ray.commands.sweep_config import SweepSection
    from xlt_ray.config.layers import describe

    lines = run_keys({"method": {"name": flags.method}})
    sections = {"compare": CompareSection, "export": ExportSection, "predict": PredictSection,
                "serve": ServeSection, "sweep": SweepSection}  # fmt: skip
    for name, section in sections.items():
        lines += describe(section, {}, f"{name}.")
    print("\n".join(f"{line.split()[0]}=" for line in lines if line.startswith("  ")))
    return DONE


def presets(flags: argparse.Namespace) -> int:
    """List the presets: settings of papers and of measured tables."""
    for item in all_presets():
        command = f"xlt-ray {item.command}" if item.command else "--config"
        print(f"{item.name:32} {command:16} {item.description.partition(chr(10))[0]}".rstrip())
    return DONE
