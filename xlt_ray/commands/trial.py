"""A trial of a sweep: one run of a recipe, whose only score is that on source dev."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import fmean
from typing import Any

from xlt_ray.config.schema import RunConfig
from xlt_ray.engine.resources import Plan, connect
from xlt_ray.engine.tune import Report
from xlt_ray.recipe.corpus import Mix, Model
from xlt_ray.recipe.driver import verbs_of
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.run.check import method_of
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.session import Session, open_session
from xlt_ray.run.steps import Runner
from xlt_ray.store.lease import LeaseHeldError

_TURN_SECONDS = 1.0


class SourceOnly(RayDriver):
    """A driver that tells of every model that it trained; nobody has a right to more gold than it.

    Where `benchmark.dev` names a source that is left out, its dev text judges what the others teach
    it: settings are found on it, and it is no target of the runs that use them.
    """

    may_judge_itself = True

    def __init__(self, config: RunConfig[Any], runner: Runner, plan: Plan, report: Report):
        super().__init__(config, runner, replace(plan, trainings=1))  # a trial has one's resources
        self._report = report

    def _trained(self, model: Model, mix: Mix, schedule: Schedule) -> None:
        self._report(model.artifact.info["source_dev"])


def run_trial(config: RunConfig[Any], report: Report) -> dict[str, Any]:
    """Run a recipe on the cluster at hand, without any look at gold labels of targets.

    Args:
        config: The run's configuration.
        report: Is told the source-dev score of every model as soon as it is trained.

    Returns:
        What ``trial.json`` in the run's folder holds: the final ``source_dev``, ``seconds``, the
        number of steps that were ``computed`` and ``found`` by kind, and the run's name.
    """
    began = time.monotonic()
    connect(config.resources)
    with _in_turn(config) as begun:
        driver = SourceOnly(config, begun.runner, begun.plan, report)
        outcome = method_of(config.method)(config.method).run(verbs_of(driver))
        record = {
            "run": config.run_name,
            "source_dev": score_of(outcome),
            "seconds": round(time.monotonic() - began, 3),
            **steps_of(begun.runner.ledger),
        }
        begun.folder.write_json("trial.json", record)
        begun.folder.event("done", source_dev=record["source_dev"])
        return record


@contextmanager
def _in_turn(config: RunConfig[Any]) -> Iterator[Session]:
    """A trial's session, after that of a trial with the same parameters if one is at work.

    Optuna may ask for the same parameters again. The later trial finds every step in the store.
    """
    with ExitStack() as stack:
        while True:
            try:
                begun = stack.enter_context(open_session(config))
                break
            except LeaseHeldError:
                time.sleep(_TURN_SECONDS)
        yield begun


def read_corpora(config: RunConfig[Any]) -> None:
    """Read and tokenise what the trials share, so that bad text is one error and not one each.

    Args:
        config: The configuration of any of them; its run has only these steps.
    """
    with open_session(config) as begun:
        driver = SourceOnly(config, begun.runner, begun.plan, lambda score: None)
        method_of(config.method)(config.method).read(verbs_of(driver))
        begun.folder.event("done")


def score_of(outcome: Outcome) -> float:
    """Source-dev score of the final model, or the mean over each language's own."""
    models = list(outcome.by_language.values()) or [outcome.final]
    return fmean(model.artifact.info["source_dev"] for model in models)


def steps_of(ledger: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """How many steps of each kind were computed, and how many were found in the store."""
    found = {"computed": Counter[str](), "found": Counter[str]()}
    for step in ledger:
        found["found" if step["cached"] else "computed"][step["kind"]] += 1
    return {name: dict(sorted(counts.items())) for name, counts in found.items()}
