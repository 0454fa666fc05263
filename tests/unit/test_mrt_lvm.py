"""MRT and LVM: the channel, the losses, the steps of EM, when it ends, and how text is labelled."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError

from tests.encoders import commit
from tests.recipes import (
    FACTS,
    C,
    MemoryDriver,
    SeveralSources,
    batch_of,
    languages_of,
    logits_of,
    output_of,
)
from tests.recipes import run_method as run
from xlt_ray.methods.lvm.channel import Channel, ChannelLoss, Confusions
from xlt_ray.methods.lvm.estep import EStep, likelihood
from xlt_ray.methods.lvm.recipe import LVM, MRT, has_ended
from xlt_ray.methods.lvm.settings import LVMConfig, MRTConfig, scale_of
from xlt_ray.ops import confusion
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.schedule import OptimiserStep, OwnRate, Schedule

NAMES = ("s", "t")
HARD = Channel(NAMES, soft=False, tau_psi=2.0, tau_sigma=1.0)


def source_columns(count: int) -> dict[str, torch.Tensor]:
    said = {name: logits_of(count, seed + 1).softmax(-1) for seed, name in enumerate(NAMES)}
    labels = {f"{name}.labels": p.argmax(1).to(torch.int16) for name, p in said.items()}
    return {**labels, **{f"{name}.probs": p.half() for name, p in said.items()}}


def prepared(loss: ChannelLoss, *, step: int = 0, steps: int = 3) -> ChannelLoss:
    class WithOwn(torch.nn.Linear):
        own = loss.build(FACTS, 1)

    loss.prepare(FACTS, WithOwn(1, 1))  # type: ignore[arg-type]
    loss.before_step(OptimiserStep(step, steps))
    return loss


def joint_by_hand(logits: torch.Tensor, said: dict[str, torch.Tensor], lam: float) -> torch.Tensor:
    """log P + sum_u log phi[label, y] with phi = lam psi + (1 - lam) sigma at the start."""
    psi = torch.softmax(2.0 * torch.eye(C), dim=0)
    phi = lam * psi + (1 - lam) * torch.softmax(torch.eye(C), dim=0)
    rows = [phi[said[f"{name}.labels"].long()].log() for name in NAMES]
    return logits.log_softmax(-1) + rows[0] + rows[1]


@pytest.mark.parametrize(("step", "lam"), [(0, 1.0), (1, 0.5), (2, 0.0)])
def test_the_direct_loss_is_the_likelihood_with_lambda_of_the_update(step: int, lam: float) -> None:
    logits, said = logits_of(4), source_columns(4)
    loss = prepared(ChannelLoss(HARD, "direct"), step=step)
    assert loss.own is not None
    assert float(loss.own.lam) == lam
    terms = loss.loss(output_of(logits), batch_of([0, 0, -100, 0], columns=said))
    joint = joint_by_hand(logits, said, lam)
    q = joint.softmax(1)
    assert terms["loss"].item() == pytest.approx(-(q * joint)[[0, 1, 3]].sum().item(), rel=1e-5)


def test_the_bound_uses_the_stored_posterior() -> None:
    logits, said, q = logits_of(4), source_columns(4), logits_of(4, 7).softmax(-1)
    loss = prepared(ChannelLoss(HARD, "bound"), step=1)
    batch = batch_of([0] * 4, columns={**said, "posterior.q": q})
    expected = -(q * joint_by_hand(logits, said, 0.5)).sum()
    assert loss.loss(output_of(logits), batch)["loss"].item() == pytest.approx(expected.item())


def test_hard_em_of_a_batch_puts_all_weight_on_the_likeliest() -> None:
    logits, said = logits_of(4), source_columns(4)
    loss = prepared(ChannelLoss(HARD, "direct", hard_em=True), step=1)
    found = loss.loss(output_of(logits), batch_of([0] * 4, columns=said))["loss"]
    expected = -joint_by_hand(logits, said, 0.5).max(dim=1).values.sum()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_risk_is_a_product_over_each_sentence() -> None:
    logits, said = logits_of(4), source_columns(4)
    loss = prepared(ChannelLoss(Channel(NAMES, False, 2.0), "risk"))
    batch = batch_of([0, 0, 0, -100], columns=said, sentences=[5, 5, 9, 9])
    found = loss.loss(output_of(logits), batch)["loss"]
    p = joint_by_hand(logits, said, 1.0).logsumexp(1).exp()
    assert found.item() == pytest.approx(-(p[0] * p[1] + p[2]).item(), rel=1e-5)


def test_at_lambda_1_the_matrices_have_a_gradient_and_it_is_zero() -> None:
    """Training workers wait for the gradient of every parameter."""
    loss = prepared(ChannelLoss(HARD, "direct"))
    logits = logits_of(4).requires_grad_()
    loss.loss(output_of(logits), batch_of([0] * 4, columns=source_columns(4)))["loss"].backward()
    assert loss.own is not None
    assert loss.own.raw.grad is not None
    assert (loss.own.raw.grad == 0).all()
    prepared(loss, step=1).loss(output_of(logits), batch_of([0] * 4, columns=source_columns(4)))[
        "loss"
    ].backward()
    assert loss.own.raw.grad is not None
    assert (loss.own.raw.grad != 0).any()


def test_an_estep_gives_the_posterior_and_its_part_of_the_likelihood() -> None:
    logits, said = logits_of(5), source_columns(5)
    own = Confusions(2, C, 1.0, 0.25)
    output = output_of(logits)._replace(own=own, columns=said)
    columns = EStep(HARD).annotate(output, np.array([0, 2, 5]), FACTS)
    joint = joint_by_hand(logits.double(), said, 0.25)
    assert columns.items["q"] == pytest.approx(joint.softmax(1).numpy(), abs=1e-6)
    assert columns.items["q"].dtype == np.float32
    assert columns.items["labels"].tolist() == joint.argmax(1).tolist()
    nll = -joint.logsumexp(1)
    expected = [nll[:2].sum().item(), nll[2:].sum().item()]
    assert columns.rows["nll"].tolist() == pytest.approx(expected, rel=1e-6)
    hard = EStep(HARD, hard_em=True).annotate(output, np.array([0, 2, 5]), FACTS).items["q"]
    assert hard.tolist() == confusion.one_hot_argmax(joint.softmax(1)).tolist()
    assert "q" not in EStep(HARD, keep=False).annotate(output, np.array([0, 2, 5]), FACTS).items


def test_an_estep_of_no_rows() -> None:
    said = {name: value[:0] for name, value in source_columns(1).items()}
    output = output_of(torch.zeros(0, C))._replace(own=Confusions(2, C, 1.0, 0.5), columns=said)
    columns = EStep(HARD).annotate(output, np.array([0]), FACTS)
    assert columns.items["q"].shape == (0, C)
    assert columns.rows["nll"].tolist() == []


def test_a_batch_without_rows_has_no_loss() -> None:
    """As a worker has it that owns fewer rows than another; no rows have no length of vectors."""
    said = {name: torch.zeros(0, 0) for name in ("s.probs", "t.probs", "posterior.q")}
    loss = prepared(ChannelLoss(Channel(NAMES, True, 2.0, 1.0), "bound"), step=1)
    terms = loss.loss(output_of(torch.zeros(0, C)), batch_of([], columns=said))
    assert terms["loss"].item() == 0.0
    terms["loss"].backward()


def test_soft_labels_are_mixed_inside_the_logarithm() -> None:
    channel = Channel(("s",), soft=True, tau_psi=2.0)
    logits, said = logits_of(3), source_columns(3)
    p = said["s.probs"].float()
    mixed = (p / p.sum(1, keepdim=True)) @ torch.softmax(2.0 * torch.eye(C), dim=0)
    expected = logits.log_softmax(-1) + mixed.log()
    assert torch.allclose(channel.log_joint(logits, said, None, 1.0), expected, atol=1e-6)


def test_an_estep_takes_j_at_the_lambda_of_the_one_before_too() -> None:
    logits, said, offsets = logits_of(5), source_columns(5), np.array([0, 2, 5])
    output = output_of(logits)._replace(own=Confusions(2, C, 1.0, 0.25), columns=said)
    rows = EStep(HARD, before=0.75).annotate(output, offsets, FACTS).rows
    nll = -joint_by_hand(logits.double(), said, 0.75).logsumexp(1)
    expected = [nll[:2].sum().item(), nll[2:].sum().item()]
    assert rows["nll_before"].tolist() == pytest.approx(expected, rel=1e-6)
    assert rows["lam"].tolist() == [0.25, 0.25]
    emission = joint_by_hand(torch.zeros(5, C), said, 0.25)
    both = joint_by_hand(logits, said, 0.25).argmax(1) != emission.argmax(1)
    assert rows["moved"].tolist() == [int(both[:2].sum()), int(both[2:].sum())]


def told(driver: MemoryDriver, name: str, own: Confusions, before: float | None) -> dict[str, Any]:
    """What `likelihood` says of an E-step about fixed logits."""
    logits, said = logits_of(5), source_columns(5)
    output = output_of(logits)._replace(own=own, columns=said)
    found = EStep(HARD, before=before).annotate(output, np.array([0, 2, 5]), FACTS)
    columns: dict[str, Any] = {"id": ["a", "b"], **found.rows}
    columns["labels"] = [found.items["labels"][:2], found.items["labels"][2:]]
    return likelihood(commit(driver.store, "annotation", name, {"p0": pa.table(columns)}))[1]


@pytest.mark.parametrize(("first", "last"), [(1.0, 0.0), (0.0, 1.0)])
def test_a_fall_of_j_by_lambda_alone_is_no_gain(first: float, last: float, tmp_path: Path) -> None:
    """The model stays as it is. J falls or rises since lambda moves, and EM has nothing to gain."""
    driver = MemoryDriver(tmp_path)
    one = told(driver, "one", Confusions(2, C, 1.0, first), None)
    two = told(driver, "two", Confusions(2, C, 1.0, last), first)
    assert one["J_before"] is None
    assert (two["J"] < one["J"]) == (last < first)
    assert two["J_before"] == pytest.approx(one["J"], rel=1e-12)
    assert has_ended([one, two], "same_lambda", 1e-9)
    assert not has_ended([one, two], "still_lambda", 1e-9)
    assert not has_ended([one, two], "never", 1e-9)


class Falling(SeveralSources):
    """J of the E-steps in turn, or all that they say."""

    js: list[Any]

    def derive(self, title: str, *rest: Any, **parameters: Any) -> Any:
        found = super().derive(title, *rest, **parameters)
        if not title.endswith("likelihood"):
            return found
        j = self.js.pop(0)
        facts = j if isinstance(j, dict) else {"J": j, "J_before": j, "lambda": 1.0}
        record = {"info": {"moved": 0, "items": 1, **facts}, "seconds": 0.0}
        attempt = self.store.attempt("derived", f"{title} told")
        return self.store.commit(attempt, record)


def test_steps_of_em_go_on_with_schedule_and_optimiser(tmp_path: Path) -> None:
    driver = Falling(tmp_path)
    driver.pools, driver.js = ("a",), [9.0, 8.0, 7.0]
    run("lvm", driver, epochs=3, m_passes=2, lr=1e-3, matrix_lr=0.1)
    start, *steps = (driver.call("train", title) for title in driver.titles("train")[3:])
    assert (start.title, start.schedule) == ("a start", Schedule(1.0, 0, keep="last"))
    assert [step.title for step in steps] == [f"a M-step {number}" for number in (1, 2, 3)]
    assert [step.schedule for step in steps] == [
        Schedule(1e-3, 2, keep="last", own=OwnRate(0.1), part=part)
        for part in ((0, 6), (2, 6), (4, 6))
    ]
    before = start.result
    for number, step in enumerate(steps, start=1):
        posterior = driver.call("annotate", f"a E-step {number}")
        assert posterior.start is not None
        assert step.start is not None
        assert posterior.start.artifact == step.start.artifact == before
        assert {name[0] for name in posterior.pool} == {"a"}
        (part,) = step.parts
        assert [name for name in part.rows().column_names if "." in name] == [
            "s.probs", "t.probs", "u.probs", "posterior.q",
        ]  # fmt: skip
        assert part.columns[-1].artifact == part.labels
        before = step.result


@pytest.mark.slow
@pytest.mark.parametrize(
    ("js", "steps"),
    [
        ([9.0, 8.0, 7.0], 3),
        ([9.0, 8.9995, 1.0], 1),  # a relative gain of 6e-5
        ([9.0, 8.998, 8.9], 3),  # one of 2e-4
        ([9.0, 10.0, 1.0], 1),
        ([9.0, 9.0, 1.0], 1),
        ([None, None, None], 3),  # a dry run knows none
    ],
)
def test_em_ends_when_the_likelihood_no_longer_falls(
    js: list[float | None], steps: int, tmp_path: Path
) -> None:
    driver = Falling(tmp_path)
    driver.pools, driver.js = ("a",), js
    outcome = run("mrt", driver)
    titles = [title for title in driver.titles("train") if "M-step" in title]
    assert titles == [f"a M-step {number + 1}" for number in range(steps)]
    last = driver.call("train", titles[-1])
    assert outcome.by_language["a"].artifact == last.result
    assert last.schedule is not None
    assert last.schedule.part == (steps - 1, 3)


ANNEALED = [
    {"J": 19610.0, "J_before": None, "lambda": 1.0},
    {"J": 12472.0, "J_before": 17020.0, "lambda": 2 / 3},
    {"J": 14515.0, "J_before": 11900.0, "lambda": 1 / 3},
]
"""J falls in each M-step at one lambda, and rises from the second E-step to the third with it."""
RISEN = [ANNEALED[0], {**ANNEALED[1], "J_before": 19611.0}, ANNEALED[2]]
STILL = [{**fact, "lambda": 1.0} for fact in ANNEALED]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("js", "stop", "steps"),
    [
        (ANNEALED, "same_lambda", 3),
        (ANNEALED, "still_lambda", 3),
        (RISEN, "same_lambda", 1),
        (RISEN, "still_lambda", 3),
        (STILL, "still_lambda", 2),
        (STILL, "never", 3),
    ],
)
def test_j_is_compared_at_one_lambda(js: list[Any], stop: str, steps: int, tmp_path: Path) -> None:
    driver = Falling(tmp_path)
    driver.pools, driver.js = ("a",), [*js]
    outcome = run("lvm", driver, stop=stop)
    assert len([title for title in driver.titles("train") if "M-step" in title]) == steps
    (line,) = [item for item in outcome.mechanisms if item.part == "EM, rounds with an M-step"]
    assert line.figures == {"a": steps}
    assert (line.warning is None) == (steps == 3)


@pytest.mark.parametrize(("objective", "form"), [("log", "direct"), ("risk", "risk")])
def test_without_stored_posteriors_there_is_one_training(
    objective: str, form: str, tmp_path: Path
) -> None:
    driver = MemoryDriver(tmp_path)
    run("mrt", driver, estep="batch", objective=objective, epochs=2, m_passes=3, labels="hard")
    call = driver.call("train", "a")
    assert call.schedule == Schedule(2e-5, 6, keep="last")
    assert isinstance(call.objective, ChannelLoss)
    assert call.objective.form == form
    assert "a E-step 1" not in driver.titles("annotate")
    (part,) = call.parts
    assert [name for name in part.rows().column_names if "." in name] == ["s.labels"]


def test_a_share_of_the_text_is_enough(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    run("lvm", driver, text_share=0.4)
    (part,) = driver.call("train", "a M-step 1").parts
    assert len(part.rows()) == 8
    (other,) = driver.call("train", "b M-step 1").parts
    assert len(other.rows()) == 12


def test_several_sources_are_asked_about_what_is_labelled(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    outcome = run("lvm", driver)
    text = driver.targets.of("b")
    found = outcome.labeller(driver, "final test", text, outcome.by_language["b"])
    assert languages_of(text.labelled(found)) == {"b"}
    asked = [f"scored text by {name}" for name in driver.source_languages]
    assert driver.titles("annotate")[-4:] == [*asked, "final test"]
    last = driver.calls[-1].annotator
    assert isinstance(last, EStep)
    assert not last.keep
    assert last.channel == driver.call("train", "b start").objective.channel  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "several", "predict", "by_model"),
    [
        ("lvm", False, "auto", True),
        ("lvm", True, "auto", False),
        ("mrt", True, "theta", True),
        ("mrt", False, "q", False),
    ],
)
def test_labels_come_from_the_model_or_the_posterior(
    name: str, several: bool, predict: str, by_model: bool, tmp_path: Path
) -> None:
    driver = (SeveralSources if several else MemoryDriver)(tmp_path)
    outcome = run(name, driver, predict=predict)
    outcome.labeller(driver, "final", driver.targets.of("a"), outcome.by_language["a"])
    assert isinstance(driver.calls[-1].annotator, PredictLabels) == by_model


def test_the_sources_of_the_target_decide_what_labels_it(tmp_path: Path) -> None:
    """Two sources, of which a target that is one has one."""
    driver = SeveralSources(tmp_path)
    driver.source_languages = ("a", "t")
    outcome = run("lvm", driver)
    for target, kind in (("a", PredictLabels), ("b", EStep)):
        outcome.labeller(driver, "final", driver.targets.of(target), outcome.by_language[target])
        assert isinstance(driver.calls[-1].annotator, kind)


@pytest.mark.slow
def test_matrices_learn_at_the_papers_rates(tmp_path: Path) -> None:
    for kind, rate in ((MemoryDriver, 2e-5), (SeveralSources, 2e-4)):
        driver = kind(tmp_path / kind.__name__)
        run("lvm", driver)
        schedule = driver.call("train", "a M-step 1").schedule
        assert schedule is not None
        assert schedule.own == OwnRate(rate)
    driver = MemoryDriver(tmp_path / "mrt")
    run("mrt", driver)
    schedule = driver.call("train", "a M-step 1").schedule
    assert schedule is not None
    assert schedule.own is None


def test_psi_is_given_by_its_diagonal_or_its_scale(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    channel = LVM(LVMConfig(mu_psi=0.8, tau_sigma=1.5)).channel(driver, ("s",))
    assert channel.tau_psi == pytest.approx(math.log(0.8 * 3 / 0.2))
    assert channel.tau_sigma == pytest.approx(1.5)
    assert MRT(MRTConfig()).channel(driver, ("s",)).tau_psi == pytest.approx(math.log(27))
    with pytest.raises(ValueError, match=r"mu_x: mu must be above 1/K = 0\.5"):
        scale_of(0.3, None, default=0.3, num_classes=2, key="mu_x")
    with pytest.raises(ValueError, match="at most 1 - 1e-6"):
        scale_of(None, 16.0, default=0.3, num_classes=2, key="mu_x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mu_psi": 0.9, "tau_psi": 2}, "mu_psi and tau_psi both set psi"),
        ({"mu_sigma": 0.9, "tau_sigma": 2}, "mu_sigma and tau_sigma both set sigma"),
        ({"objective": "risk"}, "objective risk has no E-step, set estep to batch"),
        ({"objective": "risk", "estep": "batch"}, "objective risk has the fixed matrix alone"),
        ({"objective": "risk", "estep": "batch", "em": "hard"}, "objective risk has no posterior"),
        ({"tau_psi": 0}, "greater than 0"),
        ({"lambda_first": 1.5}, "less than or equal to 1"),
        ({"mu_psi": 1.0}, "less than 1"),
    ],
)
def test_values_without_a_meaning_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LVMConfig.model_validate(values)


def test_a_diagonal_has_to_be_above_chance() -> None:
    for count in range(2, 12):
        LVMConfig().check_classes(count)
    assert confusion.mu_of(LVMConfig().scale_of_sigma(2), 2) == pytest.approx(0.75)
    assert confusion.mu_of(LVMConfig().scale_of_sigma(4), 4) == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"mu_sigma: mu must be above 1/K = 0\.3333"):
        LVMConfig(mu_sigma=0.3).check_classes(3)
    with pytest.raises(ValueError, match=r"mu_psi: mu must be above 1/K = 0\.5"):
        MRTConfig(mu_psi=0.4).check_classes(2)


def test_the_likelihood_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).lognormal(sigma=8, size=100)
    found = []
    for name, order in (("one", values), ("two", values[::-1])):
        names = [str(number) for number in range(100)]
        table = pa.table(
            {"id": names, "nll": order, "lam": [1.0] * 100, "moved": [1] * 100,
             "labels": [[0, 1]] * 100}
        )  # fmt: skip
        driver = MemoryDriver(tmp_path / name)
        found.append(likelihood(commit(driver.store, "annotation", name, {"p0": table}))[1])
    assert found[0] == found[1]
    assert found[0]["J"] == pytest.approx(math.fsum(values))
    assert found[0] == {**found[0], "of": 100, "items": 200, "moved": 100, "lambda": 1.0}
