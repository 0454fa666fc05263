"""A training without numbers is known by its first such step."""

import pytest
import torch

from xlt_ray.engine.train.divergence import Divergence


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_step_without_numbers_is_told(value: float) -> None:
    watch = Divergence(torch.device("cpu"))
    for step, norm in enumerate([1.0, 3e38, value, 2.0, float("nan")]):
        if step == 2:
            watch.check()
        watch.note(step, 0.5 * step, torch.tensor(norm))
    with pytest.raises(
        ValueError, match=r"gradient of step 3, at a learning rate of 1, is not fin"
    ):
        watch.check()
