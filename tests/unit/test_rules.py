"""The key method.threshold in the loops of ST, CoNLST, CLTP and the SL baselines."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.recipes import MemoryDriver, ids, run_method
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import MethodConfig
from xlt_ray.data.schema import Task
from xlt_ray.methods import METHODS
from xlt_ray.methods.shared.confidence import Confident
from xlt_ray.methods.shared.self_training import SelfLearning
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.schedule import Schedule

LOOPS: dict[str, dict[str, Any]] = {
    "st": {"iterations": 3, "budget_epochs": None},
    "sl_evi": {"rounds": 3},
    "sl_leu": {"rounds": 3, "samples": 3},
    "sl_lou": {"rounds": 3},
    "cltp": {"rounds": 3, "one_hot_rounds": 1},
    "conlst": {"stage1": "none", "joint": True, "least_change": 0.0},
}
RULES = ("by_class", "fixed", "freematch", "softmatch")
WEIGHED = ("st", "sl_evi", "sl_leu", "sl_lou", "conlst")
CASES = [
    (name, rule, task)
    for name in LOOPS
    for rule in RULES
    for task in ("token", "pair")
    if (name, task) != ("conlst", "token") and (name, rule) != ("cltp", "softmatch")
]


def run(name: str, driver: MemoryDriver, **options: Any) -> Outcome:
    return run_method(name, driver, **{**LOOPS[name], **options})


def title(name: str, number: int) -> str:
    return f"{'iteration' if name in ('st', 'conlst') else 'round'} {number}"


@pytest.mark.parametrize(("name", "rule", "task"), CASES)
def test_every_round_looks_at_the_whole_text(
    tmp_path: Path, name: str, rule: str, task: Task
) -> None:
    """And learns from what reached its threshold in that pass, and no earlier selection."""
    driver = MemoryDriver(tmp_path, task=task)
    t0 = {"t0": 0.45} if rule in ("by_class", "fixed") else {}
    outcome = run(name, driver, threshold=rule, **t0)
    assert len(outcome.rounds) == 3
    for item in outcome.rounds:
        call = driver.call("annotate", title(name, item.number))
        assert len(call.pool) == 50
        trained = driver.call("train", title(name, item.number))
        (part,) = trained.parts[:1] if name == "conlst" else trained.parts[1:]
        assert set(part.rows()["id"].to_pylist()) == ids(item.picked)
        assert 0 < len(ids(item.picked)) <= 50
    if rule == "softmatch":
        least = 50 if task == "pair" or name == "st" else 1
        assert len(ids(outcome.rounds[0].picked)) >= least


@pytest.mark.parametrize("name", [x for x in LOOPS if x != "conlst"])
def test_rules_need_confidences_and_nothing_else_changes(tmp_path: Path, name: str) -> None:
    """The annotator of the quota is inside; the schedules and starts are the same."""
    quota, rule = MemoryDriver(tmp_path / "a"), MemoryDriver(tmp_path / "b")
    run(name, quota)
    run(name, rule, threshold="freematch")
    plain, other = (x.call("annotate", title(name, 1)) for x in (quota, rule))
    assert isinstance(other.annotator, Confident)
    if name != "st":
        assert other.annotator.inner == plain.annotator
        assert other.annotator.by_entity
    assert other.annotator.is_evidential == (name in ("sl_evi", "cltp"))
    for number in (1, 2, 3):
        first, second = (x.call("train", title(name, number)) for x in (quota, rule))
        assert first.schedule == second.schedule
        assert first.objective == second.objective


@pytest.mark.parametrize("name", WEIGHED)
def test_rows_of_softmatch_have_weights(tmp_path: Path, name: str) -> None:
    """In every training on them, of the rounds and the final pass; the source gold has none."""
    driver = MemoryDriver(tmp_path, task="pair")
    run(name, driver, threshold="softmatch")
    trained = [call for call in driver.calls if call.verb == "train"]
    for call in trained:
        plain = call.title == "source"
        weighs = getattr(call.objective, "is_weighted", "Weighted" in type(call.objective).__name__)
        assert weighs != plain, call.title
        text = [part for part in call.parts if "rule.weight" in part.rows().column_names]
        assert len(text) == (0 if plain else 1)
        for part in text:
            weights = [x[0] for x in part.rows()["rule.weight"].to_pylist()]
            assert len(weights) == 50
            assert min(weights) < 1 == max(weights)
    assert len(trained) > 3


def test_the_final_pass_learns_from_the_last_choice(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path, task="pair")
    outcome = run("sl_lou", driver, threshold="freematch")
    last = outcome.rounds[-1].picked
    _, part = driver.call("train", "final").parts
    assert part.labels == last
    assert driver.call("train", "final").schedule == Schedule(2e-5, 3, patience=1)


def test_averages_go_on_from_pass_to_pass(tmp_path: Path) -> None:
    """The models of the test say the same in every pass, so tau nears the mean confidence."""
    outcome = run("st", MemoryDriver(tmp_path, task="pair"), threshold="freematch")
    taus = [item.picked.info["averages"]["a"]["tau"] for item in outcome.rounds]
    assert 0.25 < taus[0] < taus[1] < taus[2]
    half = [(later - earlier) for earlier, later in zip([0.25, *taus], taus, strict=False)]
    assert half[1] == pytest.approx(half[0] / 2)
    none = run("st", MemoryDriver(tmp_path / "0", task="pair"), threshold="freematch", momentum=0)
    assert len({item.picked.info["averages"]["a"]["tau"] for item in none.rounds}) == 1


def test_a_quota_takes_so_many_and_a_rule_what_it_finds(tmp_path: Path) -> None:
    def talk(name: str, size: int) -> torch.Tensor:
        """A third of the texts is certain."""
        sure = 9.0 if int(name[1:]) % 3 == 0 else 0.1
        return torch.eye(4)[[int(name[1:]) % 4] * size] * sure

    driver = MemoryDriver(tmp_path, task="pair", talk=talk)
    outcome = run("sl_lou", driver, threshold="fixed")
    assert dict(outcome.rounds[0].selected) == {"a": 7, "b": 10}
    lines = {x.part: x for x in outcome.mechanisms}
    line = lines["threshold fixed, share of rows that reached it"]
    assert line.figures["a 1"] == pytest.approx(0.35)
    assert line.figures["b 3"] == pytest.approx(1 / 3)
    assert line.warning is None
    assert not any(x.startswith("ranking") for x in lines)


@pytest.mark.parametrize("name", ["st", "sl_evi", "conlst"])
def test_the_report_says_what_rules_did(tmp_path: Path, name: str) -> None:
    driver = MemoryDriver(tmp_path, task="pair")
    outcome = run(name, driver, threshold="softmatch")
    (line,) = [x for x in outcome.mechanisms if x.part == "SoftMatch, mean weight of the rows"]
    assert list(line.figures) == [f"{x} {n}" for n in (1, 2, 3) for x in ("a", "b")]
    assert all(0.5 < value < 1 for value in line.figures.values())
    assert not any("select nothing" in str(x.warning) for x in outcome.mechanisms)
    if name == "st":
        (share,) = [x for x in outcome.mechanisms if x.part.startswith("share of the pool")]
        assert dict(share.figures) == {"a": 1.0, "b": 1.0}, "and not once per iteration"


def test_a_rule_that_chooses_nothing_or_all_is_said(tmp_path: Path) -> None:
    for options, warning in (
        ({"threshold": "fixed", "t0": 0.999999}, "no row reached its threshold"),
        ({"threshold": "fixed", "t0": 0.2501}, "nearly every row reached its threshold"),
    ):
        driver = MemoryDriver(tmp_path / warning[:5], task="pair")
        outcome = run("st", driver, **options)
        (line,) = [x for x in outcome.mechanisms if "reached it" in x.part]
        assert str(line.warning).startswith(warning)


def test_each_target_of_conlst_has_its_own_averages(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path, task="pair")
    outcome = run("conlst", driver, threshold="freematch", joint=False)
    for target, size in (("a", 20), ("b", 30)):
        assert len(driver.call("annotate", f"{target} iteration 1").pool) == size
        first, second = outcome.rounds_by_language[target][:2]
        assert set(first.picked.info["averages"]) == {target}
        assert first.picked.info["averages"] != second.picked.info["averages"]
    (line,) = [x for x in outcome.mechanisms if "reached it" in x.part]
    assert set(line.figures) == {f"{x} {n}" for n in (1, 2, 3) for x in "ab"}


def test_steps_of_st_are_those_of_the_rule(tmp_path: Path) -> None:
    """Batches of 10: 10 of the gold and 20 + 30 texts make 6 steps an iteration; 12 are allowed."""
    driver = MemoryDriver(tmp_path, task="pair")
    options = {"budget_epochs": 12.0, "batch_size": 10, "iterations": 9}
    assert len(run("st", driver, threshold="softmatch", **options).rounds) == 2


def config(name: str, **options: Any) -> MethodConfig:
    return METHODS[name].Config.model_validate(options)


@pytest.mark.parametrize("name", LOOPS)
def test_the_key_has_the_same_values_everywhere(name: str) -> None:
    for rule in RULES:
        if (name, rule) != ("cltp", "softmatch"):
            assert config(name, threshold=rule).model_dump()["threshold"] == rule
    with pytest.raises(ValidationError, match="'by_class', 'fixed', 'freematch' or 'softmatch'"):
        config(name, threshold="quota")


def test_defaults_are_those_of_the_papers() -> None:
    for name in LOOPS:
        values = config(name).model_dump()
        assert values["threshold"] == ("by_class" if name == "conlst" else None)
        assert (values["curriculum"], values["momentum"]) == (None, 0.5)
        assert (values["floor"], values["uniform_alignment"]) == (None, False)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("st", {"momentum": 0.1}, "freematch and softmatch, and threshold is None"),
        ("sl_evi", {"threshold": "freematch", "t0": 0.8}, "and threshold is freematch"),
        ("st", {"threshold": "softmatch", "floor": 0.5}, "floor is of threshold by_class and"),
        ("conlst", {"momentum": 0.1}, "momentum is of threshold freematch and softmatch"),
        ("cltp", {"threshold": "freematch", "uniform_alignment": True}, "of threshold softmatch"),
        ("st", {"threshold": "fixed", "share": 0.1}, "share is of the quota, and threshold fixed"),
        ("st", {"threshold": "fixed", "balanced": False}, "leave out balanced"),
        ("st", {"threshold": "fixed", "subset": 9}, "leave out subset"),
        ("sl_lou", {"threshold": "fixed", "ratio": 0.1}, "leave out ratio"),
        ("sl_evi", {"threshold": "fixed", "selection": "top_n"}, "leave out selection"),
        ("sl_evi", {"threshold": "fixed", "rank_by": "vacuity"}, "leave out rank_by"),
        ("cltp", {"threshold": "fixed", "prev_ratio": 0}, "leave out prev_ratio"),
        ("cltp", {"threshold": "fixed", "quota_of": "predicted"}, "leave out quota_of"),
        ("cltp", {"threshold": "fixed", "reset_pool_after_warmup": True}, "leave out reset_pool"),
        ("sl_leu", {"threshold": "fixed", "labelled_rounds": 1}, "chosen by the quota"),
        ("cltp", {"threshold": "softmatch"}, "weighs single labels"),
        ("conlst", {"threshold": "freematch", "warmup": True}, "warmup is of threshold by_class"),
        ("st", {"threshold": "freematch", "momentum": 1.0}, "less than 1"),
    ],
)
def test_keys_that_do_nothing_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(name, **options)


def test_cltp_without_sets_has_weights(tmp_path: Path) -> None:
    """Its steps are those of SL-EVI with the same loss."""
    one, other = MemoryDriver(tmp_path / "a"), MemoryDriver(tmp_path / "b")
    run("cltp", one, label="one_hot", threshold="softmatch")
    run("sl_evi", other, evi_loss="digamma", threshold="softmatch")
    for first, second in zip(one.calls, other.calls, strict=True):
        assert (first.title, first.objective) == (second.title, second.objective)


@pytest.mark.parametrize("name", LOOPS)
def test_thresholds_are_above_an_even_guess(name: str) -> None:
    more = {"gamma": 0.5} if name == "conlst" else {}
    with pytest.raises(ValueError, match=r"^t0: has to be above 1/C = 0.25, got 0.2"):
        config(name, threshold="fixed", t0=0.2, **more).check_classes(4)
    with pytest.raises(ValueError, match=r"^floor: has to be t0 = 0.9 at most, got 0.95"):
        config(name, threshold="by_class", floor=0.95).check_classes(4)
    config(name, threshold="freematch", floor=0.95).check_classes(4)


def test_words_are_not_aligned(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method\.uniform_alignment: of texts alone"):
        run("sl_lou", MemoryDriver(tmp_path), threshold="softmatch", uniform_alignment=True)
    driver = MemoryDriver(tmp_path / "pair", task="pair")
    outcome = run("sl_lou", driver, threshold="softmatch", uniform_alignment=True)
    plain = MemoryDriver(tmp_path / "plain", task="pair")
    other = run("sl_lou", plain, threshold="softmatch")
    found = [x.rounds[0].picked.info["weight"]["a"] for x in (outcome, other)]
    assert found[0] != found[1]


def test_a_method_without_weighted_losses_says_so() -> None:
    class Own(SelfLearning[Any]):
        """A method of a user."""

        def objective(self, number: int) -> Any: ...

        def annotator(self, number: int, seed: int) -> Any: ...

        def selection(self, number: int) -> Any: ...

    with pytest.raises(ConfigError, match=r"method\.threshold: softmatch weighs rows, and sl_lou"):
        Own(config("sl_lou", threshold="softmatch")).weighted_objective()


def test_translated_texts_keep_their_weights(tmp_path: Path) -> None:
    """Each part of the mix has those of its own texts."""
    driver = MemoryDriver(tmp_path, task="pair")
    driver.translated = driver.unlabelled()
    outcome = run("conlst", driver, threshold="softmatch", iterations=1)
    picked = outcome.rounds[0].picked.table()
    wanted = dict(zip(picked["id"].to_pylist(), picked["weight"].to_pylist(), strict=True))
    parts = [part.rows() for part in driver.call("train", "iteration 1").parts]
    assert [len(part) for part in parts] == [25, 25]
    found = {x["id"]: x["rule.weight"] for part in parts for x in part.to_pylist()}
    assert found == wanted
