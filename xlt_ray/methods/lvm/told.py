"""What a run of MRT or LVM tells of its parts: EM, the posterior, the matrices."""

import math
from collections.abc import Mapping

from xlt_ray.methods.shared.taught import Learnt
from xlt_ray.recipe.mechanism import Mechanism

LEAST_MOVE = 0.01
"""Total variation between sigma and its start, mean over the columns, under which it stands."""


def em_mechanisms(learnt: Mapping[str, Learnt], rounds: int) -> list[Mechanism]:
    """The parts of a run, by target.

    Args:
        learnt: What was learned.
        rounds: Rounds of an E-step and an M-step that there may be.
    """
    lines = []
    if any(found.facts for found in learnt.values()):
        lines += [_rounds(learnt, rounds), _falls(learnt), _moved(learnt)]
    sigma = _sigma(learnt)
    return [*lines, sigma] if sigma else lines


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


def _sigma(learnt: Mapping[str, Learnt]) -> Mechanism | None:
    figures = {
        target: entry["own"]["sigma_moved"]
        for target, found in learnt.items()
        for entry in found.history[-1:]
        if "own" in entry
    }
    if not figures:
        return None
    still = [target for target, share in figures.items() if share < LEAST_MOVE]
    warning = None
    if still:
        warning = f"the matrices of {', '.join(still)} are where they began: raise method.matrix_lr"
    return Mechanism("sigma, total variation from its start", figures, warning)
