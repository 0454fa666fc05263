"""What a run will cost: rows, their length, and a speed that is measured here."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.encoders import write_encoder
from xlt_ray.data.schema import Example
from xlt_ray.engine import calibrate, cost
from xlt_ray.engine.calibrate import Speed, operations_of_layer, speed_here
from xlt_ray.engine.pool import TOKENS, Pool, operations_of
from xlt_ray.engine.resources import Plan
from xlt_ray.run.check import configure_run

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
         "num_attention_heads": 4}  # fmt: skip


def plan(**keys: Any) -> Plan:
    values: dict[str, Any] = {"annotators": Pool(0, 0, 1, 0.0), "train_workers": 0, "train_cpus": 2,
              "train_gpus": 0.0, "readers": 1, "trainings": 1} | keys  # fmt: skip
    return Plan(**values)


def config(backbone: str = "nowhere/encoder") -> Any:
    return configure_run(
        {"method": {"name": "cltp"}, "benchmark": {"name": "toy"}, "backbone": backbone}
    )


def test_the_operations_of_a_layer_are_those_of_a_pass() -> None:
    one = operations_of(SHAPE, 1.0)
    assert one == pytest.approx(3 * TOKENS * operations_of_layer(32, 64))


def test_a_speed_is_measured_and_nothing_else_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "SECONDS", 0.01)
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    speed = speed_here(SHAPE, 1)
    assert speed.forward > 0
    assert speed.training > 0
    assert speed.update > 0
    assert torch.get_num_threads() == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_time_is_operations_over_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "shape_of", lambda config: SHAPE)
    each = operations_of(SHAPE, 1.0)
    assert each is not None
    speed = Speed(
        forward=each, training=3 * each, update=1e30
    )  # a row a second, back and forth, too
    monkeypatch.setattr(cost, "speed_here", lambda shape, threads: speed)
    (line,) = cost.cost_lines(config(), plan(), trained=3600, read=1800)
    assert "3,600 rows trained on and 1,800 annotated" in line
    assert "about 1.5 hours on " in line
    pool = plan(annotators=Pool(6, 6, 1, 0.0))
    (line,) = cost.cost_lines(config(), pool, trained=0, read=10_800)
    assert "about 1.0 hours" in line
    (line,) = cost.cost_lines(config(), plan(), trained=60, read=0)
    assert "about 1 minutes" in line


def test_a_large_vocabulary_costs_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = SHAPE | {"vocab_size": 250_000}
    monkeypatch.setattr(cost, "shape_of", lambda config: shape)
    layers = 3 * (4 * 32**2 + 2 * 32 * 64)
    assert cost.parameters_of(shape, True) == layers
    assert cost.parameters_of(shape, False) == layers + 32 * 250_000
    assert cost.parameters_of(shape, True, rank=2) < layers / 2
    batch = config().train.batch_size
    speed = Speed(1e30, 1e30, update=(layers + 32 * 250_000) / 3600)
    monkeypatch.setattr(cost, "speed_here", lambda shape, threads: speed)
    (line,) = cost.cost_lines(config(), plan(), trained=2 * batch, read=0)
    assert "about 2.0 hours" in line


def test_gpus_have_an_assumed_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "shape_of", lambda config: SHAPE)
    monkeypatch.setattr(cost, "speed_here", None)
    (line,) = cost.cost_lines(config(), plan(train_workers=2, train_gpus=1.0), trained=9, read=9)
    assert "on 2 GPUs" in line


def test_an_encoder_that_is_not_at_hand_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "shape_of", lambda config: {})
    (line,) = cost.cost_lines(config(), plan(), trained=9, read=9)
    assert line.endswith("the encoder is not at hand, so that no more is known")


def test_rows_are_as_long_as_their_sub_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_encoder(tmp_path)
    rows = [Example("1", "x", ("ka",) * n, None, None, None, "f", 1) for n in (10, 30)]
    one = cost.subwords_of(config(str(tmp_path)), rows[:1])
    both = cost.subwords_of(config(str(tmp_path)), rows)
    assert one is not None
    assert both is not None
    assert both > one >= 10
    long = [Example("1", "x", None, "ka " * 4000, None, None, "f", 1)]
    assert cost.subwords_of(config(str(tmp_path)), long) == config().train.max_length
    assert cost.subwords_of(config(), rows) is None
    assert cost.subwords_of(config(str(tmp_path)), []) is None
