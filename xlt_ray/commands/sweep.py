"""A sweep: one recipe with many settings, chosen by the score on source dev and by nothing else."""

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt_ray.commands.cli import Job, run_keys
from xlt_ray.commands.compare import slug
from xlt_ray.commands.sweep_config import SweepConfig, SweepSection, beforehand, configure
from xlt_ray.config.errors import ConfigError, RunInterrupted
from xlt_ray.config.layers import describe, settings, to_dict
from xlt_ray.report.sweep import Scope, Sweep, SweepTrial, write_sweep
from xlt_ray.run.rehearsal import rehearse
from xlt_ray.run.session import connected
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder

if TYPE_CHECKING:
    from xlt_ray.engine.tune import Ended, Report, TrialShare

SPACES = Path(__file__).parents[1] / "tune_spaces"
"""The search spaces of the methods: in a checkout a link, in a wheel their files."""


class SweepError(RunInterrupted):
    """Trials of a sweep failed; the others are kept, and the same command goes on from there."""


def sweep(config: SweepConfig) -> dict[str, Any]:
    """Run all trials, write the tables and the best configurations; returns plain values.

    Args:
        config: The configuration, from `configure`.

    Raises:
        ConfigError: the cluster has no room for a trial.
        LeaseHeldError: another driver is at work on this sweep.
        SweepError: trials failed; the tables are written all the same.
    """
    from xlt_ray.commands.trial import read_corpora
    from xlt_ray.engine.same_code import check_nodes, checking
    from xlt_ray.engine.tune import in_parallel

    began = time.monotonic()
    folder = RunFolder(Store(config.base.store.root), config.name)
    with Lease(folder.store, folder.path) as lease:
        folder.write_json("config.json", config.to_dict())
        with connected(config.base), checking(folder.store, folder.path):
            check_nodes()
            part, at_once = _share(config)
            for scope in config.scopes:
                read_corpora(config.corpora(scope, part.resources))
            print(_intent(config, part, at_once), flush=True)
            jobs = {
                scope: partial(search_scope, config, scope, part, at_once)
                for scope in config.scopes
            }
            if len(jobs) == 1:
                found = {scope: job() for scope, job in jobs.items()}
            else:
                found = in_parallel(jobs, at_once)
        lease.check()
        scopes = [Scope(scope, config.scopes[scope], trials) for scope, trials in found.items()]
        seconds = time.monotonic() - began
        result = Sweep(config.name, list(config.space), scopes, seconds, config.to_dict())
        _publish(result, config, part, folder)
    failed = [trial for scope in result.scopes for trial in scope.trials if trial.error]
    if failed:
        raise SweepError(f"{len(failed)} trials failed; the first: {failed[0].error}")
    return result.to_json()


def _share(config: SweepConfig) -> tuple["TrialShare", int]:
    """A trial's share of the cluster, and how many searches go on at once."""
    from xlt_ray.engine.resources import available
    from xlt_ray.engine.tune import share

    number = len(beforehand(config)) * len(config.scopes)
    part = share(config.resources, available(config.resources), number)
    wanted = config.section.concurrent
    if wanted is not None:
        if wanted > part.concurrent:
            raise ConfigError(
                f"sweep.concurrent: {wanted}, but the cluster has room for {part.concurrent} "
                "trials; lower it, or what each of them asks for"
            )
        part = replace(part, concurrent=wanted)
    return part, min(len(config.scopes), part.concurrent)


def search_scope(
    config: SweepConfig, scope: str, part: "TrialShare", at_once: int
) -> list[SweepTrial]:
    """The search for one scope, beside others; returns its trials in their order."""
    from xlt_ray.engine.tune import is_point, run_search

    folder = RunFolder(Store(config.base.store.root), config.name)
    kept = f"trials-{slug(scope)}.json"
    known = [item for item in folder.read_json(kept) or [] if is_point(item, config.space)]
    begun, ended = list(known), 0

    def on_start(parameters: Mapping[str, Any]) -> None:
        if parameters not in begun:
            begun.append(dict(parameters))
            folder.write_json(kept, begun)

    def on_end(result: "Ended") -> None:
        nonlocal ended
        ended += 1
        print(f"{ended:4} {_trial(config, scope, result).line()}", flush=True)

    search = config.search(max(1, part.concurrent // at_once), part.holds)
    results = run_search(
        partial(_run_trial, config, scope, part), replace(search, known=known), on_start, on_end
    )
    return [_trial(config, scope, result) for result in results]


def _run_trial(
    config: SweepConfig,
    scope: str,
    part: "TrialShare",
    parameters: Mapping[str, Any],
    report: "Report",
) -> Mapping[str, Any]:
    from xlt_ray.commands.trial import run_trial

    made = config.make(scope, parameters)
    return run_trial(made.model_copy(update={"resources": part.resources}), report)


def _trial(config: SweepConfig, scope: str, result: "Ended") -> SweepTrial:
    facts = result.facts or {}
    return SweepTrial(
        parameters=result.parameters,
        state=result.state,
        scores=result.scores,
        source_dev=facts.get("source_dev"),
        seconds=facts.get("seconds"),
        computed=facts.get("computed", {}),
        found=facts.get("found", {}),
        run=config.make(scope, result.parameters).run_name,
        error=result.error,
    )


def _publish(result: Sweep, config: SweepConfig, part: "TrialShare", folder: RunFolder) -> None:
    from xlt_ray.report.screen import Screen
    from xlt_ray.report.sweep import terminal_table

    best = {
        scope.name: config.make(scope.name, scope.best.parameters).model_copy(
            update={"resources": part.resources}
        )
        for scope in result.scopes
        if scope.best
    }
    files = write_sweep(
        result, {slug(name): to_dict(item) for name, item in best.items()}, folder.write
    )
    files += _draw(result, folder)
    console = Screen()
    for scope in result.scopes:
        console.print(terminal_table(result, scope))
    for file in files:
        print(f"{folder.path}/{file}", flush=True)


def _draw(result: Sweep, folder: RunFolder) -> list[str]:
    """Draw the surface of every search that has one, if matplotlib is there."""
    from xlt_ray.report.figures import require_matplotlib, write_pictures
    from xlt_ray.report.surface import surface_figure

    try:
        require_matplotlib()
    except ConfigError as error:
        print(f"no figure: {error}", flush=True)
        return []
    drawn = []
    for scope in result.scopes:
        if scope.best:
            name = f"surface-{slug(scope.name)}" if len(result.scopes) > 1 else "surface"
            heading = f"{result.name}, {scope.name}"
            write_pictures(name, surface_figure(scope, result.keys, heading=heading), folder.write)
            drawn.append(f"{name}.svg")
    return drawn


def _intent(config: SweepConfig, part: "TrialShare", at_once: int) -> str:
    """What the sweep is going to do, in one line or two."""
    number = len(beforehand(config))
    held = ", ".join(f"{amount:g} {name}" for name, amount in part.holds.items())
    searches = "one search" if len(config.scopes) == 1 else f"{len(config.scopes)} searches"
    return (
        f"{searches} ({config.section.search}) of {number} trials, "
        f"{min(part.concurrent, number * at_once)} trials at once; a trial holds {held}"
    )


def dry_run(config: SweepConfig) -> int:
    """Print the configuration, the trials and the steps of the first one; returns the exit code."""
    part, at_once = _share(config)
    print("\n".join(settings(config.to_dict())), end="\n\n")
    print(_intent(config, part, at_once), end="\n\n")
    code = 0
    for scope, targets in config.scopes.items():
        print(f"search {scope}: {', '.join(targets)}")
        trials = [config.make(scope, item) for item in beforehand(config)]
        for trial in trials:
            own = to_dict(trial.method)
            print("  " + ", ".join(f"{key} {own[key]}" for key in config.space))
        print(f"\nsteps of the first trial of {scope}:")
        first = trials[0].model_copy(update={"resources": part.resources})
        code = max(code, rehearse(first, is_trial=True))
    return code


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about the keys of a sweep and of a run."""
    own = describe(SweepSection, defaults.get("sweep", {}), "sweep.")
    return [*run_keys({key: item for key, item in defaults.items() if key != "sweep"}), *own]


def job(spaces: Path) -> Job:
    """What ``jobs/sweep.py`` does with its flags; ``spaces`` has a file for each method."""
    return Job(partial(configure, spaces), sweep, dry_run, keys)
