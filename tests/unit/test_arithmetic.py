"""How a step computes is settled before the step is named."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.engine import arithmetic
from xlt_ray.engine.arithmetic import Arithmetic, DeviceError, autocast, settled
from xlt_ray.engine.resources import Plan, settle

OLD = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:T4": 1.0}
NEW = {"CPU": 8.0, "GPU": 1.0, "accelerator_type:A10G": 1.0}
PLAIN = {"CPU": 8.0, "GPU": 1.0}


@pytest.mark.parametrize(
    ("wanted", "gpus", "nodes", "device", "precision"),
    [
        ("auto", 0.0, [NEW], "cpu", "fp32"),
        ("bf16", 0.0, [NEW], "cpu", "bf16"),
        ("auto", 1.0, [NEW], "cuda", "bf16"),
        ("auto", 0.5, [PLAIN], "cuda", "bf16"),
        ("auto", 1.0, [OLD], "cuda", "fp32"),
        ("auto", 1.0, [NEW, OLD], "cuda", "fp32"),
        ("bf16", 1.0, [OLD], "cuda", "bf16"),
        *[
            ("auto", 1.0, [{"GPU": 1.0, f"accelerator_type:{x}": 1.0}], "cuda", "fp32")
            for x in (
                "GeForce-RTX-2080-Ti",
                "GeForce-GTX-1080",
                "TITAN-V",
                "Tesla-T4",
                "P40",
                "K80",
            )
        ],
        *[
            ("auto", 1.0, [{"GPU": 1.0, f"accelerator_type:{x}": 1.0}], "cuda", "bf16")
            for x in ("H100", "A100", "L4", "L40S", "GeForce-RTX-3090", "RTX-A6000", "GB200")
        ],
        ("fp32", 1.0, [NEW], "cuda", "fp32"),
    ],
)
def test_auto_comes_to_something(
    wanted: Any, gpus: float, nodes: list[Mapping[str, float]], device: str, precision: str
) -> None:
    found = settled(wanted, gpus=gpus, threads=3, here=False, nodes=nodes)
    assert (found.device, found.precision, found.threads) == (device, precision, 3)


def plan(nodes: list[Mapping[str, float]], **resources: Any) -> Plan:
    return settle(ResourcesConfig(**resources), nodes)


def test_steps_of_cpus_and_gpus_are_named_apart() -> None:
    on_cpus, on_gpus = plan([{"CPU": 8.0}]), plan([PLAIN])
    assert on_cpus.annotation.describe() == {"device": "cpu", "precision": "fp32", "threads": 1}
    assert on_gpus.annotation.describe() == {"device": "cuda", "precision": "bf16"}
    assert on_gpus.training.describe() == {"device": "cuda", "precision": "bf16"}
    assert "auto" not in str([on_cpus.to_json(), on_gpus.to_json()])


def test_threads_name_a_step_of_cpus() -> None:
    """Sums are split over them, and round in other places."""
    few, many = (plan([{"CPU": 8.0}], train_workers=1, train_cpus=n).training for n in (1, 2))
    assert few.describe() != many.describe()
    some = plan([{"CPU": 8.0}], annotator_cpus=2).annotation
    assert some.describe() != plan([{"CPU": 8.0}]).annotation.describe()


@pytest.mark.slow
def test_what_has_no_gpu_is_not_taken_for_one() -> None:
    """In a process that sees none."""
    script = "from xlt_ray.engine.arithmetic import Arithmetic; Arithmetic('cuda').take()"
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "DeviceError: a GPU was asked for, and PyTorch says: " in done.stderr


def test_a_gpu_without_bf16_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "zeros", lambda *size, device: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *, including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(DeviceError, match="Tesla T4 has no bf16 arithmetic; set resources"):
        Arithmetic("cuda", "bf16").take()
    assert Arithmetic("cuda", "fp32").take().type == "cuda"


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        assert Arithmetic(threads=2).take() == torch.device("cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_bf16_on_a_cpu_trains_with_eager_attention() -> None:
    on_cpu = [x for x in ("fp32", "bf16", "int8") if Arithmetic("cpu", x).eager_attention]
    assert on_cpu == ["bf16"]
    assert not Arithmetic("cuda", "bf16").eager_attention


@pytest.mark.parametrize(("precision", "wanted"), [("fp32", False), ("bf16", True)])
def test_half_precision_is_there_where_it_was_settled(
    precision: arithmetic.Precision, wanted: bool
) -> None:
    with autocast(torch.device("cpu"), precision):
        assert torch.is_autocast_enabled("cpu") is wanted
