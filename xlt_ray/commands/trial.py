"""A trial of a sweep: one run of a recipe, whose only score is that on source dev."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import fmean
from typing import Any

from xlt_ray.config.schema import RunConfig
from xlt_ray.engine.resources import connect
from xlt_ray.engine.tune import Report
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.driver import verbs_of
from xlt_ray.recipe.method import Outcome
from xlt_ray.run.check import method_of
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.policy import RunPolicy
from xlt_ray.run.session import Session, open_run
from xlt_ray.store.lease import LeaseHeldError

_TURN_SECONDS = 1.0


class Trial(RunPolicy):
    """Tells of every model that it trained; nobody has a right to more gold than its driver.

    Where `benchmark.dev` names a source that is left out, its dev text judges what the others teach
    it: settings are found on it, and it is no target of the runs that use them.
    """

    judges_left_out = True

    def __init__(self, report: Report):
        self._report = report

    def trained(self, model: Model) -> None:
        """Tell its source-dev score."""
        self._report(model.artifact.info["source_dev"])


def driver_of(config: RunConfig[Any], begun: Session, report: Report) -> RayDriver:
    """The driver of a trial, which has the resources of one training."""
    plan = replace(begun.plan, trainings=1)
    return RayDriver(config, begun.runner, plan, Trial(report))


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
        driver = driver_of(config, begun, report)
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
                begun = stack.enter_context(open_run(config))
                break
            except LeaseHeldError:
                time.sleep(_TURN_SECONDS)
        yield begun


def read_corpora(config: RunConfig[Any]) -> None:
    """Read and tokenise what the trials share, so that bad text is one error and not one each.

    Args:
        config: The configuration of any of them; its run has only these steps.
    """
    with open_run(config) as begun:
        driver = driver_of(config, begun, lambda score: None)
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
