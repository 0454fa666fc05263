"""Low-rank adapters: W + (alpha / rank) B A for every linear layer of an encoder, by peft.

Only A, B and the head are trained (Hu et al., 2022, LoRA). A model that was trained so is saved as
peft saves one: ``adapter_model.safetensors`` and ``adapter_config.json``, without the encoder.
Where it is loaded, the encoder's folder lies in it as ``base``. What labels text has the adapters
merged into the weights.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from xlt_ray.config.extras import require
from xlt_ray.data.stock import stock
from xlt_ray.models.families import bare_encoder, layers_of
from xlt_ray.models.files import ADAPTER_SETTINGS, ADAPTERS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BASE = "base"
"""Folder of the encoder that adapters adapt, in the folder of a model that is adapters."""
_NAME = "default"
_PREFIX = "base_model.model."
_POOLER = "pooler"
"""What makes the feature of a text is trained with the head: many encoders come without one."""
_ATTENTION = re.compile(r"att(ention|n)", re.IGNORECASE)


@dataclass(frozen=True)
class Lora:
    """Settings of the adapters.

    Attributes:
        rank: Rows of A and columns of B.
        alpha: Scale of an adapter times its rank.
        dropout: Dropout of an adapter's input while training.
        targets: Which linear layers have one: all in the encoder's layers, or those of attention.
    """

    rank: int
    alpha: float
    dropout: float = 0.0
    targets: Literal["all", "attention"] = "all"


def check_installed() -> None:
    """See that peft is there.

    Raises:
        ConfigError: it is not.
    """
    require("peft", "lora", "train.lora needs")


def is_adapted(folder: Path) -> bool:
    """Whether the model in a folder is adapters of another."""
    return (folder / ADAPTERS).exists()


def weights_in(folder: str | Path) -> Path:
    """The folder with the weights of an encoder: the model's own, or that which it adapts.

    Raises:
        ValueError: the model is adapters, and what they adapt is not there.
    """
    folder = Path(folder)
    if not is_adapted(folder):
        return folder
    if not (folder / BASE / "config.json").exists():
        raise ValueError(f"{folder}: holds adapters, and not the encoder that they adapt ({BASE}/)")
    return folder / BASE


def adapt(model: "PreTrainedModel", folder: Path, settings: Lora | None, seed: int) -> None:
    """See to the adapters of a model that was loaded with `weights_in` its folder.

    Those of the folder are taken up; they stay apart where they are to be trained on, and are
    merged where not. A folder without any has new ones where they are to be trained.

    Args:
        model: The stock model.
        folder: Where it is from.
        settings: Of adapters that are to be trained; None: none are.
        seed: Draws new ones.

    Raises:
        ValueError: those of the folder are of other settings, or of an encoder of another shape.
        ConfigError: peft is not installed.
    """
    if not is_adapted(folder):
        if settings is not None:
            add(model, settings, _targets(model, settings), seed=seed)
        return
    kept = json.loads((folder / ADAPTER_SETTINGS).read_text())
    known = Lora(kept["r"], kept["lora_alpha"], kept["lora_dropout"])
    names: list[str] = kept["target_modules"]
    if settings is not None and (
        (settings.rank, settings.alpha) != (known.rank, known.alpha)
        or set(names) != set(_targets(model, settings))
    ):
        raise ValueError(
            f"train.lora: the model to start from has adapters of rank {known.rank} and alpha "
            f"{known.alpha:g} on {len(names)} layers; these are gone on with, or none "
            "(train.lora.rank=0)"
        )
    add(model, settings or known, names)
    take(model, folder)
    if settings is None:
        merge(model)


def add(model: "PreTrainedModel", settings: Lora, names: list[str], *, seed: int = 0) -> None:
    """Give a model adapters that do nothing yet, and let these and the head alone be trained.

    Args:
        model: The stock model; its weights keep their values.
        settings: Of the adapters.
        names: The linear layers that have one.
        seed: Draws A; B is 0.

    Raises:
        ConfigError: peft is not installed.
    """
    check_installed()
    from peft import LoraConfig, inject_adapter_in_model

    below = {id(parameter) for parameter in model.base_model.parameters()}
    asked: Any = {"r": settings.rank, "lora_alpha": settings.alpha, "target_modules": names}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(**asked, lora_dropout=settings.dropout), model, _NAME)
    for name, parameter in model.named_parameters():
        if id(parameter) not in below or _POOLER in name.split("."):
            parameter.requires_grad_(True)


def _targets(model: "PreTrainedModel", settings: Lora) -> list[str]:
    """Names of the linear layers that have an adapter.

    Raises:
        ValueError: the encoder has no list of layers.
    """
    try:
        stack = layers_of(model.base_model)
    except ValueError:
        raise ValueError(
            f"train.lora: {type(model.base_model).__name__} has no list of layers with weights of "
            "their own"
        ) from None
    inside = {id(part) for part in stack.modules()}
    return [
        name
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear)
        and id(part) in inside
        and (settings.targets == "all" or _ATTENTION.search(name))
    ]


def save(model: "PreTrainedModel", settings: Lora, folder: Path) -> None:
    """Write what is trained of a model with adapters, as peft does, and its config.json.

    Args:
        model: The stock model.
        settings: Of its adapters.
        folder: Where to.
    """
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    trained = _trained(model)
    save_file({_saved(name): x.detach().contiguous() for name, x in trained.items()},
              folder / ADAPTERS, metadata={"format": "pt"})  # fmt: skip
    whole = [name.split(".") for name in trained if ".lora_" not in name]
    heads = sorted({_POOLER if _POOLER in parts else parts[0] for parts in whole})
    names = sorted({name.partition(".lora_")[0] for name in trained if ".lora_" in name})
    asked = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": BASE,
        "r": settings.rank, "lora_alpha": settings.alpha, "lora_dropout": settings.dropout,
        "bias": "none", "target_modules": names, "modules_to_save": heads or None,
        "inference_mode": True,
    }  # fmt: skip
    (folder / ADAPTER_SETTINGS).write_text(json.dumps(asked, indent=1) + "\n")


def take(model: "PreTrainedModel", folder: Path) -> None:
    """Take up the adapters of a folder, and its head.

    Args:
        model: A stock model that `add` gave adapters with the folder's settings.
        folder: What `save` wrote.

    Raises:
        ValueError: they are of an encoder of another shape.
    """
    found, wanted = load_file(folder / ADAPTERS), _trained(model)
    wanted = {_saved(name): value for name, value in wanted.items()}
    for name, value in wanted.items():
        if name not in found or found[name].shape != value.shape:
            raise ValueError(f"{folder / ADAPTERS}: {name} is not there, or has another shape")
    with torch.no_grad():
        for name, value in wanted.items():
            value.copy_(found[name])


def merge(model: "PreTrainedModel") -> None:
    """Add the adapters to the weights: after it the model is one without any."""
    from peft.tuners.lora import LoraLayer

    for name, part in list(model.named_modules()):
        if isinstance(part, LoraLayer):
            part.merge()
            above, _, last = name.rpartition(".")
            setattr(model.get_submodule(above), last, part.get_base_layer())
    vars(model).pop("peft_config", None)


def write_merged(folder: Path, to: Path) -> None:
    """Write the model that adapters make of an encoder: a stock one, without adapters.

    Args:
        folder: Holds adapters, and the encoder as ``base``.
        to: Where to.
    """
    config = stock("AutoConfig").from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    name, more = config.architectures[0], dict[str, Any]()
    kind = stock(name)
    if "For" not in name:
        kind, more = bare_encoder(config)
    model = kind.from_pretrained(
        weights_in(folder), dtype=torch.float32, local_files_only=True, config=config,
        ignore_mismatched_sizes=True, trust_remote_code=False, **more,
    )  # fmt: skip
    adapt(model, folder, None, seed=0)
    model.config.name_or_path = ""
    model.save_pretrained(to)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: x for name, x in model.named_parameters() if x.requires_grad or ".lora_" in name}


def _saved(name: str) -> str:
    """The name that peft gives a parameter in its file."""
    return _PREFIX + name.replace(f".{_NAME}.", ".")
