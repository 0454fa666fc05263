"""Ray Tune: which parameters are tried, in which order, how many at once, and which end early.

A trial is a function of its parameters. It holds next to nothing of the cluster; what its steps
need they ask for, each all at once, and no more trials are at work than there is room for such
steps. So no trial ever holds what another one waits for.
"""

import itertools
import logging
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler
from ray.tune.search import BasicVariantGenerator, ConcurrencyLimiter
from ray.tune.search.sample import Categorical, Domain

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.engine import nodes as cluster_nodes
from xlt_ray.engine.local_ray import needed
from xlt_ray.engine.resources import Node, grown, room_for, settle
from xlt_ray.engine.same_code import guarded

Parameters = Mapping[str, Any]
"""Values by key of the method."""
Space = Mapping[str, Domain]
"""What to draw the values of each key from."""
Algorithm = Literal["random", "grid", "asha", "optuna"]
Report = Callable[[float], None]
"""Is told the source-dev score of every model as soon as it is trained."""
Trial = Callable[[Parameters, Report], Mapping[str, Any]]
"""Runs with parameters, reports a score after every stage, returns facts with ``source_dev``."""

METRIC = "source_dev"
HEAD = {cluster_nodes.HEAD: 0.001}
"""Resources of what runs beside the driver: no CPU, and not on a node that may be taken away."""
_TRIES = 100
_MOST_STAGES = 10_000


@dataclass(frozen=True)
class Search:
    """What Ray Tune is asked to do.

    Attributes:
        space: Where the values of each key are from.
        algorithm: ``random``, ``grid``, ``asha`` (random, ended early) or ``optuna`` (TPE).
        trials: Number of trials; the grid has its own.
        concurrent: Most trials at work at the same time.
        holds: Resources of a trial, from its start to its end.
        seed: Of what is drawn.
        known: Parameters of an earlier attempt, which Optuna is given first.
        retries: How often a trial whose process died is started again.
        grace: ASHA: stages that every trial may finish.
        reduction: ASHA: one of so many trials goes on at each halt.
    """

    space: Space
    algorithm: Algorithm
    trials: int
    concurrent: int
    holds: Mapping[str, float]
    seed: int = 0
    known: Sequence[Parameters] = ()
    retries: int = 3
    grace: int = 2
    reduction: int = 3


@dataclass(frozen=True)
class Ended:
    """A trial that has ended.

    Attributes:
        parameters: What it was run with.
        scores: Source-dev score after each stage that it finished.
        facts: What the trial returned; None if it was ended early or failed.
        error: Why it failed.
    """

    parameters: dict[str, Any]
    scores: list[float] = field(default_factory=list)
    facts: dict[str, Any] | None = None
    error: str | None = None

    @property
    def state(self) -> Literal["done", "ended early", "failed"]:
        """How it ended."""
        return "failed" if self.error else "ended early" if self.facts is None else "done"


@dataclass(frozen=True)
class TrialShare:
    """A trial's share of the cluster.

    Attributes:
        resources: What the steps of a trial ask for; nothing about workers is left open.
        holds: What a trial has from its start to its end.
        concurrent: How many trials there is room for.
    """

    resources: ResourcesConfig
    holds: Mapping[str, float]
    concurrent: int


def share(config: ResourcesConfig, nodes: Sequence[Node], trials: int) -> TrialShare:
    """Divide the cluster among trials so that none ever waits for what another one holds.

    Without training workers a trial computes in its own process. No more trials are at work than
    there are CPUs for their threads, and each holds half of its CPUs: so trials spread over nodes,
    and there is always room for a task that reads text. With training workers a trial holds
    nothing; its steps ask for all they need at once, one step after the other, and no more trials
    are at work than such steps fit.

    Args:
        config: What the user asked for. Where workers are left open, a trial has one of each kind
            with a GPU if there are GPUs, and none if there are not.
        nodes: CPUs and GPUs of each node that is up; those that the cluster may add count too.
        trials: How many trials there will be.

    Raises:
        ConfigError: the cluster has no room for one trial, or the keys contradict each other.
    """
    up, nodes = nodes, grown(nodes, config.autoscale)
    each = 1 if any(node.get("GPU") for node in nodes) else 0
    workers = each if config.train_workers is None else config.train_workers
    if isinstance(workers, tuple):
        raise ConfigError(
            f"resources.train_workers: {workers[0]},{workers[1]}, but trials share the cluster out "
            f"once; allowed: a number, such as {workers[1]}"
        )
    annotators = min(1, workers) if config.annotators is None else config.annotators
    filled = {"train_workers": workers, "annotators": annotators}
    if workers == 0:
        if annotators != 0:
            raise ConfigError(
                f"resources.annotators: {annotators}, but trials that train in their own process "
                "(resources.train_workers 0) annotate there, too; allowed: 0"
            )
        cpus = sum(node.get("CPU", 0) for node in nodes)
        most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        fair = max(1, min(most, int(cpus // trials)))
        filled["train_cpus"] = config.train_cpus or fair
    plan = settle(config.model_copy(update=filled), up)
    if workers == 0:
        holds: Mapping[str, float] = {"CPU": plan.train_cpus / 2}
        room = room_for(nodes, plan.train_cpus, 0)
    else:
        holds, pool = HEAD, plan.annotators
        room = room_for(nodes, plan.train_cpus, plan.train_gpus) // workers
        if pool.smallest:
            fitting = room_for(nodes, 0 if pool.gpus else pool.cpus, pool.gpus)
            room = min(room, fitting // pool.smallest)
    if room < 1:
        raise ConfigError(f"resources.train_cpus: {plan.train_cpus}, but no node has as many CPUs")
    filled["train_cpus"] = plan.train_cpus
    return TrialShare(config.model_copy(update=filled), holds, room)


def choices(values: Mapping[str, Sequence[Any]]) -> Space:
    """The space of lists of values."""
    return {key: tune.choice(list(of_key)) for key, of_key in values.items()}


def grid(space: Space) -> list[dict[str, Any]]:
    """All combinations of a finite space, the last key fastest.

    Raises:
        ValueError: a key has no list of values.
    """
    values = []
    for key, domain in space.items():
        if not isinstance(domain, Categorical):
            raise ValueError(f"{key}: a grid needs a list of values, not {domain}")
        values.append(domain.categories)
    return [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*values)]


def draw(space: Space, trials: int, seed: int) -> list[dict[str, Any]]:
    """Distinct random parameters; fewer than asked for if a finite space has no more.

    Args:
        space: Where values are from; keys are drawn in their order.
        trials: How many.
        seed: The same seed gives the same list, and a longer list begins with a shorter one.
    """
    random = np.random.RandomState(seed)
    drawn: list[dict[str, Any]] = []
    for _ in range(trials * _TRIES):
        if len(drawn) == trials:
            break
        one = {key: _plain(domain.sample(random_state=random)) for key, domain in space.items()}
        if one not in drawn:
            drawn.append(one)
    return drawn


def is_point(parameters: Parameters, space: Space) -> bool:
    """Whether a space has these parameters; an earlier sweep may have searched another one."""
    return set(parameters) == set(space) and all(
        domain.is_valid(parameters[key]) for key, domain in space.items()
    )


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def points(search: Search) -> list[dict[str, Any]] | None:
    """The parameters of all trials in order; None where each depends on the scores before it."""
    if search.algorithm == "optuna":
        return None
    if search.algorithm == "grid":
        return grid(search.space)
    return draw(search.space, search.trials, search.seed)


def run_search(
    trial: Trial,
    search: Search,
    on_start: Callable[[Parameters], None],
    on_end: Callable[[Ended], None],
) -> list[Ended]:
    """Run all trials on the connected cluster.

    Args:
        trial: What a trial does. It is called in a process of its own on the cluster.
        search: Which trials, and how many at once.
        on_start: Is called here before each trial.
        on_end: Is called here after each trial.

    Returns:
        The trials, in the order of the points, or else in which they were started.

    Raises:
        RuntimeError: the search ended before all trials had been started.
    """
    needed()
    chosen = points(search)
    watcher = _Watcher(on_start, on_end)
    asha = ASHAScheduler(
        max_t=_MOST_STAGES, grace_period=search.grace, reduction_factor=search.reduction
    )
    if chosen is None:
        searcher: Any = ConcurrencyLimiter(_optuna(search), max_concurrent=search.concurrent)
    else:
        searcher = BasicVariantGenerator(
            points_to_evaluate=chosen, max_concurrent=search.concurrent, random_state=search.seed
        )
    # Ray Tune would take Ctrl-C for the end of the search, and return what there is as its result.
    os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # with it, quiet is not quite quiet
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="xlt-tune-") as scratch:
        # Ray Tune's own record goes with the folder: what a sweep is continued from is the store.
        tune.Tuner(
            tune.with_resources(_trainable(guarded(trial)), dict(search.holds)),
            param_space=dict(search.space),
            tune_config=tune.TuneConfig(
                metric=METRIC,
                mode="max",
                num_samples=search.trials if chosen is None else len(chosen),
                search_alg=searcher,
                scheduler=asha if search.algorithm == "asha" else FIFOScheduler(),
                reuse_actors=True,  # starting a process and importing costs seconds
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=scratch,
                callbacks=[watcher],
                failure_config=tune.FailureConfig(max_failures=search.retries),
                verbose=0,
            ),
        ).fit()
    found = watcher.ended()
    due = search.trials if chosen is None else len(chosen)
    if len(found) != due:
        raise RuntimeError(f"{len(found)} of {due} trials were started; start the sweep again")
    return found if chosen is None else sorted(found, key=lambda one: chosen.index(one.parameters))


def _trainable(trial: Trial) -> Callable[[dict[str, Any]], None]:
    def run(parameters: dict[str, Any]) -> None:
        try:
            facts = trial(parameters, lambda score: tune.report({METRIC: score}))
        except Exception as error:  # trying again would end the same way; a lost process is retried
            tune.report({METRIC: math.nan, "error": f"{type(error).__name__}: {error}"})
            return
        tune.report({METRIC: facts[METRIC], "facts": dict(facts)})

    return run


def _optuna(search: Search) -> Any:
    from ray.tune.search.optuna import OptunaSearch

    # Points that are known draw nothing. With the same seed what is drawn after them would be them.
    known = [dict(item) for item in search.known]
    return OptunaSearch(seed=search.seed + len(known), points_to_evaluate=known)


class _Watcher(tune.Callback):
    """Collects what trials report."""

    def __init__(self, on_start: Callable[[Parameters], None], on_end: Callable[[Ended], None]):
        self._on_start, self._on_end = on_start, on_end
        self._trials: dict[str, Ended] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # A trial whose process died starts again, and reports what it finds in the store.
        self._trials[trial.trial_id] = Ended(dict(trial.config))
        self._on_start(dict(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        told = self._trials[trial.trial_id]
        if "error" in result:
            told = Ended(told.parameters, told.scores, error=result["error"])
        elif "facts" in result:
            told = Ended(told.parameters, told.scores, facts=result["facts"])
        else:
            told.scores.append(result[METRIC])
        self._trials[trial.trial_id] = told

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._on_end(self._trials[trial.trial_id])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        told = self._trials.get(trial.trial_id, Ended(dict(trial.config)))  # may not have begun
        reason = "its process died again and again; see the logs of Ray"
        self._trials[trial.trial_id] = Ended(told.parameters, told.scores, error=reason)
        self._on_end(self._trials[trial.trial_id])

    def ended(self) -> list[Ended]:
        return list(self._trials.values())


def in_parallel(jobs: Mapping[str, Callable[[], Any]], at_once: int) -> dict[str, Any]:
    """Results of functions, each run in a process of its own beside the driver.

    Args:
        jobs: Functions by name.
        at_once: How many run at the same time.
    """
    needed()
    task: Any = ray.remote(num_cpus=0, resources=HEAD, max_retries=0)(_call)
    waiting, running, found = list(jobs.items()), {}, {}
    while waiting or running:
        while waiting and len(running) < at_once:
            name, job = waiting.pop(0)
            running[task.remote(guarded(job))] = name
        (ready,), _ = ray.wait(list(running))
        found[running.pop(ready)] = ray.get(ready)
    return {name: found[name] for name in jobs}


def _call(job: Callable[[], Any]) -> Any:
    return job()
