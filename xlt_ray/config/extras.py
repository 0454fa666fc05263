"""Libraries that a plain install does without: what they are for, and what installs them."""

import importlib.util

from xlt_ray.config.errors import ConfigError


def is_there(module: str) -> bool:
    """Whether a module of another project could be imported."""
    return importlib.util.find_spec(module) is not None


def require(module: str, extra: str, purpose: str) -> None:
    """See that a library of an extra is installed, before anything is begun that needs it.

    Args:
        module: What the library is imported as.
        extra: The extra of this project that brings it.
        purpose: Who needs it, as the beginning of the message.

    Raises:
        ConfigError: it is not; says what to install.
    """
    if not is_there(module):
        raise ConfigError(f"{purpose} {module}: pip install 'xlt-ray[{extra}]'")


def require_precision(precision: str) -> None:
    """See that what computes in a precision is installed: int8 is computed by OpenVINO.

    Raises:
        ConfigError: it is not.
    """
    if precision == "int8":
        require("openvino", "int8", "resources.precision: int8 needs")
