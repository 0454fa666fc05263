"""The rules by which a method chooses among the models of its loop, and what they are called."""

from collections.abc import Mapping
from typing import Any, Literal

ChoiceRule = Literal["source_dev", "average", "agreement"]

LAST = 3
"""Models whose weights ``average`` takes the mean of, unless ``select_last`` says otherwise."""


def chosen_by(method: Mapping[str, Any]) -> str | None:
    """How the result of a run was chosen among the models of its loop, as the end of a sentence.

    Args:
        method: The section ``method`` of the run's configuration, as plain values.

    Returns:
        The words; None of a method that has no such rule, and by default, on source dev.
    """
    match method.get("select"):
        case "average":
            count = method.get("select_last") or LAST
            return f"as the mean of the weights of the last {count} models of the loop"
        case "agreement":
            return (
                "as the model of the loop whose labels of the unlabelled text agree most with "
                "those of the others"
            )
    return None
