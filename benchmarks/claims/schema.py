"""Claims: sentences with a sign, where they are printed, and what would show them here."""

import runpy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from xlt_ray.commands.presets import preset
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.layers import validate
from xlt_ray.config.schema import Section, Text, split_commas

ROOT = Path(__file__).parents[2]
CLAIMS = ROOT / "docs/claims.yaml"
PAPERS = {
    "CLTP": "cltp.md", "LVM": "lvm.md", "CoNLST": "conlst.md", "IWDA": "iwda.md",
    "MARAL": "maral.md",
}  # fmt: skip
"""Short name of each paper, and the page of its method."""
Paper = Literal["CLTP", "LVM", "CoNLST", "IWDA", "MARAL"]


class Printed(Section, frozen=True):
    """Rows of a printed table, whose averages are looked up."""

    table: Text
    """Number of the table."""
    dataset: Text
    """Beginning of the data set's name."""
    row: Text
    """Title of the row, as `xlt_ray.report.published.PublishedRow.title` has it."""
    against: Text | None = None
    """Title of the row it is compared with."""


class Above(Section, frozen=True):
    """A row scores higher than another, on average over the targets."""

    kind: Literal["above"]
    row: Text
    """Title of the row."""
    against: Text
    """Title of the other."""
    targets: tuple[Text, ...] | None = None
    """Targets that count; absent: all."""


class AboveZeroShot(Section, frozen=True):
    """A row scores higher than the model it starts from, on average over the targets."""

    kind: Literal["above_zero_shot"]
    row: Text
    """Title of the row."""
    targets: tuple[Text, ...] | None = None
    """Targets that count; absent: all."""


class GainWhereLow(Section, frozen=True):
    """A row gains more over zero-shot, the lower zero-shot is: their rank correlation over the
    targets is below 0. The noise of zero-shot is in both, which lowers it a little."""

    kind: Literal["gain_where_low"]
    row: Text
    """Title of the row."""


class Mechanism(Section, frozen=True):
    """A figure of the section "mechanisms" of the row's reports lies on one side of a bound."""

    kind: Literal["mechanism"]
    row: Text
    """Title of the row."""
    part: Text
    """Beginning of the part's name."""
    figure: Text | None = None
    """Which of its figures; absent: the mean of all."""
    claimed: Literal["above", "below"] = "above"
    """The side of the bound."""
    bound: float = 0.0
    """The bound."""


class Records(Section, frozen=True):
    """A figure of the records of an analysis: the sum of ``value`` (less ``minus``) over that of
    ``over``, of the records in ``where`` less the same of those in ``against``."""

    kind: Literal["records"]
    files: Text
    """The files, a pattern below the folder of runs, such as ``shift-e5/shift.json``."""
    at: Text | None = None
    """Key of the list of records; absent: the file is the list."""
    inner: Text | None = None
    """Key of a list in each record, whose items have the record's other keys, too."""
    where: dict[str, Any] = Field(default_factory=dict)
    """Values that records must have; ``first`` and ``last`` are the least and the largest."""
    against: dict[str, Any] | None = None
    """Values in place of those, for the records that are taken off; absent: none are."""
    without: dict[str, Any] = Field(default_factory=dict)
    """Values that records must not have."""
    value: Text
    """Key of the number."""
    minus: Text | None = None
    """Key of a number that is taken off it."""
    over: Text | None = None
    """Key of what it is a share of; absent: the mean over the records."""
    bins: tuple[int, int] | None = None
    """First and after the last place, where the numbers are lists: their sum."""
    pair: tuple[Text, ...] = ("target",)
    """Keys that tell the items apart that are drawn, beside the seed."""
    by: Text | None = None
    """Key of a number that the value is correlated with, by ranks over the items."""
    claimed: Literal["above", "below"] = "above"
    """The side of the bound."""
    bound: float = 0.0
    """The bound."""

    @model_validator(mode="after")
    def _one_figure(self) -> "Records":
        if self.by is not None and self.against is not None:
            raise ValueError("by and against exclude each other")
        return self


class NotTestable(Section, frozen=True):
    """What it would take to test it is not here."""

    kind: Literal["not_testable"]
    reason: Text
    """What is missing, as a sentence without its full stop."""


Test = Annotated[
    Above | AboveZeroShot | GainWhereLow | Mechanism | Records | NotTestable,
    Field(discriminator="kind"),
]


class Why(Section, frozen=True):
    """Why a claim was not shown, or its opposite was."""

    text: Text
    """The reason, in sentences."""
    command: Text
    """What shows it."""


class Claim(Section, frozen=True):
    """A claim of a paper."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    """Its name."""
    paper: Paper
    """Short name of the paper."""
    source: Text
    """Table or figure."""
    sentence: Text
    """What is claimed, without a full stop."""
    published: Text | None = None
    """Printed figures, in words."""
    printed: Printed | None = None
    """Printed figures that are looked up."""
    comparison: Text | None = None
    """Preset that measures it."""
    test: Test
    """What shows it."""
    why: Why | None = None
    """Why it was not shown."""

    @model_validator(mode="after")
    def _is_measured_by_something(self) -> "Claim":
        if (self.comparison is None) != isinstance(self.test, NotTestable):
            raise ValueError("needs a comparison, or a test of kind not_testable")
        return self

    @property
    def rows(self) -> list[str]:
        """Titles of the rows that it names."""
        if isinstance(self.test, Records):
            sides = (self.test.where, self.test.against or {})
            return list(dict.fromkeys(x["row"] for x in sides if "row" in x))
        names = (getattr(self.test, name, None) for name in ("row", "against"))
        return [name for name in names if name is not None]


class _Document(Section, frozen=True):
    claims: tuple[Claim, ...]


def read_claims(path: Path = CLAIMS) -> Sequence[Claim]:
    """The claims of a file, in order.

    Raises:
        ConfigError: what is wrong with which claim.
    """
    claims = validate(_Document, yaml.safe_load(path.read_text(encoding="utf-8")), {}).claims
    names = [claim.id for claim in claims]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"claims: {', '.join(twice)} is there twice")
    return claims


def folder_of(comparison: str) -> str:
    """Name of the folder that a preset leaves: what it calls its run, or its own name."""
    try:
        return preset(comparison).keys.get("run", {}).get("name", comparison)
    except ConfigError:
        return comparison


def titles_of(keys: Mapping[str, Any]) -> list[str]:
    """Titles of the rows of a comparison or a study; a study has those of its job, too."""
    found = list(split_commas(keys.get("compare", {}).get("methods", {})))
    if "study" in keys:
        job = runpy.run_path(str(ROOT / "jobs/prior_shift.py"))
        found += [*job["DEFAULTS"]["compare"]["methods"]]
    return found


def missing(claims: Sequence[Claim]) -> Iterator[str]:
    """Presets that claims name and that are not there, and rows that their presets do not have."""
    for name in dict.fromkeys(claim.comparison for claim in claims):
        if name is None:
            continue
        try:
            titles = titles_of(preset(name).keys)
        except ConfigError:
            yield f"there is no preset {name}"
            continue
        for claim in claims:
            if claim.comparison == name:
                gone = [row for row in claim.rows if row not in titles]
                yield from (f"{claim.id}: preset {name} has no row {row!r}" for row in gone)
