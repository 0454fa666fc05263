"""What a recipe is given: the verbs of a driver, and no way behind them."""

from collections.abc import Iterable
from typing import Any, cast

from xlt_ray.methods.base import Driver

ALLOWED = frozenset(name for name in vars(Driver) if not name.startswith("_"))
"""The members of `xlt_ray.methods.base.Driver`."""


class _Verbs:
    """The allowed members of a driver: neither its configuration, which says where the files are,
    nor its store, nor a right to gold labels."""

    __slots__ = ("_member",)

    def __init__(self, driver: Driver):
        def member(name: str) -> Any:
            if name not in ALLOWED:
                raise AttributeError(f"a recipe has no {name}")
            return getattr(driver, name)

        self._member = member

    def __getattr__(self, name: str) -> Any:
        if name == "_member":  # of one that is being copied
            raise AttributeError(name)
        return self._member(name)

    def __dir__(self) -> Iterable[str]:
        return ALLOWED


def verbs_of(driver: Driver) -> Driver:
    """A driver as a recipe sees it."""
    return cast("Driver", _Verbs(driver))
