"""The regret of rules that choose a model without target labels: what the best round has more.

Every run of a comparison has rounds whose models are scored on the test text of the targets
(``run.score_rounds``). The best of them by these scores is the oracle's; each rule has the score of
what it chose. Gold is read after the runs, for this page alone.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from xlt_ray.commands.cli import Job
from xlt_ray.commands.compare import CompareConfig, configure, keys
from xlt_ray.commands.compare import dry_run as dry_run_of_runs
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.shared.choice import AGREEMENT
from xlt_ray.oracle.findings import publish
from xlt_ray.recipe.method import Round
from xlt_ray.report import Report
from xlt_ray.report.tables import markdown_table, percent
from xlt_ray.run.scoring import Scorer, all_gold
from xlt_ray.run.session import Done, carry_out, connected
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder

AVERAGE = "average"
"""In place of a target: the mean over all of them, of rounds that all targets share."""


@dataclass(frozen=True)
class Course:
    """The rounds of a run, as one target is scored after each.

    Attributes:
        target: The target, or `AVERAGE`.
        rounds: Their numbers.
        source_dev: Their scores on source dev.
        scores: Their scores on the target's test text, in [0, 1].
        agreement: How far each agrees with the other models of the loop; empty if nobody looked.
        result: Score of the run's result.
        rule: The rule that chose it, and perhaps a pass after the rounds.
    """

    target: str
    rounds: Sequence[int]
    source_dev: Sequence[float | None]
    scores: Sequence[float]
    agreement: Sequence[float]
    result: float
    rule: str


@dataclass(frozen=True)
class Regret:
    """What a rule lost to the best round by gold.

    Attributes:
        target: The target, or `AVERAGE`.
        rule: The rule; "last" for the last round, "result (...)" for what the run gave.
        chosen: Number of the round that it chose; None: what it gave is the model of no round, or
            the run does not say of which.
        score: Score of what it chose, in [0, 1].
        best: Number of the best round by gold, the earliest on ties.
        best_score: Its score.
    """

    target: str
    rule: str
    chosen: int | None
    score: float
    best: int
    best_score: float

    @property
    def regret(self) -> float:
        """How much better the best round is; below 0 where what the rule gave is none of them."""
        return self.best_score - self.score


def regrets(course: Course) -> list[Regret]:
    """The regret of every rule that the course tells of; none without rounds."""
    if not course.rounds:
        return []
    best = _largest(course.scores)
    chosen: dict[str, int] = {"last": len(course.rounds) - 1}
    known = [-1.0 if score is None else score for score in course.source_dev]
    chosen = {"source_dev": _largest(known), **chosen}
    if course.agreement:
        chosen["agreement"] = _largest(course.agreement)
    place = {"best": course.rounds[best], "best_score": course.scores[best]}
    found = [
        Regret(course.target, rule, course.rounds[at], course.scores[at], **place)
        for rule, at in chosen.items()
    ]
    return [
        *found,
        Regret(course.target, f"result ({course.rule})", None, course.result, **place),
    ]


def _largest(values: Sequence[float]) -> int:
    """Place of the largest value, the first on ties."""
    return max(range(len(values)), key=lambda at: values[at])


def agreement_in(report: Report, rounds: Sequence[int], target: str | None) -> list[float]:
    """How far the models of some rounds agree with the others, as a report has it.

    Args:
        report: The report.
        rounds: Numbers of the rounds.
        target: The target that the rounds are of; None: they are of all.

    Returns:
        A share per round; nothing where the report has not all of them.
    """
    line = next((item for item in report.mechanisms if item.part == AGREEMENT), None)
    figures = {} if line is None else line.figures
    begins = ("", "all targets ") if target is None else (f"{target} ",)
    for begin in begins:
        for name in ("round", "iteration"):
            shares = [figures.get(f"{begin}{name} {number}") for number in rounds]
            if known := [share for share in shares if share is not None]:
                return known if len(known) == len(shares) else []
    return []


def courses_of(report: Report) -> list[Course]:
    """Of rounds that all targets share: one for each target, and one for their mean."""
    rounds = [item for item in report.rounds if item.scores is not None]
    if not rounds or not report.counted:
        return []
    numbers, metric = [item.round for item in rounds], report.metric
    shared: dict[str, Any] = {
        "rounds": numbers,
        "source_dev": [item.source_dev for item in rounds],
        "agreement": agreement_in(report, numbers, None),
        "rule": _rule(report),
    }
    by_target = {
        name: [float((item.scores or {})[name][metric]) for item in rounds]
        for name in report.counted
    }
    result = {name: float(report.final[name][metric]) for name in report.counted}
    means = [statistics.fmean(scores) for scores in zip(*by_target.values(), strict=True)]
    return [
        *(
            Course(name, scores=by_target[name], result=result[name], **shared)
            for name in by_target
        ),
        Course(AVERAGE, scores=means, result=statistics.fmean(result.values()), **shared),
    ]


def _rule(report: Report) -> str:
    return str(report.config["method"].get("select", "of the method"))


def _courses(done: Done) -> Iterator[Course]:
    """Of a finished run; rounds that a target has of its own are scored here."""
    report, outcome = done.report, done.outcome
    yield from courses_of(report)
    scorer = Scorer(done.driver, all_gold(done.driver))
    for target, rounds in outcome.rounds_by_language.items():
        if target in report.counted and rounds:
            numbers = [item.number for item in rounds]
            yield Course(
                target,
                numbers,
                [item.model.source_dev for item in rounds],
                [_score(scorer, done, target, item) for item in rounds],
                agreement_in(report, numbers, target),
                float(report.final[target][report.metric]),
                _rule(report),
            )


def _score(scorer: Scorer, done: Done, target: str, item: Round) -> float:
    title, label = f"{target} iteration {item.number}", done.outcome.plain_labeller
    found = scorer.evaluate(title, item.model, "test", target, label)
    return float(found[target][done.report.metric])


def find(config: CompareConfig) -> dict[str, Any]:
    """Take every run from the store, or carry it out, and write the page of regrets.

    Raises:
        ConfigError: the models of the rounds are not scored; nothing has run.
        LeaseHeldError: another driver is at work on these findings or on one of the runs.
    """
    _check(config)
    folder = RunFolder(Store(config.first.store.root), config.name)
    with Lease(folder.store, folder.path) as lease:
        folder.write_json("config.json", config.to_dict())
        records, metric = list[dict[str, Any]](), ""
        with connected(config.first):
            for title, seed in config.announced():
                with carry_out(config.rows[title][seed]) as done:
                    found = [item for course in _courses(done) for item in regrets(course)]
                    metric = done.report.metric
                place = {"row": title, "seed": seed}
                records += [{**place, **asdict(item), "regret": item.regret} for item in found]
        lease.check()
        findings = {
            "name": config.name,
            "benchmark": config.first.benchmark.name,
            "metric": metric,
            "seeds": list(config.section.seeds),
            "records": records,
        }
        publish(folder, "choosing", findings, markdown(findings), {})
        return findings


def markdown(findings: Mapping[str, Any]) -> str:
    """The page: means over the seeds, then every run; scores and regrets times 100."""
    records = findings["records"]
    groups: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for item in records:
        groups.setdefault((item["row"], item["target"], item["rule"]), []).append(item)
    means = [
        [*key, *(percent(statistics.fmean(x[name] for x in found)) for name in _NUMBERS)]
        for key, found in groups.items()
    ]
    every = [
        [
            x["row"], str(x["seed"]), x["target"], x["rule"],
            "-" if x["chosen"] is None else str(x["chosen"]), str(x["best"]),
            *(percent(x[name]) for name in _NUMBERS),
        ]
        for x in records
    ]  # fmt: skip
    seeds = ", ".join(map(str, findings["seeds"]))
    parts = [
        f"# {findings['name']}: regret of rules that choose a model (oracle)",
        f"{findings['benchmark']}, seeds {seeds}: {findings['metric']} on the test text of the "
        "targets, times 100. The regret is what the best round by gold has more. This is an "
        "oracle: gold was read after the runs, for this page alone, and nothing of it chose a "
        "model. A result may be the model of no round, so that its regret can be below 0.",
    ]
    if not records:
        return "\n\n".join([*parts, "No run has rounds that were scored."]) + "\n"
    parts += [
        "## Means over the seeds",
        markdown_table(["row", "target", "rule", "score", "best round", "regret"], means, left=3),
        "## Every run",
        markdown_table(
            ["row", "seed", "target", "rule", "chosen", "best", "score", "best score", "regret"],
            every,
            left=4,
        ),
    ]
    return "\n\n".join(parts) + "\n"


_NUMBERS = ("score", "best_score", "regret")


def _check(config: CompareConfig) -> None:
    if not config.first.run.score_rounds:
        raise ConfigError("run.score_rounds: false, but this analysis compares the rounds' scores")


def dry_run(config: CompareConfig) -> int:
    """The dry run of the runs.

    Raises:
        ConfigError: the models of the rounds are not scored.
    """
    _check(config)
    return dry_run_of_runs(config)


JOB = Job(configure, find, dry_run, keys)
"""What ``jobs/oracle_choosing.py`` does with its flags."""
