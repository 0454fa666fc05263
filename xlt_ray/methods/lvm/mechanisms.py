"""What a run of MRT or LVM tells of its parts: EM, the posterior, the matrices."""

import math
from collections.abc import Mapping

from xlt_ray.methods.shared.learnt import Learnt
from xlt_ray.recipe.mechanism import Mechanism

SIGMA = (
    "sigma_moved",
    "sigma, total variation from its start",
    0.01,
    "the matrices of {} are where they began: raise method.matrix_lr or set method.matrices=closed",
)
RISK = (
    "teaching",
    "risk, share of sentences that have one",
    0.5,
    "most sentences of {} have a risk of 0 and teach nothing: method.objective=log",
)
"""Key of the objective, part, least value, and what it means that there is less."""


def em_mechanisms(learnt: Mapping[str, Learnt], rounds: int) -> list[Mechanism]:
    """The parts of a run, by target.

    Args:
        learnt: What was learned.
        rounds: Rounds of an E-step and an M-step that there may be.
    """
    lines = []
    if any(found.facts for found in learnt.values()):
        lines += [_rounds(learnt, rounds), _falls(learnt), _moved(learnt)]
    return [*lines, *_own(learnt, *SIGMA), *_own(learnt, *RISK)]


def _rounds(learnt: Mapping[str, Learnt], rounds: int) -> Mechanism:
    done = {target: float(len(found.trainings)) for target, found in learnt.items()}
    early = [target for target, count in done.items() if count < rounds]
    warning = f"EM of {', '.join(early)} ended before round {rounds}" if early else None
    return Mechanism("EM, rounds with an M-step", done, warning)


def _falls(learnt: Mapping[str, Learnt]) -> Mechanism:
    """J behind an M-step as a share of J before it, both at the lambda before it."""
    figures: dict[str, float] = {}
    for target, found in learnt.items():
        for number, fact in enumerate(found.facts[1:], start=1):
            after, before = fact["J_before"], found.facts[number - 1]["J"]
            share = after / before if after is not None and before else math.nan
            figures[f"{target} M-step {number}"] = share
    rose = [name for name, share in figures.items() if share >= 1]
    warning = f"J did not fall in {', '.join(rose)}" if rose else None
    return Mechanism("J after an M-step, share of J before it at one lambda", figures, warning)


def _moved(learnt: Mapping[str, Learnt]) -> Mechanism:
    figures: dict[str, float] = {}
    for target, found in learnt.items():
        moved, items = (found.facts[-1][key] if found.facts else None for key in ("moved", "items"))
        figures[target] = moved / items if moved is not None and items else math.nan
    same = [target for target, share in figures.items() if share == 0]
    warning = None
    if same:
        warning = f"the sources alone give the same labels of {', '.join(same)}"
    return Mechanism(
        "last E-step, share of words where the model changes the label", figures, warning
    )


def _own(
    learnt: Mapping[str, Learnt], key: str, part: str, least: float, idle: str
) -> list[Mechanism]:
    """What the objective said with the last score, and a warning where it is too little."""
    figures = {
        target: float(entry["own"][key])
        for target, found in learnt.items()
        for entry in found.history[-1:]
        if key in entry.get("own", {})
    }
    few = [target for target, value in figures.items() if value < least]
    warning = idle.format(", ".join(few)) if few else None
    return [Mechanism(part, figures, warning)] if figures else []
