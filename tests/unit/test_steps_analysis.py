"""Target scores by step: which models are looked at, and what is shown of them."""

from pathlib import Path

import pytest
from torch import nn

from xlt_ray.commands.compare import configure
from xlt_ray.config.errors import ConfigError
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.engine.train.snapshots import Snapshots, SnapshotTask, kept_in, run_snapshot, steps_of
from xlt_ray.oracle.figures.steps import figure, markdown, points
from xlt_ray.oracle.steps import dry_run, trainings
from xlt_ray.report import StepReport
from xlt_ray.store.artifacts import Store


@pytest.mark.parametrize(
    ("number", "steps", "found"),
    [(3, 40, [10, 20, 30]), (0, 40, []), (3, 2, [1]), (4, 3, [1, 2]), (2, 10, [3, 6])],
)
def test_snapshots_are_even_and_inside(number: int, steps: int, found: list[int]) -> None:
    assert steps_of(number, steps) == found


class Whole(nn.Module):
    def __init__(self, text: str):
        super().__init__()
        self.text = text

    def save(self, folder: Path) -> None:
        (folder / "model.safetensors").write_text(self.text)
        (folder / "spans.safetensors").write_text(f"spans of {self.text}")
        (folder / "config.json").write_text("{}")


def test_a_snapshot_survives_a_kill_and_is_a_model_of_its_own(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    checkpoints = Checkpoints(store.root, "abc")
    Snapshots(checkpoints, 2, 9).keep(3, Whole("three"))  # type: ignore[arg-type]
    later = Snapshots(checkpoints, 2, 9)  # of a process that goes on
    later.keep(6, Whole("six"))  # type: ignore[arg-type]
    attempt = store.attempt("model", "whole")
    for name in ("model.safetensors", "spans.safetensors", "config.json", "tokenizer.json"):
        attempt.write(name, b"whole")
    later.publish(attempt)
    model = store.commit(attempt, {"info": {}, "seconds": 0.0})
    assert kept_in(model) == [3, 6]
    assert checkpoints.steps() == []
    task = SnapshotTask(model=model, step=3).into(store.attempt("model", "three"))
    info = run_snapshot(task)
    found = store.commit(task.out, {"info": info, "seconds": 0.0})
    weights = ["model.safetensors", "spans.safetensors"]
    assert sorted(found.names) == ["config.json", *weights, "tokenizer.json"]
    assert found.read("spans.safetensors") == b"spans of three"
    assert found.read("model.safetensors") == b"three"
    assert found.read("tokenizer.json") == b"whole"


def step(title: str, fingerprint: str, kind: str = "model") -> StepReport:
    return StepReport(title, kind, fingerprint, 1.0, cached=False)


def test_a_target_has_its_own_trainings_after_the_zero_shot_model() -> None:
    steps = [
        step("source", "0"), step("de stage 1", "1"), step("nl stage 1", "2"),
        step("de stage 1 pool", "3", "derived"), step("de iteration 1", "4"),
        step("de iteration 1", "4"), step("nl", "5"),
    ]  # fmt: skip
    found = trainings(steps, "de", ["de", "nl"], "0")
    assert [item.title for item in found] == ["de stage 1", "de iteration 1"]
    shared = [step("source", "0"), step("round 1", "1"), step("final", "2")]
    assert [x.title for x in trainings(shared, "nl", ["de", "nl"], "0")] == ["round 1", "final"]


def test_models_of_other_sources_are_not_on_the_way_of_a_target() -> None:
    """The first of three sources is the zero-shot model; the others label the text, too."""
    steps = [
        step("source en", "0"), step("source fi", "1"), step("source da", "2"),
        step("de start", "3"), step("de M-step 1", "4"),
    ]  # fmt: skip
    found = trainings(steps, "de", ["de", "nl"], "0", sources={"0", "1", "2"})
    assert [item.title for item in found] == ["de start", "de M-step 1"]


def record(seed: int, training: str, step: int, score: float) -> dict[str, object]:
    return {"row": "conlst", "seed": seed, "target": "de", "training": training, "step": step,
            "score": score}  # fmt: skip


FINDINGS = {
    "name": "x", "benchmark": "toy_pair", "metric": "accuracy", "seeds": [0, 1],
    "records": [
        record(0, "", 0, 0.5), record(0, "stage 1", 4, 0.6), record(0, "stage 1", 8, 0.7),
        record(1, "", 0, 0.7), record(1, "stage 1", 6, 0.8), record(1, "stage 1", 12, 0.9),
        record(1, "iteration 1", 20, 0.4),
    ],
}  # fmt: skip


def test_seeds_are_averaged_place_by_place() -> None:
    assert points(FINDINGS["records"], "conlst", "de") == [
        ("", 0, pytest.approx(0.6)), ("stage 1", 5, pytest.approx(0.7)),
        ("stage 1", 10, pytest.approx(0.8)), ("iteration 1", 20, 0.4),
    ]  # fmt: skip
    page = markdown(FINDINGS)
    assert "| conlst | de | zero-shot | 0 | 60.00 |" in page
    assert "| conlst | de | stage 1 | 10 | 80.00 |" in page
    assert set(figure(FINDINGS)) == {"png", "svg"}


def test_an_analysis_needs_models_on_the_way(tmp_path: Path) -> None:
    values = {"benchmark": {"name": "toy_pair", "targets": ["teska"]}, "backbone": "toy",
              "compare": {"methods": {"nl": {}}}, "store": {"root": str(tmp_path)}}  # fmt: skip
    with pytest.raises(ConfigError, match=r"train\.snapshots"):
        dry_run(configure(values))
