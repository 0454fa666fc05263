"""Several methods on one benchmark with several seeds, in one table.

Each row of the table is run with each seed. Each of those runs is an ordinary one with a folder of
its own, so a comparison that was killed goes on like a run. All of them share one Ray and one
store, so a step that several of them need is computed once.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field

from xlt_ray.commands.cli import Job
from xlt_ray.commands.significance import significance
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import (
    describe,
    merge,
    origin_of,
    schema_for,
    settings,
    to_dict,
    validate,
)
from xlt_ray.config.schema import (
    RUN_NAME,
    MethodConfig,
    ResourcesConfig,
    RunConfig,
    Section,
    Text,
    shown,
    split_commas,
)
from xlt_ray.report.compare import terminal_tables, write_comparison
from xlt_ray.report.comparison import OF_A_ROW, Comparison, ComparisonRow, ScoredRun
from xlt_ray.report.figures import comparison_figure, require_matplotlib, write_pictures
from xlt_ray.report.page import comparison_page
from xlt_ray.report.published import PublishedTable, published
from xlt_ray.run.check import check_run, recipes
from xlt_ray.run.rehearsal import rehearse
from xlt_ray.run.session import carry_out, connected
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder

if TYPE_CHECKING:
    from xlt_ray.recipe.method import Outcome
    from xlt_ray.run.gold_steps import Oracle

BENCHMARK_TABLES = {"wikiann": [("CLTP", "1")], "xnli": [("CLTP", "2")]}
"""Printed tables, as paper and number, that are shown with a benchmark."""

_INSTEAD = {
    "method": "compare.methods, and compare.shared for keys of several methods",
    "seed": "compare.seeds",
}
"""Keys of a run that a comparison sets itself, and what it has instead."""


def _by_title(value: Any) -> Any:
    """Rows from names alone, and rows without keys of their own."""
    value = split_commas(value)
    if isinstance(value, list):
        return {name: {} for name in _distinct(value)}
    if isinstance(value, Mapping):
        return {title: {} if keys is None else keys for title, keys in value.items()}
    return value


def _listed(value: Any) -> Any:
    value = split_commas(value)
    return [value] if isinstance(value, int) else _distinct(value)


def _distinct(value: Any) -> Any:
    if isinstance(value, list):
        names = [str(item) for item in value]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]} is listed twice")
    return value


class PublishedChoice(Section, frozen=True):
    """A printed table."""

    paper: Text
    """Short name of the paper, such as CLTP."""
    table: Text
    """Number of the table."""


class CompareSection(Section, frozen=True):
    """The rows and seeds of a comparison."""

    methods: Annotated[dict[Text, dict[str, Any]], BeforeValidator(_by_title), Field(min_length=1)]
    """Keys of the method by row title, `name` among them unless it is the title; or only names.
    benchmark: few, few_seed, few_weight and select_on of the row; translation: its keys of it."""
    shared: dict[str, Any] = Field(default_factory=dict)
    """Keys for every method that has them; those of a row win."""
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**31)], ...],
        BeforeValidator(_listed),
        Field(min_length=1),
    ] = (0, 1, 2)
    """Seeds of every row, comma separated."""
    figure: bool = False
    """Draw the averages as bars, too; needs matplotlib."""
    against: Text | None = None
    """Title of the row that the others are tested against; absent: the best one."""
    published: tuple[PublishedChoice, ...] | None = None
    """Printed tables to show, as paper and table; absent: the benchmark's own, if it has one."""


class _Document(Section, frozen=True):
    compare: CompareSection


@dataclass(frozen=True)
class CompareConfig:
    """Everything that a comparison depends on.

    Attributes:
        name: Name of the comparison's folder.
        section: The section ``compare``.
        rows: Configuration of each run by row title and seed, in order.
        published: Printed tables to show.
    """

    name: str
    section: CompareSection
    rows: Mapping[str, Mapping[int, RunConfig[Any]]]
    published: Sequence[PublishedTable]

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Title and seed of every run in the order they are carried out: seed after seed."""
        return [(title, seed) for seed in self.section.seeds for title in self.rows]

    def announced(self) -> Iterator[tuple[str, int]]:
        """The same, each said on standard output before it is carried out."""
        for number, (title, seed) in enumerate(self.runs, start=1):
            print(f"[{number}/{len(self.runs)}] {title}, seed {seed}", flush=True)
            yield title, seed

    @property
    def first(self) -> RunConfig[Any]:
        """The first run; all are alike but for method, labels of targets, seed and name."""
        title, seed = self.runs[0]
        return self.rows[title][seed]

    @property
    def resources(self) -> ResourcesConfig:
        """What every run asks the cluster for."""
        return self.first.resources

    def to_dict(self) -> dict[str, Any]:
        """Plain form: the section, and what all runs share."""
        common = to_dict(self.first)
        common["run"]["name"] = self.name
        kept = {key: value for key, value in common.items() if key not in _INSTEAD}
        return {"compare": to_dict(self.section), **kept}


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> CompareConfig:
    """The configuration of a comparison; every run of it is checked as far as that needs no data.

    Args:
        defaults: Nested keys of the job.
        files: YAML files, later ones override earlier ones.
        flags: ``key=value`` texts of ``--set``, applied last.

    Raises:
        ConfigError: what is wrong in which rows, where it came from, what is allowed.
    """
    return configured(*merge(defaults, files=files, flags=flags))


def configured(values: Mapping[str, Any], origins: Mapping[str, str]) -> CompareConfig:
    """The configuration of a comparison from merged keys and where they are from.

    Raises:
        ConfigError: as `configure` does.
    """
    values = dict(values)
    for key, instead in _INSTEAD.items():
        if key in values:
            origin = origin_of(key, origins)
            raise ConfigError(f"{key}: a comparison has {instead} instead (from {origin})")
    given = {"compare": values.pop("compare")} if "compare" in values else {}
    section = validate(_Document, given, origins).compare
    _check_titles(section, origins)
    methods = _methods(section, origins)
    unseeded = _every(methods, lambda title: _run(methods[title], values, origins))
    common = next(iter(unseeded.values()))
    name = common.run.name or f"compare-{common.data_name}"
    _check_folders(name, section, origins)

    def with_seeds(title: str) -> dict[int, RunConfig[Any]]:
        configs = {}
        for seed in section.seeds:
            own = {"name": run_name(name, title, seed)}
            seeded = {**values, "run": {**values.get("run", {}), **own}, "seed": seed}
            configs[seed] = _run(_started(methods, title, name, seed), seeded, origins)
        return configs

    rows = _every(methods, with_seeds)
    tables = _published(section, common.benchmark.name, origins)
    return CompareConfig(name, section, rows, tables)


def slug(title: str) -> str:
    """A row's title as part of a folder's name: lower-case letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^a-z0-9_]+", "-", title.lower()).strip("-")


def _check_titles(section: CompareSection, origins: Mapping[str, str]) -> None:
    titles: dict[str, str] = {}
    for title in section.methods:
        origin = origin_of(f"compare.methods.{title}", origins)
        name = slug(title)
        if not name:
            raise ConfigError(
                f"compare.methods: title {title!r} has no letter a to z or digit for the name of "
                f"its folder (from {origin})"
            )
        if name in titles:
            raise ConfigError(
                f"compare.methods: titles {titles[name]!r} and {title!r} would share the folder "
                f"{name!r} (from {origin})"
            )
        titles[name] = title
    if section.against not in (None, *section.methods):
        raise ConfigError(
            f"compare.against: {shown(section.against)} is no row, there are: "
            f"{', '.join(section.methods)} (from {origin_of('compare.against', origins)})"
        )


def _check_folders(name: str, section: CompareSection, origins: Mapping[str, str]) -> None:
    """Whether a folder can be named by every row: its title is in there as `slug` makes it."""
    for title in section.methods:
        folder = max((run_name(name, title, seed) for seed in section.seeds), key=len)
        if len(folder) > RUN_NAME:
            origin = origin_of(f"compare.methods.{title}", origins)
            raise ConfigError(
                f"compare.methods: title {shown(title)} makes a folder's name of {len(folder)} "
                f"letters, at most {RUN_NAME}: shorten it, or run.name (from {origin})"
            )


@dataclass(frozen=True)
class _RowMethod:
    """Keys of a row's method, those of other sections that it has of its own, and where each is
    from."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    sections: Mapping[str, Mapping[str, Any]]


def _methods(section: CompareSection, origins: Mapping[str, str]) -> dict[str, _RowMethod]:
    """The method of every row: what it takes of the shared keys, then its own."""
    schemas = _schemas()
    found, taken, are_known = {}, {"name"}, True
    for title, row in section.methods.items():
        sections = {name: row[name] or {} for name in OF_A_ROW if name in row}
        for part, keys in sections.items():
            allowed_here, where = OF_A_ROW[part], f"compare.methods.{title}.{part}"
            if not isinstance(keys, Mapping) or not set(keys) <= set(allowed_here):
                raise ConfigError(
                    f"{where}: {shown(keys)}; a row's own are {', '.join(allowed_here)}, all else "
                    f"is alike in all rows (from {origin_of(where, origins)})"
                )
        own = {key: value for key, value in row.items() if key not in OF_A_ROW}
        name = own.get("name", title)
        schema = schemas.get(name) if isinstance(name, str) else None
        allowed = _keys_of(schema) if schema else set()
        shared = {key: value for key, value in section.shared.items() if key in allowed}
        sources = {key: f"compare.shared.{key}" for key in shared}
        sources |= {key: f"compare.methods.{title}.{key}" for key in ("name", *own)}
        found[title] = _RowMethod(
            {**shared, **own, "name": name},
            {f"method.{key}": origin_of(path, origins) for key, path in sources.items()}
            | {
                f"{part}.{key}": origin_of(f"compare.methods.{title}.{part}.{key}", origins)
                for part, keys in sections.items()
                for key in keys
            },
            sections,
        )
        taken |= allowed
        are_known = are_known and schema is not None
    are_chosen = origin_of("compare.methods", origins).startswith("--set")
    for key in section.shared:
        origin = origin_of(f"compare.shared.{key}", origins)
        where = f"(from {origin})"
        if key == "name":
            raise ConfigError(f"compare.shared.name: a row's method is in compare.methods {where}")
        if are_chosen and not origin.startswith("--set"):
            continue  # it was for the rows that others stand in the place of
        if key not in taken and are_known:
            there = ", ".join(sorted(taken - {"name"}))
            raise ConfigError(
                f"compare.shared.{key}: no method of the comparison has this key; allowed: {there} "
                f"{where}"
            )
    return found


def _started(methods: Mapping[str, _RowMethod], title: str, name: str, seed: int) -> _RowMethod:
    """The method of a row, whose ``start_from`` may be an earlier row: its run of the same seed."""
    row = methods[title]
    other = row.values.get("start_from")
    if other not in list(methods)[: list(methods).index(title)]:
        return row
    return replace(row, values={**row.values, "start_from": run_name(name, other, seed)})


def run_name(name: str, title: str, seed: int) -> str:
    """Name of the run of a row of a comparison."""
    return f"{name}-{slug(title)}-s{seed}"


def _schemas() -> dict[str, type[MethodConfig]]:
    return {name: method.Config for name, method in recipes().items()}


def _keys_of(schema: type[MethodConfig]) -> set[str]:
    return {field.alias or name for name, field in schema.model_fields.items()} - {"name"}


def _run(
    method: _RowMethod, values: Mapping[str, Any], origins: Mapping[str, str]
) -> RunConfig[Any]:
    """The checked configuration of one run."""
    values = {**values, "method": method.values}
    for section, own in method.sections.items():
        values[section] = {**(values.get(section) or {}), **own}
    origins = {**origins, **method.origins}
    return check_run(validate(schema_for(values, _schemas(), origins), values, origins))


T = TypeVar("T")


def _every(titles: Iterable[str], make: Callable[[str], T]) -> dict[str, T]:
    """What is made for each row, or one error with each fault once and the rows that have it."""
    made: dict[str, T] = {}
    faults: dict[str, list[str]] = {}
    for title in titles:
        try:
            made[title] = make(title)
        except ConfigError as error:
            for line in str(error).splitlines():
                faults.setdefault(line, []).append(repr(title))
    if faults:
        lines = (
            f"row {', '.join(rows)}: {line}" if line.startswith("method.") else line
            for line, rows in faults.items()
        )
        raise ConfigError("\n".join(lines))
    return made


def _published(
    section: CompareSection, benchmark: str, origins: Mapping[str, str]
) -> list[PublishedTable]:
    chosen = BENCHMARK_TABLES.get(benchmark, [])
    if section.published is not None:
        chosen = [(choice.paper, choice.table) for choice in section.published]
    try:
        return [part for paper, table in chosen for part in published(paper, table)]
    except ValueError as error:
        origin = origin_of("compare.published", origins)
        raise ConfigError(f"compare.published: {error} (from {origin})") from None


def compare(config: CompareConfig) -> dict[str, Any]:
    """Carry out every run, write the tables; returns the comparison as plain values.

    Args:
        config: The configuration, from `configure`.

    Raises:
        ConfigError: matplotlib is missing for the figure; nothing has run.
        LeaseHeldError: another driver is at work on this comparison or on one of its runs.
    """
    if config.section.figure:
        require_matplotlib()
    store = Store(config.first.store.root)
    folder = RunFolder(store, config.name)
    with Lease(store, folder.path) as lease:
        folder.write_json("config.json", config.to_dict())
        trials: dict[str, list[ScoredRun]] = {title: [] for title in config.rows}
        with connected(config.first):
            for title, seed in config.announced():
                with carry_out(config.rows[title][seed]) as done:
                    trials[title].append(ScoredRun(done.report, fingerprints_of(done.outcome)))
        rows = [ComparisonRow(title, found) for title, found in trials.items()]
        tested = significance(rows, config.first, config.section.against)
        comparison = Comparison(config.name, rows, config.published, config.to_dict(), tested)
        lease.check()
        _publish(comparison, folder, figure=config.section.figure)
        return comparison.to_json()


def fingerprints_of(outcome: "Outcome") -> dict[str, str]:
    """Fingerprints of the models that were scored: "zero-shot" and "final", those of single
    languages with its name behind, and "source <language>"."""
    models = {"zero-shot": outcome.zero_shot, "final": outcome.final}
    models |= {f"source {name}": model for name, model in outcome.sources.items()}
    models |= {f"zero-shot {name}": model for name, model in outcome.zero_shot_by_language.items()}
    models |= {f"final {name}": model for name, model in outcome.by_language.items()}
    return {name: model.artifact.fingerprint for name, model in models.items()}


def _publish(comparison: Comparison, folder: RunFolder, *, figure: bool) -> None:
    from xlt_ray.report.screen import Screen

    folder.write("compare.html", comparison_page(comparison).encode())
    write_comparison(comparison, folder.write)
    Screen().print(terminal_tables(comparison))
    print(f"comparison: {folder.path}/compare.html", flush=True)
    if figure:
        pictures = comparison_figure(comparison, heading=comparison.name)
        write_pictures("figure-averages", pictures, folder.write)
        print(f"figure:     {folder.path}/figure-averages.svg", flush=True)


def dry_run(config: CompareConfig, *, first: "Callable[[Oracle], object] | None" = None) -> int:
    """Check and print the runs: each row's method and, with the first seed, its steps.

    Args:
        config: The configuration, from `configure`.
        first: What is called before each recipe, as in `xlt_ray.run.session.carry_out`.

    Returns:
        The exit code: 2 if something is missing.
    """
    if config.section.figure:
        require_matplotlib()
    common = {key: value for key, value in config.to_dict().items() if key != "compare"}
    print("\n".join(settings(common)), runs_text(config), sep="\n\n")
    codes, earlier = [], list[str]()
    for title, configs in config.rows.items():
        seed = config.section.seeds[0]
        print(f"\n{method_text(title, configs[seed])}\n\nsteps with seed {seed}:")
        codes.append(rehearse(configs[seed], first=first, earlier_runs=earlier))
        earlier.append(configs[seed].run_name)
    folder = RunFolder(Store(config.first.store.root), config.name)
    folder.write_json("resolved.json", config.to_dict())
    return max(codes)


def runs_text(config: CompareConfig) -> str:
    """Every run in the order they are carried out, with its folder."""
    lines = [f"{'':4} {'method':34} {'seed':>10}  run"]
    for number, (title, seed) in enumerate(config.runs, start=1):
        lines.append(f"{number:4} {title:34} {seed:>10}  {config.rows[title][seed].run_name}")
    return "\n".join(lines)


def method_text(title: str, config: RunConfig[Any]) -> str:
    """A row's title and every key of its method, defaults too."""
    return "\n".join([f"{title}:", *settings(to_dict(config.method), "  ")])


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about the keys of a comparison and of all methods."""
    common = describe(RunConfig[MethodConfig], defaults)
    lines = ["keys, with the defaults of this job:"]
    lines += describe(CompareSection, defaults.get("compare", {}), "compare.")
    lines += [line for line in common if line.split()[0].partition(".")[0] not in _INSTEAD]
    lines.append("keys of compare.shared and compare.methods.<title>, by method:")
    for name, schema in _schemas().items():
        lines += describe(schema, {"name": name}, f"{name}: ")
    return lines


JOB = Job(configure, compare, dry_run, keys)
"""What ``jobs/compare.py`` does with its flags."""
