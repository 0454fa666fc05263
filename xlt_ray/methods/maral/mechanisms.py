"""How far the parts of MARAL were at work, from what its steps counted."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Outcome

LEARNT_NOTHING = 0.1
"""Source-dev F1 below which a teacher has nothing to teach."""
LEAST_REACH = 0.95
"""Share of the source's entities below which the length of spans is a limit to be warned of."""


class SourceSpans(NamedTuple):
    """What the source gold holds.

    Attributes:
        counts: Spans of each class; None if the run is only planned.
        by_words: Entities by their number of words.
        max_len: Words of the longest span.
    """

    counts: list[int] | None
    by_words: Mapping[str, int]
    max_len: int


class Settings(Protocol):
    """The keys that say what is to be seen."""

    @property
    def warmup(self) -> int:
        """Epochs before the first filter."""
        ...

    @property
    def filtering(self) -> bool:
        """Whether target spans are filtered."""
        ...

    @property
    def refinement(self) -> str:
        """Whether labels are moved."""
        ...

    @property
    def epoch_of(self) -> str:
        """What an epoch goes through."""
        ...

    @property
    def target(self) -> bool:
        """Whether target spans are learnt from."""
        ...


def reach(found: SourceSpans) -> Mechanism:
    """The recall that spans of the longest length allow, by the entities of the source gold."""
    whole = sum(found.by_words.values())
    held = sum(count for words, count in found.by_words.items() if int(words) <= found.max_len)
    part = f"spans of up to {found.max_len} words, share of the source's entities"
    if not whole:
        return Mechanism(part)
    share, warning = held / whole, None
    if share < LEAST_REACH:
        warning = f"recall ends at {100 * share:.0f}%; method.max_len=null chooses a length"
    return Mechanism(part, {"of at most that length": share}, warning)


def at_work(outcome: Outcome, settings: Settings) -> Sequence[Mechanism]:
    """Teachers, target spans that were come to, and moved labels that reached a loss."""
    students = outcome.by_language or {"student": outcome.final}
    teachers = outcome.zero_shot_by_language or {"teacher": outcome.zero_shot}
    records = {name: _records(model) for name, model in students.items()}
    return [
        _teachers(teachers),
        _visits(records, settings),
        *([_filtered(records, settings)] if settings.filtering and settings.target else []),
        _moved(records, settings),
    ]


def _records(model: Model) -> list[Mapping[str, Any]]:
    """What the student recorded at the end of each epoch, up to the one that is kept."""
    chosen = model.artifact.info.get("chosen")
    history = model.history if chosen is None else model.history[: chosen + 1]
    return [item["own"] for item in history if "scored" in item.get("own", {})]


def _teachers(teachers: Mapping[str, Model]) -> Mechanism:
    known = {name: model.source_dev for name, model in teachers.items()}
    figures = {name: value for name, value in known.items() if value is not None}
    bad = [name for name, value in figures.items() if value < LEARNT_NOTHING]
    warning = None
    if bad:
        warning = f"{', '.join(bad)} learnt next to nothing; try another method.source_lr or seed"
    return Mechanism("teachers, source dev", figures, warning)


def _visits(records: Mapping[str, list[Mapping[str, Any]]], settings: Settings) -> Mechanism:
    figures = {
        name: sum(item["scored"] for item in epochs) / len(epochs)
        for name, epochs in records.items()
        if epochs
    }
    warning = None
    if figures and min(figures.values()) < 0.99 and settings.epoch_of == "source":
        warning = (
            "an epoch does not come to all of the target text; method.epoch_of=target goes "
            "through all of it"
        )
    return Mechanism("target spans that an epoch comes to, mean share", figures, warning)


def _filtered(records: Mapping[str, list[Mapping[str, Any]]], settings: Settings) -> Mechanism:
    """What the filter made of the labels that the epochs up to the kept one learnt from."""
    part = "labels that the filter leaves out, mean share of O and of the entities' classes"
    figures = dict[str, float]()
    for name, epochs in records.items():
        known = [item["reliable"] for item in epochs[settings.warmup - 1 : -1]]
        for title, classes in (("O", slice(0, 1)), ("entities", slice(1, None))):
            shares = [1 - share for by_class in known for share in by_class[classes]]
            if shares:
                figures[f"{name} {title}"] = sum(shares) / len(shares)
    warning = None
    if any(records.values()) and not any(figures.values()):
        warning = "it left nothing out up to the epoch that is kept"
    return Mechanism(part, figures, warning)


def _moved(records: Mapping[str, list[Mapping[str, Any]]], settings: Settings) -> Mechanism:
    used = {name: sum(x["used"] for x in epochs) for name, epochs in records.items()}
    moved = {name: sum(x["moved_used"] for x in epochs) for name, epochs in records.items()}
    figures = {name: moved[name] / used[name] for name in records if used[name]}
    idle = [name for name, epochs in records.items() if epochs and not moved[name]]
    warning = None
    if settings.refinement != "none" and settings.target and idle:
        warning = (
            f"no moved label reached a loss of {', '.join(idle)} up to the epoch that is kept, so "
            "refinement made no difference"
        )
    return Mechanism("moved labels among the target spans in losses, share", figures, warning)
