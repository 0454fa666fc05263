"""The command ``xlt-ray``: everything that can be done with runs, and with the store they leave.

The jobs, ``run`` to ``export``, take ``--config``, ``--set`` and ``--dry-run`` as their files do.
The other commands look at a store, or tidy it up.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from xlt_ray.run.exit_codes import BAD_CONFIG, DONE, RESUMABLE

if TYPE_CHECKING:
    from xlt_ray.commands.cli import Job

ROOT = "~/xlt_ray"
"""Where a store is unless one is named, as `xlt_ray.config.schema.StoreConfig` has it."""


@dataclass(frozen=True)
class Command:
    """A command that is a job: it takes ``--config``, ``--set`` and ``--dry-run``.

    Attributes:
        words: What it does, for ``--help``.
        job: Imports what carries it out.
        defaults: Its configuration where nothing else is said.
        takes_preset: Whether its first word may be a preset.
        first: Key that its first word sets.
    """

    words: str
    job: "Callable[[], Job]"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    takes_preset: bool = True
    first: str | None = None


def _run() -> "Job":
    from xlt_ray.commands.self_train import JOB

    return JOB


def _sweep() -> "Job":
    from xlt_ray.commands.sweep import SPACES, job

    return job(SPACES)


def _compare() -> "Job":
    from xlt_ray.commands.compare import JOB

    return JOB


def _predict() -> "Job":
    from xlt_ray.commands.predict import JOB

    return JOB


def _serve() -> "Job":
    from xlt_ray.commands.serve import JOB

    return JOB


def _export() -> "Job":
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
    "serve": Command(
        "Label texts over HTTP with a finished run or an exported model.",
        _serve,
        {"serve": {}},
        takes_preset=False,
        first="serve.model",
    ),
    "export": Command(
        "Put the model of a finished run into a folder for other programs.",
        _export,
        takes_preset=False,
    ),
}


LOOKS: Mapping[str, str] = {
    "runs": "List the runs of a store, or the steps of one.",
    "report": "Make the page of a finished run or comparison anew, and say where it is.",
    "look": "Make pages with sentences of a finished run, labelled by its models and its rounds.",
    "ask": "Choose unlabelled rows that are worth a person's time, as files for annotation tools.",
    "gc": "List artifacts that no run refers to; with --delete, remove them.",
    "keys": "List every key of --set, for shells that complete it.",
    "presets": "List the presets: settings of papers and of measured tables.",
}
"""Functions of `xlt_ray.commands.store_commands`, and what they do."""


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command; those of the jobs are made by the jobs."""
    import shtab

    found = argparse.ArgumentParser(prog="xlt-ray", description=(__doc__ or "").partition("\n")[0])
    shtab.add_argument_to(found, "--print-completion", preamble=PREAMBLE)
    commands = found.add_subparsers(dest="command", required=True, metavar="COMMAND")
    told = {name: command.words for name, command in JOBS.items()}
    told |= LOOKS
    for name, words in told.items():
        inner = commands.add_parser(name, help=words, description=words)
        if name in JOBS:
            if JOBS[name].takes_preset:
                inner.add_argument("preset", nargs="?", help="a preset by name, or a file")
            if JOBS[name].first is not None:
                model = inner.add_argument("model", nargs="?", help="a run, or a folder")
                model.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
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
            inner.add_argument("--store", help=f"root of the store ({ROOT})")
    choices = commands.choices
    choices["runs"].add_argument("name", nargs="?", help="run whose steps are listed")
    choices["report"].add_argument("name", help="finished run or comparison")
    choices["look"].add_argument("name", help="finished run")
    choices["look"].add_argument("--rows", type=int, default=200,
                                 help="rows of each kind of text, a language (200)")  # fmt: skip
    choices["ask"].add_argument("name", help="finished run")
    choices["ask"].add_argument("--rows", type=int, default=200,
                                help="rows of all languages together (200)")  # fmt: skip
    choices["ask"].add_argument("--of", type=int, default=5000,
                                help="rows of each language that are looked at (5000)")  # fmt: skip
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
        from xlt_ray.commands.cli import run_job

        name, command = words[0], JOBS[words[0]]
        asked = name if command.takes_preset else None
        job = command.job()
        return run_job(
            command.defaults, command.words, words[1:], job=job, command=asked, first=command.first
        )
    flags = parser().parse_args(words)
    from xlt_ray.config.credentials import redacted
    from xlt_ray.config.schema import first_line

    try:
        looks = import_module("xlt_ray.commands.store_commands")
        code = getattr(looks, flags.command)(flags)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads has seen enough
        from xlt_ray.report.screen import let_go

        let_go()
        return DONE
    except ValueError as error:
        print(f"error: {redacted(str(error))}", file=sys.stderr)
        return BAD_CONFIG
    except OSError as error:  # of a disk or a network, which may be back
        print(f"failed: {first_line(error)}", file=sys.stderr)
        return RESUMABLE


if __name__ == "__main__":
    sys.exit(main())
