"""How target scores move while a run trains: Figure 5 of the CoNLST paper, Figure 7 of IWDA's.

Every training of a run after its zero-shot model keeps some models along its way
(``train.snapshots``); each of them labels the test text of its target. Gold is read after the run,
for this page alone.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig, configure, keys
from xlt_ray.commands.compare import dry_run as dry_run_of_runs
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.train.snapshots import SnapshotTask, kept_in, run_snapshot
from xlt_ray.oracle.figures.steps import figure, markdown
from xlt_ray.oracle.findings import publish
from xlt_ray.recipe.corpus import Model
from xlt_ray.report import StepReport
from xlt_ray.report.figures import require_matplotlib
from xlt_ray.run.scoring import Scorer, all_gold
from xlt_ray.run.session import Done, carry_out, connected
from xlt_ray.run.steps import Step
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder


@dataclass(frozen=True)
class Scored:
    """The score of a model on the way of a run.

    Attributes:
        row: Title of the run's row.
        seed: Its seed.
        target: The target that is scored.
        training: Title of the training that it was in; "" for the zero-shot model.
        step: Optimiser steps since the zero-shot model, over all trainings of the target.
        score: Score on the target's test text, in [0, 1].
    """

    row: str
    seed: int
    target: str
    training: str
    step: int
    score: float


def trainings(
    steps: Sequence[StepReport],
    target: str,
    targets: Sequence[str],
    zero_shot: str,
    sources: Collection[str] = (),
) -> list[StepReport]:
    """The trainings of a run that its model of a target went through, in order.

    A training is of a target if its title is the name of the target or begins with it; of all, if
    that is so of no target.

    Args:
        steps: The run's steps.
        target: The target.
        targets: All targets.
        zero_shot: Fingerprint of the zero-shot model; it and what came before are left out.
        sources: Fingerprints of the models of single sources, which no target went through.
    """
    found = list[StepReport]()
    for step in steps:
        if step.kind != "model":
            continue
        if step.fingerprint == zero_shot:
            found.clear()
            continue
        if step.fingerprint in sources:
            continue
        owner = next((name for name in targets if f"{step.title} ".startswith(f"{name} ")), target)
        if owner == target and all(step.fingerprint != item.fingerprint for item in found):
            found.append(step)
    return found


def find(config: CompareConfig) -> dict[str, Any]:
    """Carry out every run, score the models on its way, write page and figure.

    Raises:
        ConfigError: matplotlib is missing, or no training keeps a model; nothing has run.
        LeaseHeldError: another driver is at work on these findings or on one of the runs.
    """
    _check(config)
    folder = RunFolder(Store(config.first.store.root), config.name)
    with Lease(folder.store, folder.path) as lease:
        folder.write_json("config.json", config.to_dict())
        records = list[Scored]()
        metric = ""
        with connected(config.first):
            for title, seed in config.announced():
                with carry_out(config.rows[title][seed]) as done:
                    records += _score(done, title, seed)
                    metric = done.report.metric
        lease.check()
        findings = {
            "name": config.name,
            "benchmark": config.first.benchmark.name,
            "metric": metric,
            "seeds": list(config.section.seeds),
            "records": [asdict(record) for record in records],
        }
        pictures = {"figure-steps": figure(findings)}
        publish(folder, "steps", findings, markdown(findings), pictures)
        return findings


def _score(done: Done, title: str, seed: int) -> Iterator[Scored]:
    driver, outcome, report = done.driver, done.outcome, done.report
    scorer = Scorer(driver, all_gold(driver))
    for target in report.counted:
        start = outcome.zero_shot_by_language.get(target, outcome.zero_shot)
        score = float(report.zero_shot[target][report.metric])
        yield Scored(title, seed, target, "", 0, score)
        before = 0
        first, others = start.artifact.fingerprint, outcome.sources.values()
        sources = {model.artifact.fingerprint for model in others}
        for step in trainings(report.steps, target, driver.pools, first, sources):
            whole = driver.runner.store.find("model", step.fingerprint)
            assert whole is not None, "its run is done"
            for at, model in _models(done, step.title, Model(whole)):
                found = scorer.evaluate(
                    f"{step.title} step {at}", model, "test", target, outcome.plain_labeller
                )
                yield Scored(
                    title,
                    seed,
                    target,
                    step.title.removeprefix(target).strip(),
                    before + at,
                    float(found[target][report.metric]),
                )
            before += whole.info["steps"]


def _models(done: Done, title: str, model: Model) -> Iterator[tuple[int, Model]]:
    """The models of a training, each with the steps that were behind it; its result last."""
    runner = done.driver.runner
    for at in kept_in(model.artifact):
        task = SnapshotTask(model=model.artifact, step=at)
        yield at, Model(runner.run(Step(f"{title} step {at}", task), run_snapshot))
    yield model.artifact.info["steps"], model


def _check(config: CompareConfig) -> None:
    require_matplotlib()
    if not config.first.train.snapshots:
        raise ConfigError("train.snapshots: 0, but this analysis looks at models along the way")


def dry_run(config: CompareConfig) -> int:
    """The dry run of the runs; raises ConfigError if the figure could not be drawn."""
    _check(config)
    return dry_run_of_runs(config)


JOB = Job(configure, find, dry_run, keys)
"""What ``jobs/oracle_steps.py`` does with its flags."""
