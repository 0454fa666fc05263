"""The configuration of a sweep: what is searched, how, and for whom."""

import os
import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from xlt_ray.commands.compare import slug
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.extras import require
from xlt_ray.config.layers import (
    merge,
    of_method,
    origin_of,
    schema_for,
    to_dict,
    validate,
    with_keys,
)
from xlt_ray.config.schema import (
    RUN_NAME,
    Language,
    MethodConfig,
    ResourcesConfig,
    RunConfig,
    Section,
    Text,
    shown,
    split_commas,
)
from xlt_ray.data.benchmarks.registry import benchmark_of, resolve_targets
from xlt_ray.data.readers.globs import absolute
from xlt_ray.data.readers.user_files import HUB
from xlt_ray.engine.environment import prepare
from xlt_ray.run.check import check_run, known_methods
from xlt_ray.store.fingerprint import fingerprint

if TYPE_CHECKING:
    from xlt_ray.engine.tune import Search, Space

TRIALS = 12
_KEY = 8
"""Letters of what tells the names of trials apart."""
GRACE, REDUCTION = 2, 3


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
    groups: dict[Text, Annotated[tuple[Language, ...], BeforeValidator(split_commas)]] = Field(
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
        targets: All target languages, of which some may be in no scope.
        base: The configuration of a run, without what is searched.
        make: The checked configuration of a trial of a scope with parameters.
    """

    name: str
    section: SweepSection
    space: "Space"
    scopes: Mapping[str, Sequence[str]]
    targets: Sequence[str]
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
        own = _in_scope(to_dict(self.base), self.scopes[scope], self.targets)
        return (
            type(self.base)
            .model_validate(own)
            .model_copy(
                update={
                    "resources": resources,
                    "run": self.base.run.model_copy(update={"name": f"{self.name}-{slug(scope)}"}),
                }
            )
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
    known, method = _schemas(), (values.get("method") or {}).get("name")
    # Trials are sent what they need alone: a method of a caller may be in no file of theirs.
    schemas = {method: known[method]} if method in known else known

    def build(values: Mapping[str, Any], origins: Mapping[str, str]) -> RunConfig[Any]:
        schema = schema_for(values, schemas, origins)
        made = check_run(validate(schema, of_method(values, origins, schema), origins))
        if made.benchmark.prior:
            raise ConfigError("benchmark.prior: draws text by its gold labels; no sweep takes it")
        return made

    base = _at_home(build(values, origins))
    address = base.resources.address or os.environ.get("RAY_ADDRESS")
    prepare(local=address in (None, "", "local"))  # before Ray is imported, for its domains
    _check_section(section, origins)
    space = _space(section, base.method, spaces, origins)
    targets = _targets(base)
    scopes = _scopes(section, base, targets, origins)
    name = base.run.name or f"sweep-{base.method.name}-{base.data_name}-s{base.seed}"
    _check_folders(name, list(scopes))

    def make(scope: str, parameters: Mapping[str, Any]) -> RunConfig[Any]:
        own = _in_scope(to_dict(base), scopes[scope], targets)
        own["method"] |= parameters
        key = fingerprint(
            "trial", params=[own["method"], own["benchmark"], base.seed], inputs=(), code=""
        )
        own["run"]["name"] = f"{name}-{slug(scope)}-{key[:_KEY]}"
        return build(own, {f"method.{key}": "the space of the sweep" for key in parameters})

    config = SweepConfig(name, section, space, scopes, targets, base, make)
    for scope in scopes:
        for parameters in beforehand(config):
            make(scope, parameters)
    return config


def _in_scope(values: dict[str, Any], own: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """The values of a run whose targets are those of a scope, without the few labelled rows of
    the other targets."""
    benchmark, others = values["benchmark"], set(targets) - set(own)
    benchmark["targets"] = list(own)
    if isinstance(few := benchmark.get("few"), dict):
        benchmark["few"] = {name: rows for name, rows in few.items() if name not in others}
    for name in others:
        values["files"]["paths"].get(name, {}).pop("few", None)
    return values


def _check_folders(name: str, scopes: Sequence[str]) -> None:
    """Whether every search and its trials have folders of their own, and names for them."""
    slugs: dict[str, str] = {}
    for scope in scopes:
        other = slugs.setdefault(slug(scope), scope)
        if other != scope:
            raise ConfigError(
                f"sweep.per: {other!r} and {scope!r} would share the folder {slug(scope)!r}"
            )
        if (length := len(f"{name}-{slug(scope)}") + _KEY + 1) > RUN_NAME:
            raise ConfigError(
                f"run.name: the trials of {shown(scope)} would have names of {length} letters, at "
                f"most {RUN_NAME}: shorten it, or that name"
            )


def _without_keys(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The job's defaults without what it would search, where the user says what to search.

    That is so for another method, too: it has other keys.
    """
    own, method = dict(defaults.get("sweep") or {}), (given.get("method") or {}).get("name")
    other = method not in (None, (defaults.get("method") or {}).get("name"))
    if other or {"keys", "space"} & set(given.get("sweep") or {}):
        own.pop("keys", None)
    return with_keys(defaults, sweep=own)


def _at_home(config: RunConfig[Any]) -> RunConfig[Any]:
    """The configuration with absolute paths: a trial has a working folder of its own."""
    found, where = to_dict(config), config.benchmark.root
    found["store"]["root"] = _absolute(config.store.root)
    found["benchmark"]["root"] = None if where is None else _absolute(where)
    if Path(config.backbone).expanduser().exists():  # else an id of the hub, or one of our own
        found["backbone"] = _absolute(config.backbone)
    for splits in found["files"]["paths"].values():
        for split, patterns in splits.items():
            splits[split] = [x if x.startswith(HUB) else absolute(x) for x in patterns]
    start = found["method"].get("start_from")
    if start is not None and Path(start).expanduser().is_dir():  # else a run, or an id of the hub
        found["method"]["start_from"] = _absolute(start)
    return type(config).model_validate(found)


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).expanduser().absolute())


def _schemas() -> dict[str, type[MethodConfig]]:
    return {name: method.Config for name, method in known_methods().items()}


def _check_section(section: SweepSection, origins: Mapping[str, str]) -> None:
    def refuse(key: str, why: str) -> None:
        raise ConfigError(f"sweep.{key}: {why} (from {origin_of(f'sweep.{key}', origins)})")

    if section.search == "grid" and section.trials is not None:
        refuse("trials", "a grid has as many trials as cells")
    if section.search == "optuna":
        require("optuna", "tune", "sweep.search: optuna needs")
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
    if len({slug(name) for name in section.groups} - {""}) < len(section.groups):
        refuse("groups", "names need a letter a to z or a digit, and have to differ in these")


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


def _targets(base: RunConfig[Any]) -> tuple[str, ...]:
    """All target languages."""
    benchmark = benchmark_of(base)
    try:
        return resolve_targets(
            benchmark,
            base.benchmark.root,
            base.benchmark.targets,
            source_languages=tuple(base.benchmark.source or benchmark.sources),
            keep_sources=base.benchmark.leave_one_out,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _scopes(
    section: SweepSection,
    base: RunConfig[Any],
    targets: tuple[str, ...],
    origins: Mapping[str, str],
) -> dict[str, tuple[str, ...]]:
    """Target languages of each search, by its name."""
    sources = tuple(base.benchmark.source or benchmark_of(base).sources)
    left_out = base.benchmark.leave_one_out
    if section.per == "run":
        return {"all": targets}
    if section.per == "language":
        return {name: (name,) for name in targets if left_out or name not in sources}
    for name, group in section.groups.items():
        missing = [language for language in group if language not in targets]
        if missing or not group:
            raise ConfigError(
                f"sweep.groups.{name}: {', '.join(missing) or 'empty'}; allowed: "
                f"{', '.join(targets)} (from {origin_of(f'sweep.groups.{name}', origins)})"
            )
    return dict(section.groups)


def beforehand(config: SweepConfig) -> Sequence[Mapping[str, Any]]:
    """The parameters of all trials, or a sample where they depend on scores."""
    from xlt_ray.engine.tune import draw, points

    search = config.search()
    known = points(search)
    return draw(search.space, search.trials, search.seed) if known is None else known
