"""Self-training for zero-shot cross-lingual transfer, as recipes of durable steps on Ray.

`self_train`, `compare`, `sweep`, `predict` and `load` are the public calls; `Run` and `Model` are
what they give. They are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xlt_ray.config.errors import ConfigError, DataError, RunInterrupted, XltError

if TYPE_CHECKING:
    from xlt_ray.api.calls import compare, load, predict, self_train, sweep
    from xlt_ray.api.model import Model, Prediction, Span
    from xlt_ray.api.results import ComparisonResult, Run, SweepResult

__version__ = "0.1.0"
__all__ = [
    "ComparisonResult",
    "ConfigError",
    "DataError",
    "Model",
    "Prediction",
    "Run",
    "RunInterrupted",
    "Span",
    "SweepResult",
    "XltError",
    "compare",
    "load",
    "predict",
    "self_train",
    "sweep",
]

_LAZY = {
    **dict.fromkeys(("compare", "load", "predict", "self_train", "sweep"), "calls"),
    **dict.fromkeys(("Model", "Prediction", "Span"), "model"),
    **dict.fromkeys(("ComparisonResult", "Run", "SweepResult"), "results"),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'xlt_ray' has no attribute {name!r}")
    return getattr(import_module(f"xlt_ray.api.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
