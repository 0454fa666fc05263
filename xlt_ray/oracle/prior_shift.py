"""How methods fare as the class priors of source and target drift apart.

Every target is read many times, each time with other class shares: rows are left out until they
hold (`xlt_ray.data.readers.subsets`), which takes gold labels. A comparison runs on each;
its runs share source models, and several subsets and seeds are at work at once where the cluster
has room. The shares are counted after the run, for the page alone.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field

from xlt_ray.commands import compare
from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import describe, merge, settings, to_dict, validate
from xlt_ray.config.schema import (
    ResourcesConfig,
    Section,
    Shares,
    split_commas,
)
from xlt_ray.data.keyed import items_of, of_language
from xlt_ray.engine.parallel import at_once
from xlt_ray.engine.resources import settle
from xlt_ray.methods.iwda.upper_bound import prior_of
from xlt_ray.ops.importance import total_variation
from xlt_ray.oracle.feature_shift import last_shift
from xlt_ray.oracle.figures.shift import (
    Point,
    Unit,
    markdown,
    shift_figure,
    zero_shot_figure,
)
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.driver import verbs_of
from xlt_ray.recipe.method import likeliest
from xlt_ray.report.figures import require_matplotlib, write_pictures
from xlt_ray.run.gold_steps import read_gold
from xlt_ray.run.session import Done, carry_out, connected
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder


class StudySection(Section, frozen=True):
    """The subsets of a study."""

    shares: tuple[Shares, ...] = ()
    """Class shares that every target is given in turn; absent: random ones."""
    random: int = Field(default=0, ge=0)
    """Number of random shares, after those that are given."""
    rows: int | None = Field(default=None, ge=1)
    """Rows of each subset of a split at most."""
    improvement: Unit = "percent"
    """Improvement over zero-shot relative to it, as in Figures 3 and 9, or in points."""
    features: bool = False
    """Measure the shift of the zero-shot model's features, and draw its scores by that (Figures 1
    and 8)."""
    concurrent: int | None = Field(default=None, ge=1)
    """Runs at work at once at most; absent: as many as there is room for."""


class _Document(Section, frozen=True):
    study: StudySection = StudySection()


@dataclass(frozen=True)
class StudyConfig:
    """Everything that a study depends on.

    Attributes:
        name: Name of its folder.
        section: The section ``study``.
        subsets: The comparison on each subset.
    """

    name: str
    section: StudySection
    subsets: Sequence[CompareConfig]

    @property
    def resources(self) -> ResourcesConfig:
        """What every run asks the cluster for."""
        return self.subsets[0].resources

    def to_dict(self) -> dict[str, Any]:
        """Plain form: the section, and the comparison on the first subset."""
        return {"study": to_dict(self.section), **self.subsets[0].to_dict()}


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> StudyConfig:
    """The configuration of a study; every run of it is checked as far as that needs no data.

    Raises:
        ConfigError: as `xlt_ray.commands.compare.configure` does, or there is no subset.
    """
    values, origins = merge(defaults, files=files, flags=flags)
    given = {"study": values.pop("study")} if "study" in values else {}
    section = validate(_Document, given, origins).study
    if not section.shares and not section.random:
        raise ConfigError("study: needs shares or a number of random ones")
    benchmark = values.get("benchmark", {})
    targets = benchmark.get("targets", "all")
    if targets == "all" or set(benchmark.get("prior", {})) & set(split_commas(targets)):
        raise ConfigError("study: needs benchmark.targets by name, whose priors it sets itself")
    for key in ("prior_seed", "prior_rows"):
        if not isinstance(benchmark.get(key, {}), dict):
            raise ConfigError(f"study: takes benchmark.{key} by language, of the sources alone")
    names = split_commas(targets)
    name = values.get("run", {}).get("name") or f"shift-{benchmark.get('name')}"
    priors: list[Any] = [*section.shares, *["random"] * section.random]

    def subset(number: int, prior: Any) -> CompareConfig:
        own = {"prior": prior, "prior_seed": number, "prior_rows": section.rows}
        own = {
            key: {**benchmark.get(key, {}), **dict.fromkeys(names, value)}
            for key, value in own.items()
            if value is not None
        }
        changed = {**values, "benchmark": {**benchmark, **own}}
        changed["run"] = {**values.get("run", {}), "name": f"{name}-{number}"}
        return compare.configured(changed, origins)

    return StudyConfig(name, section, [subset(n, prior) for n, prior in enumerate(priors)])


def study(config: StudyConfig) -> list[dict[str, Any]]:
    """Carry out every run, write page and figure; returns a record per run and target.

    Raises:
        ConfigError: matplotlib is missing; nothing has run.
        LeaseHeldError: another driver is at work on this study or on one of its runs.
    """
    require_matplotlib()
    first = config.subsets[0].first
    folder = RunFolder(Store(first.store.root), config.name)
    with Lease(folder.store, folder.path) as lease:
        folder.write_json("config.json", config.to_dict())
        with connected(first):
            calls = [
                partial(_runs, subset, seed, number, config.section.features)
                for number, subset in enumerate(config.subsets)
                for seed in subset.section.seeds
            ]
            room = settle(first.resources).trainings
            most = min(room, config.section.concurrent or room)
            points = [point for found in at_once(calls, most=most) for point in found]
        lease.check()
        _publish(points, config, folder, first.benchmark.metric)
        return [vars(point) for point in points]


def _runs(subset: CompareConfig, seed: int, number: int, features: bool) -> list[Point]:
    """Carry out the rows with one seed, in their order: a row may start from an earlier one."""
    return [point for title in subset.rows for point in _run(subset, title, seed, number, features)]


def _run(subset: CompareConfig, title: str, seed: int, number: int, features: bool) -> list[Point]:
    """Carry out one run; a point per target."""
    print(f"subset {number}: {title}, seed {seed}", flush=True)
    with carry_out(subset.rows[title][seed], first=read_gold) as done:
        driver, oracle, report = done.driver, done.oracle, done.report
        k, points = driver.context.num_classes, []
        gold = driver.source("train").labels
        assert gold is not None
        for target in report.counted:
            prior = oracle.derive(
                f"{target} prior",
                prior_of,
                oracle.gold,
                language=target,
                num_classes=k,
            ).info["prior"]
            source = oracle.derive(
                "source prior",
                prior_of,
                gold,
                language=driver.source_languages[0],
                num_classes=k,
            ).info["prior"]
            outcome = done.outcome
            start = outcome.zero_shot_by_language.get(target, outcome.zero_shot)
            own = outcome.by_language.get(target)
            points.append(
                Point(
                    subset=number,
                    row=title,
                    seed=seed,
                    target=target,
                    tv=total_variation(source, prior),
                    zero_shot=float(report.zero_shot[target][report.metric]),
                    final=float(report.final[target][report.metric]),
                    shares=tuple(prior),
                    weights=(weights := _weights(own, subset, title)),
                    source=tuple(source),
                    feature_shift=last_shift(oracle, start, target) if features else None,
                    uncorrected=_predicted(done, start, target) if weights else (),
                )
            )
        return points


def _weights(model: Model | None, subset: CompareConfig, title: str) -> tuple[float, ...]:
    """The importance weights that a model ended with, if its training estimated such."""
    method = next(iter(subset.rows[title].values())).method
    if model is None or method.name != "iwda" or method.weighting == "none":
        return ()
    return tuple(model.artifact.info["own"]["w"])


def said_prior(
    said: Artifact, *, language: str, num_classes: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Share of each class in what a model predicts for a language: ``prior``, also as a fact."""
    rows = of_language(said.table(["language", "labels"]), language)
    labels = items_of(rows["labels"])[0].astype(np.int64)
    prior = np.bincount(labels, minlength=num_classes) / max(len(labels), 1)
    return pa.table({"prior": prior}), {"prior": prior.tolist()}


def _predicted(done: Done, model: Model, target: str) -> tuple[float, ...]:
    """Class shares of what the first model of a run predicts for a target, without correction."""
    driver, title = done.driver, f"{target} zero-shot unlabelled"
    said = likeliest(verbs_of(driver), title, driver.unlabelled().of(target), model)
    k = driver.context.num_classes
    found = driver.derive(f"{title} prior", said_prior, said, language=target, num_classes=k)
    return tuple(found.info["prior"])


def _publish(
    points: Sequence[Point], config: StudyConfig, folder: RunFolder, metric: str | None
) -> None:
    heading = f"Improvement over zero-shot by prior shift: {config.name}"
    pictures = shift_figure(points, heading=heading, unit=config.section.improvement)
    write_pictures("figure-shift", pictures, folder.write)
    if config.section.features:
        heading = f"Zero-shot scores by shift: {config.name}"
        write_pictures("figure-zero-shot", zero_shot_figure(points, heading=heading), folder.write)
    page = markdown(config.name, points, config.section.improvement)
    folder.write("shift.md", page.encode())
    text = json.dumps([vars(point) for point in points], indent=1)
    folder.write("shift.json", (text + "\n").encode())
    print(f"study: {folder.path}/shift.md", flush=True)


def dry_run(config: StudyConfig) -> int:
    """Check and print the subsets, and the runs on the first of them; returns the exit code."""
    require_matplotlib()
    print("\n".join(settings({"study": to_dict(config.section)})), end="\n\n")
    for number, subset in enumerate(config.subsets):
        benchmark = subset.first.benchmark
        print(f"subset {number}: {subset.name}, priors {benchmark.prior}, seed "
              f"{benchmark.prior_seed}")  # fmt: skip
    print(f"\n{len(config.subsets)} subsets with the runs of this one:\n")
    return compare.dry_run(replace(config.subsets[0]))


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about the keys of a study and its comparisons."""
    lines = compare.keys({key: value for key, value in defaults.items() if key != "study"})
    return [lines[0], *describe(StudySection, defaults.get("study", {}), "study."), *lines[1:]]


JOB = Job(configure, study, dry_run, keys)
"""What ``jobs/prior_shift.py`` does with its flags."""
