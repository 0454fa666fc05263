"""A sweep: one recipe with many settings, chosen by the score on source dev and by nothing else."""

import os
import runpy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from xlt_ray import cli
from xlt_ray.compare import slug
from xlt_ray.config import (
    ConfigError,
    MethodConfig,
    ResourcesConfig,
    RunConfig,
    Section,
    Text,
    describe,
    merge,
    origin_of,
    schema_for,
    settings,
    split_commas,
    to_dict,
    validate,
)
from xlt_ray.data.registry import lookup, resolve_targets
from xlt_ray.engine.environment import prepare
from xlt_ray.fingerprint import fingerprint
from xlt_ray.ledger import Lease, RunFolder
from xlt_ray.report.sweep import Scope, Sweep, Trial, write_sweep
from xlt_ray.store import Store

if TYPE_CHECKING:
    from xlt_ray.engine.tune import Ended, Report, Search, Share, Space

TRIALS = 12
GRACE, REDUCTION = 2, 3


class SweepError(RuntimeError):
    """Trials of a sweep failed; the others are kept, and the same command goes on from there."""


class SweepSection(Section, frozen=True):
    """What is searched, how, and for whom."""

    space: Text | None = None
    """Python file with SPACE, domains of ray.tune by key; absent: the method's own."""
    keys: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    """Values to try by key of the method; if given, these keys alone are searched."""
    search: Literal["random", "grid", "asha", "optuna"] = "random"
    """random, grid, asha (random, and bad trials end early) or optuna (by the scores so far)."""
    trials: Annotated[int, Field(ge=1)] | None = None
    """Number of trials, 12 if absent; a grid has as many as it has cells."""
    per: Literal["run", "language", "group"] = "run"
    """One sweep for all targets, one for each, or one for each of `groups`."""
    groups: dict[Text, Annotated[tuple[Text, ...], BeforeValidator(split_commas)]] = Field(
        default_factory=dict
    )
    """Target languages by name of the group, for per=group."""
    concurrent: Annotated[int, Field(ge=1)] | None = None
    """Most trials at work at once; absent: as many as the cluster has room for."""
    grace: Annotated[int, Field(ge=1)] | None = None
    """asha: trained models of a trial before it may be ended early, 2 if absent."""
    reduction: Annotated[int, Field(ge=2)] | None = None
    """asha: one of so many trials goes on at each halt, 3 if absent."""


class _Document(Section, frozen=True):
    sweep: SweepSection = SweepSection()


@dataclass(frozen=True)
class SweepConfig:
    """Everything that a sweep depends on.

    Attributes:
        name: Name of the sweep's folder.
        section: The section ``sweep``.
        space: Where the values of each key are from.
        scopes: Target languages by name of the scope; one scope is one search.
        base: The configuration of a run, without what is searched.
        make: The checked configuration of a trial of a scope with parameters.
    """

    name: str
    section: SweepSection
    space: "Space"
    scopes: Mapping[str, Sequence[str]]
    base: RunConfig[Any]
    make: Callable[[str, Mapping[str, Any]], RunConfig[Any]]

    @property
    def resources(self) -> ResourcesConfig:
        """What a trial asks the cluster for."""
        return self.base.resources

    def search(self, concurrent: int = 1, holds: Mapping[str, float] | None = None) -> "Search":
        """What Ray Tune is asked to do for one scope."""
        from xlt_ray.engine.tune import Search

        section = self.section
        return Search(
            space=self.space,
            algorithm=section.search,
            trials=section.trials or TRIALS,
            concurrent=concurrent,
            holds=holds or {},
            seed=self.base.seed,
            grace=section.grace or GRACE,
            reduction=section.reduction or REDUCTION,
        )

    def corpora(self, scope: str, resources: ResourcesConfig) -> RunConfig[Any]:
        """The configuration of the run that reads what the trials of a scope share."""
        benchmark = {"targets": tuple(self.scopes[scope])}
        return self.base.model_copy(
            update={
                "benchmark": self.base.benchmark.model_copy(update=benchmark),
                "resources": resources,
                "run": self.base.run.model_copy(update={"name": f"{self.name}-{slug(scope)}"}),
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain form: the section, and the configuration of a run."""
        return {"sweep": to_dict(self.section), **to_dict(self.base)}


def configure(
    spaces: Path,
    defaults: Mapping[str, Any],
    files: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> SweepConfig:
    """The configuration of a sweep; every trial that is known beforehand is checked.

    Args:
        spaces: Folder with a file ``<method>.py`` for each method.
        defaults: Nested keys of the job.
        files: YAML files, later ones override earlier ones.
        flags: ``key=value`` texts of ``--set``, applied last.

    Raises:
        ConfigError: what is wrong, where it came from, what is allowed.
    """
    given, _ = merge({}, files=files, flags=flags)
    values, origins = merge(_without_keys(defaults, given), files=files, flags=flags)
    given = {"sweep": values.pop("sweep")} if "sweep" in values else {}
    section = validate(_Document, given, origins).sweep
    schemas = _schemas()

    def build(values: Mapping[str, Any], origins: Mapping[str, str]) -> RunConfig[Any]:
        return cli.check(validate(schema_for(values, schemas, origins), values, origins))

    base = build(values, origins)
    address = base.resources.address or os.environ.get("RAY_ADDRESS")
    prepare(local=address in (None, "", "local"))  # before Ray is imported, for its domains
    _check_section(section, origins)
    space = _space(section, base.method, spaces, origins)
    scopes = _scopes(section, base, origins)
    name = base.run.name or f"sweep-{base.method.name}-{base.benchmark.name}-s{base.seed}"

    def make(scope: str, parameters: Mapping[str, Any]) -> RunConfig[Any]:
        own = to_dict(base)
        own["method"] |= parameters
        own["benchmark"]["targets"] = list(scopes[scope])
        key = fingerprint(
            "trial", params=[own["method"], own["benchmark"]], inputs=(), seed=base.seed, code=""
        )
        own["run"]["name"] = f"{name}-{slug(scope)}-{key[:8]}"
        return build(own, {f"method.{key}": "the space of the sweep" for key in parameters})

    config = SweepConfig(name, section, space, scopes, base, make)
    for scope in scopes:
        for parameters in _beforehand(config):
            make(scope, parameters)
    return config


def _without_keys(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The job's defaults without what it would search, where the user says what to search.

    That is so for another method, too: it has other keys.
    """
    own, method = dict(defaults.get("sweep") or {}), (given.get("method") or {}).get("name")
    other = method not in (None, (defaults.get("method") or {}).get("name"))
    if other or {"keys", "space"} & set(given.get("sweep") or {}):
        own.pop("keys", None)
    return {**defaults, "sweep": own}


def _schemas() -> dict[str, type[MethodConfig]]:
    from xlt_ray.methods import METHODS

    return {name: method.Config for name, method in METHODS.items()}


def _check_section(section: SweepSection, origins: Mapping[str, str]) -> None:
    def refuse(key: str, why: str) -> None:
        raise ConfigError(f"sweep.{key}: {why} (from {origin_of(f'sweep.{key}', origins)})")

    if section.search == "grid" and section.trials is not None:
        refuse("trials", "a grid has as many trials as cells")
    if section.search != "asha":
        for key in ("grace", "reduction"):
            if getattr(section, key) is not None:
                refuse(key, f"belongs to sweep.search asha, and it is {section.search}")
    if section.keys and section.space:
        refuse("space", "sweep.keys takes the place of the file; give one of them")
    if section.groups and section.per != "group":
        refuse("groups", f"goes with sweep.per group, and it is {section.per}")
    if section.per == "group" and not section.groups:
        refuse("per", "group, but sweep.groups has none")


def _space(
    section: SweepSection, method: MethodConfig, spaces: Path, origins: Mapping[str, str]
) -> "Space":
    """Where the values of each key are from, checked against the keys of the method."""
    from xlt_ray.engine.tune import choices

    if section.keys:
        space: Space = choices(section.keys)
        where = origin_of("sweep.keys", origins)
    else:
        path = Path(section.space) if section.space else spaces / f"{method.name}.py"
        where = str(path)
        if not path.is_file():
            there = ", ".join(sorted(item.stem for item in spaces.glob("*.py")))
            raise ConfigError(
                f"sweep.space: no file {path}; give one, or sweep.keys; methods with a space of "
                f"their own: {there}"
            )
        space = runpy.run_path(str(path)).get("SPACE", {})
        if not space:
            raise ConfigError(f"sweep.space: {path} has no SPACE, domains of ray.tune by key")
    allowed = {field.alias or name for name, field in type(method).model_fields.items()} - {"name"}
    for key in space:
        if key not in allowed:
            raise ConfigError(
                f"method.{key}: {method.name} has no such key; allowed: "
                f"{', '.join(sorted(allowed))} (from {where})"
            )
    if section.search == "grid":
        _cells(space, where)
    return space


def _cells(space: "Space", where: str) -> None:
    from xlt_ray.engine.tune import grid

    try:
        grid(space)
    except ValueError as error:
        raise ConfigError(f"sweep.search: {error} (from {where})") from None


def _scopes(
    section: SweepSection, base: RunConfig[Any], origins: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Target languages of each search, by its name."""
    benchmark = lookup(base.benchmark.name)
    sources = tuple(base.benchmark.source or (benchmark.source,))
    try:
        targets = resolve_targets(
            benchmark, base.benchmark.root, base.benchmark.targets, source_languages=sources
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if section.per == "run":
        return {"all": targets}
    if section.per == "language":
        return {name: (name,) for name in targets if name not in sources}
    for name, group in section.groups.items():
        missing = [language for language in group if language not in targets]
        if missing or not group:
            raise ConfigError(
                f"sweep.groups.{name}: {', '.join(missing) or 'empty'}; allowed: "
                f"{', '.join(targets)} (from {origin_of(f'sweep.groups.{name}', origins)})"
            )
    return dict(section.groups)


def _beforehand(config: SweepConfig) -> Sequence[Mapping[str, Any]]:
    """The parameters of all trials, or a sample where they depend on scores."""
    from xlt_ray.engine.tune import draw, points

    search = config.search()
    known = points(search)
    return draw(search.space, search.trials, search.seed) if known is None else known


def sweep(config: SweepConfig) -> dict[str, Any]:
    """Run all trials, write the tables and the best configurations; returns plain values.

    Args:
        config: The configuration, from `configure`.

    Raises:
        ConfigError: the cluster has no room for a trial.
        LeaseHeldError: another driver is at work on this sweep.
        SweepError: trials failed; the tables are written all the same.
    """
    from xlt_ray.engine.tune import in_parallel
    from xlt_ray.trial import read_corpora

    began = time.monotonic()
    folder = RunFolder(Store(config.base.store.root), config.name)
    lease = Lease(folder.store, folder.path)
    lease.acquire()
    try:
        folder.write_json("config.json", config.to_dict())
        with cli.cluster(config.base):
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
    finally:
        lease.release()
    failed = [trial for scope in result.scopes for trial in scope.trials if trial.error]
    if failed:
        raise SweepError(f"{len(failed)} trials failed; the first: {failed[0].error}")
    return result.to_json()


def _share(config: SweepConfig) -> tuple["Share", int]:
    """A trial's share of the cluster, and how many searches go on at once."""
    from xlt_ray.engine.cluster import available
    from xlt_ray.engine.tune import share

    number = len(_beforehand(config)) * len(config.scopes)
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


def search_scope(config: SweepConfig, scope: str, part: "Share", at_once: int) -> list[Trial]:
    """The search for one scope, beside others; returns its trials in their order."""
    from xlt_ray.engine.tune import run_search

    folder = RunFolder(Store(config.base.store.root), config.name)
    kept = f"trials-{slug(scope)}.json"
    known = folder.read_json(kept) or []
    ended: list[Trial] = []

    def on_end(result: "Ended") -> None:
        ended.append(_trial(config, scope, result))
        print(f"{len(ended):4} {ended[-1].line()}", flush=True)
        done = [dict(trial.parameters) for trial in ended]
        folder.write_json(kept, done + [item for item in known if item not in done])

    search = config.search(max(1, part.concurrent // at_once), part.holds)
    results = run_search(
        partial(_run_trial, config, scope, part), replace(search, known=known), on_end
    )
    return [_trial(config, scope, result) for result in results]


def _run_trial(
    config: SweepConfig, scope: str, part: "Share", parameters: Mapping[str, Any], report: "Report"
) -> Mapping[str, Any]:
    from xlt_ray.trial import run_trial

    made = config.make(scope, parameters)
    return run_trial(made.model_copy(update={"resources": part.resources}), report)


def _trial(config: SweepConfig, scope: str, result: "Ended") -> Trial:
    facts = result.facts or {}
    return Trial(
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


def _publish(result: Sweep, config: SweepConfig, part: "Share", folder: RunFolder) -> None:
    from rich.console import Console

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
    console = Console()
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


def _intent(config: SweepConfig, part: "Share", at_once: int) -> str:
    """What the sweep is going to do, in one line or two."""
    number = len(_beforehand(config))
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
        trials = [config.make(scope, item) for item in _beforehand(config)]
        for trial in trials:
            own = to_dict(trial.method)
            print("  " + ", ".join(f"{key} {own[key]}" for key in config.space))
        print(f"\nsteps of the first trial of {scope}:")
        first = trials[0].model_copy(update={"resources": part.resources})
        code = max(code, cli.rehearse(first, scored=False))
    return code


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about the keys of a sweep and of a run."""
    own = describe(SweepSection, defaults.get("sweep", {}), "sweep.")
    return [*cli.keys({key: item for key, item in defaults.items() if key != "sweep"}), *own]


def job(spaces: Path) -> cli.Job:
    """What ``jobs/sweep.py`` does with its flags; ``spaces`` has a file for each method."""
    return cli.Job(partial(configure, spaces), sweep, dry_run, keys)
