"""Measured figures of claims, and what they say, as docs/claims/measured.json has them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from benchmarks.claims.schema import ROOT, Claim, NotTestable

MEASURED = ROOT / "docs/claims/measured.json"
Verdict = Literal["shown", "opposite", "not shown", "not measured yet", "not testable here"]
VERDICTS: tuple[Verdict, ...] = (
    "shown", "opposite", "not shown", "not measured yet", "not testable here",
)  # fmt: skip
"""All verdicts, in the order of the page."""


@dataclass(frozen=True)
class Figure:
    """What was measured for a claim.

    Attributes:
        value: The figure.
        interval: Ends of its 95% interval; None where it is a single number.
        seeds: The seeds behind it.
        bound: What it is held against.
        claimed: The side of the bound that is claimed.
        unit: Scores are fractions here and shown as points.
    """

    value: float
    interval: tuple[float, float] | None
    seeds: Sequence[int]
    bound: float = 0.0
    claimed: Literal["above", "below"] = "above"
    unit: Literal["points", "correlation", "number"] = "points"

    @property
    def verdict(self) -> Verdict:
        """Whether the whole interval lies on the side that is claimed, or on the other one."""
        low, high = self.interval or (self.value, self.value)
        is_above, is_below = low > self.bound, high < self.bound
        if self.claimed == "below":
            is_above, is_below = is_below, is_above
        return "shown" if is_above else "opposite" if is_below else "not shown"

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, whose pair JSON makes a list."""
        ends = record["interval"]
        values: dict[str, Any] = {**record, "interval": ends and (ends[0], ends[1])}
        return cls(**values)


@dataclass(frozen=True)
class Setting:
    """What a comparison was measured with.

    Attributes:
        benchmark: Its name.
        backbone: The encoder, without the folders above it.
        targets: Target languages.
        seeds: All seeds of any row.
        max_rows: Rows of each split at most, where that was limited.
        commits: Commits whose code made it.
    """

    benchmark: str
    backbone: str
    targets: Sequence[str]
    seeds: Sequence[int]
    max_rows: Mapping[str, int]
    commits: Sequence[str]


@dataclass(frozen=True)
class Measured:
    """All that was measured.

    Attributes:
        comparisons: By preset.
        claims: By id of a claim.
    """

    comparisons: Mapping[str, Setting] = field(default_factory=dict)
    claims: Mapping[str, Figure] = field(default_factory=dict)

    def verdict(self, claim: Claim) -> Verdict:
        """What is known of a claim."""
        if isinstance(claim.test, NotTestable):
            return "not testable here"
        figure = self.claims.get(claim.id)
        return "not measured yet" if figure is None else figure.verdict

    def unexplained(self, claims: Sequence[Claim]) -> list[str]:
        """Ids of the claims that were not shown, or whose opposite was, and that do not say why."""
        told = {"opposite", "not shown"}
        return [x.id for x in claims if self.verdict(x) in told and x.why is None]

    def updated(self, new: "Measured", claims: Sequence[Claim]) -> "Measured":
        """With what was measured anew, and without what belongs to no claim any more."""
        figures, settings = {**self.claims, **new.claims}, {**self.comparisons, **new.comparisons}
        kept = {x.id: figures[x.id] for x in claims if x.id in figures}
        used = {x.comparison for x in claims if x.id in kept}
        return Measured({name: x for name, x in sorted(settings.items()) if name in used}, kept)


def read_measured(path: Path = MEASURED) -> Measured:
    """What a file holds; one that is not there holds nothing."""
    if not path.is_file():
        return Measured()
    record = json.loads(path.read_text(encoding="utf-8"))
    return Measured(
        {name: Setting(**item) for name, item in record["comparisons"].items()},
        {name: Figure.from_json(item) for name, item in record["claims"].items()},
    )


def write_measured(measured: Measured, path: Path = MEASURED) -> None:
    """Write the file; numbers have six digits, so that the same runs give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(asdict(measured)), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
