"""IWDA: the objective against sums by hand, the weights' way, and the recipe."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.recipes import FACTS, MemoryDriver, batch_of, logits_of
from tests.recipes import run_method as run
from xlt_ray.config.schema import MethodConfig, part_of
from xlt_ray.data.batches.batch import Batch
from xlt_ray.methods.iwda.alignment import AlignmentLoss, CriticHead
from xlt_ray.methods.iwda.mechanisms import diagnosed
from xlt_ray.methods.iwda.recipe import IWDAConfig
from xlt_ray.methods.iwda.settings import CriticSettings
from xlt_ray.methods.iwda.weights import SureLabels
from xlt_ray.models.classifier import Output
from xlt_ray.ops import alignment, explained, importance
from xlt_ray.recipe.corpus import Start
from xlt_ray.recipe.schedule import OptimiserStep, OwnRate
from xlt_ray.recipe.task import TaskContext

K, D = FACTS.num_classes, 6
PRIOR, W0 = (0.4, 0.3, 0.2, 0.1), (0.5, 1.0, 1.5, 2.0)


def critic_settings(**options: Any) -> CriticSettings:
    return part_of(
        IWDAConfig.model_validate({"critic_hidden": 16, "stats_left": 1.0, **options}),
        CriticSettings,
    )


class FakeEncoder:
    class config:
        hidden_size = D


def prepared(
    loss: AlignmentLoss, *, total: Callable[[torch.Tensor], torch.Tensor] | None = None
) -> AlignmentLoss:
    torch.manual_seed(7)

    class Model:
        own, width, encoder = loss.build(FACTS, D), D, FakeEncoder

    context = TaskContext(FACTS.labels, (), 6, "token", total) if total else FACTS
    loss.prepare(context, Model())  # type: ignore[arg-type]
    return loss


def batch_with(labels: list[int], paired: int) -> Batch:
    batch = batch_of([*labels, *[-100] * paired])
    batch.paired[len(labels) :] = True
    return batch


def output_with(count: int, seed: int = 0) -> Output:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, D, generator=generator, requires_grad=True)
    return Output(logits_of(count, seed).requires_grad_(), features, encoded=features * 2)


LABELS = [0, 1, -100, 2, 3, 1]


def test_the_loss_is_the_sum_by_hand() -> None:
    loss, output = prepared(AlignmentLoss(critic_settings(ramp=0.0), W0, PRIOR)), output_with(10)
    batch = batch_with(LABELS, 4)
    loss.before_step(OptimiserStep(3, 10, items=5, paired=4))
    torch.manual_seed(1)
    found = loss.loss(output, batch)
    source, target = [0, 1, 3, 4, 5], [6, 7, 8, 9]
    seen = alignment.outer_product(output.logits.softmax(-1), output.features)
    critic, labels = loss.critic_head.critic, batch.labels[source]
    weights = torch.tensor(W0)[labels]
    gap = alignment.gap(critic(seen[source]), weights, critic(seen[target]))
    torch.manual_seed(1)
    points = alignment.between(seen[source], seen[target], torch.rand(4)).detach()
    penalty = critic.squared_slope(points).mean()
    expected = cross_entropy(output.logits[source], labels) + gap + 10 * penalty
    torch.testing.assert_close(found["loss"] / 5, expected)
    torch.testing.assert_close(found["gap"] / 5, gap)
    torch.testing.assert_close(found["penalty"] / 5, penalty)


def test_the_encoder_climbs_what_the_critic_descends() -> None:
    loss, output = (
        prepared(
            AlignmentLoss(critic_settings(lambda_da=0.25, lambda_gp=0.0, ramp=0.0), W0, PRIOR)
        ),
        output_with(10),
    )
    batch = batch_with(LABELS, 4)
    loss.before_step(OptimiserStep(3, 10, items=5, paired=4))
    found = loss.loss(output, batch)["gap"]
    by_features, by_logits = torch.autograd.grad(
        found, [output.features, output.logits], retain_graph=True, allow_unused=True
    )
    assert by_logits is None
    critic = loss.critic_head.critic
    turned = [p.clone() for p in torch.autograd.grad(found, list(critic.parameters()))]
    # The same gap without the reversal.
    z = output.features.detach().requires_grad_()
    seen = alignment.outer_product(output.logits.detach().softmax(-1), z)
    source, target = [0, 1, 3, 4, 5], [6, 7, 8, 9]
    weights = torch.tensor(W0)[batch.labels[source]]
    plain = 5 * alignment.gap(critic(seen[source]), weights, critic(seen[target]))
    own = torch.autograd.grad(plain, [z, *critic.parameters()])
    torch.testing.assert_close(by_features, -0.25 * own[0])
    for one, other in zip(turned, own[1:], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("labels", "paired"), [([], 3), ([-100, -100], 2), ([1, 2], 0), ([], 0)])
def test_a_pass_without_one_of_the_domains_has_no_penalty(labels: list[int], paired: int) -> None:
    loss = prepared(AlignmentLoss(critic_settings(), W0, PRIOR))
    loss.before_step(OptimiserStep(5, 10, items=2, paired=3))
    output = output_with(len(labels) + paired)
    found = loss.loss(output, batch_with(labels, paired))
    assert found["penalty"].item() == 0
    assert torch.isfinite(found["loss"])
    found["loss"].backward()
    for parameter in loss.critic_head.critic.parameters():  # which other workers wait for
        assert parameter.grad is not None


def test_weights_and_alignment_set_in_over_the_ramp() -> None:
    found = []
    for number in (0, 5, 10, 40):
        loss, output = (
            prepared(AlignmentLoss(critic_settings(lambda_da=1.0), W0, PRIOR)),
            output_with(10),
        )
        loss.before_step(OptimiserStep(number, 100, items=5, paired=4))
        gap = loss.loss(output, batch_with(LABELS, 4))["gap"]
        (slope,) = torch.autograd.grad(gap, [output.features])
        found.append((gap.item(), float(slope.abs().sum())))
    assert found[0][1] == 0
    assert 0 < found[1][1] < found[2][1] == found[3][1]
    assert found[2][0] == found[3][0]
    assert found[1][0] == pytest.approx((found[0][0] + found[2][0]) / 2, rel=1e-5)


def many_steps(
    loss: AlignmentLoss, steps: int, *, seed: int = 0, begin: int = 0
) -> list[list[float]]:
    """The weights after each step of a training on made-up batches."""
    trajectory = []
    for number in range(begin, steps):
        generator = np.random.default_rng([seed, number])
        labels = generator.integers(0, K, 12).tolist()
        torch.manual_seed(number)  # as the engine does
        loss.before_step(OptimiserStep(number, steps, items=12, paired=9))
        loss.loss(output_with(21, seed=100 + number), batch_with(labels, 9))
        loss.after_step()
        trajectory.append(loss.critic_head.w.tolist())
    return trajectory


@pytest.mark.parametrize("projection", ["rescale", "euclid"])
def test_the_weights_go_the_way_of_decoupled_adamw(projection: str) -> None:
    options = {"projection": projection, "lr_iw": 0.05, "lambda_iw": 1.0, "stats_rate": 0.1}
    loss = prepared(AlignmentLoss(critic_settings(**options), W0, PRIOR))
    w0, p = torch.tensor(W0).double(), torch.tensor(PRIOR).double()
    C, t, w, m, v = p.diag(), p * w0, w0.clone(), torch.zeros(K).double(), torch.zeros(K).double()
    for number in range(12):
        generator = np.random.default_rng([0, number])
        labels = torch.tensor(generator.integers(0, K, 12))
        loss.before_step(OptimiserStep(number, 12, items=12, paired=9))
        output = output_with(21, seed=100 + number)
        loss.loss(output, batch_with(labels.tolist(), 9))
        loss.after_step()
        said = output.logits.argmax(1)
        batch_C = torch.zeros(K, K).double()
        for i, j in zip(said[:12].tolist(), labels.tolist(), strict=True):
            batch_C[i, j] += 1 / 12
        batch_t = torch.bincount(said[12:], minlength=K).double() / 9
        C, t = 0.9 * C + 0.1 * batch_C, 0.9 * t + 0.1 * batch_t
        slope, lr = 2 * C.T @ (C @ w - t), 0.05 * (12 - number) / 12
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        hats = m / (1 - 0.9 ** (number + 1)), v / (1 - 0.999 ** (number + 1))
        u = w0 + (w - w0) * (1 - lr * 1.0) - lr * hats[0] / (hats[1].sqrt() + 1e-8)
        w = importance.project(u, p) if projection == "euclid" else importance.rescale(u, p, w0)
        torch.testing.assert_close(loss.critic_head.w, w)
        assert float(p @ w) == pytest.approx(1)
        assert float(w.min()) >= 0


def test_the_start_is_where_nothing_pulls() -> None:
    loss = prepared(AlignmentLoss(critic_settings(), W0, PRIOR))
    slope = importance.gradient(loss.critic_head.w, loss.critic_head.C, loss.critic_head.t)
    torch.testing.assert_close(slope, torch.zeros(K).double())


@pytest.mark.parametrize("weighting", ["none", "fixed"])
def test_weights_that_are_not_estimated_stay(weighting: str) -> None:
    chosen = critic_settings(lr_iw=0.1)
    fixed = chosen.model_copy(update={"weighting": weighting})
    loss = prepared(AlignmentLoss(fixed, W0, PRIOR))
    assert many_steps(loss, 3) == [list(W0)] * 3


def test_the_rate_of_the_weights_falls_or_stays() -> None:
    moved = {}
    for schedule in ("linear", "constant"):
        loss = prepared(
            AlignmentLoss(
                critic_settings(w_schedule=schedule, lr_iw=0.01, lambda_iw=0.0), W0, PRIOR
            )
        )
        many_steps(loss, 10)
        moved[schedule] = loss.optimiser.param_groups[0]["lr"]
    assert moved == {"linear": pytest.approx(0.001), "constant": 0.01}


def test_raw_counts_weigh_large_batches_more() -> None:
    loss = prepared(AlignmentLoss(critic_settings(statistics="counts"), W0, PRIOR))
    many_steps(loss, 1)
    assert float(loss.critic_head.C.sum()) == pytest.approx(0.995 + 0.005 * 12)
    loss = prepared(AlignmentLoss(critic_settings(), W0, PRIOR))
    many_steps(loss, 1)
    assert float(loss.critic_head.C.sum()) == pytest.approx(1)


def test_two_workers_have_the_weights_of_one() -> None:
    alone = prepared(AlignmentLoss(critic_settings(lr_iw=0.02), W0, PRIOR))
    pair: list[AlignmentLoss] = []

    def total(counts: torch.Tensor) -> torch.Tensor:
        return counts + waiting[0]

    waiting = [torch.zeros(K + 1, K).double()]
    pair = [
        prepared(AlignmentLoss(critic_settings(lr_iw=0.02), W0, PRIOR), total=total)
        for _ in range(2)
    ]
    for number in range(6):
        labels = np.random.default_rng(number).integers(0, K, 12).tolist()
        output, step = (
            output_with(20, seed=number),
            OptimiserStep(number, 6, items=12, paired=8),
        )
        alone.before_step(step)
        alone.loss(output, batch_with(labels, 8))
        alone.after_step()
        counts = []
        for rank, worker in enumerate(pair):
            own = [*range(rank, 12, 2), *range(12 + rank, 20, 2)]
            part = Output(output.logits[own], output.features[own])
            worker.before_step(step)
            worker.loss(part, batch_with([labels[i] for i in own[:6]], 4))
            counts.append(worker.counts.clone())
        for rank, worker in enumerate(pair):
            waiting[0] = counts[1 - rank]
            worker.after_step()
            assert worker.critic_head.w.tolist() == alone.critic_head.w.tolist()


def test_what_is_restored_goes_on_exactly() -> None:
    whole = prepared(AlignmentLoss(critic_settings(lr_iw=0.02), W0, PRIOR))
    expected = many_steps(whole, 8)
    first = prepared(AlignmentLoss(critic_settings(lr_iw=0.02), W0, PRIOR))
    for number in range(4):
        labels = np.random.default_rng([0, number]).integers(0, K, 12).tolist()
        torch.manual_seed(number)
        first.before_step(OptimiserStep(number, 8, items=12, paired=9))
        first.loss(output_with(21, seed=100 + number), batch_with(labels, 9))
        first.after_step()
    state = {name: value.clone() for name, value in first.state_dict().items()}
    model = {name: value.clone() for name, value in first.critic_head.state_dict().items()}
    second = prepared(AlignmentLoss(critic_settings(lr_iw=0.02), W0, PRIOR))
    second.critic_head.load_state_dict(model)
    second.load_state_dict(state)
    assert many_steps(second, 8, begin=4) == expected[4:]
    assert second.progress() == whole.progress()


def test_critic_and_encoder_take_turns() -> None:
    loss = prepared(AlignmentLoss(critic_settings(critic_steps=2), W0, PRIOR))
    assert loss.alternates
    assert [loss.trains(number) for number in range(6)] == ["own", "own", "model"] * 2
    output = output_with(10)
    loss.before_step(OptimiserStep(0, 10, items=5, paired=4))
    found = loss.loss(output, batch_with(LABELS, 4))
    assert "source" not in found
    found["loss"].backward()
    assert output.features.grad is None
    assert output.logits.grad is None
    loss.before_step(OptimiserStep(2, 10, items=5, paired=4))
    assert "source" in loss.loss(output, batch_with(LABELS, 4))
    before = loss.critic_head.w.tolist()
    loss.after_step()
    assert loss.critic_head.w.tolist() == before  # the weights move with the critic


def test_the_critic_sees_a_sample_that_stands_for_all() -> None:
    loss = prepared(AlignmentLoss(critic_settings(critic_items=3), W0, PRIOR))
    found, each = loss._some(torch.tensor([True, False, True, True, True, True]))
    assert len(found) == 3
    assert each == pytest.approx(5 / 3)
    assert 1 not in found.tolist()
    assert found.tolist() == sorted(set(found.tolist()))


@pytest.mark.parametrize(("view", "size"), [("outer", K * D), ("projected", 1024), ("plain", D)])
def test_what_the_critic_sees(view: str, size: int) -> None:
    torch.manual_seed(0)
    critic_head = CriticHead(K, D, critic_settings(critic_view=view))
    assert critic_head.critic.first.in_features == size
    logits, z = logits_of(5), torch.randn(5, D)
    seen = critic_head.seen(logits, z)
    assert seen.shape == (5, size)
    if view == "plain":
        assert seen is z


def test_a_projection_keeps_inner_products() -> None:
    torch.manual_seed(0)
    critic_head = CriticHead(30, D, critic_settings(critic_view="projected"), projected=20_000)
    logits, z = torch.randn(4, 30), torch.randn(4, D)
    seen, outer = critic_head.seen(logits, z), alignment.outer_product(logits.softmax(-1), z)
    torch.testing.assert_close(seen @ seen.T, outer @ outer.T, rtol=0.2, atol=0.05)


def test_many_classes_are_projected() -> None:
    config = IWDAConfig()
    assert config.view(20) == "outer"
    assert config.view(21) == "projected"


def test_the_raw_state_is_an_option() -> None:
    loss, output = (
        prepared(AlignmentLoss(critic_settings(feature="raw_cls"), W0, PRIOR)),
        output_with(10),
    )
    loss.before_step(OptimiserStep(50, 100, items=5, paired=4))
    raw = loss.loss(output, batch_with(LABELS, 4))["gap"]
    twice = output._replace(features=output.encoded)  # type: ignore[arg-type]
    other = prepared(AlignmentLoss(critic_settings(), W0, PRIOR))
    other.before_step(OptimiserStep(50, 100, items=5, paired=4))
    assert raw.item() == other.loss(twice, batch_with(LABELS, 4))["gap"].item()


def test_the_record_has_weights_and_means() -> None:
    loss = prepared(AlignmentLoss(critic_settings(), W0, PRIOR))
    many_steps(loss, 2)
    found = loss.progress()
    assert found["w"] == loss.critic_head.w.tolist()
    assert found["loss_source"] > 0
    assert loss.progress()["loss_source"] == 0


# -- the recipe ----------------------------------------------------------------------------------


def test_every_target_is_aligned_from_the_source_model(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    outcome = run("iwda", driver)
    assert driver.titles("train") == ["source", "a", "b"]
    assert driver.titles("annotate") == ["source train", "unlabelled"] * 2
    assert set(outcome.by_language) == {"a", "b"}
    assert outcome.final is outcome.zero_shot
    for target in ("a", "b"):
        call, weights = (
            driver.call("train", target),
            driver.call("derive", f"{target} initial weights"),
        )
        assert weights.result is not None
        facts = weights.result.info
        assert isinstance(call.objective, AlignmentLoss)
        assert call.objective.w0 == tuple(facts["w0"])
        assert call.objective.prior == tuple(facts["prior"])
        assert np.dot(facts["w0"], facts["prior"]) == pytest.approx(1)
        assert call.start == outcome.zero_shot
        assert call.paired is not None
        assert call.paired.language == target
        assert call.schedule is not None
        assert call.schedule.steps == facts["steps"]
        assert (call.schedule.keep, call.schedule.batch_size) == ("last", 8)
        assert call.schedule.own == OwnRate(5e-4, 0.01, constant=True, clipped=False)


def test_steps_of_words_are_counted_in_target_sentences(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run("iwda", driver)
    steps = driver.call("train", "b").schedule
    assert steps is not None
    # 30 sentences of 1, 2 and 3 words against source sentences of 1; 4 passes by 8.
    sizes = [1 + i % 3 for i in range(20, 50)]
    assert steps.steps == round(4 * 30 / 8 * np.mean(sizes))


def test_steps_of_texts_are_counted_in_source_texts(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path, task="sentence")
    run("iwda", driver, epochs=3)
    schedule = driver.call("train", "a").schedule
    assert schedule is not None
    assert schedule.steps == round(3 * 10 / 8)


def test_plain_alignment_weighs_all_alike(tmp_path: Path) -> None:
    driver = MemoryDriver(tmp_path)
    run("iwda", driver, weighting="none")
    objective = driver.call("train", "a").objective
    assert isinstance(objective, AlignmentLoss)
    assert objective.w0 == (1.0,) * K
    assert objective.settings.weighting == "none"


@pytest.mark.parametrize("name", ["iwda", "kd", "st"])
def test_each_target_starts_from_its_own_model(tmp_path: Path, name: str) -> None:
    driver = MemoryDriver(tmp_path)
    own = {target: driver._model(f"earlier {target}", {"source_dev": 0.5}) for target in "ab"}
    first = driver._model("earlier", {"source_dev": 0.4})
    driver.starts = {"before": Start(first, own)}
    options: dict[str, Any] = {"start_from": "before"}
    if name == "st":
        options |= {"iterations": 1, "share": 0.5}
    outcome = run(name, driver, **options)
    assert "source" not in driver.titles("train")
    assert outcome.zero_shot is first
    assert outcome.zero_shot_by_language == own
    asked = {call.start for call in driver.calls if call.verb == "annotate"}
    assert asked == set(own.values())


def test_start_from_names_something() -> None:
    for kind in (IWDAConfig,):
        assert issubclass(kind, MethodConfig)
        with pytest.raises(ValueError, match="start_from"):
            kind.model_validate({"start_from": ""})


def test_a_short_training_renews_its_statistics() -> None:
    loss = prepared(AlignmentLoss(critic_settings(stats_left=0.01), W0, PRIOR))
    for number in range(20):
        loss.before_step(OptimiserStep(number, 20, items=5, paired=4))
        loss.loss(output_with(10, seed=number), batch_with(LABELS, 4))
        loss.after_step()
    own = loss.progress()
    assert own["start_left"] == pytest.approx(0.01)
    assert own["moved"] == pytest.approx(float((loss.critic_head.w - loss.w0_K).abs().max()))
    assert 0 <= own["residual"] <= 1
    slow = prepared(AlignmentLoss(critic_settings(), W0, PRIOR))
    slow.before_step(OptimiserStep(19, 20, items=5, paired=4))
    slow.loss(output_with(10), batch_with(LABELS, 4))
    assert slow.progress()["start_left"] == pytest.approx(0.995**20)


def test_a_run_warns_of_weights_that_are_made_up(tmp_path: Path) -> None:
    def model(**own: float) -> Any:
        return SimpleNamespace(history=[{"own": {"loss_gap": 0.1, **own}}])

    models = {"a": model(start_left=0.47, moved=0.0), "b": model(start_left=0.01, moved=0.2)}
    first = {
        "a": SimpleNamespace(info={"unexplained": 0.9, "residual": 0.2}),
        "b": SimpleNamespace(info={"unexplained": 0.1, "residual": 0.0}),
    }
    found = diagnosed(models, first)  # type: ignore[arg-type]
    warnings = [item.warning for item in found if item.warning]
    assert warnings == [
        "the training of a is short: its statistics are still made up",
        "the weights of a stay where they begin",
        "class priors do not explain what the model predicts for a",
    ]
    assert len(diagnosed(models, {})) == 1, "without an estimate there is the critic alone"
    outcome = run("iwda", MemoryDriver(tmp_path))
    assert any("unexplained" in item.part for item in outcome.mechanisms)


def test_the_guard_takes_the_first_weights_towards_1(tmp_path: Path) -> None:
    w0 = {}
    for guard in ("none", "residual"):
        driver = MemoryDriver(tmp_path / guard)
        run("iwda", driver, guard=guard, rho=0.01)
        found = driver.call("derive", "a initial weights").result
        assert found is not None
        w0[guard], share = np.array(found.info["w0"]), found.info["unexplained"]
        w = np.array(found.info["w"])
    assert share > 0.01
    assert w0["none"] == pytest.approx(0.99 * w + 0.01)
    assert w0["residual"] == pytest.approx((1 - share) * w + share)


@pytest.mark.parametrize(("harder", "shifted"), [(False, True), (True, False)])
def test_text_that_is_harder_does_not_look_like_other_priors(harder: bool, shifted: bool) -> None:
    """Three classes, right in 80%. The estimate explains all predicted labels; the guard sees that
    the confidences of a harder text have changed as well, in a way that no priors explain."""
    rng, size = np.random.default_rng(3), 4000

    def text(prior: list[float], accuracy: list[float], sure: float) -> tuple[np.ndarray, ...]:
        true = rng.choice(3, size, p=prior)
        is_right = rng.random(size) < np.array(accuracy)[true]
        said = np.where(is_right, true, (true + 1) % 3)
        return true, said, np.where(is_right, sure, sure - 0.2) + 0.1 * rng.random(size)

    even, bent = [1 / 3] * 3, [0.6, 0.3, 0.1]
    true, said, best = text(even, [0.8] * 3, 0.8)
    accuracy, sure = ([0.5, 0.8, 0.7], 0.65) if harder else ([0.8] * 3, 0.8)
    _, other, confidence = text(bent if shifted else even, accuracy, sure)
    C = np.zeros((3, 3))
    np.add.at(C, (said, true), 1 / size)
    t = np.bincount(other, minlength=3) / size
    w = importance.estimate_weights(C, t, C.sum(axis=0))
    assert explained.residual(C, t, w) < 1e-9, "as many equations as classes"
    share = SureLabels.of(said, best, 3).unexplained(true, other, confidence, w)
    assert (share < 0.1) if shifted else (share > 0.8)


def test_the_guard_takes_a_good_estimate_for_a_bad_one_where_the_source_is_fitted() -> None:
    """The same confusions on both sides and other priors, so that the estimate is right; but the
    model is surer of the source text, which it was trained on. So the guard is no default."""
    rng, size, wanted = np.random.default_rng(0), 4000, np.array([0.6, 0.3, 0.1])

    def text(prior: Any, sure: float) -> tuple[np.ndarray, ...]:
        true = rng.choice(3, size, p=prior)
        said = np.where(rng.random(size) < 0.8, true, (true + 1) % 3)
        return true, said, rng.normal(sure, 0.05, size)

    (true, said, best), (_, other, less) = text([1 / 3] * 3, 0.9), text(wanted, 0.8)
    C = np.zeros((3, 3))
    np.add.at(C, (said, true), 1 / size)
    w = importance.estimate_weights(C, np.bincount(other, minlength=3) / size, C.sum(axis=0))
    assert importance.total_variation(w * C.sum(axis=0), wanted) < 0.05
    assert SureLabels.of(said, best, 3).unexplained(true, other, less, w) > 0.8
    assert IWDAConfig().guard == "none"
