"""One run from its lease to its report."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from xlt_ray.config.layers import to_dict
from xlt_ray.config.schema import DataConfig, ResourcesConfig, RunConfig
from xlt_ray.run.check import method_of
from xlt_ray.run.results import labelling_of, publish, report_of
from xlt_ray.store.fault_points import reached

if TYPE_CHECKING:
    from xlt_ray.engine.resources import Plan
    from xlt_ray.recipe.method import Outcome
    from xlt_ray.report import Report
    from xlt_ray.run.driver import RayDriver
    from xlt_ray.run.gold_steps import Oracle
    from xlt_ray.run.steps import StepRunner
    from xlt_ray.store.run_folder import RunFolder


class AsksResources(Protocol):
    """A configuration that says what it asks of the cluster."""

    @property
    def resources(self) -> ResourcesConfig:
        """What that is."""
        ...


def run(config: RunConfig[Any]) -> dict[str, Any]:
    """Run a recipe to its report; returns the report."""
    with connected(config), carry_out(config) as done:
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


def open_run(config: RunConfig[Any]) -> AbstractContextManager[Session]:
    """The session of a run."""
    return open_session(
        root=config.store.root,
        name=config.run_name,
        resources=config.resources,
        data=config.data,
        record=to_dict(config),
        trackers=config.run.trackers,
    )


@contextmanager
def open_session(
    *,
    root: str,
    name: str,
    resources: ResourcesConfig,
    data: DataConfig,
    record: Mapping[str, Any],
    trackers: Sequence[str] = (),
) -> Iterator[Session]:
    """A folder for steps on the cluster at hand; its lease is held until the block ends.

    Args:
        root: Root of the store.
        name: Name of the folder.
        resources: What is asked of the cluster.
        data: How text is cut into shards and batches.
        record: The configuration, as it is kept in the folder and told to trackers.
        trackers: Which trackers are told of every step, besides TensorBoard.
    """
    from xlt_ray.engine.compute_lock import right_to
    from xlt_ray.engine.resources import settle
    from xlt_ray.engine.same_code import check_nodes, checking
    from xlt_ray.engine.trackers import open_trackers
    from xlt_ray.report.progress import open_progress
    from xlt_ray.run.steps import StepRunner
    from xlt_ray.store.artifacts import Store
    from xlt_ray.store.lease import Lease
    from xlt_ray.store.libraries import versions
    from xlt_ray.store.run_folder import RunFolder

    store = Store(root)
    folder = RunFolder(store, name)
    lease = Lease(store, folder.path)
    lease.acquire(note=partial(print, flush=True))
    reached("lease.taken")
    try:
        with checking(store, folder.path):
            check_nodes()
            plan = settle(resources, data=data)
            folder.write_json("config.json", dict(record))
            folder.write_json("versions.json", versions())
            folder.event("session", pid=os.getpid(), resources=plan.to_json())
            with (
                open_progress() as progress,
                open_trackers(trackers, folder, progress.note, record) as told,
            ):
                right = partial(right_to, owner=f"{store.root} {folder.path}")
                runner = StepRunner(store, folder, lease, progress, right, told.step)
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
    from xlt_ray.run.driver import RayDriver
    from xlt_ray.run.gold_steps import Oracle
    from xlt_ray.run.scoring import Scorer, all_gold
    from xlt_ray.run.time_left import TimeLeft, planned_work

    with open_run(config) as begun:
        driver = RayDriver(config, begun.runner, begun.plan)
        gold = all_gold(driver)
        scorer, oracle = Scorer(driver, gold), Oracle(driver, gold)
        scorer.check_test()
        if first is not None:
            first(oracle)
        work = partial(planned_work, config, begun.runner.store, begun.plan)
        begun.runner.time_left = TimeLeft(work, begun.plan.trainings)
        outcome = run_recipe(config, driver)
        report = report_of(config, scorer, outcome, begun.runner.ledger)
        begun.runner.lease.check()
        publish(begun.folder, report, outcome, labelling_of(config))
        begun.folder.event("done", average=report.average)
        yield Done(driver, oracle, outcome, report)


def run_recipe(config: RunConfig[Any], driver: "RayDriver") -> "Outcome":
    """Run a recipe on the verbs of a driver; an upper bound is handed what it sees of gold.

    Raises:
        ConfigError: targets have labelled rows, or gold was to be translated, and the recipe has
            trained on no gold.
    """
    from xlt_ray.recipe.driver import verbs_of
    from xlt_ray.recipe.method import UpperBound
    from xlt_ray.run.few import check_learned
    from xlt_ray.run.gold import Gold
    from xlt_ray.run.gold_steps import Oracle
    from xlt_ray.run.projections import check_translated

    method = method_of(config.method)(config.method)
    if not isinstance(method, UpperBound):
        outcome = method.run(verbs_of(driver))
        check_learned(driver.few_rows, driver.few, learned=driver.learned_few)
        check_translated(config, learned=driver.learned_translations)
        return outcome
    method.see(Oracle(driver, Gold(driver.reading, driver.pools, ("unlabelled",))))
    outcome = method.run(verbs_of(driver))
    return replace(outcome, notes=[*outcome.notes, f"upper bound: it sees {method.sees}"])


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def connected(config: AsksResources) -> Iterator[None]:
    """The cluster that a configuration asks for; a Ray that runs already is taken as it is, and one
    of this process's own starts when it is needed."""
    from xlt_ray.engine.local_ray import leave
    from xlt_ray.engine.resources import connect

    is_own = connect(config.resources)
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if is_main:
        signal.signal(signal.SIGTERM, _interrupt)  # it ends a run as Ctrl-C does
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
        if is_own:
            leave()
