"""How far the parts of IWDA were at work in a run."""

from collections.abc import Mapping

from xlt_ray.methods.shared.records import below, last_of
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.store.artifacts import Artifact

OLD = 0.1
"""Share of the running statistics that may still be their start."""
STILL = 1e-3
"""Movement of a weight below which the weights are said to stay."""
MUCH = 0.5
"""Share of the change of the predictions that may be unexplained."""


def diagnosed(models: Mapping[str, Model], first: Mapping[str, Artifact]) -> list[Mechanism]:
    """The lines of the report about alignment and weights.

    Args:
        models: The model of each target.
        first: Its initial weights, where weights are estimated.
    """
    gap, found = last_of(models, "loss_gap"), list[Mechanism]()
    flat = ", ".join(name for name, value in gap.items() if value == 0)
    warning = f"the critic sees no gap for {flat}" if flat else None
    found.append(Mechanism("weighted gap of the critic, in the last pass", gap, warning))
    if not first:
        return found
    left = last_of(models, "start_left")
    old = ", ".join(name for name, value in left.items() if value > OLD)
    warning = f"the training of {old} is short: its statistics are still made up" if old else None
    found.append(Mechanism("share of C and t that is still their start", left, warning))
    moved = last_of(models, "moved")
    still = below(moved, STILL)
    warning = f"the weights of {still} stay where they begin" if still else None
    found.append(Mechanism("largest movement of a weight from its first value", moved, warning))
    shares = {name: float(item.info["unexplained"] or 0) for name, item in first.items()}
    wide = ", ".join(name for name, value in shares.items() if value > MUCH)
    warning = f"class priors do not explain what the model predicts for {wide}" if wide else None
    part = "share of the change of predictions that the first estimate leaves unexplained"
    found.append(Mechanism(part, shares, warning))
    residual = {name: float(item.info["residual"] or 0) for name, item in first.items()}
    found.append(Mechanism("residual of the first estimate, total variation", residual))
    found.append(Mechanism("residual of the last weights", last_of(models, "residual")))
    return found
