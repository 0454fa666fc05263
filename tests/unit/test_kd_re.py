"""KD-re: the teacher, the loss, what is frozen, and weights that fit the sources."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from tests.recipes import SeveralSources, batch_of, logits_of, output_of
from tests.recipes import run_method as run
from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.kd_re import KDreConfig, MatchTeacher


def source_columns(count: int) -> dict[str, torch.Tensor]:
    return {f"{name}.probs": logits_of(count, seed).softmax(-1) for seed, name in enumerate("st")}


def test_the_teacher_is_the_weighted_mean_and_unlabelled_items_are_left_out() -> None:
    logits, said = logits_of(3, 9), source_columns(3)
    batch = batch_of([0, -100, 1], columns=said)
    objective = MatchTeacher(("s", "t"), (3.0, 1.0), "mse")
    teacher = 0.75 * said["s.probs"] + 0.25 * said["t.probs"]
    expected = (logits.softmax(-1) - teacher).square().mean(dim=1)[[0, 2]].sum()
    assert objective.loss(output_of(logits), batch)["loss"].item() == pytest.approx(expected.item())


def test_divergence_is_an_option() -> None:
    logits, said = logits_of(3, 9), source_columns(3)
    objective = MatchTeacher(("s",), (1.0,), "kl")
    p = said["s.probs"]
    expected = (p * (p.log() - logits.log_softmax(-1))).sum()
    found = objective.loss(output_of(logits), batch_of([0] * 3, columns=said))["loss"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_student_is_partly_frozen(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    run("kd_re", driver, frozen_layers=2)
    call = driver.call("train", "a")
    assert call.schedule is not None
    assert call.schedule.frozen_layers == 2
    assert call.schedule.lr == 1e-4
    assert call.objective == MatchTeacher(("s", "t", "u"), (1.0, 1.0, 1.0), "mse")
    (part,) = call.parts
    names = [name for name in part.rows().column_names if "." in name]
    assert names == ["s.probs", "t.probs", "u.probs"]


def test_weights_are_for_the_sources_that_a_target_has(tmp_path: Path) -> None:
    driver = SeveralSources(tmp_path)
    driver.source_languages = ("a", "t", "u")
    run("kd_re", driver, weights={"a": 1, "t": 2, "u": 3})
    assert driver.call("train", "a").objective == MatchTeacher(("t", "u"), (2.0, 3.0), "mse")
    assert driver.call("train", "b").objective == MatchTeacher(
        ("a", "t", "u"), (1.0, 2.0, 3.0), "mse"
    )


@pytest.mark.parametrize("weights", [{"s": 1.0}, {"s": 1, "t": 1, "u": 0}, {"x": 1}])
def test_weights_that_do_not_fit_are_refused(weights: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needed: a positive weight for each of s, t, u"):
        run("kd_re", SeveralSources(tmp_path), weights=weights)


def test_defaults_and_limits() -> None:
    assert KDreConfig().model_dump() == {
        "name": "kd_re", "source_lr": 2e-5, "source_epochs": 3, "given": None,
        "labellers_only": False, "text_share": 1.0,
        "keep": "last",
        "lr": 1e-4, "epochs": 3,
        "kd_loss": "mse", "weights": None, "frozen_layers": 3,
    }  # fmt: skip
    with pytest.raises(ValidationError):
        KDreConfig.model_validate({"frozen_layers": -1})  # pyrefly: ignore [bad-argument-type]
