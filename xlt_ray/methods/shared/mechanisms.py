"""How far the parts of a self-training loop were at work, from what its steps counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from xlt_ray.config.choice import ChoiceRule
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Round

NEARLY_ALL = 0.95
"""Share of the rows that could be selected, from which a ranking decides next to nothing."""


def by_round(rounds: Sequence[Round], values: Sequence[float | None]) -> dict[str, float]:
    """Figures by round; a round without one is left out."""
    return {
        f"round {item.number}": value
        for item, value in zip(rounds, values, strict=True)
        if value is not None
    }


def share(part: Any, whole: Any) -> float | None:
    """A share of what was counted; None where one of the two was not, or nothing was there."""
    known = isinstance(part, int | float) and isinstance(whole, int | float) and whole > 0
    return part / whole if known else None


def total(counts: Any) -> int | None:
    """Sum of counts by name; None where they are not known."""
    return sum(counts.values()) if isinstance(counts, Mapping) else None


def last_record(model: Model) -> Mapping[str, float]:
    """What the objective recorded last while the model was trained; empty if it is not known."""
    history = model.artifact.info.get("history") or [{}]
    return history[-1].get("own") or {}


def use_of_ranking(rounds: Sequence[Round]) -> Mechanism:
    """Share of the rows that could be selected that were; near 1 the ranking decides nothing."""
    facts = [item.picked.info for item in rounds]
    taken = [share(total(x.get("selected")), total(x.get("eligible"))) for x in facts]
    figures = by_round(rounds, taken)
    warning = None
    if not rounds:
        warning = "no row was selected in any round"
    elif figures and min(figures.values()) >= NEARLY_ALL:
        warning = "nearly every row that could be selected was, so the ranking decided nothing"
    return Mechanism("ranking, share of eligible rows selected", figures, warning)


def chosen_checkpoint(
    final: Model,
    rounds: Sequence[Round],
    *,
    own_from: int,
    rule: ChoiceRule = "source_dev",
) -> Mechanism:
    """The round that the result comes from; the final pass counts as one more.

    Args:
        final: The model that was chosen.
        rounds: All rounds.
        own_from: The first round that does what the method adds to the loop.
        rule: By which it was chosen.
    """
    part = f"checkpoint chosen {'on source dev' if rule == 'source_dev' else f'by {rule}'}"
    number = next((x.number for x in rounds if x.model == final), None)
    last = rounds[-1].number if rounds else 0
    if not rounds:
        return Mechanism(part, {"rounds": 0.0}, "the result is the model of the source alone")
    figures = {"after round": float(last if number is None else number), "rounds": float(last)}
    if number is None:
        part += ", after the final pass"
    before = last < own_from if number is None else number < own_from
    warning = None
    if before:
        warning = f"it is from before round {own_from}, where the method's own part begins"
    return Mechanism(part, figures, warning)
