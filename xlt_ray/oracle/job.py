"""What ``jobs/oracle_labels.py`` does: the runs of a comparison, each looked at by the oracle."""

import json
from collections.abc import Mapping
from typing import Any

from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig, configure, keys
from xlt_ray.commands.compare import dry_run as dry_run_of_runs
from xlt_ray.config.schema import MethodConfig
from xlt_ray.oracle.candidate_sets import MeasuredSets
from xlt_ray.oracle.judge import Judge
from xlt_ray.oracle.measures import shares_of, with_sums
from xlt_ray.oracle.page import Findings, markdown
from xlt_ray.report.figures import (
    accuracy_figure,
    recall_figure,
    require_matplotlib,
    write_pictures,
)
from xlt_ray.run.gold_steps import read_gold
from xlt_ray.run.session import carry_out, connected
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder


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
    lease = Lease(folder.store, folder.path)
    lease.acquire()
    try:
        folder.write_json("config.json", config.to_dict())
        findings = _carry_out(config)
        lease.check()
        _publish(findings, folder)
        return findings.to_json()
    finally:
        lease.release()


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
        for number, (title, seed) in enumerate(config.runs, start=1):
            print(f"[{number}/{len(config.runs)}] {title}, seed {seed}", flush=True)
            with carry_out(config.rows[title][seed], first=read_gold) as done:
                judge, languages = Judge(done.oracle), done.driver.pools
                place = {"row": title, "seed": seed}
                rule = rules[title]
                if title == chosen and rule is not None:
                    sets = judge.sets("source", done.outcome.zero_shot, rule)
                    recall += _records(place, judge.recall("source", sets))
                for item in done.outcome.rounds:
                    counts = judge.accuracy(f"round {item.number}", item.picked)
                    accuracy += _records({**place, "round": item.number}, counts)
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


def _described(rule: MeasuredSets | None) -> dict[str, Any]:
    assert rule is not None
    return {"lambda": rule.lam, "tau": rule.tau, "penalty": rule.penalty}


def _records(place: Mapping[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**place, **row, **shares_of(row)} for row in with_sums(rows)]


def _publish(findings: Findings, folder: RunFolder) -> None:
    if findings.recall:
        assert findings.rule is not None
        bases = f"lambda {findings.rule['lambda']:g}, tau {findings.rule['tau']:g}"
        heading = f"Candidate sets by the source model: {findings.where} ({bases})"
        pictures = recall_figure(findings.recall, heading=heading)
        write_pictures("figure-recall", pictures, folder.write)
    if findings.accuracy:
        heading = f"Newly selected labels: {findings.where}"
        pictures = accuracy_figure(findings.accuracy, heading=heading)
        write_pictures("figure-accuracy", pictures, folder.write)
    folder.write("oracle.md", markdown(findings).encode())
    text = json.dumps(findings.to_json(), sort_keys=True, indent=1, ensure_ascii=False)
    folder.write("oracle.json", text.encode() + b"\n")  # last: who finds it finds all
    print(f"oracle: {folder.path}/oracle.md", flush=True)


JOB = Job(configure, find, dry_run, keys)
"""What the job does with its flags."""
