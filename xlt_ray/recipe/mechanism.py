"""How far the parts of a method were at work in a run, for its report.

A default or a rate can switch a part off without an error: thresholds that keep every text, a loss
that is zero from the first step. Each recipe says of its parts what a run can tell about them.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mechanism:
    """What a run tells of one part of its method.

    Attributes:
        part: The part and what is measured of it, such as "stage 2, share of texts kept".
        figures: The measurements, by what they are of: a language, a round, a term. A figure that
            is not finite was not measured.
        warning: Why the part was not at work, as a sentence without its full stop; None: it was.
    """

    part: str
    figures: Mapping[str, float] = field(default_factory=dict)
    warning: str | None = None

    @property
    def line(self) -> str:
        """The part and its figures on one line, with three significant digits."""
        figures = ", ".join(f"{name} {_number(value)}" for name, value in self.figures.items())
        return f"{self.part}: {figures or 'nothing was measured'}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; a figure that is not finite is null."""
        finite = {k: v if math.isfinite(v) else None for k, v in self.figures.items()}
        return {**asdict(self), "figures": finite}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Mechanism":
        """The inverse of `to_json`."""
        figures = {k: math.nan if v is None else v for k, v in record["figures"].items()}
        return cls(record["part"], figures, record["warning"])


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"
