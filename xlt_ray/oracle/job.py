"""What ``jobs/oracle_labels.py`` does: the runs of a comparison, each looked at by the oracle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig, configure, keys
from xlt_ray.commands.compare import dry_run as dry_run_of_runs
from xlt_ray.config.schema import MethodConfig
from xlt_ray.oracle.candidate_sets import MeasuredSets
from xlt_ray.oracle.findings import publish
from xlt_ray.oracle.judge import Judge
from xlt_ray.oracle.measures import shares_of, with_sums
from xlt_ray.oracle.page import Findings, markdown
from xlt_ray.recipe.method import Outcome, Round
from xlt_ray.report import Report
from xlt_ray.report.figures import (
    Pictures,
    accuracy_figure,
    recall_figure,
    require_matplotlib,
)
from xlt_ray.run.gold_steps import read_gold
from xlt_ray.run.session import carry_out, connected
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder

STAGES = {
    "source": "figure-recall",
    "last round, k-hot": "figure-recall-last",
    "last round, two-hot": "figure-recall-last-two",
}
"""When sets are made, and the name of the figure: by the source model on all text, and by the model
at the start of the last round on the text that is left, by the rule and always two classes."""
LAST_STAGES = {"last round, k-hot": None, "last round, two-hot": 2}
"""Classes of every set in the stages of the last round."""


def sets_of(method: MethodConfig) -> MeasuredSets | None:
    """The sets that an oracle compares for a method, by its own keys; None if it makes no sets."""
    if not {"lam", "tau", "penalty"} <= set(type(method).model_fields):
        return None
    values = method.model_dump()
    return MeasuredSets(values["lam"], values["tau"], values["penalty"])


def find(config: CompareConfig) -> dict[str, Any]:
    """Carry out every run, count it against gold, write page and figures; returns the findings.

    Args:
        config: The configuration, from `xlt_ray.commands.compare.configure`.

    Raises:
        ConfigError: matplotlib is missing; nothing has run.
        LeaseHeldError: another driver is at work on these findings or on one of the runs.
    """
    require_matplotlib()
    folder = RunFolder(Store(config.first.store.root), config.name)
    with Lease(folder.store, folder.path) as lease:
        folder.write_json("config.json", config.to_dict())
        findings = _carry_out(config)
        lease.check()
        found, pictures = findings.to_json(), _pictures(findings)
        publish(folder, "oracle", found, markdown(findings), pictures)
        return found


def dry_run(config: CompareConfig) -> int:
    """The dry run of the runs; raises ConfigError if the figures could not be drawn."""
    require_matplotlib()
    return dry_run_of_runs(config, first=read_gold)


def _carry_out(config: CompareConfig) -> Findings:
    first = config.first
    rules = {title: sets_of(configs[first.seed].method) for title, configs in config.rows.items()}
    chosen = next((title for title, rule in rules.items() if rule is not None), None)
    recall: list[dict[str, Any]] = []
    accuracy: list[dict[str, Any]] = []
    languages: tuple[str, ...] = ()
    with connected(first):
        for title, seed in config.announced():
            with carry_out(config.rows[title][seed], first=read_gold) as done:
                judge, languages = Judge(done.oracle), done.driver.pools
                place = {"row": title, "seed": seed}
                rule = rules[title]
                if title == chosen and rule is not None:
                    recall += _recall(judge, place, rule, done.outcome)
                for item in done.outcome.rounds:
                    accuracy += _accuracy(judge, place, item, done.report)
    return Findings(
        name=config.name,
        benchmark=first.benchmark.name,
        languages=languages,
        split=first.benchmark.unlabelled_splits,
        seeds=config.section.seeds,
        rows=list(config.rows),
        rule=None if chosen is None else {"row": chosen, **_described(rules[chosen])},
        recall=recall,
        accuracy=accuracy,
    )


def _recall(
    judge: Judge, place: Mapping[str, Any], rule: MeasuredSets, outcome: Outcome
) -> list[dict[str, Any]]:
    """Sets of the source model on all text, and of the last round's on what it labelled."""
    sets = judge.sets("source", outcome.zero_shot, rule)
    found = _records({**place, "stage": "source"}, judge.recall("source", sets))
    if outcome.rounds:
        last = outcome.rounds[-1]
        model = outcome.rounds[-2].model if len(outcome.rounds) > 1 else outcome.zero_shot
        for stage, used in LAST_STAGES.items():
            sized = rule if used is None else replace(rule, size=used)
            sets = judge.sets(stage, model, sized, last.scored)
            found += _records({**place, "stage": stage}, judge.recall(stage, sets))
    return found


def _accuracy(
    judge: Judge, place: Mapping[str, Any], item: Round, report: Report
) -> list[dict[str, Any]]:
    """What a round selected, beside how often the model that labelled it is right on all that it
    labelled, and the test score of the model that the round trained."""
    title = f"round {item.number}"
    labelled = _records({}, judge.accuracy(f"{title} labelled", item.scored))
    model = {(row["language"], row["part"]): row["accuracy"] for row in labelled}
    course = dict(zip([x.round for x in report.rounds], report.course, strict=False))
    records = _records({**place, "round": item.number}, judge.accuracy(title, item.picked))
    return [
        {
            **record,
            "model": model.get((record["language"], record["part"])),
            "test": course.get(item.number),
        }
        for record in records
    ]


def _described(rule: MeasuredSets | None) -> dict[str, Any]:
    assert rule is not None
    return {"lambda": rule.lam, "tau": rule.tau, "penalty": rule.penalty}


def _records(place: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**place, **row, **shares_of(row)} for row in with_sums(rows)]


def _pictures(findings: Findings) -> dict[str, Pictures]:
    pictures: dict[str, Pictures] = {}
    if findings.recall:
        assert findings.rule is not None
        bases = f"lambda {findings.rule['lambda']:g}, tau {findings.rule['tau']:g}"
        for stage, name in STAGES.items():
            records = [row for row in findings.recall if row["stage"] == stage]
            if records:
                heading = f"Candidate sets, {stage}: {findings.where} ({bases})"
                pictures[name] = recall_figure(records, heading=heading)
    if findings.accuracy:
        heading = f"Newly selected labels: {findings.where}"
        pictures["figure-accuracy"] = accuracy_figure(findings.accuracy, heading=heading)
    return pictures


JOB = Job(configure, find, dry_run, keys)
"""What the job does with its flags."""
