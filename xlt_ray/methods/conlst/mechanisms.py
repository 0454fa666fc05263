"""How far the stages of CoNLST were at work in a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlt_ray.methods.shared.choice import Choice, choice_mechanisms
from xlt_ray.methods.shared.records import below, means_of
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Round

ALL = "all targets"
"""Name of the one model of all targets."""

FEW = 0.05
"""Share of active texts below which a stage is said to have done nothing."""
WEAK = 0.01
"""Ratio of gradients below which one term is said to have done nothing beside the other."""
ALMOST_ALL = 0.95
"""Mean share of kept texts above which the thresholds are said to select nothing."""


@dataclass(frozen=True)
class Adapted:
    """What became of a target, or of all.

    Attributes:
        model: The result.
        stage1: The model after stage 1, if there was one.
        rounds: Iterations of stage 2.
        kept: Share of texts that each prediction of stage 2 kept, also the one that ended it.
        fell: The iteration after which falls of source dev ended stage 2; None: they did not.
        choice: How the result was chosen among the iterations, by another rule than source dev.
        told: What the rules of the iterations say of themselves.
    """

    model: Model
    stage1: Model | None = None
    rounds: Sequence[Round] = ()
    kept: Sequence[float] = ()
    fell: int | None = None
    choice: Choice | None = None
    told: Sequence[Mechanism] = ()


def diagnosed(adapted: Mapping[str, Adapted]) -> list[Mechanism]:
    """The lines of the report about both stages.

    Args:
        adapted: What became of each target, by its name.
    """
    choices = {name: item.choice for name, item in adapted.items() if item.choice is not None}
    told = _joined([line for item in adapted.values() for line in item.told])
    return [*_stage1(adapted), *_stage2(adapted), *told, *choice_mechanisms(choices)]


def _joined(lines: Sequence[Mechanism]) -> list[Mechanism]:
    """One line of each part, with the figures and warnings of all targets."""
    found = dict[str, Mechanism]()
    for line in lines:
        last = found.get(line.part, Mechanism(line.part))
        warnings = dict.fromkeys(x for x in (last.warning, line.warning) if x is not None)
        joined = "; ".join(warnings) or None
        found[line.part] = Mechanism(line.part, {**last.figures, **line.figures}, joined)
    return list(found.values())


def _stage1(adapted: Mapping[str, Adapted]) -> list[Mechanism]:
    models = {name: item.stage1 for name, item in adapted.items() if item.stage1 is not None}
    active = means_of(models, "active")
    if not active:
        return []
    idle, found = below(active, FEW), list[Mechanism]()
    warning = f"hardly any loss is left to learn from for {idle}" if idle else None
    found.append(Mechanism("stage 1, share of texts with a loss above 0.001", active, warning))
    if lonely := means_of(models, "without_negatives"):
        all_of = ", ".join(name for name, value in lonely.items() if value > 1 - FEW)
        warning = f"there are no negatives for {all_of}" if all_of else None
        found.append(Mechanism("stage 1, share of texts without negatives", lonely, warning))
    if ratio := means_of(models, "gradient_ratio"):
        weak = below(ratio, WEAK)
        idle = ", ".join(name for name, value in ratio.items() if value > 1 / WEAK)
        said = [f"the source consistency alone moves the encoder of {weak}"] if weak else []
        said += [f"the source consistency hardly moves the encoder of {idle}"] if idle else []
        warning = "; ".join(said) or None
        part = "stage 1, gradient of the target loss over that of the weighted source consistency"
        found.append(Mechanism(part, ratio, warning))
    if unit := means_of(models, "unit"):
        found.append(Mechanism("stage 1, unit of distances", unit))
    return found


def _stage2(adapted: Mapping[str, Adapted]) -> list[Mechanism]:
    kept = {
        f"{name} {number}": share
        for name, found in adapted.items()
        for number, share in enumerate(found.kept, start=1)
    }
    if not kept:
        return []
    empty = ", ".join(name for name, found in adapted.items() if found.kept and not found.rounds)
    warning = f"no text of {empty} reached its threshold" if empty else None
    if sum(kept.values()) / len(kept) > ALMOST_ALL:
        warning = "nearly every text was kept: the thresholds select nothing"
    found = [Mechanism("stage 2, share of texts kept, by target and iteration", kept, warning)]
    if fell := {name: item.fell for name, item in adapted.items() if item.fell is not None}:
        figures = {name: float(number) for name, number in fell.items()}
        warning = f"falls of source dev ended stage 2 of {', '.join(fell)}"
        if not any(adapted[name].choice for name in fell):
            warning += "; the best model is back"
        found.append(Mechanism("stage 2, iteration after which it was ended", figures, warning))
    return found
