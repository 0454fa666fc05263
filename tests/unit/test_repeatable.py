"""Deterministic kernels are asked for inside the block alone, and memory is not filled for them."""

import pytest
import torch

from xlt_ray.engine.repeatable import repeatable


@pytest.mark.parametrize("wanted", [True, False])
def test_a_process_is_as_it_was_after_the_block(wanted: bool):
    before = torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    with repeatable(wanted):
        assert torch.are_deterministic_algorithms_enabled() is wanted
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.are_deterministic_algorithms_enabled() is before
    assert torch.utils.deterministic.fill_uninitialized_memory is filled
