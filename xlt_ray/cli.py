"""What every job does: flags, configuration, cluster, recipe, evaluation, report.

Exit codes: 0 done, 2 bad configuration or data, 3 a failure after which the same command goes on.
"""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from xlt_ray.config import ConfigError, MethodConfig, RunConfig
from xlt_ray.credentials import redacted
from xlt_ray.data.own import resolved
from xlt_ray.data.registry import benchmark_of
from xlt_ray.engine.environment import prepare
from xlt_ray.layered import describe, load, schema_for, settings, to_dict, validate
from xlt_ray.ledger import LeaseHeldError
from xlt_ray.points import reached

if TYPE_CHECKING:
    from xlt_ray.driver import RayDriver
    from xlt_ray.engine.cluster import Plan
    from xlt_ray.ledger import RunFolder
    from xlt_ray.methods.base import Method, Outcome, Round
    from xlt_ray.oracle.driver import Oracle
    from xlt_ray.report import Report
    from xlt_ray.scoring import Scorer
    from xlt_ray.steps import StepRunner

DONE, BAD_CONFIG, RESUMABLE = 0, 2, 3


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


def main(
    defaults: Mapping[str, Any],
    description: str | None = None,
    argv: Sequence[str] | None = None,
    *,
    job: Job | None = None,
) -> int:
    """Run one job from its flags; returns the exit code.

    Args:
        defaults: The job's configuration, as nested keys.
        description: First lines of ``--help``.
        argv: Flags; default: the command line's.
        job: What is done; default: one run.
    """
    job = job or Job(configure, run, dry_run, keys)
    flags = _parse(defaults, description, sys.argv[1:] if argv is None else argv, job)
    try:
        config = job.configure(defaults, flags.config, flags.set)
        address = config.resources.address or os.environ.get("RAY_ADDRESS")
        prepare(local=address in (None, "", "local"))
        if flags.dry_run:
            return job.dry_run(config)
        job.run(config)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return RESUMABLE
    except Exception as error:
        if os.environ.get("XLT_DEBUG"):
            traceback.print_exc()
        if isinstance(error, LeaseHeldError) or _is_users(error):
            print(f"error: {redacted(str(error))}", file=sys.stderr)
            return RESUMABLE if isinstance(error, LeaseHeldError) else BAD_CONFIG
        print(
            f"failed: {redacted(_cause(error))}\nThe same command goes on from the last finished "
            "step (XLT_DEBUG=1 shows the whole trace).",
            file=sys.stderr,
        )
        return RESUMABLE
    return DONE


def _is_users(error: Exception) -> bool:
    """Whether trying again cannot help: a message of this project about the user's input.

    What Arrow, JSON and text decoding say about a file of the store, and what a task of Ray raised,
    are values gone wrong, too, but may be a disk or a machine gone wrong.
    """
    others = (pa.ArrowException, json.JSONDecodeError, UnicodeError)
    is_rays = hasattr(error, "as_instanceof_cause")
    return isinstance(error, ValueError) and not isinstance(error, others) and not is_rays


def _cause(error: BaseException) -> str:
    """The first user-readable cause under Ray's wrappers."""
    seen: BaseException = error
    while True:
        inner = getattr(seen, "cause", None) or seen.__cause__
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    text = str(seen).strip() or type(seen).__name__
    return f"{type(seen).__name__}: {text.splitlines()[-1]}"


def _parse(
    defaults: Mapping[str, Any], description: str | None, argv: Sequence[str], job: Job
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(job.keys(defaults)) if {"-h", "--help"} & set(argv) else None,
    )
    parser.add_argument("--config", action="append", default=[], metavar="FILE",
                        help="YAML file of keys; repeatable, later files win")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="one key; repeatable, wins over files")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true",
                        help="check everything and print the plan; run nothing")  # fmt: skip
    return parser.parse_args(argv)


def recipes() -> "dict[str, type[Method]]":
    """What a run or a row of a comparison can name: the methods, and upper bounds."""
    from xlt_ray.methods import METHODS
    from xlt_ray.oracle.iwda import UPPER_BOUNDS

    return {**METHODS, **UPPER_BOUNDS}


def keys(defaults: Mapping[str, Any]) -> list[str]:
    """The lines of ``--help`` about the keys of a run; those of a method, if the job names one."""
    if "name" not in (defaults.get("method") or {}):
        lines = describe(RunConfig[MethodConfig], defaults)
        return ["keys, with the defaults of this job; a method has more:", *lines]
    schema = schema_for(defaults, {name: item.Config for name, item in recipes().items()})
    return ["keys, with the defaults of this job:", *describe(schema, defaults)]


def configure(
    defaults: Mapping[str, Any], files: Sequence[str] = (), flags: Sequence[str] = ()
) -> RunConfig[Any]:
    """The configuration of a run, checked as far as that needs no data.

    Raises:
        ConfigError: what is wrong, where it came from, what is allowed.
    """
    schemas = {name: item.Config for name, item in recipes().items()}
    return check(load(defaults, files=files, flags=flags, methods=schemas))


def of_values(values: Mapping[str, Any]) -> RunConfig[Any]:
    """The configuration that plain values stand for; it is not checked.

    Raises:
        ConfigError: a key or value is not one of a run.
    """
    schemas = {name: item.Config for name, item in recipes().items()}
    return validate(schema_for(values, schemas, {}), values, {})


def check(config: RunConfig[Any]) -> RunConfig[Any]:
    """The configuration, if its benchmark, method and training fit each other, with what files of
    the user's own say of their task and labels.

    Raises:
        ConfigError: they do not; says why.
    """
    config = resolved(config)
    name, benchmark = config.benchmark.name, benchmark_of(config)
    method, task = recipes()[config.method.name], benchmark.task
    if task not in method.tasks:
        able = ", ".join(sorted(method.tasks))
        raise ConfigError(
            f"method.name: {config.method.name} works on {able} tasks, and {name} is a {task} task"
        )
    if method.needs_bio and task == "token" and not benchmark.label_set.is_bio:
        raise ConfigError(
            f"method.name: {config.method.name} selects by entities, and {name} has no BIO labels"
        )
    if config.benchmark.leave_one_out and not method.leaves_one_out:
        raise ConfigError(
            f"benchmark.leave_one_out: {config.method.name} trains one model for all targets"
        )
    if config.benchmark.leave_one_out and config.benchmark.adapt_source:
        raise ConfigError("benchmark.adapt_source: a source that is left out is adapted already")
    if config.benchmark.metric == "f1" and not (task == "token" and benchmark.label_set.is_bio):
        raise ConfigError(f"benchmark.metric: f1 is of entities, and {name} has no BIO labels")
    for language, prior in config.benchmark.prior.items():
        if prior != "random" and (len(prior) != len(benchmark.labels) or sum(prior) == 0):
            raise ConfigError(
                f"benchmark.prior: {language} has {len(prior)} shares, {name} has "
                f"{len(benchmark.labels)} classes: {', '.join(benchmark.labels)}; their sum is "
                "above 0"
            )
    given = config.translation
    if task == "token" and (given.model or given.ready):
        raise ConfigError(
            "translation: words of a token task would lose their labels; it is for sentences and "
            "pairs"
        )
    if config.benchmark.leave_one_out and given.replace:
        raise ConfigError("translation.replace: a source that is left out is not translated")
    if config.train.dim_reduce is not None and task == "token":
        raise ConfigError(
            f"train.dim_reduce: {config.train.dim_reduce}, but {name} is a token task, whose head "
            "has no projection"
        )
    try:
        config.method.check_classes(len(benchmark.labels))
    except ValueError as error:
        raise ConfigError(f"method.{error} for {name}") from None
    return config


def run(config: RunConfig[Any]) -> dict[str, Any]:
    """Run a recipe to its report; returns the report."""
    with cluster(config), carry_out(config) as done:
        return done.report.to_json()


@dataclass(frozen=True)
class Done:
    """A run that is finished: its driver, what its recipe gave, its report, and the right to look
    at gold now that it is done."""

    driver: "RayDriver"
    oracle: "Oracle"
    outcome: "Outcome"
    report: "Report"


@dataclass(frozen=True)
class Session:
    """A run that was begun: its folder, what runs its steps, what they ask the cluster for."""

    folder: "RunFolder"
    runner: "StepRunner"
    plan: "Plan"


@contextmanager
def session(config: RunConfig[Any]) -> Iterator[Session]:
    """A run's folder on the cluster at hand; its lease is held until the block ends."""
    from xlt_ray.engine.cluster import settle
    from xlt_ray.engine.door import check_nodes, opened
    from xlt_ray.engine.gate import right_to
    from xlt_ray.engine.trackers import open_trackers
    from xlt_ray.ledger import Lease, RunFolder
    from xlt_ray.libraries import versions
    from xlt_ray.report.progress import open_progress
    from xlt_ray.steps import StepRunner
    from xlt_ray.store import Store

    store = Store(config.store.root)
    folder = RunFolder(store, config.run_name)
    lease = Lease(store, folder.path)
    lease.acquire(note=partial(print, flush=True))
    reached("lease.taken")
    try:
        with opened(store, folder.path):
            check_nodes()
            plan = settle(config.resources)
            folder.write_json("config.json", to_dict(config))
            folder.write_json("versions.json", versions())
            folder.event("session", pid=os.getpid(), resources=plan.to_json())
            with (
                open_progress() as progress,
                open_trackers(config, folder, progress.note) as trackers,
            ):
                right = partial(right_to, owner=f"{store.root} {folder.path}")
                runner = StepRunner(store, folder, lease, progress, right, trackers.step)
                yield Session(folder, runner, plan)
    finally:
        lease.release()


@contextmanager
def carry_out(
    config: RunConfig[Any], *, first: "Callable[[Oracle], object] | None" = None
) -> Iterator[Done]:
    """Run a recipe to its report on the cluster at hand; its lease is held until the block ends.

    Args:
        config: The configuration.
        first: Is called before the recipe, to read what is needed after it.
    """
    from xlt_ray.driver import RayDriver
    from xlt_ray.oracle.driver import Oracle
    from xlt_ray.scoring import Scorer, all_gold

    with session(config) as begun:
        driver = RayDriver(config, begun.runner, begun.plan)
        gold = all_gold(driver)
        scorer, oracle = Scorer(driver, gold), Oracle(driver, gold)
        scorer.check_test()
        if first is not None:
            first(oracle)
        outcome = run_recipe(config, driver)
        report = _report(config, scorer, outcome, begun.runner.ledger)
        begun.runner.lease.check()
        _publish(begun.folder, report, outcome)
        begun.folder.event("done", average=report.average)
        yield Done(driver, oracle, outcome, report)


def run_recipe(config: RunConfig[Any], driver: "RayDriver") -> "Outcome":
    """Run a recipe on the verbs of a driver; an upper bound is handed what it sees of gold."""
    from xlt_ray.gold import Gold
    from xlt_ray.methods.base import UpperBound
    from xlt_ray.oracle.driver import Oracle
    from xlt_ray.verbs import verbs_of

    method = recipes()[config.method.name](config.method)
    if not isinstance(method, UpperBound):
        return method.run(verbs_of(driver))
    method.see(Oracle(driver, Gold(driver.reading, driver.pools, ("unlabelled",))))
    outcome = method.run(verbs_of(driver))
    return replace(outcome, notes=[*outcome.notes, f"upper bound: it sees {method.sees}"])


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def cluster(config: RunConfig[Any]) -> Iterator[None]:
    """The cluster that a configuration asks for; a Ray that runs already is taken as it is, and one
    of this process's own starts when it is needed."""
    from xlt_ray.engine.cluster import connect
    from xlt_ray.engine.own_ray import leave

    is_own = connect(config.resources)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)  # it ends a run as Ctrl-C does
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if is_own:
            leave()


def _report(
    config: RunConfig[Any],
    scorer: "Scorer",
    outcome: "Outcome",
    ledger: Sequence[Mapping[str, Any]],
) -> "Report":
    from xlt_ray.report import Report, RoundReport, StepReport, versions_of

    driver = scorer.driver
    zero_shot = scorer.zero_shot(outcome)
    final = scorer.final(outcome)
    rounds: list[RoundReport] = []
    before: Round | None = None
    for item in outcome.rounds:
        scores = None
        if config.run.score_rounds:
            label = outcome.plain_labeller
            scores = scorer.evaluate(f"round {item.number}", item.model, "test", labeller=label)
        dev = item.model.source_dev
        drift = _drift(driver, before, item)
        sizes = item.set_sizes
        rounds.append(RoundReport(item.number, item.selected, sizes, dev, scores, drift))
        before = item
    return Report(
        run=config.run_name,
        method=config.method.name,
        benchmark=config.benchmark.name,
        metric=driver.benchmark.metric,
        source=driver.source_languages,
        targets=driver.targets,
        zero_shot=zero_shot,
        final=final,
        rounds=rounds,
        steps=[StepReport.of(entry) for entry in ledger],
        config=to_dict(config),
        versions=versions_of(ledger),
        notes=list(outcome.notes),
    )


def _drift(driver: "RayDriver", before: "Round | None", item: "Round") -> float | None:
    """Share of the labels of a round that differ from those of the one before."""
    from xlt_ray.methods.drift import label_drift

    if before is None or "labels" not in item.scored.columns():
        return None
    found = driver.derive(f"round {item.number} drift", label_drift, before.scored, item.scored)
    return found.info["changed"] / found.info["items"] if found.info["items"] else None


def _publish(folder: "RunFolder", report: "Report", outcome: "Outcome") -> None:
    from rich.console import Console

    from xlt_ray.data.corpus import Start
    from xlt_ray.engine.memory import peak_mb
    from xlt_ray.oracle.iwda import UPPER_BOUNDS
    from xlt_ray.report import run_page, terminal_table, write_report
    from xlt_ray.starting import MODELS_FILE, files_of, models_of

    before = Start(outcome.zero_shot, outcome.zero_shot_by_language)
    start = Start(outcome.final, outcome.by_language, before)
    knows_targets = report.method in UPPER_BOUNDS
    folder.write_json(MODELS_FILE, models_of(start, report.config, knows_targets=knows_targets))
    folder.publish("model", files_of(outcome.final.artifact))
    reached("model.published")
    folder.event("scored", driver_mb=round(peak_mb()))
    ledger, events = folder.read_lines("ledger.jsonl"), folder.read_lines("events.jsonl")
    folder.write("report.html", run_page(report, ledger, events).encode())
    write_report(report, folder.write)
    reached("report.written")
    Console().print(terminal_table(report))
    print(f"report: {folder.path}/report.html\nmodel:  {folder.path}/model", flush=True)


def dry_run(config: RunConfig[Any]) -> int:
    """Print the configuration, defaults too, and `rehearse` it; returns the exit code."""
    print("\n".join(settings(to_dict(config))), end="\n\n")
    return rehearse(config)


def rehearse(
    config: RunConfig[Any],
    *,
    scored: bool = True,
    first: "Callable[[Oracle], object] | None" = None,
    coming: Collection[str] = (),
) -> int:
    """Check data, labels, cluster and backbone and print the plan; returns the exit code.

    Args:
        config: The configuration.
        scored: Whether the run will be scored on test splits.
        first: What is called before the recipe, as in `carry_out`.
        coming: Runs that will be finished before this one begins.
    """
    from xlt_ray.engine.cluster import settle
    from xlt_ray.engine.trackers import check_installed
    from xlt_ray.ledger import RunFolder
    from xlt_ray.oracle.driver import Oracle
    from xlt_ray.plan import PlanDriver, PlanRunner, text_of
    from xlt_ray.scoring import Scorer, all_gold
    from xlt_ray.store import Store

    check_installed(config)
    plan = settle(config.resources)
    store = Store(config.store.root)
    driver = PlanDriver(config, PlanRunner(store), plan, coming)
    gold = all_gold(driver)
    scorer, oracle = Scorer(driver, gold), Oracle(driver, gold)
    if scored:
        scorer.check_test()
    if first is not None:
        first(oracle)
    outcome = run_recipe(config, driver)
    if scored:
        scorer.zero_shot(outcome)
        scorer.final(outcome)
    RunFolder(store, config.run_name).write_json("resolved.json", to_dict(config))
    print(text_of(driver, plan))
    return BAD_CONFIG if driver.missing else DONE
