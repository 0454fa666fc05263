"""Linear layers in int8: factors and blocks by hand, and the product that they stand for."""

import pytest
import torch

from xlt_ray.ops.quantisation import block_of, factors, in_blocks


def test_large_inputs_are_moved_by_a_root() -> None:
    """Inputs to 16 with weights to 4: sqrt(16) / sqrt(4) = 2. Inputs to 1, weights to 1/4: 1 / 0.5
    = 2. With power 0 the inverse of the weights, with power 1 the inputs themselves."""
    inputs, weights = torch.tensor([16.0, 1.0]), torch.tensor([4.0, 0.25])
    assert factors(inputs, weights).tolist() == [2.0, 2.0]
    assert factors(inputs, weights, alpha=0.0).tolist() == [0.25, 4.0]
    assert factors(inputs, weights, alpha=1.0).tolist() == [16.0, 1.0]


def test_a_channel_without_values_has_a_factor() -> None:
    found = factors(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert found.isfinite().all()
    assert (found > 0).all()


@pytest.mark.parametrize(
    ("inputs", "most", "size"),
    [(384, 64, 64), (384, 128, 128), (312, 64, 52), (16, 64, 16), (7, 4, 1)],
)
def test_a_block_divides_the_inputs(inputs: int, most: int, size: int) -> None:
    assert block_of(inputs, most) == size


def test_a_block_has_a_scale_of_its_own() -> None:
    """Column 0: blocks (1, -2) and (254, 127) have scales 2/127 and 2; 1 is 63.5 steps of 2/127,
    which rounds to the even 64. Column 1 has zeros below, whose scale is 1."""
    weight = torch.tensor([[1.0, 0.5], [-2.0, 127.0], [254.0, 0.0], [127.0, 0.0]])
    small, scales = in_blocks(weight, 2)
    assert small.dtype == torch.int8
    assert small.tolist() == [[64, 0], [-127, 127], [127, 0], [64, 0]]
    torch.testing.assert_close(scales, torch.tensor([[2 / 127, 1.0], [2.0, 1.0]]))


@pytest.mark.parametrize("size", [4, 8, 32])
def test_a_weight_differs_by_half_a_scale(size: int) -> None:
    weight = torch.randn(32, 5, generator=torch.Generator().manual_seed(0))
    small, scales = in_blocks(weight, size)
    again = small.reshape(-1, size, 5) * scales[:, None]
    assert (
        (again.reshape(32, 5) - weight).abs() <= 0.5001 * scales.repeat_interleave(size, 0)
    ).all()


def test_factors_cancel() -> None:
    generator = torch.Generator().manual_seed(1)
    x, weight = torch.randn(6, 8, generator=generator), torch.randn(8, 3, generator=generator)
    x[:, 2] *= 100
    found = factors(x.abs().amax(dim=0), weight.abs().amax(dim=1))
    torch.testing.assert_close((x / found) @ (weight * found[:, None]), x @ weight)
    assert (x / found).abs().amax() < x.abs().amax() / 5
