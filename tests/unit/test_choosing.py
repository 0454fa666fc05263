"""The regret of rules that choose a model, by hand; and what names the rule in a report."""

from pathlib import Path
from typing import Any

import pytest

from tests.reports import example
from xlt_ray.commands.compare import configure
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import to_dict
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.methods.shared.choice import AGREEMENT, ChoiceConfig, choice_notes
from xlt_ray.oracle.choosing import (
    AVERAGE,
    Course,
    Regret,
    agreement_in,
    courses_of,
    dry_run,
    find,
    markdown,
    regrets,
)
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.report.card import card
from xlt_ray.report.page import run_page
from xlt_ray.report.record import Report, RoundReport
from xlt_ray.report.tables import metric_name
from xlt_ray.run.check import configure_run

COURSE = Course("sw", [1, 2, 4], [0.8, 0.9, 0.9], [0.5, 0.25, 0.5], [0.6, 0.6, 0.7], 0.625, "x")


def test_regrets_by_hand() -> None:
    """The best is round 1, the earliest of two; source dev takes 2, agreement 4, the last is 4."""
    found = {item.rule: item for item in regrets(COURSE)}
    assert found == {
        "source_dev": Regret("sw", "source_dev", 2, 0.25, 1, 0.5),
        "last": Regret("sw", "last", 4, 0.5, 1, 0.5),
        "agreement": Regret("sw", "agreement", 4, 0.5, 1, 0.5),
        "result (x)": Regret("sw", "result (x)", None, 0.625, 1, 0.5),
    }
    assert {rule: item.regret for rule, item in found.items()} == {
        "source_dev": 0.25, "last": 0.0, "agreement": 0.0, "result (x)": -0.125
    }  # fmt: skip


def test_rules_that_a_run_tells_nothing_of_have_no_regret() -> None:
    course = Course("sw", [1, 2], [None, 0.5], [0.1, 0.4], [], 0.3, "average")
    assert [item.rule for item in regrets(course)] == ["source_dev", "last", "result (average)"]
    assert regrets(course)[0].chosen == 2, "a round without a score on source dev counts least"
    assert regrets(Course("sw", [], [], [], [], 0.5, "average")) == []


def report(**more: Any) -> Report:
    def scores(nl: float, de: float) -> dict[str, dict[str, float]]:
        return {"en": {"f1": 0.9}, "nl": {"f1": nl}, "de": {"f1": de}}

    rounds = [
        RoundReport(1, {"nl": 1}, {"1": 1}, 0.9, scores(0.75, 0.25)),
        RoundReport(2, {"nl": 1}, {"1": 1}, 0.8, scores(0.5, 0.625)),
    ]
    return example(rounds=rounds, **more)


def test_courses_are_of_targets_and_of_their_mean() -> None:
    found = {course.target: course for course in courses_of(report())}
    assert list(found) == ["nl", "de", AVERAGE], "the source is no target"
    assert found["nl"].scores == [0.75, 0.5]
    assert found[AVERAGE].scores == [0.5, 0.5625]
    assert found[AVERAGE].result == pytest.approx((0.75 + 1 / 3) / 2)
    assert found["de"].rule == "of the method"
    best = {x.target: x.best for course in found.values() for x in regrets(course)}
    assert best == {"nl": 1, "de": 2, AVERAGE: 2}
    assert courses_of(example()) == [], "its rounds were not scored"


def test_agreement_is_read_from_the_report() -> None:
    figures = {"round 1": 0.25, "round 2": 0.5, "final pass": 0.75}
    found = report(mechanisms=[Mechanism(AGREEMENT, figures)])
    assert agreement_in(found, [1, 2], None) == [0.25, 0.5]
    assert agreement_in(found, [1, 2, 3], None) == [], "not of all rounds"
    assert agreement_in(report(), [1, 2], None) == []
    own = {"de iteration 1": 0.5, "de iteration 2": 0.25, "nl iteration 1": 0.125}
    found = report(mechanisms=[Mechanism(AGREEMENT, own)])
    assert agreement_in(found, [1, 2], "de") == [0.5, 0.25]
    assert agreement_in(found, [1], "nl") == [0.125]
    joint = report(mechanisms=[Mechanism(AGREEMENT, {"all targets iteration 1": 0.5})])
    assert agreement_in(joint, [1], None) == [0.5]


def test_the_page_says_that_it_is_an_oracle() -> None:
    place = {"target": "sw", "rule": "last", "chosen": 4, "best": 1, "best_score": 0.5}
    records = [
        {**place, "row": "cltp", "seed": seed, "score": 0.5 - lost, "regret": lost}
        for seed, lost in ((0, 0.25), (1, 0.0))
    ]
    found = {"name": "n", "benchmark": "b", "metric": "f1", "seeds": [0, 1], "records": records}
    text = markdown(found)
    assert "This is an oracle: gold was read after the runs" in text
    rows = [[x.strip() for x in line.strip("|").split("|")] for line in text.splitlines()]
    assert ["cltp", "sw", "last", "37.50", "50.00", "12.50"] in rows
    assert ["cltp", "0", "sw", "last", "4", "1", "25.00", "50.00", "25.00"] in rows
    assert "No run has rounds" in markdown({**found, "records": []})


def test_runs_whose_rounds_are_not_scored_are_refused(tmp_path: Path) -> None:
    config = configure(
        {
            "benchmark": {"name": "toy", "source": ["mira"], "targets": ["teska"]},
            "backbone": "toy", "store": {"root": str(tmp_path)}, "run": {"score_rounds": False},
            "compare": {"methods": {"one": {"name": "cltp"}}},
        }
    )  # fmt: skip
    for call in (find, dry_run):
        with pytest.raises(ConfigError, match=r"run.score_rounds: false, but this analysis"):
            call(config)


@pytest.mark.parametrize("rule", ["source_dev", "average", "agreement"])
def test_the_page_of_a_run_names_the_rule(rule: Any) -> None:
    config = ChoiceConfig(name="cltp", select=rule)
    method = {"name": "cltp", "select": rule}
    notes = choice_notes(config, has_rounds=True)
    found = report(config={"seed": 0, "method": method}, notes=notes)
    page = run_page(found, [], [])
    if rule == "source_dev":
        assert found.chosen_by is None
        assert "on source dev, by which the final one is chosen." in page
        return
    assert f"The final one was chosen {found.chosen_by}." in page
    assert f"method.select={rule}" in page
    nothing = report(config={"seed": 0, "method": method})
    assert nothing.chosen_by is None, "of a run that had no rounds"


@pytest.mark.parametrize("rule", ["source_dev", "average", "agreement"])
def test_the_card_of_a_model_names_the_rule(rule: Any) -> None:
    config = configure_run(
        {
            "benchmark": {"name": "toy", "source": ["mira"], "targets": ["teska"]},
            "backbone": "toy", "method": {"name": "cltp", "select": rule},
        }
    )  # fmt: skip
    notes = choice_notes(config.method, has_rounds=True)
    found = report(config=to_dict(config), notes=notes)
    shown = card(config, benchmark_of(config), found, {"run": "x"}, {}, encoder={}, licence=None)
    by_dev = f"by {metric_name(found.metric)} on labelled text of en."
    wanted = {
        "source_dev": f"It was chosen {by_dev}",
        "average": "It was chosen as the mean of the weights of the last 3 models of the loop; the "
        f"epoch within a training, {by_dev}",
        "agreement": "It was chosen as the model of the loop whose labels of the unlabelled text "
        f"agree most with those of the others; the epoch within a training, {by_dev}",
    }
    assert f"{wanted[rule]} Labels of target languages were not used." in shown
