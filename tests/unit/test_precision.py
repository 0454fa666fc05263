"""The type that equations are computed in."""

import pytest
import torch

from xlt_ray.ops.precision import wide


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.int64, torch.float32),
        (torch.bool, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_nothing_is_narrower_than_float32(given: torch.dtype, want: torch.dtype) -> None:
    values = torch.tensor([0, 1, 1]).to(given)
    got = wide(values)
    assert got.dtype == want
    assert got.tolist() == [0.0, 1.0, 1.0]
    assert (got is values) == (given == want)


def test_gradients_come_back_in_the_type_given() -> None:
    values = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    assert torch.autograd.grad(wide(values).square().sum(), values)[0].tolist() == [2.0, 4.0]
