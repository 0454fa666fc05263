"""What the commands share: flags, help, exit codes.

Exit codes: 0 done, 2 bad configuration or data, 3 a failure after which the same command goes on.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xlt_ray.commands.presets import preset
from xlt_ray.config.credentials import redacted
from xlt_ray.config.errors import ConfigError, RunInterrupted
from xlt_ray.config.layers import describe, schema_for, settings, to_dict
from xlt_ray.config.schema import MethodConfig, RunConfig
from xlt_ray.engine.environment import prepare
from xlt_ray.run.check import configure_run, recipes
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE, RESUMABLE
from xlt_ray.run.failures import GOES_ON, first_cause, public_error
from xlt_ray.run.rehearsal import rehearse
from xlt_ray.run.session import (
    run,
)
from xlt_ray.store.lease import LeaseHeldError


@dataclass(frozen=True)
class Job:
    """What `main` does with its flags; a configuration is any object with ``resources``.

    Attributes:
        configure: Makes the configuration from defaults, files and ``--set`` flags.
        run: Runs it.
        dry_run: Checks it and prints the plan; returns the exit code.
        keys: The lines of ``--help`` about keys, from the defaults.
    """

    configure: Callable[[Mapping[str, Any], Sequence[str], Sequence[str]], Any]
    run: Callable[[Any], object]
    dry_run: Callable[[Any], int]
    keys: Callable[[Mapping[str, Any]], Sequence[str]]


def run_job(
    defaults: Mapping[str, Any],
    description: str | None = None,
    argv: Sequence[str] | None = None,
    *,
    job: Job | None = None,
    command: str | None = None,
    first: str | None = None,
) -> int:
    """Run one job from its flags; returns the exit code.

    Args:
        defaults: The job's configuration, as nested keys.
        description: First lines of ``--help``.
        argv: Flags; default: the command line's.
        job: What is done; default: one run.
        command: Word of ``xlt-ray`` that this is, which takes a preset first; None: a job's file.
        first: Key that the first word sets, in place of a preset.
    """
    job = job or Job(configure_run, run, dry_run_job, run_keys)
    words = sys.argv[1:] if argv is None else argv
    flags = _parse(defaults, description, words, job, takes_preset=command is not None, first=first)
    try:
        files = [*_preset_of(flags, command), *flags.config]
        config = job.configure(defaults, files, [*_first_of(flags, first), *flags.set])
        address = config.resources.address or os.environ.get("RAY_ADDRESS")
        prepare(local=address in (None, "", "local"))
        if flags.dry_run:
            return _dry_run(job, config)
        job.run(config)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return RESUMABLE
    except Exception as error:
        if os.environ.get("XLT_DEBUG"):
            traceback.print_exc()
        found = public_error(error)
        code = RESUMABLE if isinstance(found, RunInterrupted) else BAD_CONFIG
        if code == BAD_CONFIG or isinstance(found, LeaseHeldError):
            print(f"error: {found}", file=sys.stderr)
        else:
            print(
                f"failed: {redacted(first_cause(error))}\n{GOES_ON} "
                "(XLT_DEBUG=1 shows the whole trace).",
                file=sys.stderr,
            )
        return code
    return DONE


def _dry_run(job: Job, config: Any) -> int:
    """What a dry run says; whoever reads it may stop early."""
    try:
        code = job.dry_run(config)
        sys.stdout.flush()
    except BrokenPipeError:
        from xlt_ray.report.screen import let_go

        let_go()
        return DONE
    return code


def _preset_of(flags: argparse.Namespace, command: str | None) -> list[str]:
    """The file of the preset that is asked for, if one is.

    Raises:
        ConfigError: there is none of that name, or it is one of another command.
    """
    name = getattr(flags, "preset", None)
    if name is None:
        return []
    found = preset(name)
    if found.command not in ("", command) and command != "sweep":
        raise ConfigError(f"preset {found.name}: is one of xlt-ray {found.command}")
    return [str(found.path)]


def _first_of(flags: argparse.Namespace, first: str | None) -> list[str]:
    """The flag that the first word stands for."""
    word = None if first is None else getattr(flags, "first", None)
    return [] if word is None else [f"{first}={json.dumps(word)}"]


def _parse(
    defaults: Mapping[str, Any],
    description: str | None,
    argv: Sequence[str],
    job: Job,
    *,
    takes_preset: bool,
    first: str | None,
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(job.keys(defaults)) if {"-h", "--help"} & set(argv) else None,
    )
    if takes_preset:
        parser.add_argument("preset", nargs="?", help="a preset (xlt-ray presets), or a file")
    if first is not None:
        name = first.rpartition(".")[2].upper()
        parser.add_argument(
            "first", nargs="?", metavar=name, help=f"the same as --set {first}={name}"
        )
    parser.add_argument("--config", action="append", default=[], metavar="FILE",
                        help="YAML file of keys; repeatable, later files win")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="one key; repeatable, wins over files")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true",
                        help="check everything and print the plan; run nothing")  # fmt: skip
    return parser.parse_args(argv)


def run_keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about the keys of a run; those of a method, if the job names one."""
    if "name" not in (defaults.get("method") or {}):
        lines = describe(RunConfig[MethodConfig], defaults)
        return ["keys, with the defaults of this job; a method has more:", *lines]
    schema = schema_for(defaults, {name: item.Config for name, item in recipes().items()})
    return ["keys, with the defaults of this job:", *describe(schema, defaults)]


def dry_run_job(config: RunConfig[Any]) -> int:
    """Print the configuration, defaults too, and `rehearse` it; returns the exit code."""
    print("\n".join(settings(to_dict(config))), end="\n\n")
    return rehearse(config)
