"""Distances of a student from a teacher, by hand and by SciPy's neighbours in torch."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import kl_div, mse_loss

from xlt_ray.ops import distillation


def test_squared_differences_are_a_mean_over_classes() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(3.0), 0.0]])
    teacher = torch.tensor([[1.0, 0.0], [0.75, 0.25]])
    assert distillation.mse(logits, teacher).tolist() == pytest.approx([0.25, 0.0])


def test_both_agree_with_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, generator=generator)
    teacher = torch.randn(6, 5, dtype=torch.float64, generator=generator).softmax(-1)
    expected = mse_loss(logits.softmax(-1), teacher, reduction="none").mean(dim=1)
    assert torch.allclose(distillation.mse(logits, teacher), expected)
    expected = kl_div(logits.log_softmax(-1), teacher, reduction="none").sum(dim=1)
    assert torch.allclose(distillation.kl(logits, teacher), expected)


def test_a_sure_teacher_gives_cross_entropy() -> None:
    logits = torch.tensor([[0.3, -0.2, 1.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    found = distillation.kl(logits, teacher).item()
    assert found == pytest.approx(-logits.log_softmax(-1)[0, 1].item())


@pytest.mark.parametrize("measure", [distillation.mse, distillation.kl])
def test_the_student_has_a_gradient_and_the_teacher_none(
    measure: Callable[[Tensor, Tensor], Tensor],
) -> None:
    teacher = torch.full((2, 3), 1 / 3, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: measure(x, teacher.detach()), (logits,))
    measure(logits, teacher).sum().backward()
    assert teacher.grad is None
    assert logits.grad is not None
