"""Why a translated row is left out."""

from typing import Literal, get_args

Reason = Literal[
    "no translation",
    "empty translation",
    "no marker is free",
    "marker lost",
    "two entities overlap",
    "entity unaligned",
    "not contiguous",
    "few words aligned",
]
"""Reasons, in the order in which a row may meet them."""
REASONS: tuple[Reason, ...] = get_args(Reason)


class Rejected(Exception):
    """A row whose labels do not get over."""

    def __init__(self, reason: Reason):
        super().__init__(reason)
        self.reason: Reason = reason
