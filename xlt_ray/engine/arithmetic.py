"""How a step computes: on which kind of device, how precisely, with how many threads.

All of it is settled before the step is named, since its bytes depend on it: a fingerprint holds
"bf16" or "fp32", never "auto". Whoever computes takes the device that was settled, or fails.
"""

import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import ray
import torch

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import first_line

Precision = Literal["fp32", "bf16", "int8"]
WITHOUT_BF16 = re.compile(
    r"(^|-)([KMP]\d+|V100|T4G?|T\d{3,4})(-|$)|GTX|TITAN|RTX-20\d\d|RTX-[3-8]000$|Quadro"
)
"""NVIDIA GPUs older than Ampere, as Ray names them: they only emulate bf16, slowly."""
_TYPE = "accelerator_type:"
"""What the resource of a node begins with that names its GPU."""


class DeviceError(RuntimeError):
    """A GPU was asked for that PyTorch cannot compute on."""


@dataclass(frozen=True)
class Arithmetic:
    """How a step computes.

    Attributes:
        device: Kind of device.
        precision: Arithmetic of the encoder.
        threads: Threads of one process.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    precision: Precision = "fp32"
    threads: int = 1

    def describe(self) -> dict[str, Any]:
        """What the bytes of a result depend on: sums on a CPU are split over its threads."""
        found = {"device": self.device, "precision": self.precision}
        return found if self.device == "cuda" else {**found, "threads": self.threads}

    @property
    def in_floats(self) -> "Arithmetic":
        """The same for what has no form in int8."""
        return replace(self, precision="fp32") if self.precision == "int8" else self

    @property
    def eager_attention(self) -> bool:
        """Whether training does without PyTorch's fused attention: on CPUs it is slower in bf16,
        above all in the backward pass."""
        return self.device == "cpu" and self.precision == "bf16"

    def take(self) -> torch.device:
        """The device, for the process that computes; its threads are set as well.

        Raises:
            DeviceError: it should be a GPU, and PyTorch cannot use one, or not in bf16.
        """
        torch.set_num_threads(self.threads)
        if self.device == "cpu":
            return torch.device("cpu")
        try:
            torch.zeros(1, device="cuda")
        except (RuntimeError, AssertionError) as error:  # without CUDA it is an assertion
            reason = f"a GPU was asked for, and PyTorch says: {first_line(error)}"
            advice = "resources.annotator_gpus=0 and resources.train_gpus=0 ask for none"
            raise DeviceError(f"{reason} ({advice})") from None
        if self.precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
            name = torch.cuda.get_device_name()
            raise DeviceError(f"{name} has no bf16 arithmetic; set resources.precision=fp32")
        return torch.device("cuda")


ON_CPU = Arithmetic()
"""In one thread, in full precision."""


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Arithmetic of the encoder on a device."""
    if precision != "bf16":  # what is in int8 is no part of PyTorch
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def has_gpu() -> bool:
    """Whether this process may compute on a GPU.

    A process of Ray sees every GPU of its node, and may use those that it asked for.
    """
    if not torch.cuda.is_available():
        return False
    if not ray.is_initialized():
        return True
    context = ray.get_runtime_context()
    return context.worker.mode != ray.WORKER_MODE or bool(context.get_accelerator_ids()["GPU"])


def settled(
    wanted: Literal["auto", "fp32", "bf16", "int8"],
    *,
    gpus: float,
    threads: int,
    here: bool,
    nodes: Iterable[Mapping[str, float]],
    own: bool = False,
) -> Arithmetic:
    """What a step's arithmetic comes to.

    Args:
        wanted: ``resources.precision``.
        gpus: GPUs that each process of the step asks for.
        threads: Threads of each.
        here: Whether the process that asks computes.
        nodes: Resources of the nodes of the cluster.
        own: Whether it is this machine alone.

    Raises:
        ConfigError: it is int8, on a GPU.
    """
    if not (gpus or (here and has_gpu())):
        return Arithmetic("cpu", "fp32" if wanted == "auto" else wanted, threads)
    if wanted == "int8":
        raise ConfigError(
            "resources.precision: int8 is for CPUs, and annotators have GPUs; "
            "resources.annotator_gpus=0 with resources.annotators=1 or more, or another precision"
        )
    if wanted != "auto":
        return Arithmetic("cuda", wanted, threads)
    kinds = {name.removeprefix(_TYPE) for node in nodes for name in node if name.startswith(_TYPE)}
    if kinds and not (here or own):
        able = not any(WITHOUT_BF16.search(kind) for kind in kinds)
    else:
        able = not torch.cuda.is_available() or torch.cuda.is_bf16_supported(
            including_emulation=False
        )
    return Arithmetic("cuda", "bf16" if able else "fp32", threads)
